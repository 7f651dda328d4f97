"""Reading and writing: a text that must be followed, agreement across nested clauses, and letters written backwards."""

from __future__ import annotations

from random import Random

from ayllu.evals.profile.generators.words import PEOPLE, PLURALS, THINGS, VERBS, invented, near_texts
from ayllu.evals.profile.item import Draft

SHORT = ("cat", "sun", "tree", "milk", "house", "water", "garden", "window", "kitchen", "mountain")


def story(rng: Random, level: int) -> Draft:
    """Who has what after it went from hand to hand: more things and more hands with every level."""
    things = rng.sample(THINGS, min(len(THINGS), 1 + level // 3))
    people = rng.sample(PEOPLE, 4 + level // 2)
    owner = {thing: people[place] for place, thing in enumerate(things)}
    told = [f"{owner[thing]} has the {thing}." for thing in things]
    rng.shuffle(told)
    for _ in range(level - 1):
        thing = rng.choice(things)
        receiver = rng.choice([person for person in people if person != owner[thing]])
        told.append(f"{owner[thing]} gives the {thing} to {receiver}.")
        owner[thing] = receiver
    thing = rng.choice(things)
    wrong = rng.sample([person for person in people if person != owner[thing]], 3)
    question = f"{' '.join(told)} Who has the {thing} now? Answer with the name only."
    return Draft(question=question, answer=owner[thing], wrong=wrong)


def agreement(rng: Random, level: int) -> Draft:
    """The form of the verb that comes next, where clauses stand in clauses: it agrees with a noun far before it."""
    nouns = [rng.choice(PLURALS) for _ in range(level)]
    numbers = [rng.randrange(2) for _ in nouns]
    clauses = " that ".join(f"the {noun[number]}" for noun, number in zip(nouns, numbers, strict=True))
    done = rng.randrange(level)
    verbs = [rng.choice(VERBS)[number] for number in reversed(numbers)][:done]
    verb = rng.choice(VERBS)
    begun = " ".join([clauses, *verbs])
    question = (
        f'Which word goes on with this sentence grammatically, "{verb[0]}" or "{verb[1]}"? '
        f'"{begun[0].upper()}{begun[1:]} ..." Answer with that word only.'
    )
    number = numbers[level - 1 - done]
    return Draft(question=question, answer=verb[number], wrong=[verb[1 - number]], closed=True)


def backwards(rng: Random, level: int) -> Draft:
    """A word written backwards: short known ones first, then invented ones of up to 60 letters."""
    word = rng.choice(SHORT[: level + 2]) if level < 6 else invented(rng, level)
    answer = word[::-1]
    question = f'Write the letters of "{word}" in reverse order. Answer with the reversed letters only.'
    return Draft(question=question, answer=answer, wrong=near_texts(rng, answer))


GENERATORS = {"story": story, "agreement": agreement, "backwards": backwards}
