"""Long-term memory: what was told in an earlier conversation, and what is called back from long ago."""

from __future__ import annotations

from functools import lru_cache
from math import isqrt
from random import Random

from ayllu.evals.profile.generators.facts import ELEMENTS
from ayllu.evals.profile.generators.words import PEOPLE, PLACES, THINGS, invented_words, near_texts
from ayllu.evals.profile.item import Draft

DIGITS = "0123456789"
PRECISION = 6000
"""Decimal places of the constants that are computed."""
BACKWARDS = 12
"""From this level on what is named must be in reverse alphabetical order."""


def told_before(rng: Random, level: int) -> Draft:
    """A fact of an earlier conversation, among as many others as two for every level."""
    people = rng.sample(PEOPLE, min(len(PEOPLE), 2 * level))
    words = invented_words(rng, max(4, len(people)))
    facts = " ".join(f"The password of {person} is {word}." for person, word in zip(people, words, strict=False))
    place = rng.randrange(len(people))
    wrong = [word for number, word in enumerate(words) if number != place]
    question = f"What is the password of {people[place]}? Answer with the password only."
    return Draft(question=question, answer=words[place], wrong=rng.sample(wrong, 3), before=facts)


def associates(rng: Random, level: int) -> Draft:
    """The partner of an invented word, told before a text of other matters that grows with the level."""
    count = 1 + level
    keys, values = invented_words(rng, count, 2), invented_words(rng, max(4, count), 3)
    told = " ".join(f"{key} means {value}." for key, value in zip(keys, values, strict=False))
    filler = " ".join(
        f"{rng.choice(PEOPLE)} puts the {rng.choice(THINGS)} in the {rng.choice(PLACES)}." for _ in range(level)
    )
    place = rng.randrange(count)
    wrong = rng.sample([value for number, value in enumerate(values) if number != place], 3)
    question = f"{told} {filler} What does {keys[place]} mean? Answer with one word."
    return Draft(question=question, answer=values[place], wrong=wrong)


def constants(rng: Random, level: int) -> Draft:
    """Three decimal digits of a famous number: the first ones, then from ever farther behind, up to place 5,000."""
    name = "π" if level < 3 else rng.choice(("π", "e", "the square root of 2"))
    start = 1 + 3 * (level - 1) if level < 4 else round(1.328**level) + rng.randrange(3 * level)
    digits = _decimals(name)
    right = digits[start - 1 : start + 2]
    question = (
        f"Which three digits of {name} stand at the decimal places {start} to {start + 2}? "
        "Answer with the three digits only."
    )
    return Draft(question=question, answer=right, wrong=near_texts(rng, right, DIGITS))


def naming(rng: Random, level: int) -> Draft:
    """Three chemical elements for each level, from level 12 on in reverse alphabetical order; generated only."""
    count = 3 * level
    members = rng.sample([name for name, _ in ELEMENTS], count)
    if level < BACKWARDS:
        form, check = "Answer with the names only, separated by commas.", "distinct"
    else:
        members.sort(reverse=True)
        form, check = "Answer in reverse alphabetical order, with the names only, separated by commas.", "descending"
    question = f"Name {count} different chemical elements. {form}"
    return Draft(question=question, answer=", ".join(members), check=check)  # type: ignore[arg-type]


@lru_cache
def _decimals(name: str) -> str:
    """Decimal digits of a constant, computed with whole numbers and ten digits to spare."""
    unit = 10 ** (PRECISION + 10)
    if name == "e":
        total = term = unit
        number = 1
        while term := term // number:
            total, number = total + term, number + 1
        value = total - unit
    elif name == "π":
        value = 4 * (4 * _arctangent(5, unit) - _arctangent(239, unit))
    else:
        value = isqrt(2 * unit * unit)
    # Python refuses to write numbers of more than 4,300 digits at once.
    parts = []
    while value:
        value, part = divmod(value, 10**2000)
        parts.append(f"{part:02000d}")
    return "".join(reversed(parts)).lstrip("0")[1 : PRECISION + 1]


def _arctangent(x: int, unit: int) -> int:
    """unit · arctan(1 / x) by its series (Machin 1706)."""
    total = term = unit // x
    sign, odd = -1, 3
    while term := term // (x * x):
        total += sign * (term // odd)
        sign, odd = -sign, odd + 2
    return total


STORAGE = {"told_before": told_before}
RETRIEVAL = {"associates": associates, "constants": constants, "naming": naming}
