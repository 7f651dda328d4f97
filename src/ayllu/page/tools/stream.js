// An answer in which the server runs tools, over the Responses API; nothing of it is kept there.

import { answer as plainAnswer, ask, events, sentence } from "../api.js";
import { state } from "../model.js";
import { allows } from "./allowed.js";
import { answerItem, asInput, messageItem, pending, readItem, unsent, words } from "./items.js";

const ROUNDS = 8; // of calls that were allowed for good, before the user is asked all the same

/** What comes of an answer: of several parts where the server has `tools` for it, else text; `before` are the messages before. */
export function partsOf(answer, before, tools, signal) {
  const { system, temperature, length } = state.settings;
  const body = temperature === null ? {} : { temperature };
  if (answer.items) {
    if (system.trim()) body.instructions = system.trim();
    if (length) body.max_output_tokens = length;
    return goOn(answer, before, { ...body, tools }, signal);
  }
  if (length) body.max_tokens = length;
  body.messages = before.filter(({ content }) => content).map(({ role, content }) => ({ role, content }));
  if (system.trim()) body.messages.unshift({ role: "system", content: system.trim() });
  return plainAnswer(body, signal);
}

/**
 * Goes on with an answer until the model is done or the user has to be asked; `before` are the messages before it, `body`
 * is what is asked besides. Yields `{keep}` before anything can happen that must not happen twice, `{}` when something
 * has come, and `{finish, usage, model}` at the end of each response.
 */
async function* goOn(answer, before, body, signal) {
  for (let round = 1; ; round++) {
    const told = unsent(answer.items);
    const input = [...before, answer].flatMap(asInput);
    for (const item of told) item.sent = true;
    yield { keep: true };
    try {
      yield* stream({ ...body, input }, answer, signal);
    } catch (error) {
      // What was refused was not begun: the user is asked again.
      if (error.refused) answer.items = answer.items.filter((item) => !told.includes(item));
      throw error;
    }
    const chat = [...before, answer].flatMap((message) => message.items ?? []);
    for (const request of pending(answer.items)) {
      if (round < ROUNDS && allows(request, chat)) answer.items.push(answerItem(request, true, "always"));
    }
    if (pending(answer.items).length || !unsent(answer.items).length) return;
  }
}

async function* stream(body, answer, signal) {
  const reply = await ask("v1/responses", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, store: false, truncation: "auto" }),
    signal,
  });
  const first = answer.items.length;
  for await (const event of events(reply.body)) {
    if (event === "[DONE]") break;
    const data = JSON.parse(event);
    if (data.response && data.type !== "response.created" && data.type !== "response.in_progress") {
      yield ended(data.response);
      return;
    }
    if (take(data, answer.items, first)) {
      answer.content = words(answer.items);
      yield {};
    }
  }
  throw new Error("The server ended before the answer did. Is it still running?");
}

/** Takes what an event tells into the items; whether it told anything. */
function take({ type, output_index, item, delta }, items, first) {
  const at = first + output_index;
  if (type === "response.output_text.delta" && items[at]) items[at].text += delta;
  else if (type === "response.output_item.added" || type === "response.output_item.done") {
    items[at] = (item.type === "message" ? messageItem(item) : readItem(item)) ?? { type: "message", id: "", text: "", files: [], cites: [] };
  } else return false;
  return true;
}

function ended({ status, error, incomplete_details: why, usage, model }) {
  if (status === "failed") throw new Error(sentence(error?.message ?? "the answer failed"));
  const finish = status === "completed" ? "stop" : why?.reason === "max_output_tokens" ? "length" : (why?.reason ?? "stopped");
  return { finish, usage: { completion_tokens: usage?.output_tokens ?? 0 }, model };
}
