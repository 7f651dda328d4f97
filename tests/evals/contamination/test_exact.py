"""Overlap: what is planted is found, what is not there is not."""

from __future__ import annotations

import random

import pytest

from ayllu.evals.contamination.exact import find_overlap, folded_words
from ayllu.evals.item import Item

LEXICON = [f"{a}{b}" for a in "bcdfghklmnprst" for b in ("a", "en", "ilo", "orm", "usk")]


def item(number: int, plain: str) -> Item:
    return Item(id=f"s/{number}", set="s", context="Question: x", choices=("a", "b"), gold=0, plain=plain)


def sentence(generator: random.Random, length: int) -> list[str]:
    return [generator.choice(LEXICON) for _ in range(length)]


def naive(items, texts, words):
    """Every n-gram of every text in one set of tuples."""
    grams = {tuple(w[i : i + words]) for w in map(folded_words, texts) for i in range(len(w) - words + 1)}
    return {
        one.id
        for one in items
        for w in [folded_words(one.plain)]
        if any(tuple(w[i : i + words]) in grams for i in range(len(w) - words + 1))
    }


def test_planted_items_are_found_and_no_others():
    generator = random.Random(0)
    sequences = [sentence(generator, generator.randint(5, 40)) for _ in range(300)]
    items = [item(i, " ".join(sequence)) for i, sequence in enumerate(sequences)]
    texts = [" ".join(sentence(generator, 200)) for _ in range(50)]
    planted = set()
    for i in range(0, 300, 7):
        if len(sequences[i]) >= 13:
            start = generator.randint(0, len(sequences[i]) - 13)
            words = sentence(generator, 60)
            words[30:30] = sequences[i][start : start + 13]
            texts.append(" ".join(words))
            planted.add(f"s/{i}")
    overlap = find_overlap(items, iter(texts))
    assert set(overlap.found) == planted == naive(items, texts, 13)
    assert overlap.checked == {one.id for one, words in zip(items, sequences, strict=True) if len(words) >= 13}
    short = next(i for i, words in enumerate(sequences) if len(words) < 13)
    assert overlap.of(f"s/{short}") is None
    assert overlap.of(next(iter(planted))) is True


@pytest.mark.parametrize("words", [1, 2, 3])
def test_short_n_grams_agree_with_a_plain_search(words):
    generator = random.Random(words)
    items = [item(i, " ".join(sentence(generator, generator.randint(0, 6)))) for i in range(80)]
    texts = [" ".join(sentence(generator, generator.randint(0, 12))) for _ in range(40)]
    assert set(find_overlap(items, texts, words=words).found) == naive(items, texts, words)


def test_case_and_punctuation_do_not_hide_an_overlap():
    asked = item(0, "He was, so they say: the best man in ALL the world, ever -- and ever.")
    text = "they wrote that he was so they say the best man in all the world (ever) and ever after"
    overlap = find_overlap([asked], [text])
    assert overlap.found == {"s/0": "he was so they say the best man in all the world ever"}
    assert find_overlap([asked], [text.replace("best", "worst")]).found == {}


@pytest.mark.parametrize(
    "text",
    [
        "the cafe\u0301 of the oldest man in all the world was never fi\u0301lled again",
        "the café of the _oldest_ **man** in all the world was never fílled again",
        "the ca\u00adfé of the old\u200best man in all the world was never fílled again",  # signs that nobody sees
        "THE CAFÉ OF THE OLDEST MAN IN ALL THE WORLD WAS NEVER FÍLLED AGAIN",
        "the cafe of the oldest man in all the world was never filled again",
    ],
)
def test_the_way_a_text_is_encoded_does_not_hide_an_overlap(text):
    asked = item(0, "The café of the oldest man in all the world was never fílled again")
    assert list(find_overlap([asked], [text]).found) == ["s/0"]
    assert not find_overlap([asked], [text.casefold().replace("world", "town")]).found


def test_an_n_gram_does_not_span_two_documents():
    asked = item(0, "one two three four five six seven eight nine ten eleven twelve thirteen")
    assert (
        find_overlap([asked], ["one two three four five six seven", "eight nine ten eleven twelve thirteen"]).found
        == {}
    )
    with pytest.raises(ValueError, match="at least 1"):
        find_overlap([asked], [], words=0)
    assert find_overlap([], ["some text"]).checked == frozenset()
