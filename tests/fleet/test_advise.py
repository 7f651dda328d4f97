"""Advice: against the formulas of Young and Daly, and against what must be."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from ayllu.cli.fleet import app as fleet_app
from ayllu.fleet.advise import checkpoint_interval, daly, quota_cluster, research_quota, spare_nodes, young
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
