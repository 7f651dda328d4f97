// What the server knows, and what this tab remembers.

export class Refusal extends Error {}

/** The oldest state of the lab that an answer was of, since somebody set it to Infinity. */
export const seen = { oldest: Infinity };

/** The answer to a question, as JSON; Refusal with the server's sentence where it has none. */
export async function ask(path, parameters = {}) {
  const asked = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined));
  const reply = await fetch(`${path}${asked.size ? `?${asked}` : ""}`);
  const body = await reply.json();
  if (!reply.ok) throw new Refusal(body.error ?? "the server failed");
  seen.oldest = Math.min(seen.oldest, body.version);
  return body;
}

/** Something that this browser keeps, or the tab where `session`; nothing where storage is off. */
export function kept(name, { session = false } = {}) {
  const place = `ayllu.lab.${name}`;
  const storage = () => (session ? sessionStorage : localStorage);
  return {
    read(otherwise) {
      try {
        return JSON.parse(storage().getItem(place)) ?? otherwise;
      } catch {
        return otherwise;
      }
    },
    write(value) {
      try {
        storage().setItem(place, JSON.stringify(value));
      } catch {
        // It is remembered for as long as the page is open.
      }
    },
  };
}

const memory = kept("chosen", { session: true });
const listeners = new Set();

/** The rows that are chosen for comparison: names by key. */
export const chosen = {
  rows: new Map(memory.read([])),
  has: (key) => chosen.rows.has(key),
  toggle(key, name) {
    if (!chosen.rows.delete(key)) chosen.rows.set(key, name);
    chosen.told();
  },
  clear() {
    chosen.rows.clear();
    chosen.told();
  },
  told() {
    memory.write([...chosen.rows]);
    for (const listener of listeners) listener();
  },
  listen: (listener) => listeners.add(listener),
};

/** The address of a comparison of these keys. */
export const comparison = (keys) => `/compare?of=${keys.map((key) => key.slice(0, 12)).join(",")}`;
