// Which tools of the server the model may use, as the user chooses.

import { ask } from "../api.js";
import * as browser from "../browser.js";
import { element } from "../markdown.js";
import { allowed, revoke } from "./allowed.js";
import { listed, meetDocuments } from "./documents.js";

const $ = (id) => document.getElementById(id);
const MOST_STORES = 16;

let offered = []; // {key, name, about, tool: as the API takes it}
let searches = false; // whether the server searches files, of which there may be none yet

/** Finds out what the server offers, and calls `change` where that becomes more later. */
export async function meetTools(meta, change) {
  const own = browser.here ? [] : (meta.tools ?? []);
  const servers = browser.here ? [] : (meta.mcp_servers ?? []);
  searches = own.includes("file_search");
  const stores = searches ? await storesOfUser() : [];
  offered = [
    ...(own.includes("code_interpreter") ? [{ key: "code_interpreter", name: "Python", about: "Runs programs in a sandbox without network.", tool: { type: "code_interpreter", container: { type: "auto" } } }] : []),
    ...stores.map(({ id, name }) => ({ key: id, name: `Search in ${name || id}`, about: "Finds passages of files that were uploaded." })),
    ...servers.map((label) => ({ key: `mcp ${label}`, name: label, about: "Tools of an MCP server. You are asked before each call.", tool: { type: "mcp", server_label: label } })),
  ];
  await meetDocuments(searches, stores, async () => {
    await meetTools(meta, change);
    change();
  });
}

async function storesOfUser() {
  try {
    return await listed("v1/vector_stores");
  } catch {
    return []; // a key may be for chats alone
  }
}

const used = (off) => offered.filter(({ key }) => !off.includes(key));

/** The tools as a request names them; `needed` are the labels of servers whose calls wait for an answer. */
export function toolsFor(off, needed = []) {
  const on = used(off);
  const stores = on.filter(({ tool }) => !tool).map(({ key }) => key).slice(-MOST_STORES);
  const tools = on.map(({ tool }) => tool).filter(Boolean);
  if (stores.length) tools.push({ type: "file_search", vector_store_ids: stores });
  for (const label of needed) {
    if (!tools.some(({ server_label }) => server_label === label)) tools.push({ type: "mcp", server_label: label });
  }
  return tools;
}

/** Brings button and dialog up to date; `change(off)` is called when the user has chosen. */
export function showTools(off, change) {
  const on = used(off).length;
  $("open-tools").hidden = !offered.length && !searches;
  $("open-tools").setAttribute("aria-label", `Tools: ${on} of ${offered.length} in use`);
  $("tool-count").textContent = on;
  $("tool-list").replaceChildren(...offered.map((one) => entry(one, off, change)));
  showAllowed();
}

function entry({ key, name, about }, off, change) {
  const box = element("input", { type: "checkbox", checked: !off.includes(key) });
  box.onchange = () => {
    change(box.checked ? off.filter((other) => other !== key) : [...off, key]);
    [...$("tool-list").querySelectorAll("input")].at(offered.findIndex((one) => one.key === key))?.focus();
  };
  return element("li", {}, element("label", {}, box, element("span", {}, element("b", {}, name), element("span", { className: "help" }, about))));
}

function showAllowed() {
  const names = allowed();
  $("allowed").hidden = !names.length;
  $("allowed-list").replaceChildren(...names.map((name) => {
    const button = element("button", { type: "button", onclick: () => {
      revoke(name);
      showAllowed();
      $("tools").querySelector(".title button").focus();
    } }, "Ask again");
    button.setAttribute("aria-label", `Ask again before ${name}`);
    return element("li", {}, element("span", {}, name), button);
  }));
}
