"""Speed: questions that anyone can answer, in ever less time: 20 seconds at level 1, 24 microseconds at level 30."""

from __future__ import annotations

from random import Random

from ayllu.evals.profile.generators.words import LETTERS
from ayllu.evals.profile.item import Draft

FIRST, SHRINK = 20.0, 1.6
"""Seconds at level 1, and by how much less there is at each further level."""


def seconds_at(level: int) -> float:
    """Time for an answer at a level, in seconds."""
    return FIRST / SHRINK ** (level - 1)


def larger(rng: Random, level: int) -> Draft:
    """The larger of two digits."""
    a, b = rng.sample(range(1, 10), 2)
    question = f"Which is larger, {a} or {b}? Answer with the number only."
    return Draft(
        question=question,
        answer=str(max(a, b)),
        wrong=[str(min(a, b))],
        check="number",
        closed=True,
        seconds=seconds_at(level),
    )


def same(rng: Random, level: int) -> Draft:
    """Whether two short texts are the same."""
    first = "".join(rng.choice(LETTERS) for _ in range(3))
    alike = rng.random() < 0.5
    second = first if alike else first[:2] + rng.choice([letter for letter in LETTERS if letter != first[2]])
    question = f'Are "{first}" and "{second}" the same? Answer with yes or no only.'
    answer, wrong = ("yes", "no") if alike else ("no", "yes")
    return Draft(question=question, answer=answer, wrong=[wrong], closed=True, seconds=seconds_at(level))


def copying(rng: Random, level: int) -> Draft:
    """A letter written again."""
    letter, *others = rng.sample(LETTERS.upper(), 4)
    question = f"Write the letter {letter}. Answer with that letter only."
    return Draft(question=question, answer=letter, wrong=others, seconds=seconds_at(level))


GENERATORS = {"larger": larger, "same": same, "copying": copying}
