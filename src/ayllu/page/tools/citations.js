// Where something stands: passages that tools have found, and the places of an answer that name them.

import { element } from "../markdown.js";
import { uploadedFile } from "./files.js";

// As search_documents writes a passage: [file#page:from-to], what a person calls the place, and the words.
const PASSAGE = /^\[([0-9a-f]{8}(?:#\d+)?:\d+-\d+)\] (.+?): ([\s\S]*)$/;
const BETWEEN = /\n\n(?=\[[0-9a-f]{8}(?:#\d+)?:\d+-\d+\] )/;

const read = new WeakMap(); // by item, since results are long and answers are drawn often

/** The passages in what a call has found: `{key, file, page, passage, file_id, place}`. */
export function sourcesOf(item) {
  if (!read.has(item)) read.set(item, found(item));
  return read.get(item);
}

function found(item) {
  if (item.type === "file_search_call") {
    return item.results.map(({ file_id, filename, text }) => ({ key: filename, file: filename, page: "", passage: text, file_id }));
  }
  if (item.type !== "mcp_call") return [];
  return item.output.split(BETWEEN).map((part) => part.match(PASSAGE)).filter(Boolean).map(([, place, source, passage]) => {
    const [, file, page] = source.match(/^(.*), ([^,]+)$/) ?? [null, source, ""];
    return { key: place, file, page, passage, place };
  });
}

/** A source as a button that shows its passage. */
export function sourceButton(source, label = source.page ? `${source.file}, ${source.page}` : source.file) {
  const button = element("button", { type: "button", className: "chip", onclick: () => showPassage(source) }, label);
  button.setAttribute("aria-haspopup", "dialog");
  return button;
}

/**
 * A function that turns words of an answer into nodes, in which `[key]` of a source is a button. Only what a tool of this
 * chat has found becomes one, whatever the model writes.
 */
export function linker(sources) {
  const known = new Map(sources.map((source) => [source.key, source]));
  if (!known.size) return (words) => [words];
  return (words) => words.split(/(\[[^[\]\n]{1,300}\])/).map((part) => {
    const source = part.startsWith("[") && known.get(part.slice(1, -1));
    return source ? sourceButton(source) : part;
  });
}

function showPassage({ file, page, passage, place, file_id }) {
  const dialog = document.getElementById("passage");
  document.getElementById("passage-title").textContent = file;
  document.getElementById("passage-place").textContent = page ? `${page[0].toUpperCase()}${page.slice(1)}` : "";
  document.getElementById("passage-text").textContent = passage;
  const more = document.getElementById("passage-more");
  more.replaceChildren(...(file_id ? uploadedFile(file_id, file) : []));
  if (place) more.append("To read on, type ", element("code", {}, `ayllu documents open ${place}`));
  dialog.showModal();
}
