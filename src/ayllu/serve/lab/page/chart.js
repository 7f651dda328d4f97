// Curves, drawn as SVG.

import { figure, h, s } from "./dom.js";

const WIDE = 88, HIGH = 22;

/** A small curve without axes; a screen reader is told its two ends. */
export function spark(points) {
  const low = Math.min(...points), high = Math.max(...points);
  const x = (n) => 2 + (n * (WIDE - 6)) / Math.max(points.length - 1, 1);
  const y = (value) => 3 + ((high - value) * (HIGH - 6)) / (high - low || 1);
  const path = points.map((value, n) => `${n ? "L" : "M"}${x(n).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const last = points.length - 1;
  return s("svg", { class: "spark", viewBox: `0 0 ${WIDE} ${HIGH}`, width: WIDE, height: HIGH, role: "img", "aria-label": `loss ${figure(points[0])} to ${figure(points[last])}` },
    s("path", { d: path }), s("circle", { cx: x(last).toFixed(1), cy: y(points[last]).toFixed(1), r: 2 }));
}

/** Round values across a range; on a logarithmic one powers of ten, or their halves where these are few. */
export function ticks(low, high, log, most = 6) {
  if (log) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
      for (const part of [1, 2, 5]) found.push(part * 10 ** power);
    const inside = found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
    const tens = inside.filter((value) => Math.abs(Math.log10(value) % 1) < 1e-9);
    return inside.length <= most + 2 ? inside : tens.length >= 2 ? tens.filter((_, n) => n % Math.ceil(tens.length / most) === 0) : inside.filter((_, n) => n % 2 === 0);
  }
  const rough = (high - low) / most || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((part) => part * unit).find((size) => size >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}

/** A moving mean in which each point weighs `weight` times the next. */
export function smooth(values, weight) {
  let sum = 0, total = 0;
  return values.map((value) => {
    sum = sum * weight + value;
    total = total * weight + 1;
    return sum / total;
  });
}

const LEFT = 52, RIGHT = 24, TOP = 12, BOTTOM = 40;

/**
 * Curves over each other. `lines` are { name, colour (0 to 7), dash, x, y }, x growing; a pointer or the arrow keys
 * read them off.
 */
export function chart({ lines, xName, yName, logX = false, logY = false, label, height = 320 }) {
  const drawn = lines.map((line) => {
    const good = line.x.map((x, n) => [x, line.y[n]]).filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y) && (!logX || x > 0) && (!logY || y > 0));
    return { ...line, points: good };
  }).filter((line) => line.points.length);
  const readout = h("p", { class: "readout", "aria-live": "polite" });
  const place = h("div", { class: "plot" });
  const figureOf = h("figure", { class: "chart" }, place, readout, h("figcaption", {}, drawn.map((line) =>
    h("span", { class: `key c${line.colour % 8}` }, s("svg", { width: 22, height: 8, "aria-hidden": "true" }, s("path", { d: "M0 4H22", class: "line", "stroke-dasharray": line.dash ?? "" })), line.name))));
  if (!drawn.length) {
    place.append(h("p", { class: "empty" }, "No curve has this axis."));
    return figureOf;
  }
  const all = drawn.flatMap((line) => line.points);
  const range = (n, log) => {
    let low = Infinity, high = -Infinity;
    for (const point of all) { low = Math.min(low, point[n]); high = Math.max(high, point[n]); }
    if (low === high) { low -= Math.abs(low) / 10 || 1; high += Math.abs(high) / 10 || 1; }
    const room = log ? 0 : (high - low) * 0.03;
    return n ? [low - room, high + room] : [low, high];
  };
  const [x0, x1] = range(0, logX), [y0, y1] = range(1, logY);
  const unit = (value, low, high, log) => (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low));
  let width = 0, at = null, draw;

  function plot() {
    width = Math.max(place.clientWidth, 240);
    const x = (value) => LEFT + unit(value, x0, x1, logX) * (width - LEFT - RIGHT);
    const y = (value) => TOP + (1 - unit(value, y0, y1, logY)) * (height - TOP - BOTTOM);
    const cross = s("line", { class: "cross", y1: TOP, y2: height - BOTTOM, visibility: "hidden" });
    const dots = drawn.map((line) => s("circle", { class: `dot c${line.colour % 8}`, r: 3.5, visibility: "hidden" }));
    const ends = drawn.map((line) => `${line.name} from ${figure(line.points[0][1])} to ${figure(line.points.at(-1)[1])}`).join("; ");
    const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", tabindex: 0, "aria-label": `${label}: ${ends}. Arrow keys read off values.` },
      ticks(y0, y1, logY, 5).map((value) => [s("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
        s("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, figure(value))]),
      ticks(x0, x1, logX, width < 500 ? 4 : 7).map((value) => s("text", { x: x(value), y: height - BOTTOM + 17, "text-anchor": "middle" }, figure(value))),
      s("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: height - BOTTOM, y2: height - BOTTOM }),
      s("text", { class: "name", x: width - RIGHT, y: height - 5, "text-anchor": "end" }, xName),
      s("text", { class: "name", x: LEFT, y: height - 5 }, `↑ ${yName}`),
      drawn.map((line) => s("path", { class: `line c${line.colour % 8}`, "stroke-dasharray": line.dash ?? "",
        d: line.points.map(([px, py], n) => `${n ? "L" : "M"}${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join("") })),
      cross, dots);
    draw = (share) => {
      at = Math.min(Math.max(share, 0), 1);
      const value = logX ? x0 * (x1 / x0) ** at : x0 + at * (x1 - x0);
      cross.setAttribute("x1", x(value)); cross.setAttribute("x2", x(value));
      cross.setAttribute("visibility", "visible");
      const told = drawn.map((line, n) => {
        const near = nearest(line.points, value);
        const inside = value >= line.points[0][0] - (x1 - x0) / 50 && value <= line.points.at(-1)[0] + (x1 - x0) / 50;
        dots[n].setAttribute("visibility", inside ? "visible" : "hidden");
        dots[n].setAttribute("cx", x(near[0])); dots[n].setAttribute("cy", y(near[1]));
        return inside ? h("span", { class: `key c${line.colour % 8}` }, h("i", {}), drawn.length > 1 ? `${line.name} ` : "", h("b", {}, figure(near[1]))) : null;
      });
      readout.replaceChildren(h("span", {}, `${xName} ${figure(logX || xName !== "step" ? value : Math.round(value))}`), ...told.filter(Boolean));
    };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      draw((event.clientX - box.left - LEFT) / (width - LEFT - RIGHT));
    });
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      draw((at ?? 0.5) + step);
    });
    const had = place.contains(document.activeElement);
    place.replaceChildren(svg);
    if (had) svg.focus();
    if (at !== null) draw(at);
  }

  new ResizeObserver(() => { if (Math.max(place.clientWidth, 240) !== width) plot(); }).observe(place);
  return figureOf;
}

function nearest(points, value) {
  let low = 0, high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][0] < value) low = middle; else high = middle;
  }
  return value - points[low][0] < points[high][0] - value ? points[low] : points[high];
}

/** Points, each of which opens its record; `groups` are { name, colour, points: { x, y, key, name } }. */
export function scatter({ groups, xName, yName, logX, height = 300 }) {
  const width = 900, all = groups.flatMap((group) => group.points);
  const log = logX && all.every((point) => point.x > 0);
  const ends = (values) => {
    const low = Math.min(...values), high = Math.max(...values);
    return low === high ? [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2] : [low, high];
  };
  const [x0, x1] = ends(all.map((point) => point.x)), [y0, y1] = ends(all.map((point) => point.y));
  const share = (value) => (log ? Math.log(value / x0) / Math.log(x1 / x0) : (value - x0) / (x1 - x0));
  const x = (value) => LEFT + 14 + share(value) * (width - LEFT - RIGHT - 28);
  const y = (value) => TOP + 10 + ((y1 - value) / (y1 - y0)) * (height - TOP - BOTTOM - 20);
  return h("figure", { class: "chart" },
    h("div", { class: "scroll plain", tabindex: 0, role: "region", "aria-label": `${yName} by ${xName}` },
      s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": `${all.length} results` },
        ticks(y0, y1, false, 5).map((value) => [s("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }), s("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, figure(value))]),
        ticks(x0, x1, log).map((value) => s("text", { x: x(value), y: height - BOTTOM + 17, "text-anchor": "middle" }, figure(value))),
        s("line", { class: "axis", x1: LEFT, x2: width - RIGHT, y1: height - BOTTOM, y2: height - BOTTOM }),
        s("text", { class: "name", x: width - RIGHT, y: height - 5, "text-anchor": "end" }, xName),
        s("text", { class: "name", x: LEFT, y: height - 5 }, `↑ ${yName}`),
        groups.map((group) => group.points.map((point) => s(point.key ? "a" : "g", { href: point.key ? `/record/${point.key.slice(0, 16)}` : undefined, role: point.key ? undefined : "img", "aria-label": `${point.name}, ${group.name}: ${xName} ${figure(point.x)}, ${yName} ${figure(point.y)}`, class: `c${group.colour % 8}` },
          s("title", {}, `${point.name}: ${figure(point.x)}, ${figure(point.y)}`), s("circle", { class: "dot point", cx: x(point.x), cy: y(point.y), r: 5 })))))),
    h("figcaption", {}, groups.map((group) => h("span", { class: `key c${group.colour % 8}` }, h("i", {}), group.name))));
}

const AXES = { step: "step", token: "tokens", flop: "FLOPs", second: "seconds" };
const DASHES = ["", "6 4", "2 3", "9 3 2 3"];

/** Losses of several sides (as /api/curves gives them), by an axis of choice; `change` keeps a choice in the address. */
export function losses(found, asked, change) {
  const lines = found.sides.flatMap((side, n) => side.curves.map((curve, m) => ({ side, curve, colour: n, dash: DASHES[m % DASHES.length] })));
  const known = Object.keys(AXES).filter((axis) => lines.some(({ curve }) => curve[axis]));
  const by = known.includes(asked.by) ? asked.by : "step";
  const weight = Math.min(Math.max(Number(asked.smooth) || 0, 0), 0.99);
  const several = found.sides.length > 1;
  const draw = () => chart({
    lines: lines.filter(({ curve }) => curve[by]).map(({ side, curve, colour, dash }) => ({
      name: several ? `${side.name} (${curve.stage})` : curve.stage,
      colour: several ? colour : DASHES.indexOf(dash), dash: several ? dash : "", x: curve[by], y: smooth(curve.loss, weight),
    })),
    xName: AXES[by], yName: "loss (nats per token)", logX: asked.log === "1", label: "Loss", height: 340,
  });
  return h("div", { class: "curves" },
    h("div", { class: "tools" },
      h("label", {}, "By ", h("select", { onchange: (event) => change({ by: event.target.value }) }, known.map((axis) => h("option", { value: axis, selected: axis === by }, AXES[axis])))),
      h("label", { class: "check" }, h("input", { type: "checkbox", checked: asked.log === "1", onchange: (event) => change({ log: event.target.checked ? "1" : "" }) }), "logarithmic"),
      h("label", {}, "Smoothing ", h("input", { type: "range", min: 0, max: 0.98, step: 0.02, value: weight, onchange: (event) => change({ smooth: event.target.value === "0" ? "" : event.target.value }) }))),
    draw());
}
