// The model in this browser: llama.cpp as WebAssembly (wllama), with the GGUF file of the model that is served.

/** Whether this page computes by itself; its own address says so, since only there may it. */
export const here = location.pathname.endsWith("/browser");

/** Offers the other place to compute, where the server has both. */
export function offer(model) {
  const link = document.getElementById("place");
  link.parentElement.hidden = !model.meta.browser;
  link.href = here ? "." : "browser";
  link.textContent = here ? "Let the server compute" : "Compute in this browser";
  document.getElementById("place-help").textContent = here
    ? "What you write stays in this browser: the model was loaded into it."
    : "The model is loaded into this browser once, and nothing that you write leaves it.";
}

let loading = null;

/** The model, loaded at the first answer. */
function loaded(context) {
  loading ??= (async () => {
    const { Wllama, LoggerWithoutDebug } = await import("../browser/wllama/index.js");
    const quiet = { ...LoggerWithoutDebug, log() {}, warn() {} };
    const wllama = new Wllama({ default: new URL("browser/wllama/wllama.wasm", document.baseURI).href }, { logger: quiet, suppressNativeLog: true });
    await wllama.loadModelFromUrl(new URL("browser/model.gguf", document.baseURI).href, { n_ctx: context, useCache: false });
    return wllama;
  })().catch((error) => {
    loading = null;
    throw new Error(`The model cannot be loaded into this browser (${error.message}).`);
  });
  return loading;
}

/** Streams an answer as `answer` of api.js does. */
export async function* answer(body, model, signal) {
  const wllama = await loaded(Math.min(model.meta.context, 4096));
  signal.throwIfAborted();
  const chunks = await wllama.createChatCompletion({ max_tokens: 1024, ...body, stream: true, stream_options: { include_usage: true }, abortSignal: signal });
  let finish = null;
  let usage = null;
  let tokens = 0;
  for await (const chunk of chunks) {
    signal.throwIfAborted();
    const choice = chunk.choices?.[0];
    if (choice?.delta?.content) {
      tokens += 1;
      yield { text: choice.delta.content, model: model.id };
    }
    finish = choice?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  yield { finish: finish ?? "stop", usage: usage ?? { completion_tokens: tokens } };
}
