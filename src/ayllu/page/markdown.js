// Markdown as elements: the library parses, and what it found becomes elements and text nodes here, never HTML.

import MarkdownIt from "./markdown-it.js";

const parser = new MarkdownIt({ html: false, linkify: true });
parser.linkify.set({ fuzzyLink: false, fuzzyEmail: false }); // a file's name is no address
const SAFE = /^(https?|mailto):/i;

/** An element with a class, properties and children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/**
 * Shows `text` in `place`, and touches only the blocks that changed since the last time. `spell` turns words that are no
 * code and no link into nodes.
 */
export function show(place, text, spell = (words) => [words]) {
  const wanted = blocks(text);
  const old = place.shownBlocks ?? [];
  let same = 0;
  while (same < old.length && same < wanted.length && old[same].html === wanted[same].html) same++;
  while (place.childNodes.length > same) place.lastChild.remove();
  for (const { tokens } of wanted.slice(same)) build(tokens, place, spell);
  place.shownBlocks = wanted;
}

/** The outermost blocks of a text: the tokens of each, and as HTML, which serves to tell whether it has changed. */
function blocks(text) {
  const found = [];
  let begun = 0;
  const tokens = parser.parse(text, {});
  tokens.forEach((token, index) => {
    if (token.level !== 0 || token.nesting === 1) return;
    const own = tokens.slice(begun, index + 1);
    found.push({ tokens: own, html: parser.renderer.render(own, parser.options, {}) });
    begun = index + 1;
  });
  return found;
}

function build(tokens, place, spell) {
  const open = [place];
  for (const token of tokens) {
    const top = open.at(-1);
    if (token.type === "inline") build(token.children, top, spell);
    else if (token.type === "text" && !top.closest("a")) top.append(...spell(token.content));
    else if (token.nesting === 0) top.append(leaf(token));
    else if (token.nesting === -1) open.pop();
    else {
      const made = container(token);
      if (made) top.append(token.type === "table_open" ? element("div", { className: "table" }, made) : made);
      open.push(made ?? top);
    }
  }
}

/** The element that a token opens; none where its children belong into the element around it. */
function container(token) {
  if (token.hidden) return null; // the paragraphs of a list without blank lines
  // A message has a heading of level 2 already: who speaks.
  if (token.type === "heading_open") return element(`h${Math.min(Number(token.tag[1]) + 2, 6)}`);
  if (token.type === "link_open") return SAFE.test(token.attrGet("href")) ? link(token.attrGet("href")) : null;
  const made = element(token.tag);
  if (token.attrGet("start")) made.start = Number(token.attrGet("start"));
  const align = token.attrGet("style")?.match(/^text-align:(left|center|right)$/);
  if (align) made.style.textAlign = align[1];
  return made;
}

function leaf(token) {
  switch (token.type) {
    case "softbreak": return "\n";
    case "hardbreak": return element("br");
    case "hr": return element("hr");
    case "code_inline": return element("code", {}, token.content);
    case "fence":
    case "code_block": {
      const language = token.info.trim().split(/\s+/)[0];
      return element("pre", { tabIndex: 0 }, element("code", { title: language }, token.content.replace(/\n$/, "")));
    }
    // A picture would tell its server who reads this: it is a link.
    case "image": return SAFE.test(token.attrGet("src")) ? link(token.attrGet("src"), token.content || token.attrGet("src")) : token.content;
    default: return token.content;
  }
}

function link(address, ...words) {
  return element("a", { href: address, rel: "noopener noreferrer nofollow", target: "_blank" }, ...words);
}
