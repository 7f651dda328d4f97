// All that is known of one thing.

import { ask, chosen } from "./api.js";
import { losses } from "./chart.js";
import { clock, figure, h, recordLink, score, section, size, stateMark, table, when } from "./dom.js";

export function record({ view, key, announce }) {
  const place = h("div", { class: "page" }, h("p", { class: "soft" }, "Loading …"));
  view.replaceChildren(place);
  const mine = { title: "Record", ready: load(), refresh: load, again: () => (mine.live ? load() : undefined), redraw: choice };
  let found = null;
  const choose = h("button", { type: "button", onclick: () => chosen.toggle(found.key, found.name) });

  function choice() {
    if (!found) return;
    const on = chosen.has(found.key);
    choose.setAttribute("aria-pressed", String(on));
    choose.textContent = on ? "Chosen for comparison" : "Choose for comparison";
  }

  async function load() {
    const [record, curves] = await Promise.all([ask(`/api/record/${key}`), ask("/api/curves", { of: key })]);
    found = record;
    mine.live = record.state === "running";
    document.title = `${record.name} · Ayllu lab`;
    draw(record, curves);
    choice();
  }

  function change(parts) {
    const asked = Object.fromEntries(Object.entries({ ...Object.fromEntries(new URLSearchParams(location.search)), ...parts }).filter(([, value]) => value));
    history.replaceState(null, "", `${location.pathname}${Object.keys(asked).length ? `?${new URLSearchParams(asked)}` : ""}`);
    load();
  }

  function draw(record, curves) {
    const open = new Set([...place.querySelectorAll("details[open]")].map((one) => one.dataset.name));
    const control = place.contains(document.activeElement) ? [...place.querySelectorAll("a, button, select, input, summary, [tabindex]")].indexOf(document.activeElement) : -1;
    place.replaceChildren(...[
      h("div", { class: "head" },
        h("div", {}, h("h1", { tabindex: -1 }, record.name), h("p", { class: "soft" }, record.kind, " · ", record.stage ? `${record.stage} · ` : "", stateMark(record.state), record.created ? [" · ", when(record.created), " ago"] : "")),
        h("div", { class: "actions" }, record.key ? choose : null, h("a", { class: "button", href: `/lineage/${key}` }, "Lineage"))),
      record.error ? h("p", { class: "trouble" }, record.error) : null,
      facts(record),
      curves.sides[0].curves.length ? section("Loss", losses(curves, Object.fromEntries(new URLSearchParams(location.search)), change)) : null,
      record.made.length ? section("Stages", table("Stages", ["Stage", "State", "Time"], record.made.map((one) => [one.there ? recordLink(one.key, one.label) : one.label, one.made ? stateMark(one.state) : h("span", { class: "soft" }, "there already"), clock(one.seconds)]), { right: [2] })) : null,
      pairs("Scores", record.scores, (value, name) => score([name, value])),
      predicted(record),
      h("div", { class: "columns-2" },
        pairs("Settings", { ...record.arguments, ...(record.rev === null ? {} : { rev: record.rev }) }),
        pairs("Measured", record.record)),
      Object.keys(record.inputs).length ? section("Made from", table("Made from", ["Input", "What", "Stage"], Object.entries(record.inputs).map(([name, one]) => [name, one.name.endsWith("(gone)") ? one.name : recordLink(one.key, one.name), one.stage]))) : null,
      record.used_by.length ? section("Used by", h("ul", { class: "links" }, record.used_by.map((one) => h("li", {}, recordLink(one.key, one.name), " ", h("span", { class: "soft" }, one.kind))))) : null,
      record.notes.length ? section("Notes", h("ul", {}, record.notes.map((note) => h("li", {}, note.text, " ", h("span", { class: "soft" }, when(note.at), " ago"))))) : null,
      record.log_lines && !(record.log_lines === 1 && record.log[0]?.includes("has no log")) ? folded("log", `Log: the last ${record.log.length.toLocaleString("en")} of ${record.log_lines.toLocaleString("en")} lines`, h("pre", { tabindex: 0, role: "region", "aria-label": "Log" }, record.log.join("\n"))) : null,
      folded("machine", "Machine", definitions(flat(record.machine))),
      folded("libraries", "Libraries", definitions(record.libraries)),
      folded("files", `Files: ${Object.keys(record.files).length}`, table("Files", ["File", "Size", "SHA-256"], Object.entries(record.files).map(([name, file]) => [name, size(file.bytes), h("code", {}, (file.sha256 ?? "").slice(0, 16))]), { right: [1] })),
    ].filter(Boolean));
    for (const one of place.querySelectorAll("details")) one.open = open.has(one.dataset.name);
    const log = place.querySelector("pre");
    if (log) log.scrollTop = log.scrollHeight;
    if (control >= 0) place.querySelectorAll("a, button, select, input, summary, [tabindex]")[control]?.focus({ preventScroll: true });
  }

  return mine;
}

function facts(record) {
  const rows = [
    ["Key", record.key ? h("code", {}, record.key) : null],
    ["Took", clock(record.seconds)],
    ["Size", record.bytes ? size(record.bytes) : null],
    ["Names", record.channels.join(", ")],
    ["Tags", record.tags.join(", ")],
    ["Needed by", record.needed_by],
    ["Command", record.command ? h("code", {}, record.command) : null],
    ["Folder", h("code", {}, record.folder)],
  ];
  return h("dl", { class: "facts" }, rows.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function predicted(record) {
  const rows = Object.entries(record.predictions).map(([name, value]) => {
    const measured = name === "seconds" ? record.seconds : record.record[name];
    return [name, figure(value), figure(typeof measured === "number" ? measured : null)];
  });
  return rows.length ? section("Expected and measured", table("Expected and measured", ["What", "Expected", "Measured"], rows, { right: [1, 2] })) : null;
}

function pairs(title, values, told = figure) {
  const rows = Object.entries(values);
  return rows.length ? section(title, h("dl", { class: "pairs" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, long(told(value, name)))]))) : null;
}

const long = (text) => (text.length > 160 ? h("details", { "data-name": text.slice(0, 60) }, h("summary", {}, `${text.slice(0, 120)} …`), h("pre", { tabindex: 0, role: "region", "aria-label": "The whole value" }, text)) : text);

const flat = (value) => Object.fromEntries(Object.entries(value).flatMap(([name, item]) => (item && typeof item === "object" && !Array.isArray(item) ? Object.entries(item).map(([part, one]) => [`${name} ${part}`, one]) : [[name, item]])));

const definitions = (values) => (Object.keys(values).length ? h("dl", { class: "pairs" }, Object.entries(values).map(([name, value]) => [h("dt", {}, name), h("dd", {}, figure(value))])) : null);

function folded(name, title, content) {
  return content && !(content.tagName === "DIV" && !content.querySelector("tbody tr")) ? h("details", { class: "fold", "data-name": name }, h("summary", {}, title), content) : null;
}
