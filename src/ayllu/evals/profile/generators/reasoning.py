"""On-the-spot reasoning: series of numbers, orders from comparisons, and matrices of signs."""

from __future__ import annotations

import itertools
from random import Random

from ayllu.evals.profile.generators.words import PEOPLE, near_numbers, near_texts
from ayllu.evals.profile.item import Draft

SHOWN = 4
"""Numbers of each interleaved series that are shown beyond those that its degree needs."""


def series(rng: Random, level: int) -> Draft:
    """The next number: steps of one, then of more, growing steps, and several such series in turn."""
    count, degree = 1 + level // 7, 1 + (level % 7) // 3
    runs = [_polynomial(rng, degree, level, SHOWN + degree) for _ in range(count)]
    flat = [run[place] for place in range(SHOWN + degree) for run in runs]
    shown, right = flat[:-count], flat[-count]
    question = f"Which number comes next? {', '.join(map(str, shown))}, ... Answer with the number only."
    return Draft(question=question, answer=str(right), wrong=near_numbers(rng, right), check="number")


def _polynomial(rng: Random, degree: int, level: int, length: int) -> list[int]:
    """Numbers whose differences of order `degree` are all the same."""
    steps = [1] if level == 1 else [rng.randrange(1, 3 + level // 2) for _ in range(degree)]
    differences = [rng.randrange(1, 10), *steps]
    found = []
    for _ in range(length):
        found.append(differences[0])
        for order in range(degree):
            differences[order] += differences[order + 1]
    return found


def order(rng: Random, level: int) -> Draft:
    """Who stands in a place of an order that is told in shuffled comparisons of neighbours."""
    people = rng.sample(PEOPLE, level + 2)
    told = [f"{a} is taller than {b}." for a, b in itertools.pairwise(people)]
    rng.shuffle(told)
    place = 0 if level < 3 else rng.randrange(len(people))
    asked = "the tallest" if place == 0 else f"number {place + 1} from the tallest"
    others = [person for person in people if person != people[place]]
    question = f"{' '.join(told)} Who is {asked}? Answer with the name only."
    return Draft(question=question, answer=people[place], wrong=rng.sample(others, min(3, len(others))))


def matrix(rng: Random, level: int) -> Draft:
    """The ninth cell of three rows: a cell has as many signs as the level, and each follows a rule of its own."""
    cells = [["" for _ in range(3)] for _ in range(3)]
    for _ in range(level):
        for row, signs in enumerate(_rule(rng, level)):
            for column, sign in enumerate(signs):
                cells[row][column] += str(sign)
    right = cells[2][2]
    shown = "\n".join(" | ".join(row) for row in [*cells[:2], [*cells[2][:2], "?"]])
    question = f"Which cell belongs where the question mark is?\n{shown}\nAnswer with the cell only."
    return Draft(question=question, answer=right, wrong=near_texts(rng, right, "0123456789"))


def _rule(rng: Random, level: int) -> list[list[int]]:
    """Digits of three rows under one rule: the same in a row, one more each column, all three of a kind, or a sum."""
    kind = rng.randrange(1 if level == 1 else 4)
    starts = [rng.randrange(10) for _ in range(3)]
    if kind == 0:
        return [[start] * 3 for start in starts]
    if kind == 1:
        step = rng.randrange(1, 5)
        return [[(start + step * column) % 10 for column in range(3)] for start in starts]
    if kind == 2:
        three = rng.sample(range(10), 3)
        return [three[row:] + three[:row] for row in range(3)]
    pairs = [(rng.randrange(10), rng.randrange(10)) for _ in range(3)]
    return [[a, b, (a + b) % 10] for a, b in pairs]


GENERATORS = {"series": series, "order": order, "matrix": matrix}
