"""The record of a sweep: a training that came to nothing is told as failed, and is never the best."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from ayllu.api import research
from ayllu.lab.error import Stopped
from ayllu.lab.run import Place
from ayllu.lab.store import Store
from ayllu.recipes.cria import cria
from ayllu.recipes.sweeping import sweep
from ayllu.recipes.sweeping.axes import read_axes
from ayllu.recipes.sweeping.trial import Measured
from support.parts import need_module


def refuse(word: str) -> float:
    raise AssertionError(f"{word} is no JSON")


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_trial_without_a_figure_has_failed(odd: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What trainings come to is made up: what the record says of it is looked at."""
    need_module("optuna", "Optuna is not installed: pip install .[sweep]")

    def measured(recipe: Any, options: dict[str, Any], *rest: Any, **more: Any) -> Measured:
        value = odd if options["lr"] == 0.01 else 2.0
        return Measured(value=value, source="s", key="k", seconds=1.0, parameters=1, tokens=1)

    monkeypatch.setattr(sweep, "run_trial", measured)
    asked = sweep.Sweep(name="cria", recipe=cria, options={}, axes=read_axes(cria, ["lr=0.01,0.02"], {}), seeds=1)
    facts = sweep.run_sweep(asked, Place(store=Store(tmp_path), cache=tmp_path))
    assert [row["state"] for row in facts["trials"]] == ["failed", "finished", "finished"]
    assert facts["best"] == {
        "values": {"lr": 0.02},
        "chosen_by": 2.0,
        "mean": 2.0,
        "low": None,
        "high": None,
        "by_seed": [2.0],
    }
    (record,) = (tmp_path / "sweeps").glob("*.json")
    assert json.loads(record.read_text(), parse_constant=refuse)["trials"][0]["value"] is None


def made_up(monkeypatch: pytest.MonkeyPatch, bad: Exception) -> list[float]:
    """Trainings whose first raises `bad`: the learning rates that were asked for."""
    need_module("optuna", "Optuna is not installed: pip install .[sweep]")
    asked: list[float] = []

    def measured(recipe: Any, options: dict[str, Any], *rest: Any, **more: Any) -> Measured:
        asked.append(options["lr"])
        if options["lr"] == 0.01:
            raise bad
        return Measured(value=2.0, source="s", key="k", seconds=1.0, parameters=1, tokens=1)

    monkeypatch.setattr(sweep, "run_trial", measured)
    return asked


def two_rates() -> sweep.Sweep:
    return sweep.Sweep(name="cria", recipe=cria, options={}, axes=read_axes(cria, ["lr=0.01,0.02"], {}), seeds=0)


def test_a_sweep_that_is_told_to_stop_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = made_up(monkeypatch, Stopped("stopped at step 5; the same command goes on"))
    place = Place(store=Store(tmp_path), cache=tmp_path)
    with pytest.raises(Stopped):
        sweep.run_sweep(two_rates(), place)
    with pytest.raises(Stopped):
        sweep.run_part(two_rates(), place, sweep.Part(number=1, of=1))
    assert asked == [0.01, 0.01], "no other trial was begun"
    (record,) = (tmp_path / "sweeps").glob("*.json")
    assert not [row for row in json.loads(record.read_text())["trials"] if row["state"] == "failed"]


@pytest.mark.parametrize("bad", [ValueError("no finite \x1b likelihood"), RuntimeError("can't allocate memory" * 99)])
def test_a_trial_that_a_library_ends_costs_no_other(
    bad: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(monkeypatch, bad)
    place = Place(store=Store(tmp_path), cache=tmp_path)
    failed, kept = sweep.run_sweep(two_rates(), place)["trials"]
    assert (failed["state"], kept["state"]) == ("failed", "finished")
    assert type(bad).__name__ in failed["error"] and len(failed["error"]) < 400 and failed["error"].isprintable()
    assert sweep.run_part(two_rates(), place, sweep.Part(number=1, of=1)) == (2, 1)


def test_the_command_of_a_record_is_the_one_that_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(monkeypatch, ValueError())
    vary = ["lr=0.02..0.03", "width=64..128:64"]
    record = research.sweep("cria", vary=vary, search="random", trials=2, seeds=1, home=tmp_path, budget=1.0)
    told = "ayllu sweep cria --budget 1.0 --set lr=0.02..0.03 width=64..128:64 --search random --trials 2 --seeds 1"
    assert record["command"] == told
