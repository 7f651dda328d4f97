"""An answer while it is written: how harmful it is by all that was said, or by its newest sentences alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ayllu.safety.judge.features import Places, Running, sentences

NEWEST = 3
"""Sentences that are also looked at by themselves."""
LONGEST = 400
"""Characters after which a sentence that does not end is judged all the same."""
FEWEST_WORDS = 6
"""Fewer words than this say too little to act on."""


class Writing:
    """The log-odds of harm, sentence by sentence; so a harmless beginning hides nothing."""

    def __init__(self, running: Callable[[], Running]) -> None:
        self._new, self._running = running, running()
        self._newest: deque[tuple[str, Places]] = deque(maxlen=NEWEST)
        self._words = self._sentences = 0

    @property
    def newest(self) -> str:
        """The newest sentences."""
        return " ".join(text for text, _ in self._newest)

    def add(self, sentence: str) -> float | None:
        """The log-odds now that `sentence` has come; None where too little was said."""
        places = self._running.add(sentence)
        self._newest.append((sentence, places))
        self._words += len(places[0]) // 2 + 1
        self._sentences += 1
        if self._words < FEWEST_WORDS:
            return None
        if self._sentences <= NEWEST or self._sentences % 2:
            return self._running.log_odds
        alone = self._new()
        for _, (whole, pieces, _opening) in self._newest:
            alone.add_places((whole, pieces, []))
        return max(self._running.log_odds, alone.log_odds)


def most_harmful(running: Callable[[], Running], answer: str) -> float:
    """The highest log-odds that an answer comes to on its way; minus infinity where it says too little."""
    writing = Writing(running)
    found = [odds for sentence in parts(answer) if (odds := writing.add(sentence)) is not None]
    return max(found, default=float("-inf"))


def parts(text: str) -> list[str]:
    """The sentences of a text, those cut that have no end for long; the last may go on, with the space behind it."""
    found: list[str] = []
    for part in sentences(text):
        while len(part) > LONGEST:
            cut = part.rfind(" ", 1, LONGEST)
            cut = cut if cut > 0 else LONGEST
            found.append(part[:cut])
            part = part[cut:]
        found.append(part)
    return found or [""]
