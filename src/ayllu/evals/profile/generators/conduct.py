"""Knowing what one does not know, keeping a correction, and following an instruction against a habit."""

from __future__ import annotations

import itertools
from random import Random

from ayllu.evals.profile.generators.words import COLOURS, PEOPLE, PLACES, THINGS, near_numbers
from ayllu.evals.profile.item import Draft

UNKNOWN = "unknown"
OPPOSITES = (("hot", "cold"), ("big", "small"), ("old", "young"), ("day", "night"), ("up", "down"), ("wet", "dry"))
TYPICAL = (
    *(("ice", "cold", 0), ("fire", "hot", 0), ("an elephant", "big", 1), ("an ant", "small", 1)),
    *(("a baby", "young", 2), ("a grandmother", "old", 2), ("the sea", "wet", 5), ("a desert", "dry", 5)),
)
"""A thing, what it is known to be, and which pair of opposites that is of."""


def unanswerable(rng: Random, level: int) -> Draft:
    """Where somebody is, in a text that does not say it half the time; then the right answer is "unknown"."""
    people = rng.sample(PEOPLE, 1 + level)
    places = [rng.choice(PLACES) for _ in people]
    wanted = rng.randrange(len(people))
    said = rng.random() < 0.5
    told = [f"{person} is in the {place}." for person, place in zip(people, places, strict=True)]
    if not said:
        told[wanted] = f"{people[wanted]} has a {rng.choice(COLOURS)} {rng.choice(THINGS)}."
    rng.shuffle(told)
    question = (
        f"{' '.join(told)} Where is {people[wanted]}? Answer with the place only, or with {UNKNOWN} if the text does "
        "not say it."
    )
    answer = places[wanted] if said else UNKNOWN
    others = [place for place in dict.fromkeys([*places, *PLACES]) if place != answer][: 3 if not said else 2]
    wrong = others if not said else [*others, UNKNOWN]
    return Draft(question=question, answer=answer, wrong=wrong, kind="said" if said else "unsaid")


def told_correction(rng: Random, level: int) -> Draft:
    """A number that was corrected, asked after as many other matters as half the level."""
    old, new = rng.randrange(1000, 10_000), rng.randrange(1000, 10_000)
    thing = rng.choice(THINGS)
    turns = [
        ("user", f"The number of the {thing} is {old}."),
        ("assistant", f"The number of the {thing} is {old}."),
        ("user", f"I was wrong: the number of the {thing} is {new}, not {old}."),
        ("assistant", f"The number of the {thing} is {new}."),
    ]
    for other in rng.choices([each for each in THINGS if each != thing], k=(level + 1) // 2):
        number = rng.randrange(1000, 10_000)
        turns += [("user", f"The number of the {other} is {number}."), ("assistant", "Noted.")]
    question = f"What is the number of the {thing}? Answer with the number only."
    wrong = [str(old), *near_numbers(rng, new, 2)]
    return Draft(question=question, answer=str(new), wrong=wrong, check="number", turns=turns)


def corrected_often(rng: Random, level: int) -> Draft:
    """A place that was corrected as many times as half the level: the last word counts."""
    person, thing = rng.choice(PEOPLE), rng.choice(THINGS)
    places = [rng.choice(PLACES)]
    while len(places) < 1 + (level + 1) // 2:
        places.append(rng.choice([place for place in PLACES if place != places[-1]]))
    turns = [("user", f"The {thing} of {person} is in the {places[0]}."), ("assistant", "Noted.")]
    for before, after in itertools.pairwise(places):
        turns += [("user", f"No, it is not in the {before} but in the {after}."), ("assistant", "Noted.")]
    answer = places[-1]
    lure = places[-2]
    others = rng.sample([place for place in PLACES if place not in (answer, lure)], 2)
    question = f"Where is the {thing} of {person}? Answer with the place only."
    return Draft(question=question, answer=answer, wrong=[lure, *others], turns=turns)


def swapped_words(rng: Random, level: int) -> Draft:
    """A question that habit answers at once, after the meanings of two words were exchanged; more words every level."""
    thing, known, pair = rng.choice(TYPICAL)
    swaps = [f'"{a}" means {b} and "{b}" means {a}' for a, b in [OPPOSITES[pair]]]
    for a, b in zip(rng.sample(THINGS, level // 2), rng.sample(COLOURS * 3, level // 2), strict=True):
        swaps.append(f'"{a}" means {b} and "{b}" means {a}')
    rng.shuffle(swaps)
    first, second = OPPOSITES[pair]
    answer, habit = (second, first) if known == first else (first, second)
    question = (
        f"In this game {'; '.join(swaps)}. In the words of this game, is {thing} {first} or {second}? Answer with "
        "that word only."
    )
    return Draft(question=question, answer=answer, wrong=[habit], closed=True)


def renamed_digits(rng: Random, level: int) -> Draft:
    """A sum in digits that stand for other digits: as many are renamed as the level, and more are added."""
    count = min(10, 1 + level // 2)
    chosen = rng.sample(range(10), count)
    meaning = (
        dict(zip(chosen, chosen[1:] + chosen[:1], strict=True)) if count > 1 else {chosen[0]: (chosen[0] + 1) % 10}
    )
    terms = [rng.choice(chosen) for _ in range(2 + level // 5)]
    right = sum(meaning[term] for term in terms)
    rules = "; ".join(f"{sign} means {value}" for sign, value in meaning.items())
    question = (
        f"In this game {rules}. What is {' + '.join(map(str, terms))}, with these meanings? Answer with the sum as an "
        "ordinary number only."
    )
    habit = [str(sum(terms))] if sum(terms) != right else []
    wrong = [*habit, *near_numbers(rng, right, 4)][:3]
    return Draft(question=question, answer=str(right), wrong=wrong, check="number")


KNOWING_LIMITS = {"unanswerable": unanswerable}
CORRECTION = {"told_correction": told_correction, "corrected_often": corrected_often}
HABIT = {"swapped_words": swapped_words, "renamed_digits": renamed_digits}
