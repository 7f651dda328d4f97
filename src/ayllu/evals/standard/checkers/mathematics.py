"""Whether an answer to a problem of MATH is the right one: Minerva's normalisation, then equality.

The rules are those of Lewkowycz et al. 2022 (arXiv:2206.14858), appendix D.1, as lm-eval's minerva_math has them. It
then asks sympy whether two expressions are equal; here two texts are the same after normalisation, or the same number.
What sympy alone would accept (2x+1 for 1+2x) counts as wrong here: docs/measuring/standard_sets.md says how often.
"""

from __future__ import annotations

import re

from ayllu.evals.standard.checkers.numbers import number_in
from ayllu.evals.standard.task import Row

INVALID = "[invalidanswer]"
SUBSTITUTIONS = (
    ("an ", ""),
    ("a ", ""),
    (".$", "$"),
    (r"\$", ""),
    (r"\ ", ""),
    (" ", ""),
    ("mbox", "text"),
    (r",\text{and}", ","),
    (r"\text{and}", ","),
    (r"\text{m}", r"\text{}"),
)
UNITS = (
    r"square|ways|integers|dollars|mph|inches|ft|hours|km|units|sue|points|feet|minutes|digits|cents|degrees|cm|gm|"
    r"pounds|meters|meals|edges|students|childrentickets|multiples"
)
REMOVED = (
    r"\ldots",
    r"\text{s}",
    r"\text{.}",
    "\\text{\ns}",
    r"\text{}^2",
    r"\text{}^3",
    "\\text{\n}",
    r"\text{}",
    r"\mathrm{th}",
    r"^\circ",
    r"^{\circ}",
    r"\;",
    r",\!",
    "{,}",
    '"',
    r"\dots",
)


def math_values(row: Row, text: str) -> dict[str, float]:
    """The metric of an answer to a row with a `solution`."""
    right = normalized(boxed(row["solution"]) or "")
    return {"exact_match": float(equivalent(normalized(final_answer(text)), right))}


def final_answer(text: str) -> str:
    """What stands in Minerva's sentence "Final Answer: The final answer is …. I hope it is correct."."""
    match = re.search(r"Final Answer: The final answer is(.*?). I hope it is correct.", text + "I hope it is correct.")
    return match[1].strip() if match else INVALID


def boxed(text: str) -> str | None:
    """What stands in the last box."""
    if r"\boxed " in text:
        return text.split(r"\boxed ")[-1].split("$")[0]
    start = max(text.rfind(r"\boxed{"), text.rfind(r"\fbox{"))
    if start < 0:
        return None
    first = text.index("{", start) + 1
    depth = 1
    for at in range(first, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if not depth:
            return text[first:at]
    return None


def equivalent(one: str, other: str) -> bool:
    """Whether two normalised answers are the same text or the same number."""
    if one and one == other:
        return True
    if not (_only_number(one) and _only_number(other)):
        return False
    return number_in(one) == number_in(other)


def _only_number(text: str) -> bool:
    return bool(re.fullmatch(r"-?(\d+(\.\d+)?|\.\d+|\\[dt]?frac\{-?\d+\}\{\d+\}|\d+/\d+)(\\%|%)?", text))


def normalized(text: str) -> str:
    """An answer without units, spaces, dollars and the shorthands of TeX."""
    text = text.split("=")[-1]
    # A unit goes while space still parts it, so that \left keeps its "ft".
    text = re.sub(rf"(?<!\\)\b(?:{UNITS})\b", "", text)
    for before, after in SUBSTITUTIONS:
        text = text.replace(before, after)
    pieces = re.split(r"(\\[a-zA-Z]+)", text)
    for number in range(0, len(pieces), 2):
        pieces[number] = re.sub(UNITS, "", pieces[number])
    text = "".join(pieces)
    for removed in REMOVED:
        text = text.replace(removed, "")
    text = re.sub(r"(.*?)(\$)(.*?)(\$)(.*)", r"$\3$", text)
    for name in ("text", "textbf", "overline"):
        text = re.sub(rf"\\{name}\{{(.*?)\}}", r"\1", text)
    text = re.sub(r"\\boxed\{(.*)\}", r"\1", text)
    text = re.sub(r"frac([^{])(.)", r"frac{\1}{\2}", text)
    text = re.sub(r"sqrt(\[[^\]]*\])(\w)", r"sqrt\1{\2}", text)
    text = re.sub(r"sqrt(?!\[)([^{])", r"sqrt{\1}", text)
    text = text.replace("$", "")
    return text.replace(",", "") if re.fullmatch(r"-?\d{1,3}(,\d{3})+", text) else text
