"""Paired comparison, and its refusal to compare what is not the same."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from ayllu.evals.comparison.compare import compare_scores, compare_verdicts
from ayllu.evals.score import DocumentBits, Outcome, Scores
from ayllu.evals.standard.answers import Answer
from ayllu.evals.standard.table import TASKS
from ayllu.evals.statistics import mcnemar, wilson
from ayllu.evals.table import comparison_table
from ayllu.lab.error import UserError


def made(name: str, rights: list[bool], bits: float = 1.0) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(
            id=f"{name}/{i}",
            set=name,
            digest=f"{i:016x}",
            gold=0,
            log_likelihoods=(-10.0 * bits, -20.0 if right else -5.0),
            bytes=(10, 10),
            tokens=(3, 3),
        )
        for i, right in enumerate(rights)
    )


def documents(factor: float) -> tuple[DocumentBits, ...]:
    generator = random.Random(0)
    sizes = [generator.randint(50, 500) for _ in range(100)]
    return tuple(
        DocumentBits(
            source="books", digest=f"{i}", bits=factor * size * generator.uniform(0.5, 1.5), bytes=size, tokens=9
        )
        for i, size in enumerate(sizes)
    )


BASE = [i % 2 == 0 for i in range(400)]
BETTER = [right or i % 20 == 1 for i, right in enumerate(BASE)]  # 20 more right


def test_a_small_paired_gain_shows():
    result = compare_scores(Scores(outcomes=made("piqa", BASE)), Scores(outcomes=made("piqa", BETTER, bits=0.9)))
    accuracy = result["sets"]["piqa"]["accuracy"]
    assert accuracy["value"] == pytest.approx(0.05)
    assert 0 < accuracy["low"] < 0.05 < accuracy["high"]
    assert (accuracy["only_first"], accuracy["only_second"]) == (0, 20)
    assert accuracy["p"] == accuracy["p_holm"] == mcnemar(0, 20) < 1e-5
    assert accuracy["detectable"] == pytest.approx(0.0325, abs=0.0005)
    assert result["sets"]["piqa"]["gold_bits_per_byte"]["value"] == pytest.approx(-0.1 / 0.6931, rel=1e-3)


def test_a_model_does_not_differ_from_itself_and_several_sets_are_adjusted():
    both = Scores(outcomes=made("piqa", BASE) + made("arc-easy", BASE), documents=documents(1.0))
    other = Scores(outcomes=made("piqa", BETTER) + made("arc-easy", BASE), documents=documents(1.0))
    result = compare_scores(both, other)
    assert result["sets"]["arc-easy"]["accuracy"]["p"] == 1.0
    assert result["sets"]["piqa"]["accuracy"]["p_holm"] == 2 * result["sets"]["piqa"]["accuracy"]["p"]
    assert result["bits_per_byte"]["books"] == {"value": 0.0, "low": 0.0, "high": 0.0, "documents": 100}


def test_bits_per_byte_pair_by_document_in_any_order():
    first, second = Scores(documents=documents(1.0)), Scores(documents=documents(0.98)[::-1])
    books = compare_scores(first, second)["bits_per_byte"]["books"]
    assert books["high"] < 0
    assert books["value"] == pytest.approx(-0.02, abs=0.005)
    assert "books" in comparison_table(compare_scores(first, second))


def test_other_items_prompts_or_texts_are_refused():
    scores = Scores(outcomes=made("piqa", BASE), documents=documents(1.0))
    fewer = replace(scores, outcomes=scores.outcomes[:-1])
    with pytest.raises(UserError, match="of piqa they were asked 400 and 399 items, 399 of them the same"):
        compare_scores(scores, fewer)
    reworded = replace(scores, outcomes=(replace(scores.outcomes[0], digest="f" * 16), *scores.outcomes[1:]))
    with pytest.raises(UserError, match="399 of them the same"):
        compare_scores(scores, reworded)
    with pytest.raises(UserError, match="of arc-easy they were asked 0 and 400 items"):
        compare_scores(scores, replace(scores, outcomes=scores.outcomes + made("arc-easy", BASE)))
    with pytest.raises(UserError, match="of books they read 100 and 99 held-out documents"):
        compare_scores(scores, replace(scores, documents=scores.documents[1:]))


def written(task: str, rights: list[bool], clusters: list[str] | None = None) -> tuple[Answer, ...]:
    return tuple(
        Answer(
            id=f"{task}/{i}",
            task=task,
            digest=f"{i:016x}",
            mode="generate",
            text="",
            values=dict.fromkeys(TASKS[task].metrics, float(right)),
            cluster=clusters[i] if clusters else "",
        )
        for i, right in enumerate(rights)
    )


def test_written_answers_are_tested_as_ranked_ones_are_and_all_tests_are_adjusted_together():
    first = Scores(outcomes=made("piqa", BASE), answers=written("gsm8k", BASE))
    second = Scores(outcomes=made("piqa", BETTER), answers=written("gsm8k", BETTER))
    found = compare_scores(first, second)
    ranked, generated = found["sets"]["piqa"]["accuracy"], found["answers"]["gsm8k"]
    assert {key: generated[key] for key in ranked} == ranked
    assert ranked["p_holm"] == 2 * mcnemar(0, 20)
    assert "p (Holm)" in comparison_table(found).split("mode")[1]
    # Where no item tells the two apart, as few items as there are bound the difference.
    same = compare_scores(Scores(answers=written("gsm8k", BASE[:20])), Scores(answers=written("gsm8k", BASE[:20])))
    assert same["answers"]["gsm8k"]["low"] == pytest.approx(-same["answers"]["gsm8k"]["high"], abs=1e-6)
    assert same["answers"]["gsm8k"]["high"] > 0.1


def test_items_of_one_cluster_count_as_one():
    """Ten subjects of 40 items: the second model is better in one of them alone, and there on all items."""
    subjects = [f"subject {i // 40}" for i in range(400)]
    better = [right or i < 40 for i, right in enumerate(BASE)]

    def ranked(rights, clusters):
        outcomes = made("mmlu", rights)
        return Scores(outcomes=tuple(replace(o, cluster=c) for o, c in zip(outcomes, clusters, strict=True)))

    alone = compare_scores(ranked(BASE, [""] * 400), ranked(better, [""] * 400))["sets"]["mmlu"]["accuracy"]
    clustered = compare_scores(ranked(BASE, subjects), ranked(better, subjects))["sets"]["mmlu"]["accuracy"]
    assert alone["p"] < 1e-5 < clustered["p"] == 1.0
    assert clustered["low"] < 0 < alone["low"]
    same = compare_scores(ranked(BASE, subjects), ranked(BASE, subjects))["sets"]["mmlu"]["accuracy"]
    assert (same["value"], same["p"]) == (0, 1)
    assert same["high"] > 0.2  # of ten subjects
    lone = compare_scores(ranked(BASE, ["one"] * 400), ranked(better, ["one"] * 400))
    assert lone["sets"]["mmlu"]["accuracy"]["low"] is None
    assert "points" in comparison_table(lone)


def test_what_was_asked_in_another_way_is_told():
    first, second = (
        Scores(outcomes=made("piqa", BASE), about={"chat_template": chat, "dtype": "float32"}) for chat in (True, False)
    )
    assert compare_scores(first, first).get("conditions") is None
    found = compare_scores(first, second)
    assert found["conditions"] == {"chat_template": [True, False]}
    assert "Not asked in the same way, first and second: chat template True, False." in comparison_table(found)


def test_verdicts_before_and_after_keep_their_sides():
    """The figures of the headline: what was right before, what is right after, and the gain as after minus before."""
    found = compare_verdicts(BASE, BETTER)
    assert found["items"] == 400
    assert found["before"] == wilson(200, 400).as_json()
    assert found["after"] == wilson(220, 400).as_json()
    assert found["difference"]["value"] == pytest.approx(0.05)
    assert 0 < found["difference"]["low"] < 0.05 < found["difference"]["high"]
    assert found["p"] == mcnemar(0, 20)
    loss = compare_verdicts(BETTER, BASE)
    assert (loss["before"]["value"], loss["after"]["value"]) == (0.55, 0.5)
    assert loss["difference"]["value"] == pytest.approx(-0.05)
    assert loss["difference"]["high"] < 0
    tools = [index % 10 for index in range(400)]
    clustered = compare_verdicts(BASE, BETTER, clusters=tools)
    assert clustered["difference"]["value"] == found["difference"]["value"]
    assert (clustered["clusters"], clustered["p"]) == (10, None)
    with pytest.raises(ValueError):
        compare_verdicts(BASE, BETTER[:-1])
