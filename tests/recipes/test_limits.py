"""What is said of the time before it is spent: as much as was asked for, or more and why."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from ayllu.data.conversations import dialogue
from ayllu.data.sources.registry import SOURCES
from ayllu.lab.graph import Context
from ayllu.recipes import smol
from ayllu.recipes.stages.pretrain import plan_pretraining
from ayllu.release.licences import read_licence
from ayllu.release.policy import OPEN
from ayllu.train.budget import LEAST_STEPS
from support.programs.layouts import tokens


@pytest.mark.parametrize(
    "licence",
    [
        *(licence for _, licence, _ in dialogue._SOURCES.values()),
        *(source.licence for source in SOURCES.values()),
        *(source["licence"] for source in smol.GENERATED),
    ],
)
def test_a_recipe_of_ours_is_not_stopped_at_its_end_by_the_licence_of_what_it_brings(licence: str) -> None:
    assert read_licence(licence, OPEN.permitted_licences).objection is None


@pytest.mark.parametrize(("minutes", "reason"), [(1.0, False), (0.001, True)])
def test_a_longer_time_than_was_asked_for_is_told_with_its_reason(
    minutes: float, reason: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scratch, folder = tmp_path / "scratch", tmp_path / "folder"
    scratch.mkdir()
    folder.mkdir()
    ctx = Context(folder=folder, scratch=scratch, cache=tmp_path)
    rows = SimpleNamespace(value=tokens(tmp_path / "tokens"))
    plan_pretraining.work(ctx, rows, budget=minutes, seed=0, speed=5000.0, mix={})  # type: ignore[arg-type]
    told = capsys.readouterr().err
    assert ctx.record["time"]["asked"] == round(60 * minutes, 1)
    assert ctx.record["time"]["expected"] == round(json.loads((folder / "plan.json").read_text())["seconds"], 1)
    assert (f"{LEAST_STEPS} steps are the fewest" in told) == reason
    assert (ctx.record["time"]["expected"] > 1.05 * ctx.record["time"]["asked"]) == reason
