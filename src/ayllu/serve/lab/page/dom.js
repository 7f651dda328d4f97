// Elements, and figures as people read them. All text is set as text: nothing of a file is ever markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "width%") element.style.width = `${value}%`;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** A table: `head` is of texts or { text, class }, `rows` of lists of what stands in the cells. */
export function table(caption, head, rows, { right = [] } = {}) {
  const side = (n) => (right.includes(n) ? "right" : undefined);
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, head.map((text, n) => (text === "" ? h("td") : h("th", { scope: "col", class: side(n) }, text))))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, n) =>
        h(n ? "td" : "th", { scope: n ? undefined : "row", class: side(n) }, cell === null || cell === undefined ? "–" : cell)))))));
}

export const section = (title, ...children) => h("section", {}, h("h2", {}, title), ...children);

/** A link to the record of something that has a key. */
export const recordLink = (key, name) => (key ? h("a", { href: `/record/${key.slice(0, 16)}` }, name) : name);

export function size(count) {
  let value = count;
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (value < 1000 || unit === "TB") return unit === "B" || value >= 100 ? `${Math.round(value)} ${unit}` : `${value.toFixed(1)} ${unit}`;
    value /= 1000;
  }
  return "";
}

export function age(created) {
  const seconds = (Date.now() - Date.parse(created)) / 1000;
  if (!Number.isFinite(seconds)) return "";
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) if (seconds >= length) return `${Math.round(seconds / length)} ${unit}`;
  return `${Math.max(Math.round(seconds), 0)} s`;
}

export function clock(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

const SUFFIXES = [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"]];

/** A figure in about four digits: 3.142, 12,345, 5.12 M. */
export function figure(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return typeof value === "string" ? value : JSON.stringify(value);
  const large = Math.abs(value);
  for (const [unit, letter] of SUFFIXES) if (large >= unit) return `${Number((value / unit).toPrecision(4))} ${letter}`;
  if (large >= 1000 || Number.isInteger(value)) return Math.round(value).toLocaleString("en");
  return large !== 0 && large < 1e-3 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

const LOSSES = ["bits_per_byte", "loss", "final_loss"];

/** One score in words: accuracies as percentages, losses as they are. */
export function score(pair) {
  if (!pair) return "";
  const [name, value] = pair;
  if (value === null) return "no number";
  return LOSSES.some((start) => name.startsWith(start)) ? value.toFixed(3) : `${(100 * value).toFixed(1)} %`;
}
export const scoreName = (pair) => (pair ? pair[0].replace("bits_per_byte", "bits/byte") : "");

/** A state with a mark that needs no colour. */
const MARKS = { finished: "●", running: "◐", failed: "✕", interrupted: "◌", damaged: "!", gone: "–" };
export const stateMark = (state) => h("span", { class: `state ${state}` }, h("span", { class: "mark", "aria-hidden": "true" }, MARKS[state] ?? "·"), state);

export const when = (created) => h("time", { datetime: created, title: created }, age(created));
