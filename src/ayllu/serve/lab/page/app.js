// Which part of the lab the address names, what stays the same around it, and what is new every two seconds.

import { ask, chosen, comparison, kept, Refusal, seen } from "./api.js";
import { compare } from "./compare.js";
import { h } from "./dom.js";
import { lineage } from "./lineage.js";
import { predictions } from "./predictions.js";
import { record } from "./record.js";
import { runs } from "./runs.js";
import { storage } from "./storage.js";
import { sweeps } from "./sweeps.js";

const VIEWS = { "": runs, record, compare, lineage, predictions, sweeps, storage };
const LOOK_MS = 2000;
const THEMES = ["system", "light", "dark"];
const $ = (id) => document.getElementById(id);

const view = $("view");
const said = h("p", { class: "unseen", role: "status" });
document.body.append(said);
let here = null;
let version = 0;
let stuck = false; // what is here could not be loaded: say so until it can be

function go(address) {
  history.replaceState({ y: scrollY }, "");
  history.pushState(null, "", address);
  return show({ moved: true });
}

async function show({ moved = false, y = 0 } = {}) {
  const [, part, key] = location.pathname.split("/");
  seen.oldest = Infinity;
  const mine = VIEWS[part]({ view, key, go, announce, live });
  here = mine;
  document.title = mine.title === "Runs" ? "Ayllu lab" : `${mine.title} · Ayllu lab`;
  for (const link of document.querySelectorAll("header nav a")) {
    const current = link.pathname === `/${part}` || (link.pathname === "/" && ["record", "lineage"].includes(part));
    link.toggleAttribute("data-here", current);
    if (link.pathname === location.pathname) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
  }
  tray();
  await attempt(() => mine.ready);
  if (here !== mine) return;
  if (seen.oldest < Infinity) version = seen.oldest; // what has changed since is told by the next look
  if (moved) (view.querySelector("h1") ?? view).focus({ preventScroll: true });
  scrollTo(0, y);
}

/** Do it, and say in one sentence what the server refused, or that it is not there. */
async function attempt(work) {
  try {
    await work();
    stuck = false;
    $("trouble").hidden = true;
  } catch (error) {
    const told = error instanceof Refusal ? `${error.message}.` : error instanceof TypeError && /fetch|network/i.test(error.message) ? "The lab's server does not answer; start it again with ayllu lab." : null;
    if (told === null) throw error;
    stuck = error instanceof Refusal;
    if ($("trouble").textContent !== told || $("trouble").hidden) $("trouble").textContent = told;
    $("trouble").hidden = false;
  }
}

function announce(text) {
  said.textContent = text;
}

function live(answer) {
  version = answer.version;
  const running = answer.facets?.state.find(([state]) => state === "running")?.[1];
  if (answer.facets) $("live").textContent = running ? `${running} running` : "";
}

async function look() {
  if (document.hidden) return;
  await attempt(async () => {
    const now = await ask("/api/version");
    if (now.version !== version) {
      version = now.version;
      await here?.refresh?.();
    } else await (stuck ? here?.refresh?.() : here?.again?.());
  });
}

function tray() {
  const rows = [...chosen.rows];
  $("tray").hidden = !rows.length || location.pathname === "/compare";
  document.body.classList.toggle("with-tray", !$("tray").hidden);
  $("tray-count").textContent = `${rows.length} chosen`;
  $("tray-names").replaceChildren(...rows.slice(0, 4).map(([, name]) => h("li", { class: "label" }, name)), rows.length > 4 ? h("li", {}, `and ${rows.length - 4} more`) : "");
  $("tray-compare").setAttribute("href", comparison(rows.map(([key]) => key)));
  if (rows.length < 2) $("tray-compare").setAttribute("aria-disabled", "true"); else $("tray-compare").removeAttribute("aria-disabled");
  document.querySelector('header nav a[href^="/compare"]').setAttribute("href", rows.length > 1 ? comparison(rows.map(([key]) => key)) : "/compare");
  here?.redraw?.();
}

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("ayllu.lab.theme", theme);
  } catch {
    // It holds for as long as the page is open.
  }
  $("theme").setAttribute("aria-label", `Theme: ${theme}`);
  $("theme").title = `Theme: ${theme}`;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/']");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  if (!link.hasAttribute("aria-disabled")) go(link.getAttribute("href"));
});
/** Menus close at a click elsewhere, and at Escape. */
const menu = () => document.querySelector("details.columns[open]");
document.addEventListener("pointerdown", (event) => {
  if (menu() && !menu().contains(event.target)) menu().open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu()) return;
  const one = menu();
  one.open = false;
  one.querySelector("summary").focus();
});
addEventListener("popstate", (event) => show({ y: event.state?.y ?? 0 }));
addEventListener("visibilitychange", look);
chosen.listen(tray);
$("tray-clear").addEventListener("click", () => chosen.clear());
$("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % THEMES.length]));
$("keys").addEventListener("click", () => $("help").showModal());

const singleKeys = kept("single-keys");
$("single-keys").checked = singleKeys.read(true);
$("single-keys").addEventListener("change", (event) => singleKeys.write(event.target.checked));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !$("single-keys").checked || $("help").open) return;
  const writing = event.target.matches("input:not([type=checkbox]), select, textarea");
  if (writing) {
    if (event.key === "Escape" && event.target.type === "search" && !event.target.value) event.target.blur();
    return;
  }
  const action = event.key === "?" ? () => $("help").showModal() : here?.keys?.[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

setTheme(document.documentElement.dataset.theme ?? "system");
await show();
setInterval(look, LOOK_MS);
