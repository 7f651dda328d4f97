// What a message looks like, and how new text is read aloud.

import { element, show } from "./markdown.js";

const SVG = "http://www.w3.org/2000/svg";

function icon(name) {
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

/** One message as a list item; `actions` are `{edit}` or `{again}`: what its buttons do beside copying. */
export function messageItem(message, actions) {
  const mine = message.role === "user";
  const body = element("div", { className: mine ? "said" : "text", dir: "auto" });
  const speaker = element("h2", { className: "unseen" });
  const bar = element("div", { className: "actions" }, iconButton("copy", "Copy", (button) => copy(message.content, button)));
  if (actions.edit) bar.append(iconButton("edit", "Edit", actions.edit));
  if (actions.again) bar.append(iconButton("again", "Answer again", actions.again));
  const item = element("li", { className: `message ${message.role}` }, speaker, body, bar);
  fill(item, message);
  return item;
}

/** Brings an item up to date with its message. */
export function fill(item, message) {
  const body = item.children[1];
  if (message.role === "user") body.textContent = message.content;
  else {
    show(body, message.content);
    for (const pre of body.querySelectorAll("pre:not(.ready)")) {
      pre.classList.add("ready");
      pre.append(iconButton("copy", "Copy the code", (button) => copy(pre.firstChild.textContent, button)));
    }
  }
  item.classList.toggle("thinking", Boolean(message.waiting) && !message.content);
  item.querySelectorAll(".note").forEach((note) => note.remove());
  for (const note of notes(message)) item.lastElementChild.append(note);
}

function notes(message) {
  const found = [];
  const add = (className, words) => found.push(element("span", { className: `note ${className}` }, words));
  if (message.dropped) add("", `The oldest ${message.dropped} messages were left out: they no longer fit.`);
  if (message.finish === "stopped") add("", "Stopped.");
  if (!message.waiting && !message.finish && !message.error && message.role === "assistant") add("", "Not finished.");
  if (message.finish === "length") add("", "Cut: the longest answer was reached.");
  if (message.error) add("error", message.error);
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

const announcer = document.getElementById("announcer");

/** Has a screen reader say `words`. */
export function say(words) {
  announcer.append(element("p", {}, words));
  while (announcer.childNodes.length > 50) announcer.firstChild.remove();
}

/** Reads a growing answer aloud sentence by sentence: word by word, or all at its end, nobody can follow. */
export class Reader {
  #said = 0;

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
