"""The interval that plans print: what it holds and what it costs, worked out by hand, and as `validate` tells it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ayllu.cli.fleet import app
from ayllu.fleet.planner.constants import Constants, shipped
from ayllu.fleet.validation.coverage import coverage
from ayllu.fleet.validation.fit import predict
from ayllu.fleet.validation.measured_run import read_measured_run
from ayllu.fleet.validation.measured_runs import read_measured_runs
from support.runs_table import ROW, write

SEEN = Constants(values={}, effects={"accelerator:h100": 0.0}, interval=(0.8, 1.25), interval_unseen=(0.5, 2.0))


def test_a_run_inside_costs_the_width_and_one_outside_ten_times_what_it_lies_out() -> None:
    run = read_measured_run(dict(ROW))
    width = math.log(1.25 / 0.8)
    inside = coverage([run], np.array([2.0]), np.array([2.4]), SEEN)
    assert inside is not None and inside.coverage_pct == 100 and inside.winkler == pytest.approx(width, abs=1e-3)
    both = coverage([run, run], np.array([2.0, 2.0]), np.array([2.4, 5.0]), SEEN)
    assert both is not None and both.coverage_pct == 50
    assert both.winkler == pytest.approx(width + 10 * math.log(2.5 / 1.25) / 2, abs=1e-3)
    fast = coverage([run], np.array([2.0]), np.array([0.8]), SEEN)
    assert fast is not None and fast.winkler == pytest.approx(width + 10 * math.log(0.8 / 0.4), abs=1e-3)
    assert coverage([], np.array([]), np.array([]), SEEN) is None


def test_a_part_that_was_never_seen_gets_the_wider_interval() -> None:
    run = read_measured_run(ROW | {"gpu_type": "MI300X"})
    found = coverage([run], np.array([2.0]), np.array([3.9]), SEEN)
    assert found is not None and found.coverage_pct == 100 and found.winkler == pytest.approx(math.log(4), abs=1e-3)


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
    low, high = shipped().interval_on("h100")
    assert found["winkler"] == pytest.approx(math.log(high / low) + 10 * math.log(3 / high) / 2, abs=2e-3)
    known = write(tmp_path / "known.csv", [row | {"source": "torchtitan benchmarks"} for row in rows])
    app(["validate", "--truth", str(known), "--json"], result_action="return_value")
    assert json.loads(capsys.readouterr().out)["coverage_unseen_software_pct"] is None
    app(["validate", "--truth", str(path)], result_action="return_value")
    assert "the 80 % interval of plans holds 50 % of these times" in capsys.readouterr().out
