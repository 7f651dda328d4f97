// What an answer with tools consists of: items of the Responses API, as they are kept in this browser and sent back.

const PNG = "data:image/png;base64,";
const LARGEST = 400_000; // characters of a picture that is kept: a browser keeps five million of everything together
const LOST = "the connection ended while this ran: it is not known whether it was done";

const text = (value) => (typeof value === "string" ? value : "");
const list = (value) => (Array.isArray(value) ? value : []);
const object = (value) => (value !== null && typeof value === "object" ? value : {});
const json = (value) => JSON.parse(JSON.stringify(value ?? null));

// By type, what is taken of an item, whether it came from the server or was stored; anything may have been stored.
const READ = {
  message: (item) => ({ text: text(item.text), files: list(item.files).map(object).map(readFile), cites: list(item.cites).map(object).map(readCite) }),
  code_interpreter_call: (item) => ({ ...status(item), code: text(item.code), container_id: text(item.container_id), outputs: list(item.outputs).map(readOutput).filter(Boolean) }),
  file_search_call: (item) => ({ ...status(item), queries: list(item.queries).map(text), results: list(item.results).map(object).map(readResult) }),
  mcp_list_tools: (item) => ({ server_label: text(item.server_label), tools: json(list(item.tools)) }),
  mcp_call: (item) => ({ ...status(item), ...call(item), output: text(item.output), error: errorOf(item.error), approval_request_id: text(item.approval_request_id) }),
  mcp_approval_request: call,
  mcp_approval_response: (item) => ({ approval_request_id: text(item.approval_request_id), approve: item.approve === true, how: text(item.how), sent: item.sent === true }),
};

const status = (item) => ({ status: text(item.status) });
const readFile = ({ container_id, file_id, filename }) => ({ container_id: text(container_id), file_id: text(file_id), filename: text(filename) });
const readCite = ({ file_id, filename, index }) => ({ file_id: text(file_id), filename: text(filename), index: Number.isInteger(index) ? index : -1 });
const readResult = ({ file_id, filename, score, text: passage }) => ({ file_id: text(file_id), filename: text(filename), score: Number.isFinite(score) ? score : 0, text: text(passage) });

function call(item) {
  return { server_label: text(item.server_label), name: text(item.name), arguments: text(item.arguments) };
}

function readOutput(output) {
  if (output?.type === "logs") return { type: "logs", logs: text(output.logs) };
  return output?.type === "image" && (output.url === "" || text(output.url).startsWith(PNG)) ? { type: "image", url: output.url } : null;
}

function errorOf(error) {
  if (typeof error === "string") return error;
  return list(object(error).content).map((part) => text(part?.text)).join("");
}

/** An item as the page has it, or null for one that it does not know. */
export function readItem(item) {
  const read = Object.hasOwn(READ, item?.type) ? READ[item.type] : null;
  return read && { type: item.type, id: text(item.id), ...read(item) };
}

/** Items as they were stored, or null where there are none. */
export function readItems(stored) {
  return Array.isArray(stored) ? stored.map(readItem).filter(Boolean) : null;
}

/** A message of the server as an item of the page. */
export function messageItem({ id, content }) {
  const part = object(list(content)[0]);
  const of = (type) => list(part.annotations).filter((one) => one?.type === type);
  return readItem({ type: "message", id, text: part.text, files: of("container_file_citation"), cites: of("file_citation") });
}

/** Items without the pictures that are too large to be kept. */
export function forStorage(items) {
  const kept = (output) => (output.type === "image" && output.url.length > LARGEST ? { ...output, url: "" } : output);
  return items.map((item) => (item.outputs ? { ...item, outputs: item.outputs.map(kept) } : item));
}

/** What the model has said in words. */
export function words(items) {
  return items.filter(({ type }) => type === "message").map((item) => item.text).filter((said) => said.trim()).join("\n\n");
}

/** What the user said to a request for approval. */
export function answerTo(request, items) {
  return items.find((item) => item.type === "mcp_approval_response" && item.approval_request_id === request.id);
}

/** The call that was made when a request was approved. */
export function callOf(request, items) {
  return items.find((item) => item.type === "mcp_call" && item.approval_request_id === request.id);
}

/** The requests that the user has to answer. */
export function pending(items) {
  return (items ?? []).filter((item) => item.type === "mcp_approval_request" && !answerTo(item, items));
}

/** What the server has yet to hear of the user. */
export function unsent(items) {
  return items.filter((item) => item.type === "mcp_approval_response" && !item.sent);
}

/** The servers whose calls an answer has asked for: they are needed for what was allowed, whatever is chosen meanwhile. */
export function serversOf(answer) {
  return (answer?.items ?? []).filter(({ type }) => type === "mcp_approval_request").map((item) => item.server_label);
}

/** What the user, or what they allowed for good, says to a request. */
export function answerItem(request, approve, how) {
  return { type: "mcp_approval_response", id: "", approval_request_id: request.id, approve, how, sent: false };
}

/** A message of the chat as the API takes it. What was begun and has no end is told so, and never made again. */
export function asInput(message) {
  if (!message.items) return message.content.trim() ? [{ role: message.role, content: message.content }] : [];
  return message.items.flatMap((item) => {
    const { id, type } = item;
    switch (type) {
      case "message": return item.text.trim() ? [{ role: "assistant", content: item.text }] : [];
      case "code_interpreter_call": return [{ id, type, code: item.code, container_id: item.container_id, outputs: logs(item) }];
      case "file_search_call": return [{ id, type, queries: item.queries, results: item.results }];
      case "mcp_list_tools": return [{ id, type, server_label: item.server_label, tools: item.tools }];
      case "mcp_call": return [made(item)];
      case "mcp_approval_request": return [{ id, type, ...call(item) }, ...lost(item, message.items)];
      default: return [{ type, approval_request_id: item.approval_request_id, approve: item.approve }];
    }
  });
}

function logs({ status: ended, outputs }) {
  const said = outputs.filter(({ type }) => type === "logs");
  return ended === "completed" || said.length ? said : [{ type: "logs", logs: "the program was stopped" }];
}

function made(item) {
  const given = { id: item.id, type: item.type, ...call(item) };
  if (item.approval_request_id) given.approval_request_id = item.approval_request_id;
  if (item.status === "completed") return { ...given, output: item.output };
  return { ...given, error: item.error || LOST };
}

/** An approved call of which nobody knows whether it was made: as one that failed, so that the server does not make it. */
function lost(request, items) {
  const answer = answerTo(request, items);
  if (!answer?.approve || !answer.sent || callOf(request, items)) return [];
  return [{ id: `${request.id}.lost`, type: "mcp_call", ...call(request), error: LOST, approval_request_id: request.id }];
}
