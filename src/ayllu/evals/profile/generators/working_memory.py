"""Working memory: digits backwards, values that change, and two kinds of signs sorted apart."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ayllu.evals.profile.generators.words import LETTERS, near_lists, near_numbers
from ayllu.evals.profile.item import Draft

DIGITS = "0123456789"


def digits_backwards(rng: Random, level: int) -> Draft:
    """Digits to be said backwards, up to 49 of them."""
    digits = [rng.choice(DIGITS) for _ in range(1 + round(1.6 * level))]
    right = digits[::-1]
    question = f"Say these digits in reverse order: {' '.join(digits)}. Answer with the digits only, with spaces."
    return Draft(question=question, answer=" ".join(right), wrong=near_lists(rng, right, DIGITS))


def updating(rng: Random, level: int) -> Draft:
    """The value of one of several names after changes, two for every level."""
    names = list(LETTERS[: 1 + level // 3])
    values = {name: rng.randrange(1, 10) for name in names}
    told = [f"{name} is {value}." for name, value in values.items()]
    for _ in range(2 * level - 1):
        name, change = rng.choice(names), rng.randrange(1, 6)
        down = values[name] > 9 or (values[name] > change and rng.random() < 0.5)
        told.append(f"{name} goes {'down' if down else 'up'} by {change}.")
        values[name] += -change if down else change
    name = rng.choice(names)
    question = f"{' '.join(told)} What is {name} now? Answer with the number only."
    right = values[name]
    return Draft(question=question, answer=str(right), wrong=near_numbers(rng, right), check="number")


def sorting(rng: Random, level: int) -> Draft:
    """Letters and digits, mixed: the digits in order, then the letters in order."""
    count = 2 + round(1.5 * level)
    signs = [rng.choice(DIGITS if place % 2 else LETTERS.upper()) for place in range(count)]
    rng.shuffle(signs)
    right = sorted(signs)
    question = (
        f"Here are digits and letters: {' '.join(signs)}. Say first the digits in ascending order, then the letters in "
        "alphabetical order. Answer with the signs only, with spaces."
    )
    return Draft(question=question, answer=" ".join(right), wrong=_near_orders(rng, right))


def _near_orders(rng: Random, right: Sequence[str], count: int = 3) -> list[str]:
    """The list with one sign replaced, in order again: that an answer is in order must tell nothing."""
    found: dict[str, None] = {}
    while len(found) < count:
        entries, place = list(right), rng.randrange(len(right))
        entries[place] = rng.choice(DIGITS if entries[place].isdigit() else LETTERS.upper())
        if (ordered := sorted(entries)) != list(right):
            found[" ".join(ordered)] = None
    return list(found)


GENERATORS = {"digits_backwards": digits_backwards, "updating": updating, "sorting": sorting}
