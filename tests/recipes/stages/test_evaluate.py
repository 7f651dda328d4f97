"""What the comparison of a recipe says: each side's figures stand on its own side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ayllu.data.archive import default_cache
from ayllu.evals.score import Scores
from ayllu.lab.graph import Context, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Store
from ayllu.recipes.stages.artifacts import Replies, ScoreFolder, Weights
from ayllu.recipes.stages.evaluate import compare, losses
from support.scores import outcome

ITEMS, EACH = 400, 20
"""Items of each kind, and how many of them one of the numbers below stands for: all numbers are of 20."""


@stage(identity="tests.replies", makes=Replies)
def replies(
    ctx: Context, *, exact: int, read: int, correct: int, form: int, long: int = -1, strangers: int = -1
) -> None:
    """Replies of which so many are right; a kind whose number is negative is not there."""
    rows: dict[str, list[dict[str, Any]]] = {
        "reasoning": [{"correct": i < EACH * correct, "format": i < EACH * form} for i in range(ITEMS)]
    }
    if exact >= 0:
        rows["tool_calls"] = [{"exact": i < EACH * exact, "read": i < EACH * read} for i in range(ITEMS)]
    if long >= 0:
        rows["long_sums"] = [{"correct": i < EACH * long} for i in range(ITEMS)]
    if strangers >= 0:
        rows["strangers_calls"] = [{"exact": i < EACH * strangers, "function": f"tool {i % 90}"} for i in range(ITEMS)]
    (ctx.folder / "replies.json").write_text(json.dumps(rows))


@stage(identity="tests.scores", makes=ScoreFolder)
def scores(ctx: Context, *, right: int) -> None:
    outcomes = (outcome(i, (-1.0, -9.0) if i < EACH * right else (-9.0, -1.0), (6, 6)) for i in range(ITEMS))
    Scores(outcomes=tuple(outcomes)).save(ctx.folder)


@stage(identity="tests.grpo", makes=Weights)
def grpo(ctx: Context) -> None:
    line = {"first": 0, "correct": 0.5, "format": 0.5, "reward": 0.5, "tokens": 3.0}
    (ctx.folder / "rewards.jsonl").write_text(json.dumps(line) + "\n")


def compared(home: Path, *sides: Any) -> dict[str, Any]:
    handle = compare(*sides, grpo())
    folder = resolve(handle, Place(store=Store(home), cache=default_cache()))[handle].folder
    return json.loads((folder / "comparison.json").read_text())


@pytest.mark.parametrize(
    ("sums", "calls", "answers", "named"),
    [
        (20, 20, 20, []),
        # A twentieth lost is within no margin.
        (19, 20, 20, ["sums right -5.0 points"]),
        (20, 12, 20, ["tool calls exactly right -40.0 points"]),
        (5, 20, 10, ["sums right -75.0 points", "benchmarks together -50.0 points"]),
    ],
)
def test_what_may_have_been_lost_is_named(
    tmp_path: Path, sums: int, calls: int, answers: int, named: list[str]
) -> None:
    told = compared(
        tmp_path,
        replies(exact=20, read=20, correct=20, form=20),
        replies(exact=-1, read=-1, correct=20, form=20),
        # Form alone is no skill.
        replies(exact=calls, read=20, correct=sums, form=0),
        scores(right=20),
        scores(right=answers),
    )
    found = losses(told)
    assert len(found) == len(named)
    for phrase, begins in zip(found, named, strict=True):
        assert phrase.startswith(begins)
        assert phrase.endswith(f"of {ITEMS}")


@pytest.mark.parametrize(
    ("long", "strangers", "named"),
    [(4, 6, []), (0, 6, ["long sums right -20.0 points"]), (4, 0, ["calls of strangers' tools exactly right -30.0"])],
)
def test_a_skill_that_nobody_meant_to_touch_must_not_be_lost_either(
    tmp_path: Path, long: int, strangers: int, named: list[str]
) -> None:
    sums = {"exact": 0, "read": 0, "correct": 20, "form": 0}
    before = replies(**sums, long=4, strangers=6)
    told = compared(tmp_path, before, None, replies(**sums, long=long, strangers=strangers), *[scores(right=20)] * 2)
    found = losses(told)
    assert len(found) == len(named)
    for phrase, begins in zip(found, named, strict=True):
        assert phrase.startswith(begins)


def test_what_was_taught_is_a_gain_and_what_was_lost_a_loss(tmp_path: Path) -> None:
    told = compared(
        tmp_path,
        replies(exact=2, read=8, correct=12, form=4),
        replies(exact=-1, read=-1, correct=16, form=14),
        replies(exact=12, read=20, correct=10, form=16),
        scores(right=10),
        scores(right=9),
    )

    def sides(name: str, step: str) -> tuple[float, ...]:
        row = told["skills"][name][step]
        return tuple(row[side]["value"] for side in ("before", "after", "difference"))

    final, between = "adopted to final", "adopted to after sums"
    assert sides("tool_calls exact", final) == pytest.approx((0.1, 0.6, 0.5))
    assert sides("tool_calls read", final) == pytest.approx((0.4, 1.0, 0.6))
    assert sides("reasoning correct", between) == pytest.approx((0.6, 0.8, 0.2))
    assert sides("reasoning correct", final) == pytest.approx((0.6, 0.5, -0.1))
    assert sides("reasoning format", final) == pytest.approx((0.2, 0.8, 0.6))
    assert between not in told["skills"]["tool_calls exact"]
    assert told["benchmarks"]["hellaswag"]["accuracy"]["value"] == pytest.approx(-0.05)
    assert told["pooled"]["difference"]["value"] == pytest.approx(-0.05)
    assert not told["pooled"]["non_inferior"], "one of twenty lost is more than the margin lets pass unproven"
