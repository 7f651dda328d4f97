// How much what takes, and what could go.

import { ask } from "./api.js";
import { h, recordLink, s, section, size, table } from "./dom.js";

export function storage({ view }) {
  const place = h("div", { class: "page" });
  view.replaceChildren(place);

  async function load() {
    const found = await ask("/api/storage");
    const most = Math.max(...found.stages.map(([, bytes]) => bytes), 1);
    place.replaceChildren(
      h("h1", { tabindex: -1 }, "Storage"),
      h("ul", { class: "boxes" }, [[size(found.bytes), "is kept"], [size(found.can_go), `of it nothing needs (${found.count.toLocaleString("en")} things)`], [size(found.trash), "lies in the trash for a day"]].map(([value, text]) => h("li", {}, h("b", {}, value), h("span", {}, text)))),
      parts(found),
      section("By stage", table("By stage", ["Stage", "Results", "Size", ""], found.stages.map(([stage, bytes, count]) => [stage, count.toLocaleString("en"), size(bytes), bar(bytes / most)]), { right: [1, 2] })),
      section("The largest", table("The largest", ["What", "Kind", "Size"], found.largest.map((row) => [recordLink(row.key, row.name), row.kind, size(row.bytes)]), { right: [2] })),
      section("What nothing needs", found.count
        ? [h("p", {}, "This page only reads. ", h("code", {}, "ayllu gc --yes"), " removes it, and ", h("code", {}, "ayllu restore"), ` has it back for a day. Unfinished work stays for ${found.days} days.`),
          found.items.length < found.count ? h("p", { class: "soft" }, `The largest ${found.items.length.toLocaleString("en")} of ${found.count.toLocaleString("en")}:`) : "",
          table("What nothing needs", ["What", "Size", "Why"], found.items.map((item) => [recordLink(item.key, item.name), size(item.bytes), item.why]), { right: [1] })]
        : h("p", { class: "empty" }, "Nothing: a channel, a release, a running job or a tag needs all that is there.")),
    );
  }

  return { title: "Storage", ready: load(), refresh: load };
}

function parts(found) {
  let x = 0;
  const total = found.bytes || 1;
  const kinds = found.kinds.filter(([, bytes]) => bytes);
  return h("figure", { class: "stack" },
    s("svg", { viewBox: "0 0 1000 18", preserveAspectRatio: "none", width: "100%", height: 18, role: "img", "aria-label": kinds.map(([kind, bytes]) => `${kind} ${size(bytes)}`).join(", ") },
      kinds.map(([, bytes], n) => {
        const width = (1000 * bytes) / total;
        const rect = s("rect", { class: `c${n % 8}`, x, y: 0, width: Math.max(width - 2, 1), height: 18 });
        x += width;
        return rect;
      })),
    h("figcaption", {}, kinds.map(([kind, bytes], n) => h("span", { class: `key c${n % 8}` }, h("i", {}), `${kind} `, h("b", {}, size(bytes))))));
}

const bar = (share) => h("span", { class: "bar", "aria-hidden": "true" }, h("i", { "width%": Math.max(share * 100, 0.5) }));
