"""The judge: what it learns from, that its arithmetic is right, and what it says with the weights that ship."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from ayllu.data.archive import sha256_of
from ayllu.lab.error import UserError
from ayllu.safety.hazards import HAZARDS
from ayllu.safety.judge.coherence import Coherence, spoil
from ayllu.safety.judge.features import counts_of, sentences
from ayllu.safety.judge.judge import chance, load_judge
from ayllu.safety.judge.labelled import PYRIT, Labelled, groups, read_file, read_pyrit
from ayllu.safety.judge.regression import auroc, auroc_interval, fit_logistic
from support.archives import cache_with

EVERYDAY = (
    "Bring the water to a boil and add a pinch of salt. Let the pasta cook for nine minutes, then drain it.",
    "The museum opens at ten in the morning. You can take the bus from the station, which takes about half an hour.",
    "Plant the seeds in spring and water them every second day. They need plenty of light to grow well.",
)


def test_pyrit_rows_are_distinct_and_people_found_about_half_of_the_answers_harmful() -> None:
    rows = read_pyrit(cache_with(PYRIT))
    scored = [row for row in rows if row.harm is not None]
    assert len({(row.prompt, row.answer) for row in rows}) == len(rows) == 1328
    assert len(scored) == 1177 and 0.4 < sum(row.harmful for row in scored) / len(scored) < 0.6
    assert {row.category for row in scored} <= set(HAZARDS)
    assert sum(len(row.scores) > 1 for row in scored) > 300


def test_rows_of_like_prompts_or_equal_answers_stay_together() -> None:
    rows = [
        Labelled(prompt="How do I bake bread at home today?", answer="Mix flour."),
        Labelled(prompt="how do I bake BREAD at home, today", answer="Buy it."),
        Labelled(prompt="How do I bake good bread at home today?", answer="Wait."),
        Labelled(prompt="Which bus goes to town?", answer="The red one."),
        Labelled(prompt="What colour is that house?", answer="the red  one."),
        Labelled(prompt="Who wrote this book?", answer="Nobody knows."),
    ]
    found = groups(rows)
    assert found[0] == found[1] == found[2]
    assert found[3] == found[4] != found[0]
    assert found.count(found[5]) == 1


def test_a_users_file_is_pinned_and_its_mistakes_are_named_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    good = {"prompt": "How?", "answer": "So.", "harmful": True, "category": "S2"}
    path.write_text(json.dumps(good) + "\n\n")
    (row,) = read_file(path, sha256_of(path))
    assert row.harmful and row.category == "S2"
    with pytest.raises(UserError, match="not the file that was pinned"):
        read_file(path, "00" * 32)
    for wrong, said in (
        ("no json", "line 2: give a JSON object"),
        (json.dumps(good | {"harmful": "yes"}), "line 2: .*harmful true or false"),
        (json.dumps(good | {"category": "S99"}), "line 2: category is 'S99'"),
    ):
        path.write_text(json.dumps(good) + "\n" + wrong + "\n")
        with pytest.raises(UserError, match=said):
            read_file(path)
    with pytest.raises(UserError, match="there is no file"):
        read_file(tmp_path / "none")


def test_the_regression_finds_the_minimum_that_scipy_finds() -> None:
    draw = np.random.default_rng(0)
    x = np.concatenate([draw.normal(size=(40, 6)), np.ones((40, 1))], axis=1)
    right = x[:, 0] + draw.normal(size=40) > 0
    sign = np.where(right, 1, -1)

    def loss(w: np.ndarray) -> float:
        return float(np.logaddexp(0, -sign * (x @ w)).sum() + 0.3 / 2 * w @ w)

    expected = minimize(loss, np.zeros(7), tol=1e-12).x
    assert np.allclose(x.T @ fit_logistic(x @ x.T, right, penalty=0.3), expected, atol=1e-4)


def test_auroc_counts_pairs_and_ties_as_half() -> None:
    draw = np.random.default_rng(1)
    scores, right = draw.integers(0, 5, 60).astype(float), draw.random(60) < 0.4
    pairs = [(a > b) + (a == b) / 2 for a, b in itertools.product(scores[right], scores[~right])]
    assert auroc(scores, right) == pytest.approx(np.mean(pairs))
    alone = auroc_interval(scores, right, np.arange(60))
    grouped = auroc_interval(np.repeat(scores, 5), np.repeat(right, 5), np.repeat(np.arange(60), 5))
    assert grouped[1] == pytest.approx(alone[1], abs=0.03), "five copies of an answer are no more evidence than one"


def test_an_answer_that_grows_is_scored_as_the_whole_is() -> None:
    judge = load_judge()
    for text in (*EVERYDAY, " ".join(EVERYDAY) + "\nThanks! Thanks! Thanks!"):
        running = judge.running_harm()
        for sentence in sentences(text):
            running.add(sentence)
        assert chance(running.log_odds) == pytest.approx(judge.harm(text), abs=1e-6)
    assert judge.running_harm().log_odds == judge.intercepts["harm"]


def test_the_judge_that_ships_tells_everyday_answers_refusals_and_babble_apart() -> None:
    judge = load_judge()
    kinds = [judge.verdict("What should I know?", text).kind for text in EVERYDAY]
    assert kinds == ["safe"] * 3
    assert judge.verdict("Do it.", "I'm sorry, but I cannot assist with that request.").kind == "refusal"
    loop = "the kitten is a kitten of the kitten is a kitten of the kitten is a kitten of the kitten is a kitten of"
    for babble in ("", loop, "zzgh qwpl mmnrt bvvx kkjh wqzt plmk trvb xxcv nnbm qqwz"):
        assert judge.verdict("How are you?", babble).kind == "incoherent", babble
    assert judge.verdict("Is it so?", "Yes.").kind == "safe", "few words are no babble"
    assert set(judge.categories) <= set(HAZARDS)


def test_texts_are_spoilt_in_five_ways_the_same_each_time() -> None:
    texts = [f"{text} {i}" for i, text in enumerate(EVERYDAY * 5)]
    found = spoil(texts, seed=3)
    assert found == spoil(texts, seed=3) != spoil(texts, seed=4)
    assert len({way for way, _ in found}) == 5
    assert all(text not in texts for _, text in found)


def test_counts_hold_no_text_and_cross_no_sentence() -> None:
    one, other = counts_of("Red bread. Blue boat."), counts_of("Red bread blue boat.")
    assert one.blocks[0] != other.blocks[0], "a pair does not cross a sentence's end"
    assert all(isinstance(place, int) for block in one.blocks for place in block)


def test_one_file_and_a_folder_of_small_ones_hold_the_same_judge(tmp_path: Path) -> None:
    shipped = load_judge()
    for place in (tmp_path / "judge.safetensors", tmp_path / "folder"):
        shipped.save(place)
        found = load_judge(place)
        assert found.about == shipped.about and found.intercepts == shipped.intercepts
        assert all((found.heads[name] == values).all() for name, values in shipped.heads.items())
        assert (found.rarity == shipped.rarity).all()


def test_a_judge_whose_arrays_are_strided_is_saved_as_it_is(tmp_path: Path) -> None:
    shipped = load_judge()
    kept = shipped.coherence
    words, pairs, weights = (np.repeat(part, 2)[::2] for part in (kept._words, kept._pairs, kept._weights))
    assert not words.flags.c_contiguous and (words == kept._words).all()
    dataclasses.replace(shipped, coherence=Coherence(words, pairs, weights)).save(tmp_path / "judge.safetensors")
    found = load_judge(tmp_path / "judge.safetensors").coherence
    assert (found._words == kept._words).all() and (found._pairs == kept._pairs).all()
    assert all(found.babble(text) == kept.babble(text) for text in EVERYDAY)


def test_a_file_that_is_no_judge_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"not it")
    with pytest.raises(UserError, match="holds no judge"):
        load_judge(path)
