// Whether a model that goes on and on still says something new.

const LONGEST = 400; // characters of a passage that is repeated
const TIMES = 4;
const SHORTEST = 200; // characters that all its copies must have together

/** Whether the end of `text` is one passage over and over. */
export function loops(text) {
  const end = text.slice(-TIMES * LONGEST);
  for (let period = 1; period <= LONGEST; period++) {
    let at = end.length - 1;
    while (at >= period && end[at] === end[at - period]) at--;
    // From here on every character is that of one period before.
    const same = end.length - 1 - at + period;
    if (same >= Math.max(TIMES * period, SHORTEST)) return true;
  }
  return false;
}
