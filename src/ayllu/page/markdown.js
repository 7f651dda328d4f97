// A small, safe part of Markdown: text goes into the page as text nodes only, never as HTML.

const FENCE = /^\s*```\s*([\w+#.-]*)\s*$/;
const HEADING = /^(#{1,6})\s+(.+?)\s*#*$/;
const BULLET = /^\s*[-*+]\s+(.*)$/;
const NUMBER = /^\s*(\d{1,6})[.)]\s+(.*)$/;
const QUOTE = /^\s*>\s?(.*)$/;
const RULE = /^\s*([-*_])(\s*\1){2,}\s*$/;
const ROW = /^\s*\|(.*)\|\s*$/;
const INLINE = /(`+)([^`]|[^`][\s\S]{0,2000}?[^`])\1(?!`)|\*\*(?=\S)([\s\S]{0,2000}?\S)\*\*|\*(?=[^\s*])([^*]{0,2000}[^\s*])\*|\[([^\]\n]+)\]\((https?:\/\/[^\s()<>]+)\)/g;

/** An element with a class, properties and children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Cuts text into blocks: while an answer grows, only its last block changes. */
export function blocks(text) {
  const found = [];
  let lines = [];
  let kind = "";
  const end = () => {
    if (lines.length) found.push({ kind, source: lines.join("\n") });
    lines = [];
    kind = "";
  };
  for (const line of text.split("\n")) {
    if (kind === "code") {
      if (/^\s*```\s*$/.test(line)) end();
      else lines.push(line);
      continue;
    }
    const now = kindOf(line, kind);
    if (now !== kind || now === "heading" || now === "rule") end();
    if (now) lines.push(line);
    kind = now;
  }
  end();
  return found;
}

function kindOf(line, before) {
  if (FENCE.test(line)) return "code";
  if (!line.trim()) return "";
  if (HEADING.test(line)) return "heading";
  if (RULE.test(line)) return "rule";
  if (BULLET.test(line)) return "bullets";
  if (NUMBER.test(line)) return "numbers";
  if (QUOTE.test(line)) return "quote";
  if (ROW.test(line)) return "table";
  // A line that goes on with a list item belongs to it.
  return (before === "bullets" || before === "numbers") && /^\s{2,}\S/.test(line) ? before : "text";
}

/** The element of one block. */
export function render({ kind, source }) {
  return RENDER[kind](source.split("\n"));
}

const RENDER = {
  text: (lines) => element("p", {}, ...inline(lines.join("\n"))),
  rule: () => element("hr"),
  quote: (lines) => element("blockquote", {}, ...inline(lines.map((line) => line.match(QUOTE)[1]).join("\n"))),
  heading([line]) {
    const [, marks, words] = line.match(HEADING);
    // A message has a heading of level 2 already: who speaks.
    return element(`h${Math.min(marks.length + 2, 6)}`, {}, ...inline(words));
  },
  bullets: (lines) => element("ul", {}, ...items(lines, BULLET)),
  numbers: (lines) => element("ol", { start: Number(lines[0].match(NUMBER)[1]) }, ...items(lines, NUMBER)),
  code([first, ...lines]) {
    const language = first.match(FENCE)[1];
    return element("pre", { tabIndex: 0 }, element("code", { title: language }, lines.join("\n")));
  },
  table(lines) {
    const rows = lines.map((line) => line.match(ROW)[1].split("|").map((cell) => cell.trim()));
    const headed = rows.length > 1 && rows[1].every((cell) => /^:?-+:?$/.test(cell));
    const row = (cells, name) => element("tr", {}, ...cells.map((cell) => element(name, {}, ...inline(cell))));
    const body = (headed ? rows.slice(2) : rows).map((cells) => row(cells, "td"));
    const head = headed ? [element("thead", {}, row(rows[0], "th"))] : [];
    return element("div", { className: "table" }, element("table", {}, ...head, element("tbody", {}, ...body)));
  },
};

function items(lines, pattern) {
  const texts = [];
  for (const line of lines) {
    const match = line.match(pattern);
    if (match) texts.push(match.at(-1));
    else texts.push(`${texts.pop() ?? ""}\n${line.trim()}`);
  }
  return texts.map((text) => element("li", {}, ...inline(text)));
}

function inline(text) {
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, , code, strong, emphasis, label, address] = match;
    if (match.index > at) nodes.push(text.slice(at, match.index));
    if (code !== undefined) nodes.push(element("code", {}, code.trim()));
    else if (strong !== undefined) nodes.push(element("strong", {}, ...inline(strong)));
    else if (emphasis !== undefined) nodes.push(element("em", {}, ...inline(emphasis)));
    else nodes.push(element("a", { href: address, rel: "noopener noreferrer nofollow", target: "_blank" }, label));
    at = match.index + whole.length;
  }
  if (at < text.length) nodes.push(text.slice(at));
  return nodes;
}

/** Shows `text` in `place`, and touches only the blocks that changed since the last time. */
export function show(place, text) {
  const wanted = blocks(text);
  const old = place.shownBlocks ?? [];
  let same = 0;
  while (same < old.length && same < wanted.length && old[same].source === wanted[same].source && old[same].kind === wanted[same].kind) same++;
  while (place.childNodes.length > same) place.lastChild.remove();
  place.append(...wanted.slice(same).map(render));
  place.shownBlocks = wanted;
}
