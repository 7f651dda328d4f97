"""A phrase that wakes the glasses: what is said without it is neither answered nor kept.

The phrase is looked for in what the recogniser has written down, so that it can be any words, and no model of its own
is needed. It is told apart by its letters, since a recogniser writes "OK glasses" or "okay, classes" for it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from ayllu.lab.error import UserError

LIKE = 0.89
"""Part of the letters that are the phrase's."""
SHORTEST = 8
"""Letters, below which a phrase stands in too much of what people say."""
AWAKE = 8.0
"""Seconds after the phrase alone, and after an answer, in which no phrase is needed."""
WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")


def checked_phrase(phrase: str) -> str:
    """The phrase, if it can wake. Raises UserError."""
    words = WORD.findall(phrase)
    if len(words) < 2 or len(_letters(phrase)) < SHORTEST or not _letters(phrase).isascii():
        raise UserError(
            f"--wake {phrase!r} is too short: give two or more English words with {SHORTEST} letters, such as "
            '"okay glasses"'
        )
    return " ".join(words)


@dataclass
class Wake:
    """Of one session; without a phrase everything that is said is meant."""

    phrase: str | None = None
    clock: Callable[[], float] = time.monotonic
    _until: float = field(default=float("-inf"))

    @property
    def awake(self) -> bool:
        """Whether no phrase is needed now."""
        return self.phrase is None or self.clock() < self._until

    def stay(self, seconds: float = 0.0) -> None:
        """Need no phrase for a while, which begins after so many seconds of an answer."""
        self._until = max(self._until, self.clock() + seconds + AWAKE)

    def rest(self, text: str) -> str | None:
        """What stands behind the phrase, the last one of several; None where it is not in the text."""
        if self.phrase is None:
            return text
        found: tuple[float, int] | None = None
        for like, start, end in likenesses(text, self.phrase):
            if like >= LIKE and (found is None or start >= found[1] or like > found[0]):
                found = (like, end)
        return None if found is None else text[found[1] :].lstrip(" ,.!?;:\u2026-")

    def meant(self, text: str, *, awake: bool) -> str | None:
        """What is asked of the glasses; None where they are not spoken to."""
        behind = self.rest(text)
        if behind is None:
            return text if awake else None
        return behind


def likenesses(text: str, phrase: str) -> Iterator[tuple[float, int, int]]:
    """For each run of words that may be the phrase: the part of the letters that are, and where the run lies."""
    wanted, length = _letters(phrase), len(WORD.findall(phrase))
    words = list(WORD.finditer(text))
    for start in range(len(words)):
        for stop in range(start + 1, min(len(words), start + length + 1) + 1):
            letters = "".join(_letters(word.group()) for word in words[start:stop])
            like = SequenceMatcher(None, wanted, letters, autojunk=False).ratio()
            yield like, words[start].start(), words[stop - 1].end()


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text.lower())
