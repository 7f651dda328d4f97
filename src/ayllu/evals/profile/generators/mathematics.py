"""Mathematics: sums, products, and nested expressions."""

from __future__ import annotations

from random import Random

from ayllu.evals.profile.generators.words import near_numbers
from ayllu.evals.profile.item import Draft

ONLY = "Answer with the number only."


def addition(rng: Random, level: int) -> Draft:
    """Numbers of as many digits as the level, and one more of them every ten levels."""
    low = 10 ** (level - 1) if level > 1 else 1
    terms = [rng.randrange(low, 10 * low if level > 1 else 6) for _ in range(2 + level // 10)]
    return _number(rng, f"What is {' + '.join(map(str, terms))}? {ONLY}", sum(terms))


def multiplication(rng: Random, level: int) -> Draft:
    """A number of as many digits as the level times one of half as many; the first levels are of the small table."""
    long, short = max(1, level - 1), max(1, level // 2)
    a = rng.randrange(2, 5 + 2 * level) if level < 3 else rng.randrange(10 ** (long - 1), 10**long)
    b = rng.randrange(2, 4 + level) if level < 4 else rng.randrange(10 ** (short - 1) + 1, 10**short)
    return _number(rng, f"What is {a} × {b}? {ONLY}", a * b)


def expression(rng: Random, level: int) -> Draft:
    """As many operations as the level, in brackets."""
    text, value = str(first := rng.randrange(1, 10)), first
    for _ in range(level):
        operand = rng.randrange(1, 10)
        sign = rng.choice("+-×" if level > 2 and abs(value) < 1000 else "+-")
        if level < 3 and sign == "-" and operand > value:
            sign = "+"
        new = {"+": value + operand, "-": value - operand, "×": value * operand}[sign]
        inner = text if text.isdigit() else f"({text})"
        left = rng.random() < 0.7 or sign == "-"
        text = f"{inner} {sign} {operand}" if left else f"{operand} {sign} {inner}"
        value = new
    return _number(rng, f"What is {text}? {ONLY}", value)


def _number(rng: Random, question: str, right: int) -> Draft:
    return Draft(question=question, answer=str(right), wrong=near_numbers(rng, right), check="number")


GENERATORS = {"addition": addition, "multiplication": multiplication, "expression": expression}
