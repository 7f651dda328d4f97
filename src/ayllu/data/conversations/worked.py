"""Worked solutions: what a reply looks like that gets to an answer step by step."""

from __future__ import annotations

import re

_TERM = re.compile(r"([+-]?)\s*(\d+)")


def worked_sum(expression: str) -> str:
    """A sum or difference of whole numbers, one operation a line: "3 + 4 - 9" gives "3 + 4 = 7" and "7 - 9 = -2".

    Raises ValueError on anything else, or on fewer than two numbers.
    """
    terms = [(sign or "+", int(digits)) for sign, digits in _TERM.findall(expression)]
    if len(terms) < 2 or _TERM.sub("", expression).strip() or any(not s for s, _ in _TERM.findall(expression)[1:]):
        raise ValueError(f"{expression!r} is no sum or difference of two or more whole numbers")
    total, lines = int(f"{terms[0][0]}{terms[0][1]}"), []
    for sign, number in terms[1:]:
        reached = total + number if sign == "+" else total - number
        lines.append(f"{total} {sign} {number} = {reached}")
        total = reached
    return "\n".join(lines)
