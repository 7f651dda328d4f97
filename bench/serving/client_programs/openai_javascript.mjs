// The official client of OpenAI, in JavaScript.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { CITIES, CITY, URL_, check, model, refused, run, stopped } from "./checks.mjs";

const client = new OpenAI({ baseURL: `${URL_}/v1`, apiKey: "none", maxRetries: 0 });
const asked = {
  model: await model(), messages: [{ role: "user", content: "Where are llamas?" }], max_tokens: 40, seed: 1,
};
const tool = { type: "function", function: { name: "weather", parameters: CITY, strict: true } };

await run({
  async chat() {
    const made = await client.chat.completions.create(asked);
    check(made.choices[0].message.content && made.usage.completion_tokens > 0);
    const other = await client.responses.create({ model: asked.model, input: "Hello", max_output_tokens: 9 });
    check(other.output_text);
  },
  async stream() {
    let text = "";
    for await (const part of await client.chat.completions.create({ ...asked, stream: true })) {
      text += part.choices[0]?.delta.content ?? "";
    }
    check(text);
  },
  async tools() {
    const events = client.chat.completions.stream({ ...asked, tools: [tool], tool_choice: "required" });
    let pieces = 0;
    events.on("tool_calls.function.arguments.delta", () => { pieces += 1; });
    const [call] = (await events.finalChatCompletion()).choices[0].message.tool_calls;
    check(CITIES.includes(JSON.parse(call.function.arguments).city));
    check(pieces > 1, `${pieces} pieces`);
  },
  async structure() {
    const place = z.object({ city: z.string(), llamas: z.number() });
    const made = await client.chat.completions.parse({
      ...asked, max_tokens: 90, response_format: zodResponseFormat(place, "place"),
    });
    check(typeof made.choices[0].message.parsed.llamas === "number");
  },
  async error() {
    await refused(() => client.chat.completions.create({ ...asked, temperature: 9 }), 400, "temperature");
    await refused(() => client.chat.completions.create({ ...asked, model: "no" }), 404, "no");
  },
  async cancel() {
    const parts = await client.chat.completions.create({ ...asked, max_tokens: 4000, stream: true });
    for await (const part of parts) {
      check(part);
      break;
    }
    await stopped();
    const leaving = new AbortController();
    setTimeout(() => leaving.abort(), 500);
    const late = client.chat.completions.create({ ...asked, max_tokens: 4000 }, { signal: leaving.signal });
    check(await late.then(() => false, () => true), "it was not aborted");
    await stopped();
  },
});
