// Documents of the user: put on the server, read there into a vector store of this page, and taken back.

import { ask } from "../api.js";
import { element } from "../markdown.js";
import { say } from "../view.js";

const OWN = { made_by: "chat page" }; // by which the page knows its vector store among others
const LOOK = 700; // milliseconds between two looks at what the server still reads
const MOST = 100; // entries of a page of a list

const $ = (id) => document.getElementById(id);
let here = false; // whether the server searches files
let store = null; // the page's vector store, once there is one
let files = []; // {id, name, state, wrong}: those in it, and those on their way
let looking = 0;
let told = () => {};

const json = async (path, method, body) => (await ask(path, { method, headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body) })).json();
const place = () => `v1/vector_stores/${encodeURIComponent(store)}/files`;

/** Shows what is kept: `stores` are the vector stores of the user; `change` is called when the page's own comes into being. */
export async function meetDocuments(offered, stores, change) {
  here = offered;
  told = change;
  store = stores.find(({ metadata }) => metadata?.made_by === OWN.made_by)?.id ?? null;
  $("documents").hidden = !here;
  if (here && store) await look();
  else draw();
}

/** All entries of a list of the server, page after page. */
export async function listed(path) {
  const found = [];
  for (let after = ""; ; ) {
    const { data, has_more: more, last_id: last } = await (await ask(`${path}?limit=${MOST}&order=asc${after}`)).json();
    found.push(...data);
    if (!more) return found;
    after = `&after=${encodeURIComponent(last)}`;
  }
}

/** Brings the list up to date, and again until everything is read. */
async function look() {
  clearTimeout(looking);
  try {
    const kept = await listed(place());
    const before = new Map(files.map((file) => [file.id, file]));
    const going = files.filter(({ id, state }) => state === "sent" && !kept.some((one) => one.id === id));
    files = [...kept.map((one) => entryOf(one, before.get(one.id))), ...going];
  } catch (error) {
    wrong(error.message);
  }
  draw();
  if (files.some(({ state }) => state === "in_progress")) looking = setTimeout(look, LOOK);
}

function entryOf({ id, status, attributes, last_error: error }, known) {
  const name = typeof attributes?.filename === "string" ? attributes.filename : (known?.name ?? id);
  if (known?.state === "in_progress" && status === "completed") say(`${name} was read.`);
  if (known?.state === "in_progress" && status === "failed") say(`${name} could not be read.`);
  return { id, name, state: status, wrong: error?.message ?? "" };
}

async function add(chosen) {
  wrong("");
  for (const file of chosen) {
    const entry = { id: `${Date.now()} ${file.name}`, name: file.name, state: "sent", wrong: "" };
    files.push(entry);
    draw();
    try {
      entry.id = await send(file);
      entry.state = "in_progress";
      say(`${file.name} is on the server.`);
    } catch (error) {
      files = files.filter((one) => one !== entry);
      wrong(`${file.name}: ${error.message}`);
    }
    draw();
  }
  if (store) await look();
}

/** Puts a file on the server and into the vector store; its id. What cannot be searched is not left there. */
async function send(file) {
  const form = new FormData();
  form.append("purpose", "assistants");
  form.append("file", file, file.name);
  const { id, filename } = await (await ask("v1/files", { method: "POST", body: form })).json();
  try {
    store ??= await begin();
    await json(place(), "POST", { file_id: id, attributes: { filename } });
  } catch (error) {
    await json(`v1/files/${encodeURIComponent(id)}`, "DELETE").catch(() => {});
    throw error;
  }
  return id;
}

async function begin() {
  const { id } = await json("v1/vector_stores", "POST", { name: "Documents", metadata: OWN });
  store = id;
  told();
  return id;
}

async function remove(file) {
  wrong("");
  try {
    await json(`v1/files/${encodeURIComponent(file.id)}`, "DELETE");
    say(`${file.name} was removed.`);
  } catch (error) {
    wrong(`${file.name}: ${error.message}`);
  }
  await look();
  $("add-documents").focus();
}

function wrong(words) {
  $("documents-wrong").textContent = words;
}

const STATES = { sent: "Is being sent", in_progress: "Is being read", completed: "Ready", cancelled: "Not read" };

function draw() {
  $("document-list").hidden = !files.length;
  $("document-list").replaceChildren(...files.map((file) => {
    const state = element("span", { className: file.state === "failed" ? "note error" : "help" }, STATES[file.state] ?? `Cannot be read: ${file.wrong}`);
    const button = element("button", { type: "button", disabled: file.state === "sent", onclick: () => remove(file) }, "Remove");
    button.setAttribute("aria-label", `Remove ${file.name}`);
    return element("li", {}, element("span", {}, element("b", {}, file.name), state), button);
  }));
}

// ---- wiring

$("add-documents").onclick = () => $("document-files").click();
$("document-files").onchange = async () => {
  const chosen = [...$("document-files").files];
  $("document-files").value = ""; // the same file can be chosen again
  await add(chosen);
};
$("documents").ondragover = (event) => event.preventDefault();
$("documents").ondrop = (event) => {
  event.preventDefault();
  add([...event.dataTransfer.files]);
};
