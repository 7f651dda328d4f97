"""Scores of tasks on a ladder: foretold from the rungs below before the largest can be trained."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ayllu.evals.score import Outcome, Scores
from ayllu.lab.graph import Handle, order
from ayllu.recipes.scaling.picture import draw_scaling
from ayllu.recipes.scaling.scale import cria
from ayllu.recipes.scaling.tasks import compared, foretell, scored


def rung(number: int, loss: float) -> dict[str, Any]:
    """A rung whose gold answers, two items of PIQA, cost `1.2 * loss - 0.1` bits a byte each."""
    record = {"matrix_parameters": 10**5 * number, "points": [{"loss": 9.0}, {"loss": loss}]}
    gold = -math.log(2) * 10 * (1.2 * loss - 0.1)
    outcomes = tuple(
        Outcome(
            id=str(item),
            set="piqa",
            digest="",
            gold=1,
            log_likelihoods=(gold - 1 if item else gold + 1, gold),
            bytes=(10, 10),
            tokens=(3, 3),
        )
        for item in range(2)
    )
    return scored(number, record, Scores(outcomes=outcomes))


POINTS = [rung(1, 2.4), rung(2, 2.1), rung(3, 1.9), rung(4, 1.8)]
EXPECTED = {"loss": 1.7, "low": 1.68, "high": 1.72}


def test_the_third_rung_makes_a_line_and_foretells_the_next() -> None:
    assert foretell(POINTS[:2], None, seed=0) == (None, None)
    fits, ahead = foretell(POINTS, EXPECTED, seed=0)
    assert fits is not None and fits["piqa"]["slope"] == pytest.approx(1.2)
    assert ahead is not None and ahead["piqa"]["value"] == pytest.approx(1.94)
    assert ahead["piqa"]["low"] < 1.94 < ahead["piqa"]["high"]


def test_a_rung_keeps_the_accuracy_that_the_bits_are_beside() -> None:
    task = rung(1, 2.4)["tasks"]["piqa"]
    assert task["value"] == pytest.approx(2.78) and task["accuracy"]["value"] == 0.5


def test_the_report_has_what_was_foretold_beside_what_came() -> None:
    _, ahead = foretell(POINTS, EXPECTED, seed=0)
    report = compared({"points": [*POINTS, rung(5, 1.71)], "foretold": ahead})
    assert report["piqa"]["measured"] == pytest.approx(1.952) and report["piqa"]["inside"]
    assert report["piqa"]["error_pct"] == pytest.approx(0.619, abs=0.01)
    assert [point["loss"] for point in report["piqa"]["points"]] == [2.4, 2.1, 1.9, 1.8, 1.71]


def test_the_largest_rung_takes_in_what_was_foretold_of_its_scores() -> None:
    report = cria(items=20)
    stages = order(report)
    rungs = [node for node in stages if node.stage.identity == "rung"]
    assert [node.inputs.get("tasks") is not None for node in rungs] == [False, False, False, True, True]
    last: Handle[Any] = rungs[-1].inputs["tasks"]
    assert last.stage.identity == "task_law" and last.inputs["rung"] is rungs[-2]


def test_a_ladder_without_tasks_asks_none() -> None:
    stages = order(cria())
    assert "task_law" not in {node.stage.identity for node in stages}
    assert all(node.inputs.get("tasks") is None for node in stages)


def test_tasks_are_drawn_beside_the_law(tmp_path: Any) -> None:
    _, ahead = foretell(POINTS, EXPECTED, seed=0)
    law = {"floor": 0.5, "a": 4.0, "alpha": 0.2, "b": 10.0, "beta": 0.15}
    rungs = [{"tokens": [1e5, 2e5], "flops": [1e11, 2e11], "parameters": 1e5 * n} for n in range(1, 6)]
    losses = [{"tokens": t, "loss": 1.8, "low": 1.7, "high": 1.9} for t in (1e5, 2e5)]
    points = [{"rung": n, "tokens": t, "loss": 2.5 - n / 5} for n in range(1, 6) for t in (1e5, 2e5)]
    tasks = compared({"points": [*POINTS, rung(5, 1.71)], "foretold": ahead})
    report = {
        "fit": law,
        "rungs": rungs,
        "points": points,
        "predicted": {"losses": losses},
        "metric": "bits_per_byte x",
    }
    draw_scaling(report, tmp_path / "plain.png")
    draw_scaling({**report, "tasks": tasks}, tmp_path / "tasks.png")
    assert (tmp_path / "tasks.png").stat().st_size > (tmp_path / "plain.png").stat().st_size > 1000
