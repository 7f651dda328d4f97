// The official client of Anthropic, in JavaScript.
import Anthropic from "@anthropic-ai/sdk";
import { CITIES, CITY, NotOffered, URL_, check, model, refused, run, stopped } from "./checks.mjs";

const client = new Anthropic({ baseURL: URL_, apiKey: "none", maxRetries: 0 });
const asked = { model: await model(), messages: [{ role: "user", content: "Where are llamas?" }], max_tokens: 40 };
const tool = { name: "weather", description: "of a city", input_schema: CITY };

await run({
  async chat() {
    const made = await client.messages.create(asked);
    check(made.content[0].text && made.usage.output_tokens > 0);
  },
  async stream() {
    check((await client.messages.stream(asked).finalMessage()).content[0].text);
  },
  async tools() {
    let pieces = 0;
    const events = client.messages.stream({ ...asked, tools: [tool], tool_choice: { type: "any" } });
    events.on("inputJson", () => { pieces += 1; });
    const made = await events.finalMessage();
    check(CITIES.includes(made.content[0].input.city));
    check(pieces > 1, `${pieces} pieces`);
  },
  async structure() {
    throw new NotOffered();
  },
  async error() {
    await refused(() => client.messages.create({ ...asked, temperature: 9 }), 400, "temperature");
    await refused(() => client.messages.create({ ...asked, model: "no" }), 404, "no");
  },
  async cancel() {
    const events = client.messages.stream({ ...asked, max_tokens: 4000 });
    for await (const event of events) {
      if (event.type === "content_block_delta") break;
    }
    events.abort();
    await stopped();
  },
});
