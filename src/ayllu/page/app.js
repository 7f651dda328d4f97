// The page: which chat is open, what is being answered, and what the buttons do.

import { loops } from "./loops.js";
import { element } from "./markdown.js";
import { applySettings, meetModel, state } from "./model.js";
import * as store from "./store.js";
import { askAbout } from "./tools/approval.js";
import { fillParts } from "./tools/cards.js";
import { sourcesOf } from "./tools/citations.js";
import { answerItem, pending, serversOf } from "./tools/items.js";
import { toolsFor } from "./tools/offer.js";
import { partsOf } from "./tools/stream.js";
import { editForm, fill, growing, iconButton, messageItem, paced, Reader, say, sendOnEnter } from "./view.js";

const IDEAS = [
  "Tell me a short story about a llama.",
  "How do I make a good cup of tea?",
  "What can two friends do on a rainy day?",
  "Why do we sleep?",
];
const KEEP = 1000; // milliseconds after which what has come of an answer is kept

const $ = (id) => document.getElementById(id);
const prompt = $("prompt");
const scroller = $("scroller");
const narrow = matchMedia("(max-width: 760px)");
const fitPrompt = growing(prompt);

let chat = store.newChat(); // the open one, as it is stored, and the answer under way
// The answer under way in it: {answer, question, controller, left}, and `asking` while the user has to decide about calls.
let flight = null;

// ---- talking to the model

/** Answers the last message of the open chat, or goes on with an answer about whose calls the user has decided. */
async function respond(begun) {
  const asked = chat;
  const tools = toolsFor(state.settings.off, serversOf(begun));
  const answer = begun ?? { id: store.newId(), role: "assistant", content: "", ...(tools.length ? { items: [] } : {}) };
  if (!begun) asked.messages.push(answer);
  answer.waiting = true;
  for (const name of ["asking", "error", "finish"]) delete answer[name];
  const before = asked.messages.slice(0, asked.messages.indexOf(answer));
  const mine = { answer, question: before.at(-1)?.id, controller: new AbortController() };
  flight = mine;
  draw();
  toEnd();
  const reader = new Reader(answer.content.length);
  const update = growth(asked, mine, reader);
  let first = 0;
  try {
    for await (const part of partsOf(answer, before, tools, mine.controller.signal)) {
      first ||= part.text ? performance.now() : 0;
      answer.content += part.text ?? "";
      if (part.model) answer.model = part.model;
      if (part.dropped) answer.dropped = part.dropped;
      if (part.usage) finish(answer, part, performance.now() - first);
      if (part.keep) keep(asked, mine);
      update();
    }
  } catch (error) {
    if (mine.left) return;
    if (error.name === "AbortError") endAsStopped(answer);
    else answer.error = error.message;
    if (error.refused) meetModel(draw); // what it asked for may be there no more
  }
  delete answer.waiting;
  if (flight === mine) flight = null;
  reader.end(answer.content);
  if (answer.error ?? answer.finish === "stopped") say(answer.error ?? "Stopped.");
  keep(asked, mine);
  const follow = atEnd();
  if (chat.id === asked.id) {
    takeUp();
    draw();
  }
  if (follow) toEnd();
  if (answer.model && answer.model !== state.model?.id) meetModel(draw);
}

/** A function that is called whenever an answer has grown: it draws, reads aloud and keeps it at times. */
function growth(asked, mine, reader) {
  const { answer } = mine;
  let kept = performance.now();
  const paint = paced(() => {
    if (!answer.waiting) return; // it has ended, and was drawn
    const follow = atEnd();
    fill(items.get(answer), answer, drawParts);
    reader.push(answer.content);
    if (follow) toEnd();
  });
  return () => {
    if (performance.now() - kept > KEEP) {
      kept = performance.now();
      keep(asked, mine);
      $("loop").hidden = flight !== mine || !loops(answer.content);
    }
    paint();
  };
}

/** Stores what there is of an answer. What failed before its first word is no message: it is not sent to the model. */
function keep(asked, { answer, question, controller }) {
  const stored = store.changeChat(asked.id, (kept) => {
    if (!answer.content && !answer.items?.length && answer.error && kept.messages.at(-1)?.id === question) kept.error = answer.error;
    return store.placeAnswer(kept, answer, question);
  });
  if (stored) take(chat.id === asked.id ? chat : asked, stored, answer);
  else controller.abort(); // the chat, or the question, was deleted
}

/** Brings a chat up to date with what is stored; messages that are shown keep their place in the page, `own` as it is. */
function take(mine, stored, own = flight?.answer) {
  const known = new Map(mine.messages.map((message) => [message.id, message]));
  const going = own && known.get(own.id);
  mine.messages = stored.messages.map((message) => {
    const old = known.get(message.id);
    return old ? (old === going ? old : Object.assign(old, message)) : message;
  });
  if (going && going === flight?.answer && !mine.messages.includes(going)) mine.messages.push(going);
  mine.error = stored.error;
}

function finish(answer, { finish: reason, usage }, milliseconds) {
  answer.finish = reason;
  answer.tokens = (answer.tokens ?? 0) + usage.completion_tokens;
  // Between the words of an answer with tools is time in which they ran.
  if (usage.completion_tokens > 1 && !answer.items) answer.rate = (1000 * (usage.completion_tokens - 1)) / Math.max(milliseconds, 1);
}

function send(text) {
  if (flight || !text.trim()) return;
  const message = { id: store.newId(), role: "user", content: text.trim() };
  const begins = !chat.messages.length;
  ask(store.changeChat(chat.id, (stored) => {
    delete stored.error;
    stored.messages.push(message);
  }, { create: begins }));
}

/** Throws away a message and all behind it, says `text` if there is any, and answers what is then the last. */
function answerFrom(message, text) {
  if (flight) return;
  ask(store.changeChat(chat.id, (stored) => {
    const at = message ? stored.messages.findIndex(({ id }) => id === message.id) : stored.messages.length;
    if (at < 0) return false;
    delete stored.error;
    stored.messages.length = at;
    if (text !== undefined) stored.messages.push({ id: store.newId(), role: "user", content: text });
    return stored.messages.length > 0;
  }));
}

function ask(stored) {
  if (!stored) return chatChanged(null, "That was deleted in another tab.");
  take(chat, stored);
  return respond();
}

/** Ends the answer under way; calls that wait for the user's word are not made. */
function stop() {
  if (!flight?.asking) return flight?.controller.abort();
  const { answer, question, controller } = flight;
  leaveOpen();
  endAsStopped(answer);
  keep(chat, { answer, question, controller });
  say("Stopped.");
  draw();
}

function endAsStopped(answer) {
  answer.finish = "stopped";
  for (const request of pending(answer.items)) answer.items.push(answerItem(request, false, "stopped"));
}

// ---- what the user decides about calls

/** Waits for the user where the open chat ends with calls that need a word of theirs. */
function takeUp() {
  const answer = chat.messages.at(-1);
  if (flight || !pending(answer?.items).length) return;
  answer.waiting = answer.asking = true;
  flight = { answer, question: chat.messages.at(-2)?.id, controller: new AbortController(), asking: true };
}

/** Leaves the question open, for this tab or another one to take it up. */
function leaveOpen() {
  delete flight.answer.waiting;
  delete flight.answer.asking;
  flight = null;
}

function decide(request, approve, how) {
  const { answer } = flight;
  const decided = answerItem(request, approve, how);
  // Of two tabs that show the question, the first counts.
  const stored = store.changeChat(chat.id, (kept) => {
    const message = kept.messages.find(({ id }) => id === answer.id);
    if (!pending(message?.items).some(({ id }) => id === request.id)) return false;
    message.items.push(decided);
  });
  if (!stored) return chatChanged(chat.id);
  answer.items.push({ ...decided });
  if (pending(answer.items).length) return draw();
  leaveOpen();
  respond(answer);
  if (!focusPrompt()) scroller.focus({ preventScroll: true });
}

// ---- drawing

const items = new WeakMap(); // each message's place in the page, so that drawing again moves no focus

function draw() {
  const list = $("messages");
  const wanted = chat.messages.map(itemOf);
  const last = chat.messages.at(-1);
  if (last?.role === "user") wanted.push(failure(chat.error ?? "This has no answer yet."));
  wanted.forEach((item, index) => {
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
  while (list.children.length > wanted.length) list.lastElementChild.remove();
  list.classList.toggle("busy", Boolean(flight));
  $("welcome").hidden = wanted.length > 0;
  $("stop").hidden = !flight;
  $("send").hidden = Boolean(flight);
  $("loop").hidden ||= !flight;
  askAbout(flight?.asking ? flight.answer.items : [], itemsOfChat(), decide);
  history.replaceState(null, "", chat.messages.length ? `#${chat.id}` : location.pathname);
  document.title = chat.messages.length ? `${store.title(chat)} · Ayllu` : "Ayllu";
  drawChats();
  enableSend();
  followScroll();
}

function itemOf(message) {
  if (!items.has(message)) {
    const actions = message.role === "user" ? { edit: () => edit(message) } : { again: () => answerFrom(message) };
    items.set(message, messageItem(message, actions));
  }
  const item = items.get(message);
  item.firstChild.textContent = message.role === "user" ? "You" : (message.model ?? state.model?.id ?? "The model");
  fill(item, message, drawParts);
  return item;
}

const itemsOfChat = () => chat.messages.flatMap((message) => message.items ?? []);

function drawParts(place, message) {
  fillParts(place, message, itemsOfChat().flatMap(sourcesOf));
}

function failure(words) {
  const again = element("button", { type: "button", onclick: () => answerFrom(null) }, "Try again");
  return element("li", { className: "failed" }, element("p", {}, words), again);
}

function drawChats() {
  const shown = store.listChats().map((other) => {
    const open = element("button", { type: "button", className: "chat", title: store.title(other), onclick: () => openChat(other.id) }, store.title(other));
    if (other.id === chat.id) open.setAttribute("aria-current", "true");
    const remove = iconButton("trash", `Delete “${store.title(other)}”`, () => forget(other));
    return element("li", {}, open, remove);
  });
  $("chats").replaceChildren(...shown);
}

function edit(message) {
  const form = editForm(message, (text) => answerFrom(message, text), () => {
    draw();
    items.get(message).querySelector(".edit").focus();
  });
  $("messages").replaceChild(element("li", { className: "message user editing" }, form), items.get(message));
  form.firstChild.focus();
}

function enableSend() {
  $("send").disabled = !prompt.value.trim();
}

const atEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 60;

function toEnd() {
  scroller.scrollTop = scroller.scrollHeight;
}

function followScroll() {
  $("to-end").hidden = atEnd();
}

// ---- chats

/** Opens a chat, or a new one; its address becomes a place to come back to unless it is where the visitor came from. */
function openChat(id, { came = false } = {}) {
  if (flight?.asking) leaveOpen();
  stop();
  flight = null;
  const found = id ? store.loadChat(id) : null;
  tell(id && !found ? "That chat is not kept in this browser." : "");
  chat = found ?? store.newChat();
  const address = found ? `#${found.id}` : location.pathname;
  if (!came && location.hash !== (found ? address : "")) history.pushState(null, "", address);
  closeMenu();
  takeUp();
  draw();
  toEnd();
  if (!flight) focusPrompt();
}

/** Another tab changed chat `id`, or any of them. */
function chatChanged(id, words = "This chat was deleted in another tab.") {
  if (id !== null && id !== chat.id) return drawChats();
  const stored = store.loadChat(chat.id);
  if (stored) {
    if (flight?.asking) leaveOpen();
    take(chat, stored);
    takeUp();
    // While a message is edited here, its form stays.
    return document.querySelector(".editing") ? drawChats() : draw();
  }
  if (!chat.messages.length) return drawChats();
  openChat();
  return tell(words);
}

/** Shows words above the box that is written in; none takes them away. */
function tell(words) {
  $("notice").textContent = words;
  $("notice").hidden = !words;
}

function forget(other) {
  if (!confirm(`Delete “${store.title(other)}”?`)) return;
  store.deleteChat(other.id);
  if (other.id === chat.id) openChat();
  else drawChats();
}

function focusPrompt() {
  // On a touch screen that would open the keyboard over the page.
  const fits = matchMedia("(hover: hover)").matches;
  if (fits) prompt.focus();
  return fits;
}

// ---- the menu on narrow screens

function openMenu() {
  document.body.classList.add("menu");
  placeMenu();
  $("close-menu").focus();
}

function closeMenu() {
  document.body.classList.remove("menu");
  placeMenu();
}

function placeMenu() {
  const open = document.body.classList.contains("menu");
  $("sidebar").inert = narrow.matches && !open;
  document.querySelector("main").inert = narrow.matches && open;
  $("open-menu").setAttribute("aria-expanded", String(open));
}

// ---- wiring

$("composer").onsubmit = (event) => {
  event.preventDefault();
  if (flight || !prompt.value.trim()) return;
  const text = prompt.value;
  prompt.value = "";
  fitPrompt();
  send(text);
};
prompt.oninput = enableSend;
prompt.onkeydown = (event) => sendOnEnter(event, () => $("composer").requestSubmit());
$("stop").onclick = () => {
  stop();
  prompt.focus();
};
$("stop-loop").onclick = $("stop").onclick;
$("to-end").onclick = toEnd;
scroller.onscroll = followScroll;
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  if (document.body.classList.contains("menu")) {
    closeMenu();
    $("open-menu").focus();
  } else stop();
});

$("new-chat").onclick = () => openChat();
$("open-menu").onclick = openMenu;
$("close-menu").onclick = closeMenu;
$("scrim").onclick = closeMenu;
narrow.onchange = placeMenu;
$("ideas").append(...IDEAS.map((idea) => element("li", {}, element("button", { type: "button", onclick: () => send(idea) }, idea))));

$("open-settings").onclick = () => {
  closeMenu();
  $("settings").showModal();
};
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.onclick = (event) => {
    if (event.target === dialog) dialog.close();
  };
}
$("forget").onclick = () => {
  if (!confirm("Delete all chats?")) return;
  store.deleteChats();
  $("settings").close();
  openChat();
};
store.onRefusal((words) => {
  $("refusal").textContent = words;
  $("refusal").hidden = !words;
});
store.onChangeElsewhere({
  onChat: chatChanged,
  onSettings() {
    state.settings = store.loadSettings();
    applySettings();
  },
});
addEventListener("popstate", () => {
  if (location.hash.slice(1) !== chat.id || !chat.messages.length) openChat(location.hash.slice(1), { came: true });
});
addEventListener("pagehide", () => {
  if (!flight) return;
  keep(chat, flight);
  flight.left = true; // the browser ends the request now, which is no failure of the server
});
addEventListener("pageshow", (event) => event.persisted && openChat(chat.id, { came: true }));

document.querySelector(".skip").onclick = (event) => {
  event.preventDefault();
  prompt.focus();
};

applySettings();
placeMenu();
openChat(location.hash.slice(1), { came: true });
meetModel(draw);
