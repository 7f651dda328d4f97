// Chats and settings, kept in this browser only. Tabs share them, so every change is made to what is stored at that
// moment, never to what a tab remembers. Where storage is off or full the page says so, works on, and forgets.

import { forStorage, readItems } from "./tools/items.js";

const CHAT = "ayllu.chat.";
const SETTINGS = "ayllu.settings";

// A temperature of null is what the model's release recommends, a length of 0 is as long as fits.
export const DEFAULTS = { system: "", temperature: null, length: 0, theme: "system", off: [] };
const FITS = {
  system: (value) => typeof value === "string",
  temperature: (value) => value === null || (typeof value === "number" && value >= 0 && value <= 2),
  length: (value) => Number.isInteger(value) && value >= 0 && value <= 1e6,
  // Tools of the server that the model may not use.
  off: (value) => Array.isArray(value) && value.every((key) => typeof key === "string"),
  theme: (value) => ["system", "light", "dark"].includes(value),
};

const unkept = new Map(); // by key, what the browser refused to store: newer than what it holds
let report = () => {};

/** Calls `tell` with words when the browser refuses to store something, and with "" when it has stored it after all. */
export function onRefusal(tell) {
  report = tell;
}

function read(key) {
  try {
    return JSON.parse(unkept.get(key) ?? localStorage.getItem(key));
  } catch {
    return null;
  }
}

function write(key, text) {
  try {
    localStorage.setItem(key, text);
    unkept.delete(key);
    if (!unkept.size) report("");
  } catch (error) {
    unkept.set(key, text);
    const why = error.name === "QuotaExceededError" ? "The storage of this browser is full; delete chats to make room." : "This browser lets the page store nothing.";
    report(`${why} What is new is lost when the page is closed.`);
  }
}

function remove(key) {
  unkept.delete(key);
  try {
    localStorage.removeItem(key);
  } catch {
    // There is nothing to delete where nothing is kept.
  }
}

export function newId() {
  return `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`;
}

/** A chat that nothing was said in yet; it is kept once something is. */
export function newChat() {
  return { id: newId(), changed: Date.now(), messages: [] };
}

/** The chat as it is stored, or null where there is none. What is stored may be anything: only what fits is taken. */
export function loadChat(id) {
  const stored = read(CHAT + id);
  if (!Array.isArray(stored?.messages)) return null;
  const said = stored.messages.map((message, index) => readMessage(message, `m${index}`)).filter(Boolean);
  const changed = Number.isFinite(stored.changed) ? stored.changed : 0;
  const error = typeof stored.error === "string" ? { error: stored.error } : {};
  return { id, changed, messages: said, ...error };
}

function readMessage(message, fallback) {
  const { id, role, content } = message ?? {};
  if (!["user", "assistant"].includes(role) || typeof content !== "string") return null;
  const items = role === "assistant" ? readItems(message.items) : null;
  if (role === "assistant" && !content && !items?.length) return null; // an older page kept answers before their first word
  const kept = { id: typeof id === "string" ? id : fallback, role, content, ...(items ? { items } : {}) };
  for (const name of ["finish", "error", "model"]) if (typeof message[name] === "string") kept[name] = message[name];
  for (const name of ["dropped", "tokens", "rate"]) if (Number.isFinite(message[name])) kept[name] = message[name];
  return kept;
}

/** Changes what is stored of a chat by `change(chat)`, and gives the chat; null when it is gone, or `change` says false. */
export function changeChat(id, change, { create = false } = {}) {
  const chat = loadChat(id) ?? (create ? { ...newChat(), id } : null);
  if (!chat || change(chat) === false) return null;
  chat.changed = Date.now();
  write(CHAT + id, JSON.stringify(chat));
  return chat;
}

/** Puts an answer behind the message that it answers, or in the place that it has; false when that message is gone. */
export function placeAnswer(chat, answer, question) {
  const at = chat.messages.findIndex((message) => message.id === answer.id);
  const asked = chat.messages.findIndex((message) => message.id === question);
  if (asked < 0) return false;
  const { waiting, asking, ...kept } = answer;
  if (kept.items) kept.items = forStorage(kept.items);
  if (at >= 0) chat.messages[at] = kept;
  else if (kept.content || kept.items?.length) chat.messages.splice(asked + 1, 0, kept);
  return true;
}

export function deleteChat(id) {
  remove(CHAT + id);
  keepTheRest();
}

export function deleteChats() {
  for (const key of chatKeys()) remove(key);
  keepTheRest();
}

function keepTheRest() {
  for (const [key, text] of [...unkept]) write(key, text);
  if (!unkept.size) report("");
}

function chatKeys() {
  let stored = [];
  try {
    stored = Object.keys(localStorage);
  } catch {
    // Storage is off: what could not be stored is all there is.
  }
  return [...new Set([...stored, ...unkept.keys()])].filter((key) => key.startsWith(CHAT));
}

/** All chats, the newest first. */
export function listChats() {
  const chats = chatKeys().map((key) => loadChat(key.slice(CHAT.length))).filter((chat) => chat?.messages.length);
  return chats.sort((a, b) => b.changed - a.changed);
}

/** What a chat is called: how it begins. */
export function title(chat) {
  const words = (chat.messages.find((message) => message.role === "user")?.content ?? "New chat").trim();
  return words.length > 60 ? `${words.slice(0, 59)}…` : words;
}

export function loadSettings() {
  const stored = read(SETTINGS) ?? {};
  return Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, FITS[name](stored[name]) ? stored[name] : value]));
}

/** Changes the settings that `changes` names, leaves the others as they are stored, and gives all of them. */
export function changeSettings(changes) {
  const settings = { ...loadSettings(), ...changes };
  write(SETTINGS, JSON.stringify(settings));
  return settings;
}

/** Calls `onChat(id)` when another tab changed a chat (null: perhaps all of them), `onSettings()` when it changed those. */
export function onChangeElsewhere({ onChat, onSettings }) {
  addEventListener("storage", ({ key, newValue }) => {
    if (key === null) unkept.clear();
    else if (newValue === null) unkept.delete(key);
    if (key === null || key === SETTINGS) onSettings();
    if (key === null) onChat(null);
    else if (key.startsWith(CHAT)) onChat(key.slice(CHAT.length));
  });
}
