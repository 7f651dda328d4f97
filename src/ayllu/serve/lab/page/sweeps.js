// Results of one stage over the settings that they were asked for with.

import { ask, comparison } from "./api.js";
import { scatter } from "./chart.js";
import { figure, h, recordLink, section, table } from "./dom.js";

const MOST_COMPARED = 12;

export function sweeps({ view }) {
  const place = h("div", { class: "page" });
  view.replaceChildren(place);
  const asked = () => Object.fromEntries(new URLSearchParams(location.search));

  async function load() {
    const { id, stage, score: wanted, x, by, log } = asked();
    const score = id ? undefined : wanted; // a recorded sweep has one score
    draw(await ask("/api/sweeps", { id, stage, score }), { x, by, log });
  }

  function change(parts) {
    const next = Object.fromEntries(Object.entries({ ...asked(), ...parts }).filter(([, value]) => value));
    history.replaceState(null, "", `/sweeps?${new URLSearchParams(next)}`);
    load();
  }

  const choice = (name, values, value) => h("label", {}, `${name} `, h("select", { "data-name": name, onchange: (event) => change({ [name.toLowerCase()]: event.target.value }) },
    values.map((one) => h("option", { value: one, selected: one === value }, one || "nothing"))));

  /** Sweeps that were recorded, and stages whose results are one all the same. */
  const source = (found) => h("label", {}, "Of ", h("select", { "data-name": "Of", onchange: (event) => {
    const [kind, name] = event.target.value.split(/:(.*)/s);
    change({ id: "", stage: "", [kind]: name, score: "", x: "", by: "" });
  } }, found.recorded.map((one) => h("option", { value: `id:${one.id}`, selected: one.id === found.id }, `${one.recipe} ${one.id.slice(0, 8)}: ${one.trials} trials, ${one.state}`)),
    found.stages.map(([name, count]) => h("option", { value: `stage:${name}`, selected: name === found.stage }, `all ${count.toLocaleString("en")} of ${name}`))));

  function draw(found, { x, by, log }) {
    const focus = place.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    const names = found.settings.map(([name]) => name);
    const numeric = names.filter((name) => found.points.some((point) => typeof point.settings[name] === "number"));
    const across = numeric.includes(x) ? x : (numeric.find((name) => name.split(".").at(-1) !== "seed") ?? numeric[0]);
    const others = names.filter((name) => name !== across);
    const apart = others.includes(by) ? by : (by === undefined ? others.find((name) => name.split(".").at(-1) !== "seed") : "") ?? "";
    place.replaceChildren(...[
      h("h1", { tabindex: -1 }, "Sweeps"),
      h("p", { class: "soft" }, "What came of different settings. Results that differ in their seed alone are one try, repeated."),
      found.points.length ? h("div", { class: "tools" }, source(found),
        found.scores.length ? choice("Score", found.scores, found.score) : null,
        numeric.length > 1 ? choice("X", numeric, across) : null,
        others.length ? choice("By", ["", ...others], apart) : null,
        h("label", { class: "check" }, h("input", { type: "checkbox", "data-name": "log", checked: log !== "0", onchange: (event) => change({ log: event.target.checked ? "" : "0" }) }), "logarithmic"))
        : h("p", { class: "empty" }, "Nothing was swept yet, and no stage has made several models or scores."),
      found.unreadable ? h("p", {}, `Left out, for they cannot be read: ${found.unreadable.toLocaleString("en")} of the records in the home's folder sweeps.`) : null,
      found.points.length && !names.length ? h("p", { class: "empty" }, "All of them were asked for with the same settings.") : null,
      across && found.score ? section(`${found.score} by ${across}`, plotted(found, across, apart, log !== "0")) : null,
      found.tries.length && names.length ? section("Tries, the best first", tries(found, names.filter((name) => name.split(".").at(-1) !== "seed"))) : null,
      failed(found),
      found.left_out ? h("p", { class: "soft" }, `Only the newest are shown; ${found.left_out.toLocaleString("en")} are left out.`) : null,
    ].filter(Boolean));
    if (focus) place.querySelector(`[data-name="${focus}"]`)?.focus();
  }

  return { title: "Sweeps", ready: load(), refresh: load };
}

function failed(found) {
  const rows = found.points.filter((point) => point.score === null && point.error);
  return rows.length ? section("Failed", table("Failed", ["Trial", "Settings", "Why"], rows.map((point) => [point.name, Object.entries(point.settings).map(([name, value]) => `${name} ${figure(value)}`).join(", "), point.error]))) : null;
}

/** One colour for each value of the second setting; the rest share the last. */
function plotted(found, across, apart, log) {
  const groups = new Map();
  for (const point of found.points) {
    const x = point.settings[across];
    if (typeof x !== "number" || point.score === null) continue;
    const name = apart ? `${apart} ${figure(point.settings[apart])}` : found.stage ?? found.score;
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push({ x, y: point.score, key: point.key ?? "", name: point.name });
  }
  const sorted = [...groups].sort(([one], [other]) => one.localeCompare(other, "en", { numeric: true }));
  return scatter({ groups: sorted.map(([name, points], n) => ({ name, colour: Math.min(n, 7), points })), xName: across, yName: found.score, logX: log });
}

const AGAINST = { best: "the best", unknown: "not known: one seed", same: "not shown to differ", worse: "worse" };

function tries(found, names) {
  const keys = found.tries.map((one) => one.keys[0]).filter(Boolean).slice(0, MOST_COMPARED);
  return [
    h("p", {}, h("a", { class: "button", href: comparison(keys), "aria-disabled": keys.length < 2 ? "true" : undefined }, `Compare the best ${keys.length}`)),
    table("Tries, the best first", ["Result", ...names, found.score, "Seeds", "Against the best"], found.tries.map((one) => [
      recordLink(one.keys[0], one.names[0]), ...names.map((name) => figure(one.settings[name] ?? null)),
      `${figure(one.mean)}${one.error === null ? "" : ` ± ${figure(2 * one.error)}`}`, String(one.keys.length),
      AGAINST[one.against]]), { right: [names.length + 1, names.length + 2] }),
  ];
}
