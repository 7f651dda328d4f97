// The AI SDK, by its providers for OpenAI and for what is compatible with it.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { Output, generateText, jsonSchema, streamText, tool } from "ai";
import { z } from "zod";
import { CITIES, CITY, URL_, check, model, refused, run, stopped } from "./checks.mjs";

const name = await model();
const options = { baseURL: `${URL_}/v1`, apiKey: "none" };
const served = createOpenAICompatible({ name: "ayllu", supportsStructuredOutputs: true, ...options })(name);
const official = createOpenAI(options);
const asked = { model: served, prompt: "Where are llamas?", maxOutputTokens: 40, maxRetries: 0, seed: 1 };
const tools = { weather: tool({ description: "of a city", inputSchema: jsonSchema(CITY) }) };

await run({
  async chat() {
    for (const one of [served, official.chat(name), official.responses(name)]) {
      const made = await generateText({ ...asked, model: one, seed: undefined });
      check(made.text && made.usage.outputTokens > 0, "no text");
    }
  },
  async stream() {
    for (const one of [served, official.responses(name)]) {
      let text = "";
      for await (const part of streamText({ ...asked, model: one, seed: undefined }).textStream) text += part;
      check(text, "no text");
    }
  },
  async tools() {
    const made = streamText({ ...asked, tools, toolChoice: "required" });
    let pieces = 0;
    for await (const part of made.fullStream) pieces += part.type === "tool-input-delta";
    const [call] = await made.toolCalls;
    check(CITIES.includes(call.input.city));
    const schema = z.object({ city: z.string() });
    const weather = tool({ inputSchema: schema, execute: async ({ city }) => `12 degrees in ${city}` });
    const whole = await generateText({ ...asked, tools: { weather }, toolChoice: "required" });
    check(whole.toolResults[0].output.startsWith("12"));
    check(pieces > 1, `${pieces} pieces`);
  },
  async structure() {
    const schema = z.object({ city: z.string(), llamas: z.number() });
    const made = await generateText({ ...asked, maxOutputTokens: 90, output: Output.object({ schema }) });
    check(typeof made.output.llamas === "number");
  },
  async error() {
    await refused(() => generateText({ ...asked, temperature: 9 }), 400, "temperature");
    const strange = createOpenAICompatible({ name: "ayllu", ...options })("no");
    await refused(() => generateText({ ...asked, model: strange }), 404, "no");
  },
  async cancel() {
    const leaving = new AbortController();
    const made = streamText({ ...asked, maxOutputTokens: 4000, abortSignal: leaving.signal });
    for await (const part of made.textStream) {
      check(part);
      leaving.abort();
      break;
    }
    await stopped();
  },
});
