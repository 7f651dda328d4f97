// The question whether a call may be made. It stands outside the conversation, where nothing that a model writes can be.

import { element } from "../markdown.js";
import { say } from "../view.js";
import { allow, lastingly, others, reads } from "./allowed.js";
import { argumentList, visible } from "./cards.js";
import { pending } from "./items.js";

const SETTLES = 400; // milliseconds in which a press was meant for what stood there before

const place = document.getElementById("approval");
let shown = null; // the id of the request that is asked about

/**
 * Asks about the first request of `items` that waits, or about nothing; `chat` are all items of the chat.
 * `decide(request, approve, how)` is called with the user's answer.
 */
export function askAbout(items, chat, decide) {
  const waiting = pending(items);
  const request = waiting[0];
  if (request?.id === shown && !place.hidden) return;
  shown = request?.id ?? null;
  place.hidden = !request;
  place.replaceChildren(...(request ? question(request, waiting.length, chat, decide) : []));
  if (!request) return;
  say(`${request.server_label} asks to run ${request.name}. Allow it or deny it.`);
  // Who is writing goes on writing.
  if (!document.activeElement?.value) place.focus({ preventScroll: true });
}

function question(request, count, chat, decide) {
  const heading = element("h2", { id: "approval-title" }, `Allow ${request.server_label} to run `, element("b", {}, visible(request.name)), "?");
  const more = count > 1 ? [element("span", { className: "size" }, `1 of ${count}`)] : [];
  return [element("div", { className: "head" }, heading, ...more), argumentList(request.arguments), element("p", { className: "help" }, advice(request, chat)), buttons(request, chat, decide)];
}

function advice(request, chat) {
  const theirs = others(request, chat);
  if (reads(request, chat)) return "Its server says that it only reads.";
  if (theirs.length) return `The model has read text that others may have written (${theirs.join(", ")}), which may be why it calls this. So you are asked each time.`;
  return "It may change something, or send something away.";
}

function buttons(request, chat, decide) {
  const button = (label, className, approve, how) => element("button", {
    type: "button", className, disabled: true, onclick: () => {
      if (how === "always") allow(request, chat);
      decide(request, approve, how);
    },
  }, label);
  const made = [
    button("Deny", "", false, "denied"),
    ...(lastingly(request, chat) ? [button("Always allow", "", true, "always")] : []),
    button("Allow once", "main", true, "once"),
  ];
  setTimeout(() => made.forEach((one) => (one.disabled = false)), SETTLES);
  return element("div", { className: "row" }, ...made);
}
