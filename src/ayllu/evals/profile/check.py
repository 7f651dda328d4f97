"""Whether a generated answer is right, in whatever form a model gives it.

Numbers may have thousands separators, a decimal comma, a sign, a unit, a percent sign, a `\\boxed{}`, be a fraction or
be spelled out. The last number that the answer commits to counts: a boxed one, or one behind "answer is", or the last.
Other harnesses differ: inspect-ai 0.3's numeric match takes neither "5%" nor "\\boxed{5}" for 5, and reasoning-gym
0.1.25's `gsm_symbolic` reads "1,042" as 1.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from fractions import Fraction

from ayllu.evals.profile.generators.facts import ELEMENTS
from ayllu.evals.profile.item import ProfileItem

NUMBER = re.compile(
    r"(?<![\w.,])[-−–+]?\s?(?:\d{1,3}(?:[,'’\u00a0\u202f ]\d{3})+|\d+)(?:[.,]\d+)?(?:\s?/\s?\d+)?(?!\w*\d)"
)
BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
COMMITS = re.compile(r"(?:answer|result|sum|product|total)\s*(?:is|:|=)\s*", re.IGNORECASE)
THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
UNITS = {
    **{"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9},
    **{"ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16},
    **{"seventeen": 17, "eighteen": 18, "nineteen": 19},
}
TENS = {
    **{"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90},
}
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
LEADS = re.compile(
    r"^(?:the\s+)?(?:(?:right|correct|final)\s+)?(?:answer|word|result|name|letters?|text|cell|place)\s*(?:is|:|=)\s*",
    re.IGNORECASE,
)


def is_right(item: ProfileItem, reply: str) -> bool:
    """Whether `reply` answers the item. Thoughts between `<think>` tags are no part of it."""
    text = THOUGHT.sub("", reply).strip()
    if item.check == "number":
        return read_number(text) == Fraction(item.answer)
    if item.check in ("distinct", "descending"):
        return _names_elements(text, item.answer.count(",") + 1, descending=item.check == "descending")
    return _says(text, item.answer, item.choices)


def read_number(text: str) -> Fraction | None:
    """The number that a text commits to; None where there is none, or where it cannot be told which is meant."""
    boxed = BOXED.findall(text)
    if boxed:
        return read_number(boxed[-1].replace("\\", ""))
    committed = list(COMMITS.finditer(text))
    for part in (text[committed[-1].end() :], text) if committed else (text,):
        found = NUMBER.findall(part)
        if found:
            # Behind "the answer is" the first number is meant, in running text the last.
            return _value(found[0] if part is not text else found[-1])
        spelled = _spelled(part)
        if spelled is not None:
            return Fraction(spelled)
    return None


def _value(found: str) -> Fraction | None:
    text = re.sub(r"\s?/\s?", "/", found.strip()).replace("−", "-").replace("–", "-").lstrip("+")
    number, _, divisor = text.partition("/")
    sign = -1 if number.startswith("-") else 1
    number = re.sub(r"['’\u00a0\u202f\s-]", "", number)
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", number):
        number = number.replace(",", "")
    number = number.replace(",", ".")
    if number.count(".") > 1 or (divisor and not int(divisor)):
        return None
    return sign * Fraction(number) / (int(divisor) if divisor else 1)


def _spelled(text: str) -> int | None:
    """The last number in English words, such as "minus forty-two" or "one thousand and six"."""
    words = re.findall(r"[a-z]+", text.lower())
    known = [word in UNITS or word in TENS or word in SCALES for word in words]
    if not any(known):
        return None
    end = len(known) - known[::-1].index(True)
    start = end
    while start and (known[start - 1] or (words[start - 1] == "and" and start > 1 and known[start - 2])):
        start -= 1
    total = current = 0
    for word in words[start:end]:
        if word in SCALES and word != "hundred":
            total, current = total + max(1, current) * SCALES[word], 0
        elif word == "hundred":
            current = max(1, current) * 100
        elif word != "and":
            current += UNITS.get(word, TENS.get(word, 0))
    negative = start > 0 and words[start - 1] in ("minus", "negative")
    return -(total + current) if negative else total + current


def _says(text: str, answer: str, choices: Sequence[str]) -> bool:
    """Whether a text is the answer: all of its first line, or what it commits to, or the one choice that it names."""
    wanted = _plain(answer)
    boxed = BOXED.findall(text)
    first = next((line for line in text.splitlines() if line.strip()), "")
    told = [*boxed[-1:], text, first, LEADS.sub("", first.strip().strip("*"))]
    if any(_plain(each) == wanted or _joined(each) == _joined(answer) != "" for each in told):
        return True
    named = {choice for choice in choices if _named(choice, text)}
    return named == {answer}


def _named(choice: str, text: str) -> bool:
    """Whether a choice stands in a text as words of its own, in the case of its letters where it is short."""
    flags = 0 if len(choice) < 3 and choice.isupper() else re.IGNORECASE
    return re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", text, flags) is not None


def _plain(text: str) -> str:
    """Letters and digits with single spaces, without accents and case."""
    bare = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    return " ".join(re.findall(r"\w+", bare.casefold()))


def _joined(text: str) -> str:
    """What stands in a list of single signs, however they are separated."""
    parts = _plain(text).split()
    return "".join(parts) if all(len(part) == 1 for part in parts) else ""


def _names_elements(text: str, count: int, *, descending: bool) -> bool:
    """Whether so many different elements are named, nothing else, in reverse alphabetical order if that was asked."""
    known = {name for name, _ in ELEMENTS} | {"aluminum", "cesium", "sulphur"}
    alike = {"aluminum": "aluminium", "cesium": "caesium", "sulphur": "sulfur"}
    named = [_plain(re.sub(r"^\s*\d+[.)]\s*", "", part)).removeprefix("and ") for part in re.split(r"[,;\n]", text)]
    named = [alike.get(name, name) for name in named if name]
    if len(named) != count or len(set(named)) != count or not set(named) <= known:
        return False
    return not descending or named == sorted(named, reverse=True)
