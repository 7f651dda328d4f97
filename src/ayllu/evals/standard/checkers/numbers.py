"""The number that an answer states, in whatever format, and nothing where it states none or leaves open which.

lm-eval's own patterns for GSM8K stay what they are (`gsm8k_values`), so that its scores are met; `number_in` is what
our own generated items are judged by too.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from fractions import Fraction

from ayllu.evals.standard.checkers.number_forms import NEAR, Number, numbers, plain

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_SAID = re.compile(
    r"(?:####|\banswer(?:\s+(?:is|was|equals|would\s+be)\b|\s*[:=])|\bantwort\s*:|\br[ée]ponse\s*:)", re.IGNORECASE
)
_RESULT = re.compile(
    r"\b(?:result|sum|product|total|difference|remainder|quotient)(?:\s+(?:is|equals)\b|\s*[:=])", re.IGNORECASE
)
_SENTENCE = re.compile(r"[.;!?](?=\s|$)|\n")
DENIED = re.compile(
    r"(?:\bnot|n['’]t|\bnever|\brather\s+than|\binstead\s+of|\bneither|\bnor)"
    r"(?:\s+(?:be|is|was|it|equal|exactly|to|in|at|the|a|an|think|believe|that))*[\s\"'$€£¥*(]*$",
    re.IGNORECASE,
)
"""The end of a text behind which stands what is denied."""
_WRONG = re.compile(
    r"[\"')]*\s*(?:(?:is|was)\s+(?:wrong|incorrect|false|not\s+(?:the\s+)?(?:answer|right|correct))"
    r"|(?:is|was)n['’]t\s+(?:the\s+)?(?:answer|right|correct))\b",
    re.IGNORECASE,
)
_COMPARED = re.compile(r"\s*%?\s*(?:\w+\s+)?(?:more|less|fewer|greater|larger|smaller)\s+than\b", re.IGNORECASE)
_OPERATOR = re.compile(r"[\s()$€£¥]*(?:[-+*×x·÷/^]|times|plus|minus|divided\s+by)[\s()$€£¥]*", re.IGNORECASE)
_CHOICE = re.compile(r"\s*(?:or|to|~|\.\.+|…)\s*", re.IGNORECASE)
_LIST = re.compile(r"[ \t]*(?:,|;|&|\||\band\b)?[ \t]*", re.IGNORECASE)
_REASON = re.compile(r"\b(?:and|or|as|since|because|not|but|for|so|where|which|if|then|while)\b", re.IGNORECASE)


LONGEST_TEXT = 50_000
"""Characters of an answer that are read, at its end."""


def number_in(text: str) -> Fraction | None:
    """The number that an answer states: in its last box, behind its last "answer is" or "####", or its last one.

    A number that is denied ("not 5") is not stated. None where there is none, and where it stays open which is meant:
    "3 or 4", "3-5", "between 3 and 5", "3, 4", a sum that is not carried out.
    """
    text = plain(text[-LONGEST_TEXT:])
    if inside := _last_box(text):
        return _last(inside)
    if answers := list(_SAID.finditer(text)):
        said = text[answers[-1].end() :]
        found = numbers(said)
        if not all(_denied(said, number) for number in found):
            return _first(said, found)
    if (results := list(_RESULT.finditer(text))) and _last_sentence(rest := text[results[-1].end() :]):
        found = numbers(rest)
        if found and not _COMPARED.match(rest, found[0].end):
            return _first(rest, found)
    return _last(text)


def same_number(answer: str, right: str) -> bool:
    """Whether an answer states the number that `right` is."""
    expected, found = _last(plain(right)), number_in(answer)
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


def _denied(text: str, number: Number) -> bool:
    return bool(DENIED.search(text, max(0, number.start - 80), number.start) or _WRONG.match(text, number.end))


def _first(text: str, found: Sequence[Number]) -> Fraction | None:
    """The first number that a text states: what a sum comes to where it begins with one."""
    at = next((at for at, number in enumerate(found) if not _denied(text, number)), None)
    if at is None:
        return None
    end = _sentence_end(text, found, at)
    mine = [number for number in found[at:] if number.end <= end]
    equal = text.rfind("=", mine[0].end, end)
    if equal >= 0 and not _REASON.search(text, mine[0].end, equal) and ", " not in text[mine[0].end : equal]:
        behind = [number for number in mine if number.start > equal]
        return behind[0].value if behind else None
    gaps = _gaps(text, mine)
    if gaps and (
        _open(gaps[0], text[max(0, mine[0].start - NEAR) : mine[0].start])
        or _only_listed(text[mine[0].start : end], mine, gaps)
    ):
        return None
    return mine[0].value


def _last(text: str) -> Fraction | None:
    """The last number that a text states."""
    found = numbers(text)
    at = next((at for at in reversed(range(len(found))) if not _denied(text, found[at])), None)
    if at is None:
        return None
    if at:
        [gap] = _gaps(text, found[at - 1 : at + 1])
        if _open(gap, text[max(0, found[at - 1].start - NEAR) : found[at - 1].start]):
            return None
        if _only_listed(text, found, _gaps(text, found)):
            return None
    return found[at].value


def _gaps(text: str, found: Sequence[Number]) -> list[str]:
    """What stands between numbers; of more than a few words it does not matter what it is."""
    pairs = itertools.pairwise(found)
    return [text[a.end : b.start] if b.start - a.end <= NEAR else "much else" for a, b in pairs]


def _open(gap: str, ahead: str) -> bool:
    """Whether what parts two numbers leaves open which of them is meant."""
    if _OPERATOR.fullmatch(gap):
        return True
    if re.fullmatch(r"\s*and\s*", gap, re.IGNORECASE):
        return re.search(r"\bbetween\s*[$€£¥]?$", ahead, re.IGNORECASE) is not None
    changed = re.search(r"\bfrom\s*[$€£¥]?$", ahead, re.IGNORECASE) and "to" in gap.lower()
    return _CHOICE.fullmatch(gap) is not None and not changed


def _only_listed(text: str, found: Sequence[Number], gaps: Sequence[str]) -> bool:
    """Whether a text is nothing but several numbers in one line."""
    told = sum(number.end - number.start for number in found) + sum(map(len, gaps))
    return all(map(_LIST.fullmatch, gaps)) and len(text.strip(" \t\n$€£¥%.")) <= told


def _last_sentence(text: str) -> bool:
    """Whether no other sentence with a number follows the one that begins a text."""
    found = numbers(text)
    return bool(found) and found[-1].end <= _sentence_end(text, found, 0)


def _sentence_end(text: str, found: Sequence[Number], at: int) -> int:
    """Where the sentence ends that holds a number."""
    return next((match.start() for match in _SENTENCE.finditer(text, found[at].end)), len(text))
