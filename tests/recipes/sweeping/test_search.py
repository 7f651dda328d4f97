"""Which trials a sweep asks for: all of a grid, the same ones again after a kill, and more budget for the best."""

from __future__ import annotations

from typing import Any

import pytest

from ayllu.lab.error import UserError
from ayllu.recipes.sweeping.axes import Axis
from ayllu.recipes.sweeping.search import Method, search
from support.parts import need_module

need_module("optuna", "Optuna is not installed: pip install .[sweep]")

LR = Axis(name="lr", low=1e-3, high=1e-1)
GRID = (Axis(name="lr", values=(0.01, 0.02)), Axis(name="width", values=(64, 128, 192)))


def asked(method: Method, axes: tuple[Axis, ...], *, trials: int = 12, stop: int = 1000) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []

    def run(options: dict[str, Any], share: float) -> float:
        found.append((*options.values(), share))
        return abs(options["lr"] - 0.02) + 0.1 * (1 - share)

    for done, _ in enumerate(search(method, axes, run, trials=trials, seed=5), start=1):
        if done == stop:
            break
    return found


def test_a_grid_is_every_combination_once() -> None:
    rows = asked("grid", GRID)
    assert len(rows) == len(set(rows)) == 6
    assert {row[:2] for row in rows} == {(lr, width) for lr in (0.01, 0.02) for width in (64, 128, 192)}


@pytest.mark.parametrize("method", ["random", "halving", "grid"])
def test_a_search_that_was_killed_asks_for_the_same_again(method: Method) -> None:
    axes = GRID if method == "grid" else (LR,)
    assert asked(method, axes, stop=4) == asked(method, axes)[:4]


def test_halving_gives_a_ninth_to_all_and_the_whole_to_few_of_the_best() -> None:
    rows = asked("halving", (LR,), trials=27)
    shares = [row[-1] for row in rows]
    assert shares.count(1 / 9) == 27
    assert 1 <= shares.count(1.0) < shares.count(1 / 3) < 27
    best = min(rows, key=lambda row: abs(row[0] - 0.02))
    assert (best[0], 1.0) in rows, "the best of all was trained in full"


def test_ranges_are_drawn_within_their_ends() -> None:
    width = Axis(name="width", low=64, high=256, step=64, whole=True)
    rows = asked("random", (LR, width), trials=20)
    assert all(1e-3 <= lr <= 1e-1 and width in (64, 128, 192, 256) for lr, width, _ in rows)


def test_a_grid_of_ranges_is_refused() -> None:
    with pytest.raises(UserError, match="a grid needs values"):
        asked("grid", (LR,))
