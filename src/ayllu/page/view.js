// What a message looks like, and how new text is read aloud.

import { element, show } from "./markdown.js";

const SVG = "http://www.w3.org/2000/svg";

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button that shows an icon, and says its `label` to those who cannot see it. */
export function iconButton(name, label, action) {
  const button = element("button", { type: "button", className: `icon ${name}`, title: label, onclick: () => action(button) }, icon(name));
  button.setAttribute("aria-label", label);
  return button;
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without a secure address there is no clipboard; the old way still is.
    const area = element("textarea", { value: text, className: "unseen" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    button.focus();
  }
  button.replaceChildren(icon("done"));
  say("Copied.");
  setTimeout(() => button.replaceChildren(icon("copy")), 1500);
}

/** One message as a list item, to be filled; `actions` are `{edit}` or `{again}`: what its buttons do beside copying. */
export function messageItem(message, actions) {
  const mine = message.role === "user";
  const body = element("div", { className: mine ? "said" : message.items ? "parts" : "text", dir: "auto" });
  const speaker = element("h2", { className: "unseen" });
  const bar = element("div", { className: "actions" }, iconButton("copy", "Copy", (button) => copy(message.content, button)));
  if (actions.edit) bar.append(iconButton("edit", "Edit", actions.edit));
  if (actions.again) bar.append(iconButton("again", "Answer again", actions.again));
  return element("li", { className: `message ${message.role}` }, speaker, body, bar);
}

/** Brings an item up to date with its message; `fillParts(place, message)` does so with an answer of several parts. */
export function fill(item, message, fillParts) {
  const body = item.children[1];
  if (message.role === "user") body.textContent = message.content;
  else {
    if (message.items) fillParts(body, message);
    else show(body, message.content);
    for (const pre of body.querySelectorAll("pre:not(.ready)")) {
      pre.classList.add("ready");
      pre.append(iconButton("copy", "Copy the code", (button) => copy(pre.firstChild.textContent, button)));
    }
  }
  item.classList.toggle("thinking", Boolean(message.waiting) && !message.asking && !writing(message));
  item.querySelectorAll(".note").forEach((note) => note.remove());
  for (const note of notes(message)) item.lastElementChild.append(note);
}

/** Whether something moves where an answer grows: words that come, or a call that runs. */
function writing({ content, items }) {
  if (!items) return Boolean(content);
  const last = items.filter(({ type }) => type !== "mcp_list_tools").at(-1);
  return last?.type === "message" ? Boolean(last.text) : last?.status === "in_progress" || Boolean(last?.approve);
}

function notes(message) {
  const found = [];
  const add = (className, words) => found.push(element("span", { className: `note ${className}` }, words));
  if (message.dropped) add("", `The oldest ${message.dropped} messages were left out: they no longer fit.`);
  if (message.finish === "stopped") add("", "Stopped.");
  if (!message.waiting && !message.finish && !message.error && message.role === "assistant") add("", "Not finished.");
  if (message.finish === "length") add("", "Cut: the longest answer was reached.");
  if (message.error) add("error", message.error);
  if (message.items && message.tokens) add("rate", `${message.tokens} tokens`);
  if (message.rate) add("rate", `${message.tokens} tokens · ${message.rate < 10 ? message.rate.toFixed(1) : Math.round(message.rate)}/s`);
  return found;
}

/** The form that stands in a message's place while it is edited. */
export function editForm(message, done, cancel) {
  const area = element("textarea", { value: message.content, rows: 1, dir: "auto" });
  area.setAttribute("aria-label", "Edit the message");
  const form = element("form", { className: "editor" }, area,
    element("div", { className: "row" },
      element("button", { type: "button", onclick: cancel }, "Cancel"),
      element("button", { type: "submit", className: "main" }, "Send")));
  form.onsubmit = (event) => {
    event.preventDefault();
    if (area.value.trim()) done(area.value.trim());
  };
  area.onkeydown = (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      cancel();
    } else sendOnEnter(event, () => form.requestSubmit());
  };
  growing(area);
  return form;
}

/** Enter sends, except while a word is being composed (Chinese, Japanese, ...) or with Shift. */
export function sendOnEnter(event, send) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
}

/** Lets a text area grow with its text. */
export function growing(area) {
  const fit = () => {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight}px`;
  };
  area.addEventListener("input", fit);
  requestAnimationFrame(fit);
  return fit;
}

const FRAME = 50; // milliseconds between two drawings of what grows, at least

/** A function that may be called often: it paints at once or soon, what came last too. */
export function paced(paint) {
  let next = 0;
  let later = 0;
  const now = () => {
    const began = performance.now();
    clearTimeout(later);
    later = 0;
    paint();
    // A long answer takes longer to draw, and must leave time for everything else.
    next = began + Math.max(FRAME, 4 * (performance.now() - began));
  };
  return () => {
    if (performance.now() >= next) now();
    else later ||= setTimeout(now, next - performance.now());
  };
}

const announcer = document.getElementById("announcer");

/** Has a screen reader say `words`. */
export function say(words) {
  announcer.append(element("p", {}, words));
  while (announcer.childNodes.length > 50) announcer.firstChild.remove();
}

/** Reads a growing answer aloud sentence by sentence: word by word, or all at its end, nobody can follow. */
export class Reader {
  #said;

  /** Of a text whose first `said` characters were read before. */
  constructor(said = 0) {
    this.#said = said;
  }

  push(text) {
    const ready = text.slice(this.#said).match(/^[\s\S]*(?:[.!?…:]["')\]”’]*\s|[。！？]|\n)/);
    if (!ready) return;
    this.#said += ready[0].length;
    if (ready[0].trim()) say(ready[0].trim());
  }

  end(text) {
    const rest = text.slice(this.#said).trim();
    if (rest) say(rest);
  }
}
