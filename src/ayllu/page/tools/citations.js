// Where something stands: passages that tools have found, and the places of an answer that name them.

import { element } from "../markdown.js";
import { uploadedFile } from "./files.js";

// As search_documents writes a passage: [file#page:from-to], what a person calls the place, and the words.
const PASSAGE = /^\[([0-9a-f]{8}(?:#\d+)?:\d+-\d+)\] (.+?): ([\s\S]*)$/;
const BETWEEN = /\n\n(?=\[[0-9a-f]{8}(?:#\d+)?:\d+-\d+\] )/;

const MARK = "\ue000"; // stands around the number of a source: no letter of any alphabet

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
 * The text of an answer with a mark where the server says that it rests on a file, and by its number the source of each mark.
 * A model cannot write one: its own signs of that kind are taken away first.
 */
export function cited({ text, cites }, sources) {
  const letters = [...text]; // the server counts characters, a browser halves of some
  const places = [];
  let written = "";
  let from = 0;
  for (const { file_id, index } of [...cites].sort((one, other) => one.index - other.index)) {
    if (index < from || index > letters.length) continue;
    const sentence = letters.slice(from, index).join("");
    const source = nearest(sources.filter((one) => one.file_id === file_id), sentence);
    if (!source || sentence.includes(`[${source.key}]`)) continue; // the model has written it itself
    // Behind the last line of a cell a mark would be a cell of its own.
    const cell = sentence.match(/\s*\|\s*$/)?.[0] ?? "";
    written += `${plain(sentence.slice(0, sentence.length - cell.length))}${MARK}${places.push(source) - 1}${MARK}${cell}`;
    from = index;
  }
  return { written: written + plain(letters.slice(from).join("")), places };
}

const plain = (words) => words.replaceAll(MARK, "\ufffd");
const wordsOf = (words) => new Set(words.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []);

/** Of several passages of a file the one that shares most words with what rests on it. */
function nearest(sources, sentence) {
  const said = wordsOf(sentence.trim().split(/(?<=[.!?])\s+/).at(-1) ?? "");
  const shared = ({ passage }) => [...wordsOf(passage)].filter((word) => said.has(word)).length;
  return sources.reduce((best, one) => (!best || shared(one) > shared(best) ? one : best), null);
}

/**
 * A function that turns words of an answer into nodes, in which `[key]` of a source is a button, and so is the mark of each
 * of `places`. Only what a tool of this chat has found becomes one, whatever the model writes.
 */
export function linker(sources, places = []) {
  const known = new Map(sources.map((source) => [source.key, source]));
  if (!known.size) return (words) => [words];
  return (words) => words.split(/(\[[^[\]\n]{1,300}\]|\ue000\d+\ue000)/).map((part) => {
    const source = part.startsWith("[") ? known.get(part.slice(1, -1)) : part.startsWith(MARK) && places[part.slice(1, -1)];
    if (!source) return part;
    return part.startsWith(MARK) ? placeButton(source) : sourceButton(source);
  });
}

function placeButton(source) {
  const button = sourceButton(source);
  button.setAttribute("aria-label", `Source: ${button.textContent}`);
  return button;
}

/** Moves marks that stand in code or in a link, where no button can be, behind it. */
export function settle(place, places) {
  const walker = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) if (walker.currentNode.data.includes(MARK)) found.push(walker.currentNode);
  for (const node of found) {
    const within = node.parentElement;
    const outer = within.closest("pre") ?? within.closest("a") ?? within.closest("code") ?? within;
    const marks = [...node.data.matchAll(/\ue000(\d+)\ue000/g)];
    node.data = node.data.replaceAll(/\ue000\d+\ue000/g, "");
    outer.after(...marks.map(([, number]) => placeButton(places[number])));
  }
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
