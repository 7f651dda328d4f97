// The gateway's OpenAI-compatible API, as far as this page needs it.

import * as browser from "./browser.js";
import { askForKey, headers } from "./key.js";

let served = null;

/** What the server says of the model that it serves. */
export async function servedModel() {
  const reply = await ask("v1/models");
  served = (await reply.json()).data[0];
  browser.offer(served);
  return served;
}

/** The model card as Markdown, or "" where there is none. */
export async function modelCard() {
  const reply = await ask("card");
  return reply.text();
}

/**
 * Streams an answer of the model that is served now: yields `{model}` and `{text}` for each bit of it and at last
 * `{finish, usage}`; first `{dropped}` when the oldest messages did not fit. Aborting `signal` ends it, and the server stops computing.
 */
export async function* answer(body, signal) {
  if (browser.here && served) {
    yield* browser.answer(body, served, signal);
    return;
  }
  const reply = await ask("v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  const dropped = Number(reply.headers.get("X-Dropped-Messages") ?? 0);
  if (dropped) yield { dropped };
  let finish = null;
  for await (const event of events(reply.body)) {
    if (event === "[DONE]") return;
    const chunk = JSON.parse(event);
    if (chunk.error) throw new Error(sentence(chunk.error.message));
    const choice = chunk.choices[0];
    if (choice?.delta.content) yield { text: choice.delta.content, model: chunk.model };
    if (choice?.finish_reason) finish = choice.finish_reason;
    if (chunk.usage) yield { finish, usage: chunk.usage };
  }
  throw new Error("The server ended before the answer did. Is it still running?");
}

/** The data of server-sent events, which can be cut anywhere on their way. */
export async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const data = part.split("\n").find((line) => line.startsWith("data: "));
        if (data) yield data.slice("data: ".length);
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** A reply of the server; an error that it gave as a reply is `refused`: nothing was begun. */
export async function ask(path, options = {}) {
  let reply;
  try {
    // The path is one below the page's own, wherever a proxy has put it.
    reply = await fetch(path, { ...options, headers: { ...options.headers, ...headers() } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server cannot be reached. Is it still running?");
  }
  if (reply.ok) return reply;
  const body = await reply.json().catch(() => null);
  if (reply.status === 401 && (await askForKey(sentence(body?.error?.message ?? "this server needs a key")))) {
    return ask(path, options);
  }
  throw Object.assign(new Error(sentence(body?.error?.message ?? `the server answered ${reply.status}`)), { refused: true });
}

export function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}
