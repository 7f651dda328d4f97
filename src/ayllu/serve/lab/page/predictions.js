// What was expected beside what came.

import { ask } from "./api.js";
import { figure, h, recordLink, s, section, table, when } from "./dom.js";

export function predictions({ view }) {
  const place = h("div", { class: "page" });
  view.replaceChildren(place);

  async function load() {
    const found = await ask("/api/predictions");
    place.replaceChildren(...[
      h("h1", { tabindex: -1 }, "Predictions"),
      h("p", { class: "soft" }, "Written down before the run that each is about, with an interval that should hold what comes four times in five."),
      found.unreadable ? h("p", {}, `Left out, for they cannot be read: ${found.unreadable.toLocaleString("en")} of the lines of forecasts.jsonl.`) : null,
      found.all ? null : h("p", { class: "empty" }, "Nothing was forecast yet: recipes write down what they expect before they run."),
      found.all ? summary(found) : null,
      found.kinds.length ? section("By kind", table("By kind", ["By", "What", "Came", "Multiply by", "Inside", "95 % of that share"], found.kinds.map((kind) => [
        kind.by, kind.what, String(kind.measured), figure(kind.factor), kind.n ? `${Math.round(kind.coverage_pct)} % of ${kind.n}` : null, kind.n ? `${Math.round(kind.coverage_low)} to ${Math.round(kind.coverage_high)} %` : null]), { right: [2, 3, 4, 5] })) : null,
      ratios(found.forecasts),
      found.forecasts.length ? section(`Forecasts: the newest ${found.forecasts.length.toLocaleString("en")} of ${found.all.toLocaleString("en")}`, table("Forecasts", ["Id", "By", "What", "Expected", "80 % interval", "Came", "Inside", "Of", "Age"], found.forecasts.map((one) => [
        h("code", {}, one.id), one.by, one.what, figure(one.value), one.low === null ? null : `${figure(one.low)} to ${figure(one.high)}`, figure(one.measured),
        { true: "yes", false: "no" }[one.inside] ?? null, one.of ? recordLink(one.of.key, one.of.name) : null, when(one.at)]), { right: [3, 4, 5] })) : null,
    ].filter(Boolean));
  }

  return { title: "Predictions", ready: load(), refresh: load };
}

function summary(found) {
  const boxes = [
    [found.n ? `${Math.round(found.coverage_pct)} %` : "–", found.n ? `of ${found.n} intervals held; ${found.level_pct} % is right` : "no interval was put to the test yet"],
    [found.n ? `${Math.round(found.coverage_low)}–${Math.round(found.coverage_high)} %` : "–", "95 % interval of that share"],
    [String(found.open), "still open"],
    [String(found.without_interval), "came without an interval"],
  ];
  return h("ul", { class: "boxes" }, boxes.map(([value, text]) => h("li", {}, h("b", {}, value), h("span", {}, text))));
}

/** Measured over expected, one column a forecast, with its interval: what lies on the line came as it was expected. */
function ratios(forecasts) {
  const came = forecasts.filter((one) => one.ratio && one.low > 0).slice(0, 120).reverse();
  if (came.length < 2) return null;
  const high = 250, left = 46, step = Math.max(Math.min(900 / came.length, 26), 8), width = left + step * came.length + 10;
  const most = Math.max(...came.flatMap((one) => [one.ratio, 1 / one.ratio, one.high / one.value, one.value / one.low]), 1.25);
  const top = Math.min(most * 1.1, 20);
  const y = (ratio) => high / 2 - (Math.log(Math.min(Math.max(ratio, 1 / top), top)) / Math.log(top)) * (high / 2 - 12);
  const marks = [0.1, 0.2, 0.5, 0.8, 1, 1.25, 2, 5, 10].filter((mark) => mark >= 1 / top && mark <= top);
  return section("Measured over expected", h("p", { class: "soft" }, "The oldest on the left; bars are the intervals, dots what came."),
    h("div", { class: "scroll plain", tabindex: 0, role: "region", "aria-label": "Measured over expected" },
      s("svg", { class: "ratios", viewBox: `0 0 ${width} ${high}`, width, height: high, role: "img", "aria-label": `Of ${came.length} forecasts with an interval, ${came.filter((one) => one.inside).length} held what came` },
        marks.map((mark) => [s("line", { class: mark === 1 ? "axis" : "grid", x1: left, x2: width, y1: y(mark), y2: y(mark) }), s("text", { x: left - 8, y: y(mark) + 4, "text-anchor": "end" }, `${mark} ×`)]),
        came.map((one, n) => {
          const x = left + step * (n + 0.5);
          return s("g", { class: one.inside ? "held" : "missed" }, s("title", {}, `${one.by} ${one.what}: expected ${figure(one.value)}, came ${figure(one.measured)}`),
            s("line", { x1: x, x2: x, y1: y(one.high / one.value), y2: y(one.low / one.value) }),
            one.inside ? s("circle", { cx: x, cy: y(one.ratio), r: 3.5 }) : s("path", { d: `M${x - 4} ${y(one.ratio) - 4}l8 8m0 -8l-8 8` }));
        }))),
    h("p", { class: "soft" }, "● inside the interval   ✕ outside it"));
}
