"""Knowledge: capitals, chemical elements, and the names of characters."""

from __future__ import annotations

import unicodedata
from random import Random

from ayllu.evals.profile.generators.facts import BLOCKS, CAPITALS, ELEMENTS, EVERYDAY_ELEMENTS
from ayllu.evals.profile.generators.words import near_numbers, near_texts
from ayllu.evals.profile.item import Draft

NAMES = unicodedata.ucd_3_2_0
"""Unicode 3.2, which every Python holds: with its newest tables the items would depend on the Python."""
DIRECT = 10
"""Up to this level one fact is asked for; above it several have to be brought together."""


def capitals(rng: Random, level: int) -> Draft:
    """A capital, from France's to Palau's; then the last letters of the capitals of several countries."""
    if level <= DIRECT:
        share = len(CAPITALS) // DIRECT
        part = CAPITALS[(level - 1) * share : level * share]
        (country, capital), *others = rng.sample(part, 4)
        question = f"What is the capital of {country}? Answer with the name of the city only."
        return Draft(question=question, answer=capital, wrong=[city for _, city in others])
    known = [pair for pair in CAPITALS if pair[1][-1].isascii() and pair[1][-1].isalpha()]
    chosen = rng.sample(known, level - DIRECT + 1)
    answer = "".join(city[-1] for _, city in chosen)
    countries = ", ".join(country for country, _ in chosen)
    question = (
        f"Take the capitals of these countries, in this order: {countries}. Which text do the last letters of the "
        "capitals make? Answer with these letters only."
    )
    return Draft(question=question, answer=answer, wrong=near_texts(rng, answer))


def elements(rng: Random, level: int) -> Draft:
    """The symbol of an everyday element, the number of a rarer one, the sum of the numbers of many."""
    if level <= 3:
        name = rng.choice(EVERYDAY_ELEMENTS)
        symbols = dict(ELEMENTS)
        wrong = rng.sample([symbols[other] for other in EVERYDAY_ELEMENTS if other != name], 3)
        question = f"What is the chemical symbol of {name}? Answer with the symbol only."
        return Draft(question=question, answer=symbols[name], wrong=wrong)
    reach = min(len(ELEMENTS), 12 * level - 30)
    chosen = rng.sample(range(1, reach + 1), max(1, level - DIRECT + 1))
    right = sum(chosen)
    named = [ELEMENTS[number - 1][0] for number in chosen]
    asked = (
        f"the atomic number of {named[0]}" if len(named) == 1 else f"the sum of the atomic numbers of {_listed(named)}"
    )
    question = f"What is {asked}? Answer with the number only."
    return Draft(question=question, answer=str(right), wrong=near_numbers(rng, right), check="number")


def characters(rng: Random, level: int) -> Draft:
    """The name in Unicode of a character that is given by its number: from the percent sign to syllables of Yi."""
    first, last = BLOCKS[level - 1]
    named = [code for code in range(first, last + 1) if NAMES.name(chr(code), "")]
    code, *others = rng.sample(named, 4)
    question = f"What is the name in Unicode of the character U+{code:04X}? Answer with the name only."
    wrong = [NAMES.name(chr(other)) for other in others]
    return Draft(question=question, answer=NAMES.name(chr(code)), wrong=wrong)


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


GENERATORS = {"capitals": capitals, "elements": elements, "characters": characters}
