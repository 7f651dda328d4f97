"""Learning: a rule that nobody knows, from 0 to 16 examples. Each rule is asked with each number of examples."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from ayllu.evals.profile.generators.words import CONSONANTS, VOWELS, invented, near_texts
from ayllu.evals.profile.item import Draft

EXAMPLES = (0, 1, 2, 4, 8, 16)
Change = Callable[[str], str]


def changes(rng: Random) -> list[Change]:
    """Ways to change a word, with letters that the generator draws."""
    extra, old, new = rng.choice(CONSONANTS), rng.choice(VOWELS), rng.choice(CONSONANTS)
    return [
        lambda word: word[::-1],
        lambda word: word[1:] + word[0],
        lambda word: word[-1] + word[:-1],
        lambda word: word[-1] + word[1:-1] + word[0],
        lambda word: word + word[0],
        lambda word: word + extra,
        lambda word: extra + word,
        lambda word: word.replace(old, new),
        lambda word: word[0] * 2 + word[1:],
        lambda word: "".join(sorted(word)),
        lambda word: word[1:],
        lambda word: word[:-1],
    ]


def draw_rule(rng: Random, parts: int) -> Change:
    """A rule of so many changes, one after the other."""
    chosen = rng.sample(changes(rng), parts)

    def rule(word: str) -> str:
        for change in chosen:
            word = change(word)
        return word

    return rule


def with_examples(count: int) -> Callable[[Random, int], Draft]:
    """The generator that shows `count` examples. It is given a seed that does not depend on `count`."""

    def generator(rng: Random, level: int) -> Draft:
        rule = draw_rule(rng, min(6, 1 + level // 3))
        words: dict[str, None] = {}
        while len(words) < EXAMPLES[-1] + 1:
            words[invented(rng, 2 + (level > 8))] = None
        *shown, asked = words
        answer = rule(asked)
        # What other rules make of the word, and near misses: both fit the form of the answer.
        others = [draw_rule(rng, 1)(asked) for _ in range(8)]
        wrong = [text for text in dict.fromkeys(others) if text != answer and len(text) == len(answer)][:2]
        wrong += near_texts(rng, answer, count=3 - len(wrong))
        told = "".join(f"{word} becomes {rule(word)}. " for word in shown[:count])
        question = f"A rule changes words. {told}What does {asked} become? Answer with that word only."
        group = f"{level}-{asked}"
        return Draft(question=question, answer=answer, wrong=wrong, examples=count, group=group)

    return generator


GENERATORS = {f"examples_{count}": with_examples(count) for count in EXAMPLES}
