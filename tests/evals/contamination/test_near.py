"""Near-duplicates: edited plants are found, shuffled words and spread ones are not."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.evals.contamination.exact import find_overlap, folded_words
from ayllu.evals.contamination.near import FEWEST, SHARE, STRETCH, find_near_duplicates
from ayllu.evals.item import Item

LEXICON = [f"{a}{b}" for a in "bcdfghklmnprst" for b in ("a", "en", "ilo", "orm", "usk")]


def item(number: int, words: list[str]) -> Item:
    return Item(id=f"s/{number}", set="s", context="Question: x", choices=("a", "b"), gold=0, plain=" ".join(words))


def sentence(generator: random.Random, length: int) -> list[str]:
    return [generator.choice(LEXICON) for _ in range(length)]


def test_edited_plants_are_found_and_shuffled_ones_are_not():
    generator = random.Random(3)
    questions = [sentence(generator, 24) for _ in range(60)]
    texts = []
    for number, words in enumerate(questions):
        planted = list(words)
        if number % 3 == 0:
            planted[::9] = ["changed"] * len(planted[::9])
        elif number % 3 == 1:
            generator.shuffle(planted)
        else:
            # The same words in order, but far from each other.
            planted = [word for one in words for word in (one, *sentence(generator, 2))]
        texts.append(" ".join([*sentence(generator, 80), *planted, *sentence(generator, 80)]))
    items = [item(number, words) for number, words in enumerate(questions)]
    near = find_near_duplicates(items, texts)
    assert near.found == {f"s/{number}" for number in range(0, 60, 3)}
    assert not find_overlap(items, texts).found
    assert near.checked == {one.id for one in items}
    assert near.of("s/0") is True
    assert near.of("s/1") is False


def test_what_is_too_short_is_not_judged():
    words = sentence(random.Random(1), FEWEST + 1)
    near = find_near_duplicates([item(0, words)], [" ".join(words)])
    assert near.of("s/0") is None
    assert not near.found


few = st.lists(st.sampled_from("abcd"), min_size=0, max_size=40)


@settings(max_examples=150, deadline=None)
@given(few, st.lists(few, max_size=3))
def test_shares_are_those_of_a_plain_search(question, documents):
    def triples(words: list[str]) -> set[tuple[str, ...]]:
        return {tuple(words[at : at + 3]) for at in range(len(words) - 2)}

    near = find_near_duplicates([item(0, question)], [" ".join(words) for words in documents])
    wanted, stretch = triples(question), STRETCH * len(question)
    if len(wanted) < FEWEST:
        assert not near.checked
        return
    counts = [
        len(wanted & triples(words[start : start + stretch + 2])) for words in documents for start in range(len(words))
    ]
    assert near.shares.get("s/0", 0.0) * len(wanted) == max(counts, default=0)
    assert near.of("s/0") is (max(counts, default=0) / len(wanted) >= SHARE)
    assert folded_words(" ".join(question)) == question
