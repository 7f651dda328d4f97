"""The interval that plans print: what it holds and what it costs, worked out by hand, and as `validate` tells it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ayllu.cli.fleet.commands import app
from ayllu.fleet.planner.constants import CONSTANTS, NOISE, Constants, shipped
from ayllu.fleet.planner.uncertainty import interval, slopes, unseen_variance
from ayllu.fleet.validation.coverage import Predictions, coverage, interval_ends
from ayllu.fleet.validation.fit import predict, spread
from ayllu.fleet.validation.measured_run import read_measured_run
from ayllu.fleet.validation.measured_runs import gather, read_measured_runs
from support.fleet.runs_table import ROW, write

ONE = Constants(values={}, interval_z=(-1.0, 2.0))


def of(spreads: list[float], seconds: float = 2.0) -> Predictions:
    return Predictions(seconds=np.full(len(spreads), seconds), spread=np.array(spreads))


def test_a_run_inside_costs_the_width_and_one_outside_ten_times_what_it_lies_out() -> None:
    """A spread of 0.1: from 2 e^-0.1 to 2 e^0.2 seconds."""
    inside = coverage(of([0.1]), np.array([2.4]), ONE)
    assert inside is not None and inside.coverage_pct == 100 and inside.winkler == pytest.approx(0.3)
    both = coverage(of([0.1, 0.1]), np.array([2.4, 5.0]), ONE)
    assert both is not None and both.coverage_pct == 50
    assert both.winkler == pytest.approx(0.3 + 10 * (math.log(2.5) - 0.2) / 2, abs=1e-3)
    fast = coverage(of([0.1]), np.array([0.8]), ONE)
    assert fast is not None and fast.winkler == pytest.approx(0.3 + 10 * (-0.1 - math.log(0.4)), abs=1e-3)
    assert coverage(of([]), np.array([]), ONE) is None


def test_each_run_has_a_width_of_its_own() -> None:
    found = coverage(of([0.1, 0.3]), np.array([3.0, 3.0]), ONE)
    assert found is not None and found.coverage_pct == 50


def test_what_was_never_seen_widens_the_interval() -> None:
    """The part's and the generation's factors, and at least what a run differs by in any case."""
    runs = gather([dict(ROW), ROW | {"gpu_type": "MI300X"}])
    known, new = spread(runs, shipped())
    assert new > known > NOISE
    assert unseen_variance(("accelerator:h100", "accelerator:mi300x", "family:x"), shipped()) == pytest.approx(
        0.08**2 + 0.12**2
    )


def test_the_width_follows_the_terms_that_dominate() -> None:
    """One constant that is all of a step widens it by its own spread: a step that waits for the network only."""
    runs = gather([ROW | {"interconnect": f"{rate} Gbps per GPU"} for rate in ("400", "2")])
    fast, slow = slopes(runs.queries, shipped())
    network = list(CONSTANTS).index("network_share")
    assert -1.0 < slow[network] < -0.5 < fast[network] <= 0
    near, far = spread(runs, shipped())
    assert far > near


def test_the_ends_hold_groups_that_they_were_not_taken_from() -> None:
    """Nine groups alike and one far off: ends from all runs alone would lie among the nine."""
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(10), 50)
    measured = 2 * np.exp(0.1 * draw.standard_normal(500) + 0.1 * (groups == 9))
    low, high = interval_ends(of([0.1] * 500), measured, groups)
    assert -1.6 < low < -1.1 and 1.1 < high < 2.2
    off = np.log(measured / 2) / 0.1
    assert np.mean((low <= off) & (off <= high)) >= 0.8


def test_validate_tells_the_coverage_of_the_shipped_interval(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of software that nobody has seen: one as predicted, one three times slower, so that half are held."""
    path = write(tmp_path / "one.csv", [dict(ROW)])
    exact = float(predict(read_measured_runs(path), shipped())[0])
    rows = [ROW | {"step_time_s": f"{exact * factor:.4f}"} for factor in (1, 3)]
    path = write(tmp_path / "runs.csv", rows)
    app(["validate", "--truth", str(path), "--json"], result_action="return_value")
    found = json.loads(capsys.readouterr().out)
    assert found["coverage_pct"] == 50 == found["coverage_unseen_software_pct"]
    low, high = (end[0] for end in interval(spread(gather([dict(ROW)]), shipped()), shipped()))
    assert found["winkler"] == pytest.approx(math.log(high / low) + 10 * math.log(3 / high) / 2, abs=2e-3)
    known = write(tmp_path / "known.csv", [row | {"source": "torchtitan benchmarks"} for row in rows])
    app(["validate", "--truth", str(known), "--json"], result_action="return_value")
    assert json.loads(capsys.readouterr().out)["coverage_unseen_software_pct"] is None
    app(["validate", "--truth", str(path)], result_action="return_value")
    assert "the 80 % interval of plans holds 50 % of these times" in capsys.readouterr().out


def test_software_that_is_known_has_a_narrower_interval() -> None:
    runs = gather([dict(ROW), ROW | {"source": "NVIDIA DGX Cloud benchmarking recipes"}])
    new, known = spread(runs, shipped())
    assert known < new
    assert read_measured_run(ROW).family == ""
