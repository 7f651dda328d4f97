"""Advice: against the formulas of Young and Daly, and against what must be."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import pytest

from ayllu.cli.fleet.commands import app as fleet_app
from ayllu.cli.fleet.text import advice_lines
from ayllu.fleet.advise import (
    Curve,
    checkpoint_interval,
    daly,
    quota_cluster,
    research_quota,
    spare_nodes,
    told_number,
    young,
)
from ayllu.fleet.simulate.failures import Hazard
from ayllu.fleet.simulate.training_run import Checkpointing, Recovery, TrainingRun
from ayllu.lab.error import UserError


def test_formulas() -> None:
    assert young(60, 3600) == pytest.approx(657.3, abs=0.1)
    assert daly(60, 3600) == pytest.approx(617.9, abs=0.5)
    assert daly(8000, 3600) == 3600


@pytest.mark.parametrize(("stall", "mtbf_hours"), [(5.0, 3.0), (60.0, 6.0)])
def test_the_simulated_interval_is_the_one_of_the_formulas(stall: float, mtbf_hours: float) -> None:
    """Synchronous saves and memoryless failures are what Young and Daly assumed."""
    hazard = Hazard.from_mtbf(mtbf_hours * 3600, 512, shape=1.0)
    run = TrainingRun(
        accelerators=4096,
        days=60,
        hazard=hazard,
        checkpointing=Checkpointing(interval=600, stall=stall, save=stall),
        recovery=Recovery(stall=300, silent_latency=0),
        planned_per_day=0,
        spares=2000,
    )
    curve = checkpoint_interval(run, seeds=8)
    assert curve.best == pytest.approx(curve.checks["daly_s"], rel=0.15)
    assert max(curve.value) > curve.value[0]
    assert max(curve.value) > curve.value[-1]


def test_more_failures_need_more_spares() -> None:
    few, many = (
        spare_nodes(TrainingRun(accelerators=4096, days=30, hazard=Hazard(per_1000_node_days=rate)), seeds=4)
        for rate in (1.0, 10.0)
    )
    assert few.best < many.best
    assert many.best > many.checks["nodes_in_repair_on_average"]
    assert many.value[0] < 0.8 * max(many.value), "without spares the job waits"


def test_what_counts_more_gets_more() -> None:
    fleet = quota_cluster(4096)
    research = research_quota(fleet, load=1.6, days=5, production_weight=0.0)
    production = research_quota(fleet, load=1.6, days=5, production_weight=1.0)
    assert research.best >= production.best
    assert all(value >= 1 for value in research.value)
    assert production.parts["production"][0] <= production.parts["production"][-1]


def test_the_command_prints_the_curves_and_draws_them(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    app = partial(fleet_app, result_action="return_value")
    picture = tmp_path / "advice.svg"
    app(["advise", "--accelerators", "512", "--days", "10", "--seeds", "2", "--picture", str(picture), "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"checkpoint_interval", "spare_nodes", "research_quota"}
    assert all(len(curve["tried"]) == len(curve["value"]) for curve in printed.values())
    assert picture.read_text().lstrip().startswith("<?xml")
    with pytest.raises(UserError, match="too small"):
        app(["advise", "--accelerators", "8", "--json"])


def curve(best: float, value: list[float], near: tuple[float, float]) -> Curve:
    tried = [10.0, 100.0, 3216.4, 40_000.0]
    checks = {"young_s": 3216.4, "load": 1.25, "mean_time_between_failures_s": 1.234e6}
    return Curve(
        question="How often", unit="s", tried=tried, value=value, measure="x", best=best, near=near, checks=checks
    )


def test_advice_has_no_exponents_and_names_no_best_among_equals() -> None:
    better, alike = curve(3216.4, [0.1, 0.5, 0.9, 0.2], (2800.2, 4000.0)), curve(10.0, [0.5] * 4, (10.0, 40_000.0))
    text = list(advice_lines([better]))
    assert text[0] == "How often: 3,220 s (2,800 to 4,000 are as good)"
    assert [line.split()[-1] for line in text[1:]] == ["3,216", "1.25", "1,234,000"]
    assert "e+" not in "".join(text)
    assert next(iter(advice_lines([alike]))) == "How often: it makes no difference (10 to 40,000 s are as good)"
    assert alike.as_json()["all_alike"] and not better.as_json()["all_alike"]
    assert told_number(0.012345) == "0.0123" and told_number(0) == "0" and told_number(math.inf) == "inf"
