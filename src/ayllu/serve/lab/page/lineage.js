// What a result was made from and what was made from it, from the sources down to the release.

import { ask } from "./api.js";
import { h, recordLink, s, score, scoreName, stateMark, table } from "./dom.js";

const WIDE = 158, HIGH = 50, ACROSS = 22, DOWN = 44, EDGE = 16;
const STOP = 4; // how wide an edge is that passes a layer

export function lineage({ view, key }) {
  const place = h("div", { class: "page" });
  view.replaceChildren(place);

  async function load() {
    const found = await ask(`/api/lineage/${key}`);
    document.title = `Lineage of ${found.of.name} · Ayllu lab`;
    const left = place.querySelector(".graph")?.scrollLeft;
    place.replaceChildren(
      h("div", { class: "head" }, h("div", {}, h("h1", { tabindex: -1 }, `Lineage of ${found.of.name}`), h("p", { class: "soft" }, `${found.nodes.length} results, ${found.edges.length} uses; each opens its record`)),
        h("div", { class: "actions" }, h("a", { class: "button", href: `/record/${key}` }, "Record"))),
      found.left_out ? h("p", { class: "soft" }, `${found.left_out.toLocaleString("en")} more that were made from it are left out.`) : "",
      graph(found),
      h("details", { class: "fold" }, h("summary", {}, "As a list"), table("Lineage", ["Result", "Stage", "State", "Made from"], found.nodes.toSorted((a, b) => a.layer - b.layer || a.place - b.place).map((node) => [
        recordLink(node.key, node.name), node.stage, stateMark(node.state),
        found.edges.filter(([, to]) => to === node.key).map(([from, , role]) => `${role}: ${found.nodes.find((other) => other.key === from)?.name}`).join(", ") || "nothing that is kept"])))
    );
    const box = place.querySelector(".graph");
    const it = found.nodes.find((node) => node.side === "it") ?? found.nodes[0];
    box.scrollLeft = left ?? places(found).at(it.layer, it.place) - box.clientWidth / 2;
  }

  return { title: "Lineage", ready: load(), refresh: load };
}

/** The middle of every place of every layer, and how wide all of it is. */
function places(found) {
  const layers = [];
  const put = (layer, place, wide) => { (layers[layer] ??= [])[place] = wide; };
  const layerOf = new Map(found.nodes.map((node) => [node.key, node.layer]));
  for (const node of found.nodes) put(node.layer, node.place, WIDE);
  for (const [from, , , stops] of found.edges) stops.forEach((place, n) => put(layerOf.get(from) + n + 1, place, STOP));
  const widths = layers.map((row) => row.reduce((sum, wide) => sum + wide + ACROSS, -ACROSS));
  const width = Math.max(...widths) + 2 * EDGE;
  const middles = layers.map((row, layer) => {
    let x = (width - widths[layer]) / 2;
    return row.map((wide) => { const middle = x + wide / 2; x += wide + ACROSS; return middle; });
  });
  return { width, count: layers.length, at: (layer, place) => middles[layer][place] };
}

const top = (layer) => EDGE + layer * (HIGH + DOWN);
const curve = (x0, y0, x1, y1) => `C${x0} ${(y0 + y1) / 2} ${x1} ${(y0 + y1) / 2} ${x1} ${y1}`;

function graph(found) {
  const { width, count, at } = places(found);
  const height = count * (HIGH + DOWN) - DOWN + 2 * EDGE;
  const nodeOf = new Map(found.nodes.map((node) => [node.key, node]));
  const lines = found.edges.map(([from, to, role, stops]) => {
    const source = nodeOf.get(from), target = nodeOf.get(to);
    let x = at(source.layer, source.place), y = top(source.layer) + HIGH, path = `M${x} ${y}`;
    stops.forEach((place, n) => {
      const layer = source.layer + n + 1, next = at(layer, place);
      path += `${curve(x, y, next, top(layer))}V${top(layer) + HIGH}`;
      [x, y] = [next, top(layer) + HIGH];
    });
    path += curve(x, y, at(target.layer, target.place), top(target.layer));
    return s("path", { class: "edge", "data-from": from, "data-to": to, d: path }, s("title", {}, role));
  });
  const nodes = found.nodes.map((node) => {
    const [x, y] = [at(node.layer, node.place) - WIDE / 2, top(node.layer)];
    const second = node.score ? `${score(node.score)} ${scoreName(node.score)}` : node.stage === node.name.replace(/-[0-9a-f]{8}$/, "") ? node.kind : node.stage;
    const name = node.name.replace(/-[0-9a-f]{8}$/, "");
    const content = [
      s("title", {}, `${node.name} · ${node.stage} · ${node.state}`),
      s("rect", { width: WIDE, height: HIGH, rx: 9 }),
      s("text", { x: 12, y: 21, class: "node-name" }, cut(name, 19)),
      s("text", { x: 12, y: 38, class: "node-more" }, cut(node.state === "finished" ? second : `${node.state} · ${second}`, 23)),
    ];
    const link = s("a", { href: `/record/${(node.key ?? "").slice(0, 16)}`, class: `node ${node.kind} ${node.side} ${node.state}`, transform: `translate(${x} ${y})`, "aria-label": `${node.name}, ${node.kind}, ${node.state}` }, content);
    for (const [event, on] of [["pointerenter", true], ["focus", true], ["pointerleave", false], ["blur", false]])
      link.addEventListener(event, () => { for (const line of lines) line.classList.toggle("near", on && [line.dataset.from, line.dataset.to].includes(node.key)); });
    return link;
  });
  return h("div", { class: "graph", tabindex: 0, role: "region", "aria-label": "Graph of the lineage" }, s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "From sources at the top to what was made of them" }, lines, nodes));
}

const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
