"""Whether a generated answer is right, in whatever form a model gives it.

Numbers are read by `ayllu.evals.standard.checkers.numbers`: with thousands separators, a decimal comma, a sign, a unit,
a percent sign, a `\\boxed{}`, as a fraction or spelled out. What an answer denies ("not 5") or leaves open ("3 or 4")
it has not said. Other harnesses differ: inspect-ai 0.3's numeric match takes neither "5%" nor "\\boxed{5}" for 5, and
reasoning-gym 0.1.25's `gsm_symbolic` reads "1,042" as 1.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from ayllu.evals.profile.generators.facts import ELEMENTS
from ayllu.evals.profile.item import ProfileItem
from ayllu.evals.standard.checkers.numbers import DENIED, number_in

BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
LEADS = re.compile(
    r"^(?:the\s+)?(?:(?:right|correct|final)\s+)?(?:answer|word|result|name|letters?|text|cell|place)\s*(?:is|:|=)\s*",
    re.IGNORECASE,
)


def is_right(item: ProfileItem, reply: str) -> bool:
    """Whether `reply` answers the item. Thoughts between `<think>` tags are no part of it."""
    if item.check in ("distinct", "descending"):
        text = THOUGHT.sub("", reply).strip()
        return _names_elements(text, item.answer.count(",") + 1, descending=item.check == "descending")
    return gives(reply, item.answer, item.choices, number=item.check == "number")


def gives(reply: str, answer: str, choices: Sequence[str], *, number: bool) -> bool:
    """Whether a reply gives the one right answer, a `number` or a text of which `choices` are all that there are."""
    text = THOUGHT.sub("", reply).strip()
    return number_in(text) == Fraction(answer) if number else _says(text, answer, choices)


def _says(text: str, answer: str, choices: Sequence[str]) -> bool:
    """Whether a text is the answer: all of its first line, or what it commits to, or the one choice that it names."""
    wanted = _plain(answer)
    boxed = BOXED.findall(text)
    first = next((line for line in text.splitlines() if line.strip()), "")
    told = [*boxed[-1:], text, first, LEADS.sub("", first.strip().strip("*"))]
    if any(_plain(each) == wanted or _same_signs(each, answer) for each in told):
        return True
    named = {choice for choice in choices if _named(choice, text)}
    return named == {answer}


def _named(choice: str, text: str) -> bool:
    """Whether a choice stands in a text as words of its own, and is not denied; in the case of its letters where it is
    short."""
    flags = 0 if len(choice) < 3 and choice.isupper() else re.IGNORECASE
    places = re.finditer(rf"(?<!\w){re.escape(choice)}(?!\w)", text, flags)
    return any(not DENIED.search(text, max(0, place.start() - 80), place.start()) for place in places)


def _plain(text: str) -> str:
    """Letters and digits with single spaces, without accents and case."""
    bare = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    return " ".join(re.findall(r"\w+", bare.casefold()))


def _same_signs(text: str, answer: str) -> bool:
    """Whether a list of single signs is the same one, however its signs are separated, or not at all."""
    parts = [_plain(each).split() for each in (text, answer)]
    single = all(len(part) == 1 or all(len(sign) == 1 for sign in part) for part in parts)
    return single and "".join(parts[0]) == "".join(parts[1]) != ""


def _names_elements(text: str, count: int, *, descending: bool) -> bool:
    """Whether so many different elements are named, nothing else, in reverse alphabetical order if that was asked."""
    known = {name for name, _ in ELEMENTS} | {"aluminum", "cesium", "sulphur"}
    alike = {"aluminum": "aluminium", "cesium": "caesium", "sulphur": "sulfur"}
    named = [_plain(re.sub(r"^\s*\d+[.)]\s*", "", part)).removeprefix("and ") for part in re.split(r"[,;\n]", text)]
    named = [alike.get(name, name) for name in named if name]
    if len(named) != count or len(set(named)) != count or not set(named) <= known:
        return False
    return not descending or named == sorted(named, reverse=True)
