"""What of a request can be an argument: runs of its words that the tool can read, the longest ones.

A small model copies well and judges badly, so what a tool could not read is not there to be chosen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from ayllu.assistant.tools.calculator import evaluate
from ayllu.assistant.tools.dates import NUMBER, UNITS_OF_TIME, parse_date, parse_moment, zone_of
from ayllu.assistant.tools.tool import ToolError
from ayllu.assistant.tools.units import units_in

LONGEST = 16
"""Words of a run."""
MOST = 120
"""Words of a message whose runs are read; of longer ones all runs are given."""
_OPERATION = r"root|sqrt|squared|cubed|half|third|quarter|double|twice|\d\D+\d"


def spans(words: str, longest: int = LONGEST) -> list[str]:
    """All runs of words of a message, the longest with `longest` words."""
    tokens = words.split()
    found = [
        _run(tokens, start, end)
        for start in range(len(tokens))
        for end in range(start + 1, min(len(tokens), start + longest) + 1)
    ]
    return list(dict.fromkeys(filter(None, found)))


def readable(words: str, read: Callable[[str], Any]) -> list[str]:
    """The runs that `read` takes without a ToolError, without those within longer ones, in their order."""
    tokens = words.split()
    if len(tokens) > MOST:
        return spans(words)
    kept: list[tuple[int, int, str]] = []
    for length in range(min(LONGEST, len(tokens)), 0, -1):
        for start in range(len(tokens) - length + 1):
            end = start + length
            text = _run(tokens, start, end)
            if text and not any(one <= start and end <= other for one, other, _ in kept) and _reads(read, text):
                kept.append((start, end, text))
    return list(dict.fromkeys(text for _, _, text in sorted(kept)))


def numbers_in(words: str) -> list[str]:
    """The numbers of a message, as they stand there."""
    return list(dict.fromkeys(re.findall(r"-?\d[\d,]*(?:\.\d+)?", words)))


def sums_in(words: str) -> list[str]:
    """The sums of a message, without the words around them: a number alone is none."""

    def value(text: str) -> Any:
        if not re.search(_OPERATION, text.lower()) or not re.search(r"\d", text):
            raise ToolError("it is no sum")
        return evaluate(text)

    found = readable(words, value)
    return found if len(words.split()) > MOST else [_shortest(run, value) for run in found]


def from_units(words: str) -> list[str]:
    """Units that stand behind a number; all where none does."""
    units = units_in(words)
    behind = [unit for unit in units if re.search(rf"\d\s*(?:degrees?\s+|°\s*)?{re.escape(unit)}(?!\w)", words)]
    return behind or units


def to_units(words: str) -> list[str]:
    """The other units of a message; none where it names one only."""
    behind = from_units(words)
    # "inches is" holds "inches", and only one of the two is what is meant.
    found = [unit for unit in units_in(words) if not any(unit in one or one in unit for one in behind)]
    return [unit for unit in found if unit != "in"] or found  # which seldom stands for inches


def dates_in(words: str, now: datetime) -> list[str]:
    """The dates of a message."""
    return readable(words, lambda text: parse_date(text, now))


def first_dates(words: str, now: datetime) -> list[str]:
    """The date from which is counted: today where only one is named."""
    found = dates_in(words, now)
    return found[:1] if len(found) > 1 else ["today"] if found else []


def last_dates(words: str, now: datetime) -> list[str]:
    """The date to which is counted."""
    return dates_in(words, now)[-1:]


def start_dates(words: str, now: datetime) -> list[str]:
    """The date after which a period begins: today where none is named, and "10 days from today" is the period."""
    return [found for found in dates_in(words, now) if not periods_in(found)] or ["today"]


def places_in(words: str) -> list[str]:
    """The places of a message that have a time of their own; here where there is none."""

    def read(text: str) -> None:
        if zone_of(text) is None:
            raise ToolError("that is here")

    return readable(words, read) or [""]


def moments_in(words: str, now: datetime) -> list[str]:
    """The times of a message at which something can be done."""

    def read(text: str) -> None:
        if {"to", "remind"} & {*text.lower().split()}:
            raise ToolError("what is to be done follows")
        parse_moment(text, now)

    return readable(words, read)


def periods_in(words: str) -> list[str]:
    """The lengths of time of a message."""
    one = rf"\b{NUMBER}\s*(?:{'|'.join(UNITS_OF_TIME)})s?\b"
    return [found[0] for found in re.finditer(rf"{one}(?:(?:,| and)? {one})*", words, re.IGNORECASE)]


def told(words: str) -> list[str]:
    """What a message may want to have kept: its end or its beginning, a third of its words at least."""
    tokens = words.split()
    least = max(1, len(tokens) // 3)
    ends = [_run(tokens, start, len(tokens)) for start in range(len(tokens) - least + 1)]
    beginnings = [_run(tokens, 0, end) for end in range(len(tokens) - 1, least, -1)]
    return list(dict.fromkeys(filter(None, [*ends, *beginnings])))


def _shortest(run: str, value: Callable[[str], Any]) -> str:
    """The shortest part of a run that means the same."""
    whole = value(run)
    parts = sorted(spans(run), key=len)
    return next((part for part in parts if _reads(value, part) and value(part) == whole), run)


def _run(tokens: Sequence[str], start: int, end: int) -> str:
    text = " ".join(tokens[start:end]).strip(" ,;:!?\"'“”")
    return text.removesuffix(".") if end == len(tokens) else text


def _reads(read: Callable[[str], Any], text: str) -> bool:
    try:
        read(text)
    except ToolError:
        return False
    return True
