// The page: which chat is open, what is being answered, and what the buttons do.

import * as api from "./api.js";
import { loops } from "./loops.js";
import { element, show } from "./markdown.js";
import * as store from "./store.js";
import { editForm, fill, growing, iconButton, messageItem, Reader, say, sendOnEnter } from "./view.js";

const IDEAS = [
  "Tell me a short story about a llama.",
  "How do I make a good cup of tea?",
  "What can two friends do on a rainy day?",
  "Why do we sleep?",
];
const LENGTHS = [32, 64, 128, 256, 512, 1024, 2048, 4096];
const FRAME = 50; // milliseconds between two drawings of a growing answer, at least
const KEEP = 1000; // milliseconds after which what has come of an answer is kept

const $ = (id) => document.getElementById(id);
const prompt = $("prompt");
const scroller = $("scroller");
const narrow = matchMedia("(max-width: 760px)");
const fitPrompt = growing(prompt);

let model = null;
let settings = store.loadSettings();
let chat = store.newChat(); // the open one, as it is stored, and the answer under way
let flight = null; // the answer under way in it: {answer, question, controller, left}

// ---- talking to the model

/** Answers the last message of the open chat. */
async function respond() {
  const asked = chat;
  const answer = { id: store.newId(), role: "assistant", content: "", waiting: true };
  const mine = { answer, question: asked.messages.at(-1).id, controller: new AbortController() };
  const messages = [
    ...(settings.system.trim() ? [{ role: "system", content: settings.system.trim() }] : []),
    ...asked.messages.map(({ role, content }) => ({ role, content })),
  ];
  asked.messages.push(answer);
  flight = mine;
  draw();
  toEnd();
  const item = items.get(answer);
  const reader = new Reader();
  let next = 0;
  let kept = performance.now();
  let first = 0;
  const update = (now) => {
    if (now - kept > KEEP) {
      kept = now;
      keep(asked, mine);
      $("loop").hidden = flight !== mine || !loops(answer.content);
    }
    if (now < next) return;
    const follow = atEnd();
    fill(item, answer);
    reader.push(answer.content);
    if (follow) toEnd();
    // A long answer takes longer to draw, and must leave time for everything else.
    next = now + Math.max(FRAME, 4 * (performance.now() - now));
  };
  try {
    const body = { messages };
    if (settings.temperature !== null) body.temperature = settings.temperature;
    if (settings.length) body.max_tokens = settings.length;
    for await (const part of api.answer(body, mine.controller.signal)) {
      first ||= part.text ? performance.now() : 0;
      answer.content += part.text ?? "";
      if (part.model) answer.model = part.model;
      if (part.dropped) answer.dropped = part.dropped;
      if (part.usage) finish(answer, part, performance.now() - first);
      update(performance.now());
    }
  } catch (error) {
    if (mine.left) return;
    if (error.name === "AbortError") answer.finish = "stopped";
    else answer.error = error.message;
  }
  delete answer.waiting;
  if (flight === mine) flight = null;
  reader.end(answer.content);
  if (answer.error ?? answer.finish === "stopped") say(answer.error ?? "Stopped.");
  keep(asked, mine);
  const follow = atEnd();
  if (chat.id === asked.id) draw();
  if (follow) toEnd();
  if (answer.model && answer.model !== model?.id) meetModel();
}

/** Stores what there is of an answer. What failed before its first word is no message: it is not sent to the model. */
function keep(asked, { answer, question, controller }) {
  const stored = store.changeChat(asked.id, (kept) => {
    if (!answer.content && answer.error && kept.messages.at(-1)?.id === question) kept.error = answer.error;
    return store.placeAnswer(kept, answer, question);
  });
  if (stored) take(chat.id === asked.id ? chat : asked, stored);
  else controller.abort(); // the chat, or the question, was deleted
}

/** Brings a chat up to date with what is stored; messages that are shown keep their place in the page. */
function take(mine, stored) {
  const known = new Map(mine.messages.map((message) => [message.id, message]));
  const going = flight && known.get(flight.answer.id);
  mine.messages = stored.messages.map((message) => {
    const old = known.get(message.id);
    return old ? (old === going ? old : Object.assign(old, message)) : message;
  });
  if (going && !mine.messages.includes(going)) mine.messages.push(going);
  mine.error = stored.error;
}

function finish(answer, { finish: reason, usage }, milliseconds) {
  answer.finish = reason;
  answer.tokens = usage.completion_tokens;
  if (usage.completion_tokens > 1) answer.rate = (1000 * (usage.completion_tokens - 1)) / Math.max(milliseconds, 1);
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

function stop() {
  flight?.controller.abort();
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
  item.firstChild.textContent = message.role === "user" ? "You" : (message.model ?? model?.id ?? "The model");
  fill(item, message);
  return item;
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
  stop();
  flight = null;
  const found = id ? store.loadChat(id) : null;
  tell(id && !found ? "That chat is not kept in this browser." : "");
  chat = found ?? store.newChat();
  const address = found ? `#${found.id}` : location.pathname;
  if (!came && location.hash !== (found ? address : "")) history.pushState(null, "", address);
  closeMenu();
  draw();
  toEnd();
  focusPrompt();
}

/** Another tab changed chat `id`, or any of them. */
function chatChanged(id, words = "This chat was deleted in another tab.") {
  if (id !== null && id !== chat.id) return drawChats();
  const stored = store.loadChat(chat.id);
  if (stored) {
    take(chat, stored);
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
  if (matchMedia("(hover: hover)").matches) prompt.focus();
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

// ---- settings and the model

function applySettings() {
  if ($("system").value !== settings.system) $("system").value = settings.system;
  const temperature = settings.temperature ?? model?.meta.temperature ?? 0.7;
  $("temperature").value = temperature;
  $("temperature-value").value = temperature.toFixed(2);
  const lengths = LENGTHS.filter((length) => length < (model?.meta.context ?? Infinity));
  const options = [new Option("As long as it fits", 0), ...lengths.map((length) => new Option(`${length.toLocaleString("en")} tokens`, length))];
  $("length").replaceChildren(...options);
  $("length").value = settings.length;
  if ($("length").selectedIndex < 0) $("length").value = 0;
  if (settings.theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = settings.theme;
  $("theme").lastElementChild.textContent = `Theme: ${settings.theme}`;
}

function change(name, value) {
  settings = store.changeSettings({ [name]: value });
  applySettings();
}

function size(parameters) {
  const [unit, word] = parameters >= 1e9 ? [1e9, "B"] : parameters >= 1e6 ? [1e6, "M"] : [1e3, "k"];
  const count = parameters / unit;
  return `${count < 10 ? count.toFixed(1) : Math.round(count)}${word} parameters`;
}

async function meetModel() {
  try {
    model = await api.servedModel();
  } catch (error) {
    $("facts").textContent = error.message;
    return;
  }
  const { parameters, context, bits_per_byte: bits } = model.meta;
  const facts = [size(parameters), ...(bits ? [`${bits.toFixed(2)} bits per byte`] : []), `${context.toLocaleString("en")} tokens of context`];
  $("model-name").textContent = model.id;
  $("facts").replaceChildren(...facts.map((fact) => element("span", {}, fact)));
  applySettings();
  draw();
}

/** A model card without what is for programs only: front matter and comments. */
function readable(card) {
  const [first, ...rest] = card.replace(/^---\n[\s\S]*?\n---\n/, "").split("<!--");
  return first + rest.map((part) => part.split("-->").slice(1).join("-->")).join("");
}

async function showAbout() {
  if (!model) return;
  const { parameters, context, bits_per_byte: bits, card, version, licence, digest } = model.meta;
  const rows = { Name: version ? `${model.id} ${version}` : model.id, Made: new Date(1000 * model.created).toLocaleDateString("en", { dateStyle: "long" }), Size: `${parameters.toLocaleString("en")} parameters`, Context: `${context.toLocaleString("en")} tokens` };
  if (bits) rows["Held-out text"] = `${bits.toFixed(3)} bits per byte`;
  if (licence) rows.Licence = licence;
  if (digest) rows.Weights = `sha256 ${digest}`;
  rows.API = `${location.origin}/v1`;
  $("about-facts").replaceChildren(...Object.entries(rows).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  $("card").hidden = !card;
  $("about").showModal();
  if (card) {
    show($("card"), readable(await api.modelCard().catch((error) => error.message)));
  }
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
$("open-about").onclick = showAbout;
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.onclick = (event) => {
    if (event.target === dialog) dialog.close();
  };
}
$("system").oninput = () => change("system", $("system").value);
$("temperature").oninput = () => change("temperature", Number($("temperature").value));
$("length").onchange = () => change("length", Number($("length").value));
$("defaults").onclick = () => {
  settings = store.changeSettings({ ...store.DEFAULTS, theme: settings.theme });
  applySettings();
};
$("forget").onclick = () => {
  if (!confirm("Delete all chats?")) return;
  store.deleteChats();
  $("settings").close();
  openChat();
};
$("theme").onclick = () => change("theme", { system: "light", light: "dark", dark: "system" }[settings.theme] ?? "system");
store.onRefusal((words) => {
  $("refusal").textContent = words;
  $("refusal").hidden = !words;
});
store.onChangeElsewhere({
  onChat: chatChanged,
  onSettings() {
    settings = store.loadSettings();
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
meetModel();
