// The page: which chat is open, what is being answered, and what the buttons do.

import * as api from "./api.js";
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
const FRAME = 50; // milliseconds between two drawings of a growing answer

const $ = (id) => document.getElementById(id);
const prompt = $("prompt");
const scroller = $("scroller");
const narrow = matchMedia("(max-width: 760px)");
const fitPrompt = growing(prompt);

let model = null;
let settings = store.loadSettings();
let chat = store.newChat();
let stopping = null; // aborts the answer under way

// ---- talking to the model

async function respond() {
  const answer = { role: "assistant", content: "", waiting: true };
  const asked = chat;
  const messages = [
    ...(settings.system.trim() ? [{ role: "system", content: settings.system.trim() }] : []),
    ...asked.messages.map(({ role, content }) => ({ role, content })),
  ];
  asked.messages.push(answer);
  store.saveChat(asked);
  stopping = new AbortController();
  draw();
  toEnd();
  const item = items.get(answer);
  const reader = new Reader();
  let drawn = 0;
  let first = 0;
  const update = (now) => {
    if (now - drawn < FRAME) return;
    drawn = now;
    const follow = atEnd();
    fill(item, answer);
    reader.push(answer.content);
    if (follow) toEnd();
  };
  try {
    const body = { model: model?.id, messages };
    if (settings.temperature !== null) body.temperature = settings.temperature;
    if (settings.length) body.max_tokens = settings.length;
    for await (const part of api.answer(body, stopping.signal)) {
      first ||= part.text ? performance.now() : 0;
      answer.content += part.text ?? "";
      if (part.dropped) answer.dropped = part.dropped;
      if (part.usage) finish(answer, part, performance.now() - first);
      update(performance.now());
    }
  } catch (error) {
    if (error.name === "AbortError") answer.finish = "stopped";
    else answer.error = error.message;
  }
  delete answer.waiting;
  stopping = null;
  reader.end(answer.content);
  if (answer.error ?? answer.finish === "stopped") say(answer.error ?? "Stopped.");
  // What failed before its first word is no message: it must not be sent back to the model.
  if (!answer.content && answer.error) {
    asked.messages.pop();
    asked.error = answer.error;
  }
  store.saveChat(asked);
  const follow = atEnd();
  draw();
  if (follow) toEnd();
}

function finish(answer, { finish: reason, usage }, milliseconds) {
  answer.finish = reason;
  answer.tokens = usage.completion_tokens;
  if (usage.completion_tokens > 1) answer.rate = (1000 * (usage.completion_tokens - 1)) / Math.max(milliseconds, 1);
}

function send(text) {
  if (stopping || !text.trim()) return;
  delete chat.error;
  chat.messages.push({ role: "user", content: text.trim() });
  respond();
}

/** Throws away message `index` and all behind it, and answers what is then the last. */
function answerFrom(index, text) {
  if (stopping) return;
  delete chat.error;
  chat.messages.length = index;
  if (text !== undefined) chat.messages.push({ role: "user", content: text });
  respond();
}

function stop() {
  stopping?.abort();
}

// ---- drawing

const items = new WeakMap(); // each message's place in the page, so that drawing again moves no focus

function draw() {
  const list = $("messages");
  const wanted = chat.messages.map(itemOf);
  if (chat.error) wanted.push(failure(chat.error));
  wanted.forEach((item, index) => {
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
  });
  while (list.children.length > wanted.length) list.lastElementChild.remove();
  list.classList.toggle("busy", Boolean(stopping));
  $("welcome").hidden = wanted.length > 0;
  $("stop").hidden = !stopping;
  $("send").hidden = Boolean(stopping);
  history.replaceState(null, "", chat.messages.length ? `#${chat.id}` : location.pathname);
  document.title = chat.messages.length ? `${store.title(chat)} · Ayllu` : "Ayllu";
  drawChats();
  enableSend();
  followScroll();
}

function itemOf(message) {
  if (!items.has(message)) {
    const place = () => chat.messages.indexOf(message);
    const actions = message.role === "user" ? { edit: () => edit(place()) } : { again: () => answerFrom(place()) };
    items.set(message, messageItem(message, model?.id ?? "The model", actions));
  }
  const item = items.get(message);
  fill(item, message);
  return item;
}

function failure(words) {
  const again = element("button", { type: "button", onclick: () => answerFrom(chat.messages.length) }, "Try again");
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

function edit(index) {
  const message = chat.messages[index];
  const form = editForm(message, (text) => answerFrom(index, text), () => {
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

function openChat(id) {
  stop();
  chat = (id && store.loadChat(id)) || store.newChat();
  // A page that was closed in the middle of an answer left it as it was.
  chat.messages.forEach((message) => delete message.waiting);
  closeMenu();
  draw();
  toEnd();
  focusPrompt();
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
  $("system").value = settings.system;
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
  settings = { ...settings, [name]: value };
  store.saveSettings(settings);
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
  for (const name of document.querySelectorAll(".assistant h2")) name.textContent = model.id;
  $("facts").replaceChildren(...facts.map((fact) => element("span", {}, fact)));
  applySettings();
  draw();
}

/** A model card without what is for programs only: front matter, comments, and links into the release's folder. */
function readable(card) {
  return card
    .replace(/^---\n[\s\S]*?\n---\n/, "")
    .replace(/<!--[\s\S]*?-->/g, "")
    .replace(/!\[[^\]]*\]\([^)]*\)/g, "")
    .replace(/\[([^\]]+)\]\((?!https?:)[^)]*\)/g, "$1");
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
  if (stopping || !prompt.value.trim()) return;
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
  settings = { ...store.DEFAULTS, theme: settings.theme };
  store.saveSettings(settings);
  applySettings();
};
$("forget").onclick = () => {
  if (!confirm("Delete all chats?")) return;
  store.listChats().forEach((other) => store.deleteChat(other.id));
  $("settings").close();
  openChat();
};
$("theme").onclick = () => change("theme", { system: "light", light: "dark", dark: "system" }[settings.theme] ?? "system");
store.onChangeElsewhere(drawChats);

document.querySelector(".skip").onclick = (event) => {
  event.preventDefault();
  prompt.focus();
};

applySettings();
placeMenu();
openChat(location.hash.slice(1));
meetModel();
