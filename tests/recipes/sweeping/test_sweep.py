"""The record of a sweep: a training that came to nothing is told as failed, and is never the best."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

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
    asked = sweep.Sweep(name="cria", recipe=cria, options={}, axes=read_axes(cria, ["lr=0.01,0.02"], {}), seeds=2)
    facts = sweep.run_sweep(asked, Place(store=Store(tmp_path), cache=tmp_path))
    assert [row["state"] for row in facts["trials"]] == ["failed", "finished", "finished"]
    assert facts["best"]["values"] == {"lr": 0.02}
    (record,) = (tmp_path / "sweeps").glob("*.json")
    assert json.loads(record.read_text(), parse_constant=refuse)["trials"][0]["value"] is None
