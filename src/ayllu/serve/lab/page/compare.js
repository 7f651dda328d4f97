// Why results differ: curves over each other, scores in pairs, and what is not the same behind them.

import { ask, chosen, Refusal } from "./api.js";
import { losses } from "./chart.js";
import { clock, figure, h, recordLink, s, section, size, stateMark, table } from "./dom.js";

export function compare({ view }) {
  const place = h("div", { class: "page" });
  view.replaceChildren(place);
  const mine = { title: "Compare", ready: load(), refresh: load, again: () => (mine.live ? load({ curvesOnly: true }) : undefined) };
  let told = null;

  async function load({ curvesOnly = false } = {}) {
    const asked = Object.fromEntries(new URLSearchParams(location.search));
    const keys = (asked.of ?? "").split(",").filter(Boolean);
    if (keys.length < 2) return nothing();
    const curves = await ask("/api/curves", { of: keys.join(",") });
    mine.live = curves.live;
    if (!told || !curvesOnly) told = await whole(keys);
    draw(asked, keys, curves, told);
  }

  function nothing() {
    place.replaceChildren(h("h1", { tabindex: -1 }, "Compare"), h("p", { class: "empty" }, "Choose two or more rows of the table, then compare them here: ", h("a", { href: "/" }, "to the table"), "."));
  }

  function change(parts) {
    const asked = Object.fromEntries(Object.entries({ ...Object.fromEntries(new URLSearchParams(location.search)), ...parts }).filter(([, value]) => value));
    history.replaceState(null, "", `/compare?${Object.entries(asked).map(([name, value]) => `${name}=${value}`).join("&")}`);
    load({ curvesOnly: !("of" in parts) });
  }

  function draw(asked, keys, curves, found) {
    const names = curves.sides.map((side) => side.name);
    const index = place.contains(document.activeElement) ? [...place.querySelectorAll("select, input, button, a")].indexOf(document.activeElement) : -1;
    const sides = h("ol", { class: "sides" }, curves.sides.map((side, n) => h("li", { class: `side c${n % 8}` },
      h("i", { "aria-hidden": "true" }), recordLink(side.key, side.name), h("code", {}, side.key.slice(0, 8)), side.state === "finished" ? null : stateMark(side.state),
      n ? h("button", { type: "button", class: "small", onclick: () => change({ of: [keys[n], ...keys.filter((_, m) => m !== n)].join(",") }), "aria-label": `Compare the others with ${side.name}` }, "as the first") : h("span", { class: "soft" }, "the others are compared with it"),
      keys.length > 2 ? h("button", { type: "button", class: "small", "aria-label": `Leave out ${side.name}`, onclick: () => { if (chosen.has(side.key)) chosen.toggle(side.key, side.name); change({ of: keys.filter((_, m) => m !== n).join(",") }); } }, "✕") : null)));
    place.replaceChildren(...[
      h("h1", { tabindex: -1 }, "Compare"), sides,
      curves.sides.some((side) => side.curves.length) ? section("Loss", losses(curves, asked, change)) : null,
      ...(found.error ? [h("p", { class: "trouble" }, `${found.error}.`)] : parts(names, found)),
    ].filter(Boolean));
    if (index >= 0) place.querySelectorAll("select, input, button, a")[index]?.focus({ preventScroll: true });
  }

  return mine;
}

async function whole(keys) {
  try {
    return await ask("/api/compare", { of: keys.join(",") });
  } catch (error) {
    if (error instanceof Refusal) return { error: error.message };
    throw error;
  }
}

function parts(names, found) {
  const values = (rows, label) => rows.map((row) => [label(row), ...row.values.map(cell)]);
  const blocks = [
    ["Settings", names, values(found.settings, (row) => [h("span", { class: "soft" }, `${row.stage} `), row.name || "is there"])],
    ["Data", names, found.data.map((row) => [[h("span", { class: "soft" }, `${row.stage} `), row.why], ...row.digests.map((digest) => h("code", {}, digest.slice(0, 12)))])],
    ["Code", ["of", "functions and libraries"], found.code.map((row) => [row.stage, row.of, [...row.libraries, ...row.parts].map((name) => name.replace(/^ayllu\./, "")).join(", ")])],
    ["Machine", names, values(found.machine, (row) => row.name)],
    ["Measured", names, values(found.measured, (row) => [h("span", { class: "soft" }, `${row.stage} `), row.name])],
  ];
  const same = blocks.filter(([title, , rows]) => !rows.length && title !== "Measured").map(([title]) => title.toLowerCase());
  return [
    scores(names, found.scores),
    ...blocks.filter(([, , rows]) => rows.length).map(([title, head, rows]) => section(title, table(title, ["", ...head], rows))),
    same.length ? h("p", { class: "soft" }, `The same on all sides: ${same.join(", ")}.`) : null,
    section("Cost", table("Cost", ["", "Time", "FLOPs", "Tokens", "Steps", "Size"], found.cost.map((row) => [row.of, clock(row.seconds), figure(row.flops), figure(row.tokens), figure(row.steps), size(row.bytes)]), { right: [1, 2, 3, 4, 5] })),
  ];
}

const cell = (value) => {
  const text = figure(value);
  return text.length > 80 ? h("details", {}, h("summary", {}, `${text.slice(0, 60)} …`), text) : text;
};

function scores(names, rows) {
  if (!rows.length) return section("Scores", h("p", { class: "soft" }, "No score was measured on both by one stage, so none is compared."));
  const widest = Math.max(...rows.map((row) => Math.max(Math.abs(row.low ?? row.difference), Math.abs(row.high ?? row.difference)))) || 1;
  return section("Scores", table("Scores", ["Score (items)", "Of", names[0], "It", "Difference (95 %)", "Interval", "Better"], rows.map((row) => [
    `${row.score} (${row.items.toLocaleString("en")})`, row.of, figure(row.first), figure(row.second),
    `${signed(row.difference)}${row.low === null ? "" : ` (${signed(row.low)} to ${signed(row.high)})`}`,
    row.low === null ? null : whisker(row, widest),
    { first: names[0], second: row.of }[row.better] ?? h("span", { class: "soft" }, "not shown"),
  ]), { right: [2, 3, 4] }));
}

const signed = (value) => (value > 0 ? "+" : "") + figure(value);

function whisker(row, widest) {
  const x = (value) => 60 + (value / widest) * 56;
  return s("svg", { class: `whisker${row.better ? " shown" : ""}`, viewBox: "0 0 120 16", width: 120, height: 16, "aria-hidden": "true" },
    s("line", { class: "zero", x1: 60, x2: 60, y1: 0, y2: 16 }), s("line", { x1: x(row.low), x2: x(row.high), y1: 8, y2: 8 }), s("circle", { cx: x(row.difference), cy: 8, r: 3.5 }));
}
