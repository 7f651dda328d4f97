// The model that is served, what the page tells of it, and the settings that it is asked with.

import * as api from "./api.js";
import { element, show } from "./markdown.js";
import * as store from "./store.js";
import { meetTools, showTools } from "./tools/offer.js";

const LENGTHS = [32, 64, 128, 256, 512, 1024, 2048, 4096];
const $ = (id) => document.getElementById(id);

/** What is served, null until the server has said; and the settings as they are kept. */
export const state = { model: null, settings: store.loadSettings() };

/** Shows the settings as they are. */
export function applySettings() {
  if ($("system").value !== state.settings.system) $("system").value = state.settings.system;
  const temperature = state.settings.temperature ?? state.model?.meta.temperature ?? 0.7;
  $("temperature").value = temperature;
  $("temperature-value").value = temperature.toFixed(2);
  const lengths = LENGTHS.filter((length) => length < (state.model?.meta.context ?? Infinity));
  const options = [new Option("As long as it fits", 0), ...lengths.map((length) => new Option(`${length.toLocaleString("en")} tokens`, length))];
  $("length").replaceChildren(...options);
  $("length").value = state.settings.length;
  if ($("length").selectedIndex < 0) $("length").value = 0;
  if (state.settings.theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = state.settings.theme;
  $("theme").lastElementChild.textContent = `Theme: ${state.settings.theme}`;
  showTools(state.settings.off, (off) => change("off", off));
}

function change(name, value) {
  state.settings = store.changeSettings({ [name]: value });
  applySettings();
}

function size(parameters) {
  const [unit, word] = parameters >= 1e9 ? [1e9, "B"] : parameters >= 1e6 ? [1e6, "M"] : [1e3, "k"];
  const count = parameters / unit;
  return `${count < 10 ? count.toFixed(1) : Math.round(count)}${word} parameters`;
}

/** Asks the server what it serves, shows it, and calls `met` then. */
export async function meetModel(met) {
  try {
    state.model = await api.servedModel();
  } catch (error) {
    $("facts").textContent = error.message;
    return;
  }
  await meetTools(state.model.meta, applySettings);
  const { parameters, context, bits_per_byte: bits } = state.model.meta;
  const facts = [size(parameters), ...(bits ? [`${bits.toFixed(2)} bits per byte`] : []), `${context.toLocaleString("en")} tokens of context`];
  $("model-name").textContent = state.model.id;
  $("facts").replaceChildren(...facts.map((fact) => element("span", {}, fact)));
  applySettings();
  met();
}

/** A model card without what is for programs only: front matter and comments. */
function readable(card) {
  const [first, ...rest] = card.replace(/^---\n[\s\S]*?\n---\n/, "").split("<!--");
  return first + rest.map((part) => part.split("-->").slice(1).join("-->")).join("");
}

async function showAbout() {
  if (!state.model) return;
  const { parameters, context, bits_per_byte: bits, card, version, licence, digest } = state.model.meta;
  const rows = { Name: version ? `${state.model.id} ${version}` : state.model.id, Made: new Date(1000 * state.model.created).toLocaleDateString("en", { dateStyle: "long" }), Size: `${parameters.toLocaleString("en")} parameters`, Context: `${context.toLocaleString("en")} tokens` };
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

$("open-about").onclick = showAbout;
$("open-tools").onclick = () => {
  applySettings();
  $("tools").showModal();
};
$("system").oninput = () => change("system", $("system").value);
$("temperature").oninput = () => change("temperature", Number($("temperature").value));
$("length").onchange = () => change("length", Number($("length").value));
$("defaults").onclick = () => {
  state.settings = store.changeSettings({ ...store.DEFAULTS, theme: state.settings.theme });
  applySettings();
};
$("theme").onclick = () => change("theme", { system: "light", light: "dark", dark: "system" }[state.settings.theme] ?? "system");
