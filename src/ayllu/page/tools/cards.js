// What the server's tools do, as cards in the answer: which was called with what, how far it is, and what it gave.

import { element, show } from "../markdown.js";
import { icon, say } from "../view.js";
import { cited, linker, settle, sourceButton, sourcesOf } from "./citations.js";
import { fileList, picture } from "./files.js";
import { answerTo, callOf } from "./items.js";

const LABELS = {
  running: ["Running", "wait"],
  done: ["Done", "done"],
  failed: ["Failed", "close"],
  waiting: ["Waits for you", "hand"],
  denied: ["You did not allow it", "close"],
  stopped: ["Stopped", "close"],
  unknown: ["Stopped: it may have been done", "info"],
};

/** Brings the parts of an answer up to date: words as text, calls as cards, each where it came. */
export function fillParts(place, message, sources) {
  const known = (place.shownParts ??= new Map());
  const wanted = message.items.map((item, index) => partOf(known, item, index, message, sources)).filter(Boolean);
  wanted.forEach((node, index) => {
    if (place.children[index] !== node) place.insertBefore(node, place.children[index] ?? null);
  });
  while (place.children.length > wanted.length) place.lastElementChild.remove();
}

function partOf(known, item, index, message, sources) {
  const key = item.id || `${item.type} ${index}`;
  if (item.type === "message") {
    if (!item.text.trim() && !item.files.length) return null;
    if (!known.has(key)) known.set(key, element("div", { className: "said-part" }, element("div", { className: "text", dir: "auto" })));
    fillWords(known.get(key), item, sources);
    return known.get(key);
  }
  const hidden = item.type === "mcp_call" && message.items.some(({ type, id }) => type === "mcp_approval_request" && id === item.approval_request_id);
  if (hidden || item.type === "mcp_list_tools" || item.type === "mcp_approval_response") return null;
  if (!known.has(key)) known.set(key, newCard(item));
  fillCard(known.get(key), item, message);
  return known.get(key);
}

function fillWords(part, item, sources) {
  const { written, places } = cited(item, sources);
  show(part.firstChild, written, linker(sources, places));
  if (places.length) settle(part.firstChild, places);
  const files = item.files.filter(({ filename }) => !/^picture-\d+\.png$/.test(filename)); // they stand in their card
  if (files.length && part.children.length < 2) part.append(fileList(files));
}

// ---- cards

/** What a person calls a tool. */
export function nameOf(item) {
  if (item.type === "code_interpreter_call") return "Python";
  return item.type === "file_search_call" ? "Search in files" : `${item.server_label} · ${visible(item.name)}`;
}

function newCard(item) {
  const symbol = { code_interpreter_call: "code", file_search_call: "search" }[item.type] ?? "tool";
  const state = element("span", { className: "state" });
  const head = element("div", { className: "head" }, icon(symbol), element("span", { className: "name" }, nameOf(item)), state);
  const card = element("div", { className: "card" }, head, given(item));
  card.setAttribute("role", "group");
  return card;
}

function given(item) {
  if (item.type === "code_interpreter_call") return scrolling("Program", item.code);
  if (item.type === "file_search_call") return element("p", { className: "query" }, item.queries.map((query) => `“${query}”`).join(", "));
  return argumentList(item.arguments);
}

function scrolling(label, words) {
  return reached(label, element("pre", {}, element("code", {}, visible(words))));
}

/** What may be longer than its place can be scrolled with keys. */
function reached(label, made) {
  made.tabIndex = 0;
  made.setAttribute("aria-label", label);
  made.setAttribute("role", "group");
  return made;
}

function fillCard(card, item, message) {
  const call = item.type === "mcp_approval_request" ? callOf(item, message.items) : item;
  const state = stateOf(item, call, message);
  if (card.dataset.state !== state) {
    const [label, symbol] = LABELS[state];
    card.querySelector(".state").replaceChildren(icon(symbol), label);
    card.setAttribute("aria-label", `Tool: ${nameOf(item)}. ${label}`);
    if (message.waiting && state !== "waiting") say(`${nameOf(item)}: ${label}.`);
    card.dataset.state = state;
  }
  if (call && ["done", "failed"].includes(state) && !card.querySelector("details")) card.append(...results(call, state));
}

function stateOf(item, call, message) {
  const answer = item.type === "mcp_approval_request" && answerTo(item, message.items);
  if (answer === undefined) return "waiting";
  if (answer && !answer.approve) return answer.how === "stopped" ? "stopped" : "denied";
  if (call?.status === "completed") return "done";
  if (call?.status === "failed") return "failed";
  if (message.waiting) return "running";
  return item.type.startsWith("mcp") ? "unknown" : "stopped";
}

function results(call, state) {
  const outputs = call.outputs ?? [];
  const logs = outputs.filter(({ type }) => type === "logs").map((output) => output.logs).join("\n");
  const pictures = outputs.filter(({ type }) => type === "image");
  const sources = sourcesOf(call);
  const passages = sources.map((source) => `${source.file}${source.page ? `, ${source.page}` : ""}\n${source.passage}`);
  const said = call.type === "file_search_call" ? passages.join("\n\n") || "Nothing was found." : (call.error || call.output || logs);
  return [
    ...pictures.map(({ url }, index) => picture(url, index + 1)),
    ...(sources.length ? [sourceList(sources)] : []),
    folded(said || "It gave nothing back.", state === "failed"),
  ];
}

function sourceList(sources) {
  const made = element("ul", { className: "made" }, ...sources.map((source) => element("li", {}, sourceButton(source))));
  made.setAttribute("aria-label", "Passages that were found");
  return made;
}

function folded(said, open) {
  const lines = said.split("\n").length;
  const size = element("span", { className: "size" }, lines > 1 ? `${lines.toLocaleString("en")} lines` : `${said.length.toLocaleString("en")} characters`);
  return element("details", { open }, element("summary", {}, open ? "What went wrong" : "Result", size), scrolling("Result", said));
}

// ---- arguments

// What cannot be seen, or makes other letters stand elsewhere than they are, could show another call than the one that is made.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}\u115f\u1160\u3164\uffa0]/gu;

/** A text with everything in it that could not be seen. */
export function visible(words) {
  return words.replace(UNSEEN, (found) => (found === "\n" || found === "\t" ? found : `\\u{${found.codePointAt(0).toString(16)}}`));
}

/** The arguments of a call, all of them, as text. */
export function argumentList(written) {
  const entries = entriesOf(written);
  if (!entries) return scrolling("Arguments", written);
  if (!entries.length) return element("p", { className: "query" }, "Without arguments.");
  const made = entries.flatMap(([name, value]) => [element("dt", {}, visible(name)), element("dd", {}, visible(typeof value === "string" ? value : JSON.stringify(value)))]);
  return reached("Arguments", element("div", { className: "given" }, element("dl", { className: "arguments" }, ...made)));
}

/** Names and values; null where they would not be shown as they are sent: a name twice, a number that a browser rounds. */
function entriesOf(written) {
  try {
    const found = JSON.parse(written);
    const plain = written.replace(/"(?:[^"\\]|\\.)*"|\s+/g, (part) => (part.startsWith('"') ? JSON.stringify(JSON.parse(part)) : ""));
    return found?.constructor === Object && JSON.stringify(found) === plain ? Object.entries(found) : null;
  } catch {
    return null;
  }
}
