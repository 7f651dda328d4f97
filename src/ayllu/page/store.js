// Chats and settings, kept in this browser only. Where storage is off or full the page works on, and forgets.

const CHAT = "ayllu.chat.";
const SETTINGS = "ayllu.settings";

// A temperature of null is what the model's release recommends, a length of 0 is as long as fits.
export const DEFAULTS = { system: "", temperature: null, length: 0, theme: "system" };

function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    console.warn("This browser keeps no more; the chat stays until the page is closed.");
  }
}

/** A chat that nothing was said in yet; it is kept once something is. */
export function newChat() {
  return { id: `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`, changed: Date.now(), messages: [] };
}

export function saveChat(chat) {
  chat.changed = Date.now();
  write(CHAT + chat.id, chat);
}

export function loadChat(id) {
  const chat = read(CHAT + id);
  return Array.isArray(chat?.messages) ? chat : null;
}

export function deleteChat(id) {
  try {
    localStorage.removeItem(CHAT + id);
  } catch {
    // There is nothing to delete where nothing is kept.
  }
}

/** All chats, the newest first. */
export function listChats() {
  let keys = [];
  try {
    keys = Object.keys(localStorage).filter((key) => key.startsWith(CHAT));
  } catch {
    // Storage is off: the list is empty.
  }
  const chats = keys.map((key) => loadChat(key.slice(CHAT.length))).filter((chat) => chat?.messages.length);
  return chats.sort((a, b) => b.changed - a.changed);
}

/** What a chat is called: how it begins. */
export function title(chat) {
  const words = (chat.messages.find((message) => message.role === "user")?.content ?? "New chat").trim();
  return words.length > 60 ? `${words.slice(0, 59)}…` : words;
}

export function loadSettings() {
  return { ...DEFAULTS, ...read(SETTINGS) };
}

export function saveSettings(settings) {
  write(SETTINGS, settings);
}

/** Calls `changed` when another tab changed a chat. */
export function onChangeElsewhere(changed) {
  addEventListener("storage", (event) => {
    if (event.key === null || event.key.startsWith(CHAT)) changed();
  });
}
