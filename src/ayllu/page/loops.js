// Whether a model that goes on and on still says something new.

const LONGEST = 1600; // characters of a passage that is repeated
const TIMES = 4;
const LONG = 400; // a passage of more characters is a loop with its third copy: a song's refrain comes twice
const SHORTEST = 200; // characters that all its copies must have together

/** Whether the end of `text` is one passage over and over. */
export function loops(text) {
  const end = text.slice(-3 * LONGEST);
  for (let period = 1; period <= LONGEST; period++) {
    let at = end.length - 1;
    while (at >= period && end[at] === end[at - period]) at--;
    // From here on every character is that of one period before.
    const same = end.length - 1 - at + period;
    const times = period > LONG ? 3 : TIMES;
    if (same >= Math.max(times * period, SHORTEST)) return true;
  }
  return false;
}
