// The table of all that is kept and runs.

import { ask, chosen, Refusal } from "./api.js";
import { spark } from "./chart.js";
import { clock, figure, h, score, scoreName, size, stateMark, when } from "./dom.js";

const COLUMNS = [
  ["name", "Name", ""],
  ["kind", "Kind", "wide"],
  ["state", "State", "wide"],
  ["created", "Age", "wide right"],
  [null, "Loss", ""],
  ["score", "Score", "right"],
  ["seconds", "Time", "wide right"],
  ["bytes", "Size", "wide right"],
];
const FACETS = ["kind", "state"];
const TYPING = 160;

export function runs({ view, go, live, announce }) {
  let asked = Object.fromEntries(new URLSearchParams(location.search));
  let found = null;
  let number = 0;
  let timer = 0;
  const sparks = new Map();

  const search = h("input", {
    type: "search", id: "search", placeholder: "Search: words, or lr>=0.001 loss<2", autocomplete: "off", spellcheck: "false",
    "aria-label": "Search words, or conditions such as lr>=0.001", value: asked.q ?? "",
    oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(() => change({ q: search.value.trim(), from: "" }, { replace: true }), TYPING);
    },
  });
  const chips = h("div", { class: "chips" });
  const stage = picker("stage", "Every stage");
  const tag = picker("tag", "Every tag");
  const columnList = h("div", { class: "menu" });
  const columns = h("details", { class: "columns" }, h("summary", {}, "Columns"), columnList);
  const head = h("tr");
  const body = h("tbody");
  const count = h("p", { class: "count" });
  const empty = h("p", { class: "empty", hidden: true });
  const back = h("button", { type: "button", onclick: () => page(-1) }, "Previous");
  const next = h("button", { type: "button", onclick: () => page(1) }, "Next");

  view.replaceChildren(
    h("h1", { class: "unseen", tabindex: -1 }, "Runs and results"),
    h("div", { class: "tools", role: "search" }, search, stage, tag, columns),
    chips,
    h("div", { class: "scroll runs", tabindex: 0, role: "region", "aria-label": "Runs and results" },
      h("table", { id: "runs" }, h("caption", { class: "unseen" }, "Runs and results"), h("thead", {}, head), body)),
    empty,
    h("div", { class: "pager" }, count, back, next),
  );

  function picker(name, all) {
    return h("select", { id: name, "aria-label": `Filter by ${name}`, "data-all": all,
      onchange: (event) => change({ [name]: event.target.value, from: "" }) }, h("option", { value: "" }, all));
  }

  function change(parts, { replace = false } = {}) {
    asked = Object.fromEntries(Object.entries({ ...asked, ...parts }).filter(([, value]) => value));
    // Commas and signs stay readable in the address.
    const query = Object.entries(asked).map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2C", ",").replaceAll("%3A", ":")}`).join("&");
    history[replace ? "replaceState" : "pushState"](null, "", `/${query ? `?${query}` : ""}`);
    return load({ told: true });
  }

  function page(step) {
    if (!found) return;
    const first = found.from + step * found.page;
    if (first < 0 || first >= found.matching) return;
    change({ from: first ? String(first) : "" }).then(() => scrollTo(0, 0));
  }

  async function load({ told = false } = {}) {
    const mine = ++number;
    try {
      const answer = await ask("/api/rows", asked);
      if (mine !== number) return;
      found = answer;
      live(answer);
      draw();
      if (told) announce(`${found.matching.toLocaleString("en")} of ${found.total.toLocaleString("en")}`);
      await loadSparks();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      empty.textContent = `${error.message}.`;
      empty.hidden = false;
      body.replaceChildren();
    }
  }

  async function loadSparks() {
    const wanted = found.rows.filter((row) => row.key && (row.state === "running" || !sparks.has(row.key)));
    if (!wanted.length) return;
    const answer = await ask("/api/sparks", { of: wanted.map((row) => row.key).join(",") });
    for (const row of wanted) sparks.set(row.key, answer.sparks[row.key] ?? null);
    for (const cell of body.querySelectorAll("td.curve")) drawSpark(cell);
  }

  function drawSpark(cell) {
    const points = sparks.get(cell.dataset.key);
    if (points) cell.replaceChildren(spark(points));
  }

  function draw() {
    drawChips();
    for (const select of [stage, tag]) drawPicker(select);
    drawColumns();
    drawHead();
    const focus = document.activeElement?.closest?.("tr")?.dataset.id;
    const control = document.activeElement?.dataset?.control;
    body.replaceChildren(...found.rows.map(drawRow));
    if (focus) body.querySelector(`tr[data-id="${CSS.escape(focus)}"] [data-control="${control}"]`)?.focus();
    for (const cell of body.querySelectorAll("td.curve")) drawSpark(cell);
    empty.hidden = found.matching > 0;
    empty.textContent = found.total ? "Nothing here is like that." : "Nothing is there yet: make something with ayllu run cria.";
    const last = Math.min(found.from + found.page, found.matching);
    count.textContent = found.matching ? `${(found.from + 1).toLocaleString("en")}–${last.toLocaleString("en")} of ${found.matching.toLocaleString("en")}` : "";
    back.disabled = found.from === 0;
    next.disabled = last >= found.matching;
    back.hidden = next.hidden = found.matching <= found.page;
  }

  function drawChips() {
    const has = document.activeElement?.closest?.(".chip")?.dataset.value;
    chips.replaceChildren(...FACETS.map((name) => {
      const on = new Set((asked[name] ?? "").split(",").filter(Boolean));
      return h("div", { class: "group", role: "group", "aria-label": `Filter by ${name}` }, found.facets[name].map(([value, rows]) =>
        h("button", { type: "button", class: "chip", "data-value": value, "aria-pressed": String(on.has(value)), onclick: () => {
          if (!on.delete(value)) on.add(value);
          change({ [name]: [...on].join(","), from: "" });
        } }, value, " ", h("span", { class: "soft" }, rows.toLocaleString("en")))));
    }));
    if (has) chips.querySelector(`[data-value="${CSS.escape(has)}"]`)?.focus();
  }

  function drawPicker(select) {
    const values = found.facets[select.id];
    select.hidden = !values.length;
    if (document.activeElement === select) return;
    select.replaceChildren(h("option", { value: "" }, select.dataset.all),
      ...values.map(([value, rows]) => h("option", { value }, `${value} (${rows.toLocaleString("en")})`)));
    select.value = asked[select.id] ?? "";
  }

  function drawColumns() {
    if (columns.contains(document.activeElement) && columns.open) return;
    const on = shown();
    const names = [...new Set([...on, ...found.columns])];
    columnList.replaceChildren(...names.map((name) => h("label", { class: "check" }, h("input", { type: "checkbox", value: name, checked: on.includes(name),
      onchange: (event) => {
        const now = shown().filter((other) => other !== name);
        change({ cols: [...now, ...(event.target.checked ? [name] : [])].join(",") });
      } }), name)));
  }

  const shown = () => (asked.cols ?? "").split(",").filter(Boolean);

  function drawHead() {
    const more = shown().map((name) => [name, name, "right"]);
    const by = asked.sort ?? "created";
    head.replaceChildren(h("th", { class: "choose" }, h("span", { class: "unseen" }, "Choose")),
      ...[...COLUMNS, ...more].map(([name, text, kind]) => {
        if (name === null) return h("th", { scope: "col", class: kind }, text);
        const on = by === name;
        const up = asked.dir === "up";
        return h("th", { scope: "col", class: kind, "aria-sort": on ? (up ? "ascending" : "descending") : undefined },
          h("button", { type: "button", class: "sort", onclick: () => change({ sort: name, dir: on !== up ? "up" : "", from: "" }) },
            text, h("span", { class: "arrow", "aria-hidden": "true" }, on ? (up ? " ↑" : " ↓") : "")));
      }));
  }

  function drawRow(row) {
    const id = `${row.key}${row.state}`;
    const link = row.key ? h("a", { href: `/record/${row.key.slice(0, 16)}`, "data-control": "link" }, row.name) : row.name;
    const labels = [...row.channels.filter((name) => name !== row.name), ...row.tags].map((name) => h("span", { class: "label" }, name));
    const note = h("span", { class: "narrow soft" }, row.state === "finished" ? "" : [stateMark(row.state), " · "], row.kind, " · ", when(row.created));
    const choose = h("input", { type: "checkbox", "data-control": "choose", "aria-label": `Choose ${row.name}`, checked: chosen.has(row.key),
      onchange: () => chosen.toggle(row.key, row.name) });
    return h("tr", { "data-id": id, class: row.state === "running" ? "running" : undefined },
      h("td", { class: "choose" }, row.key ? choose : null),
      h("th", { scope: "row", class: "name" }, link, labels, note, row.error ? h("span", { class: "error", title: row.error }, row.error) : null),
      h("td", { class: "wide" }, row.kind),
      h("td", { class: "wide" }, stateMark(row.state)),
      h("td", { class: "wide right" }, when(row.created)),
      h("td", { class: "curve", "data-key": row.key ?? "" }),
      h("td", { class: "right score" }, score(row.score), row.score ? h("span", { class: "soft" }, scoreName(row.score)) : null),
      h("td", { class: "wide right" }, clock(row.seconds)),
      h("td", { class: "wide right" }, row.bytes ? size(row.bytes) : ""),
      shown().map((name) => h("td", { class: "right" }, figure(row.more[name]))));
  }

  function move(step) {
    const links = [...body.querySelectorAll("a[data-control=link]")];
    const here = links.indexOf(document.activeElement?.closest?.("tr")?.querySelector("a[data-control=link]"));
    links[Math.min(Math.max(here + step, 0), links.length - 1)]?.focus();
  }

  return {
    title: "Runs",
    ready: load(),
    refresh: () => load(),
    again: () => { if (found && found.rows.some((row) => row.state === "running")) loadSparks(); },
    redraw: () => { for (const row of body.rows) { const box = row.querySelector("input"); const key = row.querySelector(".curve").dataset.key; if (box) box.checked = chosen.has(key); } },
    keys: {
      "/": () => search.focus(),
      j: () => move(1),
      k: () => move(-1),
      n: () => page(1),
      p: () => page(-1),
      x: () => document.activeElement?.closest?.("tr")?.querySelector("input")?.click(),
      c: () => chosen.rows.size > 1 && go(document.getElementById("tray-compare").getAttribute("href")),
    },
  };
}
