"""Ladders: they fit into their budget, and nothing is trained before it is predicted."""

from __future__ import annotations

from pathlib import Path

import pytest

from ayllu.lab.error import UserError
from ayllu.lab.graph import order
from ayllu.recipes.scaling.ladder import LEAST_STEPS, Ladder, build_ladder, shape
from ayllu.recipes.scaling.scale import cria

SHAPES = [shape(rung, head=32, vocabulary=4096, length=256) for rung in range(5)]
SPEEDS = [40e3, 20e3, 12e3, 7e3, 4e3]


@pytest.fixture
def ladder() -> Ladder:
    return build_ladder(SHAPES, SPEEDS, seconds=2400, length=256, precision="bf16")


def test_all_rungs_together_take_their_share_of_the_budget(ladder: Ladder) -> None:
    assert 0.8 * 2400 < sum(rung.seconds for rung in ladder.rungs) < 0.9 * 2400


def test_each_rung_is_larger_and_sees_more_at_three_token_counts(ladder: Ladder) -> None:
    for below, above in zip(ladder.rungs, ladder.rungs[1:], strict=False):
        assert above.parameters > 1.3 * below.parameters
        assert above.tokens[-1] > below.tokens[-1]
        assert below.tokens[-1] > above.tokens[0], "counts overlap, so that size and data can be told apart"
    for rung in ladder.rungs:
        assert len(set(rung.tokens)) == 3
        assert all(0 < stable < steps for stable, steps in zip(rung.stable, rung.steps, strict=True))
        assert list(rung.stable) == sorted(rung.stable)


def test_a_budget_of_seconds_still_trains_the_fewest_steps() -> None:
    ladder = build_ladder(SHAPES, SPEEDS, seconds=1, length=256, precision="bf16")
    assert all(rung.steps[0] >= LEAST_STEPS for rung in ladder.rungs)


def test_a_ladder_is_read_as_it_was_written(ladder: Ladder, tmp_path: Path) -> None:
    ladder.write(tmp_path / "ladder.json")
    assert Ladder.read(tmp_path / "ladder.json") == ladder


def test_every_rung_from_the_fourth_on_takes_in_its_forecast() -> None:
    rungs = {node.arguments["index"]: node for node in order(cria(rungs=6)) if node.stage.identity == "rung"}
    assert list(rungs) == list(range(6)), "the smallest is trained first"
    for index, node in rungs.items():
        law = node.inputs.get("law")
        if index < 3:
            assert law is None
        else:
            assert law is not None
            assert law.arguments["index"] == index - 1
            assert node not in order(law)


@pytest.mark.parametrize("rungs", [3, 13])
def test_a_ladder_that_cannot_be_is_refused(rungs: int) -> None:
    with pytest.raises(UserError, match="rungs"):
        cria(rungs=rungs)
