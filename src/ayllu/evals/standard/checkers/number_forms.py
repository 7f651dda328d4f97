"""Numbers in a text, wherever they stand and however they are written: in digits of any convention, or in words."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = (
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SCALES = {"thousand": 1_000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
PARTS = {
    "half": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "ninth": 9,
    "tenth": 10,
}
LONGEST = 400
"""Most digits of a number, and largest power of ten."""
MINUS = "-\u2212\u2013\ufe63\uff0d"
"""Hyphen and the signs that text has in its place."""
NEAR = 40
"""Characters around a number that say what it is."""
MARKS = ".,'\u2019_"
"""What may stand between digits, and is no part of a number at its end."""

_NUMBER = re.compile(
    r"(?<![\w.,])(?:[$€£¥]\s?(?P<late>-)?)?"
    r"(?P<body>\d{1,3}(?:[ \u00a0\u202f]\d{3}){1,140}(?!\d)(?:[.,]\d+)?|\d[\d,.'\u2019_]{0,800}|\.\d+)"
    r"(?P<power>[eE][+-]?\d{1,9})?(?:\s?/\s?(?P<below>\d+))?"
    r"(?:\s?(?P<scale>hundred|thousand|million|billion|trillion)\b)?"
)
_FRACTION = re.compile(r"(-?)\s{0,9}\\[dt]?frac\s*\{\s*(-?[\d.,]+)\s*\}\s*\{\s*(-?[\d.,]+)\s*\}")
_MIXED = re.compile(r"(?<![\d/.,])(\d{1,400})\s{1,9}(\d{1,400})/(\d{1,400})(?![\d/])")


@dataclass(frozen=True, slots=True)
class Number:
    """A number and where it stands."""

    start: int
    """Where it begins, with its sign."""
    end: int
    value: Fraction


def plain(text: str) -> str:
    """One sign for minus, fractions as a/b, no marks of LaTeX or Markdown around numbers."""
    for sign in MINUS[1:]:
        text = text.replace(sign, "-")
    text = re.sub(r"(?<=\d)(?=[^\W\d])", _parting, text)
    text = "".join(_fraction(sign) for sign in text).replace("\u2044", "/")
    text = text.replace(r"\$", "$").replace(r"\%", "%").replace("{,}", ",").replace(r"\,", "").replace(r"\!", "")
    text = text.replace(r"\times", "×").replace(r"\cdot", "·")
    text = _FRACTION.sub(lambda m: f"{m[1]}{m[2]}/{m[3]}", text)
    return re.sub(r"\\text\s*\{([^{}]*)\}", r" \1 ", text).replace("**", "")


def _parting(before: re.Match[str]) -> str:
    """A space between a whole number and the sign of a fraction: 2½ is not 21/2."""
    return " " if _is_fraction(before.string[before.end()]) else ""


def _is_fraction(sign: str) -> bool:
    return unicodedata.decomposition(sign).startswith("<fraction>")


def _fraction(sign: str) -> str:
    return unicodedata.normalize("NFKC", sign) if sign > "\u007f" and _is_fraction(sign) else sign


def numbers(text: str) -> list[Number]:
    """The numbers of a text that `plain` made, in their order: those in digits, or in words where there are none."""
    return _in_digits(text) or _in_words(text)


def _in_digits(text: str) -> list[Number]:
    found: list[Number] = []
    at = 0
    while at < len(text):
        if (mixed := _MIXED.match(text, at)) and int(mixed[3]):
            value, end = int(mixed[1]) + Fraction(int(mixed[2]), int(mixed[3])), mixed.end()
        elif (match := _NUMBER.match(text, at)) and (read := _value(match)) is not None:
            value, end = read, match.end() if match.end() > match.end("body") else at + len(match[0].rstrip(MARKS))
        else:
            at += 1
            continue
        start = _sign(text, at)
        found.append(Number(start, end, value if start == at else -value))
        at = end
    return found


def _sign(text: str, at: int) -> int:
    """Where the minus of the number at a place stands; the place itself where it has none.

    A hyphen between two words or numbers is none, nor is a dash with space around it, nor the mark of a list.
    """
    before = text[max(0, at - NEAR) : at]
    if before.endswith("-"):
        joins = before[-2:-1].isalnum() or before[-2:-1] in ("_", ".", ",", ")", "]")
        return at if joins and len(before) > 1 else at - 1
    if before.endswith(("- ", "-\u00a0")) and not before[:-2].endswith("\n"):
        ahead = before[:-2].rstrip()
        return at - 2 if not ahead or ahead[-1] in "=(+*×·/:<>~≈[{" else at
    return at


def _value(match: re.Match[str]) -> Fraction | None:
    body = _decimal(match["body"].rstrip(MARKS))
    power = int((match["power"] or "e0")[1:])
    # What a model writes must not become a number of millions of digits.
    if body is None or len(body) > LONGEST or abs(power) > LONGEST or len(match["below"] or "") > LONGEST:
        return None
    if match["below"] and not int(match["below"]):
        return None
    value: Fraction = Fraction(body) * (Fraction(10**power) if power >= 0 else Fraction(1, 10**-power))
    if match["below"]:
        value /= int(match["below"])
    value *= ({"hundred": 100} | SCALES).get(match["scale"], 1)
    return -value if match["late"] else value


def _decimal(body: str) -> str | None:
    """Digits with a point, from any convention of thousands and decimals."""
    body = re.sub(r"[ \u00a0\u202f]", "", body.replace("\u2019", "'"))
    if re.search(r"['_]", body):
        if not re.fullmatch(r"\d{1,3}(?:'\d{3})+(?:[.,]\d+)?|\d+(?:_\d{3})+(?:\.\d+)?", body):
            return None
        body = re.sub(r"['_]", "", body)
        return body.replace(",", ".")
    point, comma = body.rfind("."), body.rfind(",")
    if point >= 0 and comma >= 0:
        decimal = max(point, comma)
        whole = re.sub(r"[.,]", "", body[:decimal])
        return f"{whole}.{body[decimal + 1 :]}" if body[decimal + 1 :].isdigit() else None
    mark = "." if point >= 0 else ","
    if mark not in body:
        return body
    pieces = body.split(mark)
    thousands = len(pieces[0]) <= 3 and pieces[0] not in ("", "0") and all(len(piece) == 3 for piece in pieces[1:])
    # One point is a decimal point; one comma before three digits parts thousands, as English writes it.
    if thousands and (mark == "," or len(pieces) > 2):
        return "".join(pieces)
    if len(pieces) > 2:
        lakhs = re.fullmatch(r"\d{1,2}(?:,\d{2})+,\d{3}", body)
        return "".join(pieces) if lakhs else None
    return f"{pieces[0] or '0'}.{pieces[1]}"


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    start: int
    end: int
    joined: bool
    """Whether only spaces or a hyphen part it from the word before."""


def _in_words(text: str) -> list[Number]:
    """Numbers in English words, each by itself: "three or four" is two of them."""
    words: list[_Word] = []
    for match in re.finditer(r"[a-z]+", text.lower()):
        gap = text[words[-1].end : match.start()].strip(" \t") if words else "."
        joined = gap in ("", "-") or (gap == "," and words[-1].text in SCALES)
        words.append(_Word(match[0], match.start(), match.end(), joined))
    found, at = [], 0
    while at < len(words):
        if (said := _said(words, at)) is None:
            at += 1
            continue
        value, after = said
        found.append(Number(words[at].start, words[after - 1].end, value))
        at = after
    return found


def _said(words: list[_Word], at: int) -> tuple[Fraction, int] | None:
    """The number that begins at a word, and the place behind it."""
    begin = at
    negative = words[at].text in ("minus", "negative")
    at += negative
    if negative and not _goes_on(words, at):
        return None
    whole = _cardinal(words, at)
    if whole is None:
        part = _part(words, at, alone=True)
        if part is None:
            return None
        value, at = part
    else:
        count, at = whole
        value = Fraction(count)
        if _goes_on(words, at) and words[at].text == "point" and (digits := _digits(words, at + 1)):
            value, at = value + Fraction(f"0.{digits}"), at + 1 + len(digits)
        elif _goes_on(words, at) and (below := _below(words[at].text, plural=count != 1)):
            value, at = Fraction(count, below), at + 1
        elif _goes_on(words, at) and words[at].text == "and" and (more := _part(words, at + 1, alone=False)):
            value, at = value + more[0], more[1]
    return (-value if negative else value), max(at, begin + 1)


def _goes_on(words: list[_Word], at: int) -> bool:
    return at < len(words) and words[at].joined


def _below(word: str, *, plural: bool) -> int:
    """What a part is one of; 0 where the word names none."""
    if word in ("half", "halves"):
        return 2
    return PARTS.get(word.removesuffix("s") if plural else word, 0) if plural == word.endswith("s") else 0


def _part(words: list[_Word], at: int, *, alone: bool) -> tuple[Fraction, int] | None:
    """A half, a quarter, three quarters: with an article or a count, or the word half by itself."""
    if at >= len(words) or not (alone or words[at].joined):
        return None
    if words[at].text == "half":
        return Fraction(1, 2), at + 1
    if words[at].text in ("a", "an"):
        below = _below(words[at + 1].text, plural=False) if _goes_on(words, at + 1) else 0
        return (Fraction(1, below), at + 2) if below else None
    if (count := _cardinal(words, at)) is None or not _goes_on(words, count[1]):
        return None
    below = _below(words[count[1]].text, plural=count[0] != 1)
    return (Fraction(count[0], below), count[1] + 1) if below else None


def _digits(words: list[_Word], at: int) -> str:
    digits = ""
    while _goes_on(words, at + len(digits)) and words[at + len(digits)].text in ONES:
        digits += str(ONES.index(words[at + len(digits)].text))
    return digits


def _cardinal(words: list[_Word], at: int) -> tuple[int, int] | None:
    """A whole number from a word on, and the place behind it; what English puts beside it is another number."""
    total = group = 0
    below, limit, begin, seen = 10**15, 1_000, at, False
    while at < len(words) and (at == begin or words[at].joined):
        word = words[at].text
        size, following = _size(word), words[at + 1].text if _goes_on(words, at + 1) else ""
        if word == "a" and at == begin and following in {*SCALES, "hundred"}:
            group, limit, seen = 1, 1, True
        elif word == "and" and seen and limit == 100 and _size(following) is not None:
            at += 1
            continue
        elif size is not None and size < limit and (size > 0 or not seen):
            group, seen = group + size, True
            limit = 10 if size >= 20 else 1
        elif word == "hundred" and (not seen or (0 < group < 100 and limit < 100)):
            group, limit, seen = max(1, group) * 100, 100, True
        elif word in SCALES and SCALES[word] < below and (group or not seen):
            total, group, below, limit, seen = total + max(1, group) * SCALES[word], 0, SCALES[word], 100, True
        else:
            break
        at += 1
    return (total + group, at) if seen else None


def _size(word: str) -> int | None:
    """The value of a word below a hundred."""
    for words, first, step in ((ONES, 0, 1), (TEENS, 10, 1), (TENS, 20, 10)):
        if word in words:
            return first + step * words.index(word)
    return None
