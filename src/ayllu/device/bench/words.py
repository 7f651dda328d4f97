"""Word error rate: substitutions, deletions and insertions over the words that were said."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# fmt: off
UNITS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]
TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
# fmt: on


def normalised(text: str) -> list[str]:
    """Words of any alphabet without case and punctuation, numbers below a hundred and their signs written out."""
    text = unicodedata.normalize("NFC", text).lower().replace("’", "'").replace("%", " percent ")
    text = re.sub(r"(?<!\S)[-−](?=\d)", "minus ", text)  # at a number; between two it says "to"
    # A vowel that Devanagari or Thai writes as a mark belongs to its word.
    spoken = (c if c.isalnum() or c == "'" or unicodedata.category(c)[0] == "M" else " " for c in text)
    words = re.findall(r"\d+|[^\d\s]+", "".join(spoken))
    return [part for word in words for part in _written(word.strip("'"))]


def errors(said: str, heard: str) -> tuple[int, int]:
    """The fewest edits from what was heard to what was said, and how many words were said."""
    reference, hypothesis = normalised(said), normalised(heard)
    return _distance(reference, hypothesis), len(reference)


def _written(word: str) -> list[str]:
    if not word.isdecimal() or int(word) >= 100:
        return [word] if word else []
    number = int(word)
    if number < 20:
        return [UNITS[number]]
    return [TENS[number // 10], *([UNITS[number % 10]] if number % 10 else [])]


def _distance(a: Sequence[str], b: Sequence[str]) -> int:
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]
