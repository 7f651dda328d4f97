// Which tools the user has allowed for good, in this browser, and where that does not count.

const KEPT = "ayllu.allowed";
let unkept = null; // for this page, where the browser keeps nothing

function read() {
  try {
    const stored = unkept ?? JSON.parse(localStorage.getItem(KEPT));
    return stored !== null && typeof stored === "object" ? stored : {};
  } catch {
    return unkept ?? {};
  }
}

function write(book) {
  try {
    localStorage.setItem(KEPT, JSON.stringify(book));
    unkept = null;
  } catch {
    unkept = book;
  }
}

const place = ({ server_label, name }) => `${server_label} · ${name}`;

/** A tool as its server has described it last. */
function described({ server_label, name }, items) {
  const lists = items.filter((item) => item.type === "mcp_list_tools" && item.server_label === server_label);
  return lists.at(-1)?.tools.find((tool) => tool?.name === name) ?? null;
}

/** Where text came from that others may have written and that the model has read; what a tool itself gave is no reason. */
export function others(request, items) {
  const found = items.flatMap((item) => {
    if (item.type === "file_search_call" && item.results.length) return ["your files"];
    return item.type === "mcp_call" && (item.output || item.error) && place(item) !== place(request) ? [place(item)] : [];
  });
  return [...new Set(found)];
}

/** Whether the server says of a tool that it only reads. */
export function reads(request, items) {
  return described(request, items)?.annotations?.readOnlyHint === true;
}

/**
 * Whether a call needs no question: its tool was allowed for good, is described as it was then, and either only reads or
 * nothing that others may have written is in the chat, since that may be what makes the model call it.
 */
export function allows(request, items) {
  const tool = described(request, items);
  if (!tool || !lastingly(request, items)) return false;
  const kept = read()[place(request)];
  return typeof kept === "string" && kept === JSON.stringify(tool);
}

/** Whether a permission for good would count now. */
export function lastingly(request, items) {
  return described(request, items) !== null && (reads(request, items) || !others(request, items).length);
}

export function allow(request, items) {
  write({ ...read(), [place(request)]: JSON.stringify(described(request, items)) });
}

/** What was allowed for good, as the user reads it. */
export function allowed() {
  return Object.keys(read()).sort();
}

export function revoke(name) {
  const { [name]: gone, ...rest } = read();
  write(rest);
}
