"""A number in an answer, however it is written: thousands, decimal comma, units, boxes, fractions, words.

lm-eval's own patterns for GSM8K stay what they are (`gsm8k_values`), so that its scores are met; `number_in` is what
our own generated items are judged by.
"""

from __future__ import annotations

import re
from fractions import Fraction

ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
SCALES = {"hundred": 100, "thousand": 1_000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
WORDS = {word: i for i, word in enumerate((*ONES, *TEENS))} | {word: 10 * i for i, word in enumerate(TENS, start=2)}
PARTS = {
    "half": 2,
    "halves": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "tenth": 10,
}
GLYPHS = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅛": "1/8", "⅜": "3/8", "⅝": "5/8"}
LONGEST = 400
"""Most digits of a number, and largest power of ten."""
MINUS = "-\u2212\u2013\ufe63\uff0d"
"""Hyphen and the signs that text has in its place."""

_NUMBER = re.compile(
    r"(?<![\w.,])(?P<sign>-)?\s?(?:[$€£¥]\s?)?(?P<late>-)?"
    r"(?P<body>\d[\d,.'\u2019\u00a0\u202f_]*(?:(?<=\d)\s\d{3}(?![\d]))*|\.\d+)(?P<power>[eE][+-]?\d{1,9})?"
    r"(?:\s?/\s?(?P<below>\d+))?"
)
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_FRACTION = re.compile(r"(-?)\s*\\[dt]?frac\s*\{\s*(-?[\d.,]+)\s*\}\s*\{\s*(-?[\d.,]+)\s*\}")
_MIXED = re.compile(r"(?<![\d/.,])(\d+)\s+(\d+)/(\d+)(?![\d/])")
_SAID = re.compile(r"(?:####|(?:final\s+)?answer(?:\s+is|\s*:|\s*=)|[Aa]ntwort:|r[ée]ponse\s*:)", re.IGNORECASE)


def number_in(text: str) -> Fraction | None:
    """The number that an answer states: in its last box, behind its last "answer is" or "####", or its last one."""
    text = _plain(text)
    if inside := _last_box(text):
        return _last_number(inside)
    *_, said = _SAID.split(text)
    if said is not text and (found := _first_number(said)) is not None:
        return found
    return _last_number(text)


def same_number(answer: str, right: str) -> bool:
    """Whether an answer states the number that `right` is."""
    expected, found = _last_number(_plain(right)), number_in(answer)
    return expected is not None and found is not None and found == expected


def gsm8k_values(target: str, text: str) -> dict[str, float]:
    """lm-eval's two readings of an answer to GSM8K (tasks/gsm8k/gsm8k.yaml), and ours."""
    strict = _found(re.findall(r"#### (\-?[0-9\.\,]+)", text), 0)
    flexible = _found([a or b for a, b in re.findall(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", text)], -1)
    right = _folded(target)
    return {
        "exact_match,strict-match": float(_folded(strict) == right),
        "exact_match,flexible-extract": float(_folded(flexible) == right),
        "number": float(same_number(text, target.split("####")[-1])),
    }


def _found(matches: list[str], place: int) -> str:
    return matches[place].strip() if matches else "[invalid]"


def _folded(text: str) -> str:
    for pattern in (",", r"\$", r"(?s).*#### ", r"\.$"):
        text = re.sub(pattern, "", text)
    return text.lower()


def _plain(text: str) -> str:
    """One sign for minus, fractions as a/b, no marks of LaTeX or Markdown around numbers."""
    for sign in MINUS[1:]:
        text = text.replace(sign, "-")
    for glyph, written in GLYPHS.items():
        text = re.sub(rf"(?<=\d){glyph}", f" {written}", text).replace(glyph, written)
    text = text.replace(r"\$", "$").replace(r"\%", "%").replace("{,}", ",").replace(r"\,", "").replace(r"\!", "")
    text = _FRACTION.sub(lambda m: f"{m[1]}{m[2]}/{m[3]}", text)
    return re.sub(r"\\text\s*\{([^{}]*)\}", r" \1 ", text).replace("**", "")


def _last_box(text: str) -> str | None:
    starts = [match.end() for match in _BOXED.finditer(text)]
    if not starts:
        return None
    depth = 1
    for at in range(starts[-1], len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if not depth:
            return text[starts[-1] : at]
    return text[starts[-1] :]


def _first_number(text: str) -> Fraction | None:
    found = _numbers(text)
    return found[0][1] if found else _spelled(text)


def _last_number(text: str) -> Fraction | None:
    found = _numbers(text)
    return found[-1][1] if found else _spelled(text)


def _numbers(text: str) -> list[tuple[int, Fraction]]:
    """Where each number written in digits begins, and what it is."""
    found: list[tuple[int, Fraction]] = []
    at = 0
    while at < len(text):
        if (mixed := _MIXED.match(text, at)) and int(mixed[3]):
            whole = int(mixed[1]) + Fraction(int(mixed[2]), int(mixed[3]))
            found.append((at, -whole if text[:at].rstrip().endswith("-") else whole))
            at = mixed.end()
        elif (match := _NUMBER.match(text, at)) and (value := _value(match)) is not None:
            found.append((at, value))
            at = match.end()
        else:
            at += 1
    return found


def _value(match: re.Match[str]) -> Fraction | None:
    body = _decimal(match["body"].rstrip(".,'\u2019\u00a0\u202f_ "))
    power = int((match["power"] or "e0")[1:])
    # What a model writes must not become a number of millions of digits.
    if body is None or len(body) > LONGEST or abs(power) > LONGEST or len(match["below"] or "") > LONGEST:
        return None
    if match["below"] and not int(match["below"]):
        return None
    value: Fraction = Fraction(body) * (Fraction(10**power) if power >= 0 else Fraction(1, 10**-power))
    if match["below"]:
        value /= int(match["below"])
    return -value if match["sign"] or match["late"] else value


def _decimal(body: str) -> str | None:
    """Digits with a point, from any convention of thousands and decimals."""
    body = re.sub(r"[\s'\u2019\u00a0\u202f_]", "", body)
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
        return None
    return f"{pieces[0] or '0'}.{pieces[1]}"


def _spelled(text: str) -> Fraction | None:
    """The last number that is spelled out in English words."""
    runs: list[list[str]] = [[]]
    words = re.findall(r"[a-z]+", text.lower().replace("-", " "))
    for number, word in enumerate(words):
        joins = (
            word in ("and", "a", "an") and number + 1 < len(words) and words[number + 1] in {*WORDS, *SCALES, *PARTS}
        )
        if word in WORDS or word in SCALES or word.removesuffix("s") in PARTS or word in ("minus", "negative") or joins:
            runs[-1].append(word)
        elif runs[-1]:
            runs.append([])
    said = [value for run in runs if (value := _said(run)) is not None]
    return said[-1] if said else None


def _said(words: list[str]) -> Fraction | None:
    total, group, below, seen = 0, 0, 1, False
    for word in words:
        part = PARTS.get(word, PARTS.get(word.removesuffix("s"), 0))
        if word in WORDS:
            group, seen = group + WORDS[word], True
        elif word == "hundred":
            group, seen = max(1, group) * 100, True
        elif word in SCALES:
            total, group, seen = total + max(1, group) * SCALES[word], 0, True
        elif part:
            below, group, seen = part, group or 1, True
    if not seen:
        return None
    value = Fraction(total + group, below)
    return -value if words[0] in ("minus", "negative") else value
