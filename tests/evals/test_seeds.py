"""Runs that differ in their seed alone, put together."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ayllu.cli.evals import app
from ayllu.evals.comparison.seeds import across_seeds
from ayllu.evals.profile.item import ProfileItem
from ayllu.evals.profile.run import run_profile
from ayllu.evals.profile.subjects.programs import Program
from ayllu.lab.error import UserError


class Able(Program):
    def __init__(self, able: int) -> None:
        self.name, self.able = f"able-{able}", able

    def reply(self, item: ProfileItem) -> str:
        return item.answer if item.level <= self.able else ""


def test_the_share_of_seeds_is_told_from_that_of_items() -> None:
    generator = np.random.default_rng(0)

    def runs(spread: float) -> list[dict]:
        ease = generator.random(2000)
        rates = [0.5 + spread * sign for sign in (-1, 0, 1)]
        return [{"set": {str(i): float(e < rate) for i, e in enumerate(ease)}} for rate in rates]

    (same,), (apart,) = across_seeds(runs(0.0), "abc"), across_seeds(runs(0.1), "abc")
    assert same["seed_share"] < 0.1
    assert apart["seed_share"] > 0.9
    assert apart["high"] - apart["low"] > 3 * (same["high"] - same["low"])
    assert apart["by_run"] == pytest.approx([0.4, 0.5, 0.6], abs=0.03)


def test_other_items_and_a_single_run_are_refused() -> None:
    one = {"set": {"a": 1.0, "b": 0.0}}
    with pytest.raises(UserError, match="1 of them the same"):
        across_seeds([one, {"set": {"a": 1.0, "c": 0.0}}], ["x", "y"])
    with pytest.raises(UserError, match="at least two"):
        across_seeds([one], ["x"])


def test_the_command_takes_folders_of_profiles(tmp_path, capsys) -> None:
    folders = [str(tmp_path / f"run-{able}") for able in (6, 8, 10)]
    for folder, able in zip(folders, (6, 8, 10), strict=True):
        place = tmp_path / "cache"
        run_profile(Able(able), cache=place, each=1, rows=["mathematics"], modes=["gen"], folder=tmp_path / folder)
    app(["seeds", *folders, "--json"], exit_on_error=False, result_action="return_value")
    (score,) = json.loads(capsys.readouterr().out)["scores"]
    assert score["name"] == "mathematics (gen)"
    assert (score["n"], score["runs"]) == (42, 3)
    assert score["low"] < score["value"] < score["high"]
    assert score["by_run"] == pytest.approx([18 / 42, 21 / 42, 24 / 42])
    with pytest.raises(UserError, match="has no measurement"):
        app(["seeds", "nobody", "none"], exit_on_error=False, result_action="return_value")
