// What the programs of all JavaScript clients share; the same as checks.py.

export const URL_ = process.argv[2];
export const CITIES = ["Puno", "Cusco"];
export const CITY = {
  type: "object", properties: { city: { enum: CITIES } }, required: ["city"], additionalProperties: false,
};
const PATIENCE = 30_000;

export class NotOffered extends Error {}

export async function model() {
  return (await (await fetch(`${URL_}/v1/models`)).json()).data[0].id;
}

async function running() {
  const text = await (await fetch(`${URL_}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.startsWith("vllm:num_requests_running"));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

export async function stopped() {
  const end = Date.now() + PATIENCE;
  while (await running()) {
    check(Date.now() < end, "the server goes on computing");
    await new Promise((done) => setTimeout(done, 50));
  }
}

export function check(true_, words = "not as it should be") {
  if (!true_) throw new Error(words);
}

export async function refused(call, status, word) {
  let error;
  try {
    await call();
  } catch (problem) {
    error = problem;
  }
  check(error, "nothing was refused");
  check((error.status ?? error.statusCode) === status, `status ${error.status ?? error.statusCode}: ${error.message}`);
  check(error.message.includes(word), `the error does not say ${word}: ${error.message}`);
}

export async function run(checks) {
  const told = {};
  for (const [name, one] of Object.entries(checks)) {
    try {
      await one();
      told[name] = "ok";
    } catch (error) {
      told[name] = error instanceof NotOffered ? "not offered" : `${error.name}: ${error.message}`.slice(0, 300);
    }
  }
  console.log(JSON.stringify(told));
}
