"""A few runs of the user's own: what they move, what they leave, and how plans use them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ayllu.cli.fleet.commands import app
from ayllu.fleet.catalogue import find_fleet
from ayllu.fleet.own_constants import in_use, own_file
from ayllu.fleet.planner.constants import CONSTANTS, OWN_SOFTWARE, shipped
from ayllu.fleet.planner.plan import plan
from ayllu.fleet.planner.training_job import TrainingJob
from ayllu.fleet.validation.fit import predict
from ayllu.fleet.validation.measured_runs import gather
from ayllu.fleet.validation.own_runs import curve, moved_by
from ayllu.lab.error import UserError
from ayllu.model.presets import PRESETS
from support.fleet.runs_table import ROW, write

LAYOUTS = [("1", "64"), ("2", "32"), ("4", "16"), ("8", "8")]


def rows(factor: float = 1.0) -> list[dict[str, str]]:
    """Four layouts with the times that the shipped constants give, times `factor`."""
    asked = [ROW | {"tp": tp, "dp": dp} for tp, dp in LAYOUTS]
    seconds = factor * predict(gather(asked), shipped())
    return [row | {"step_time_s": f"{time:.6f}"} for row, time in zip(asked, seconds, strict=True)]


def best() -> Any:
    job = TrainingJob(name="x", model=PRESETS["llama-3.1-8b"], sequence=8192, global_batch=128, tokens=1e12)
    return plan(job, find_fleet("64xh100").pools[0], top=1)


def test_runs_as_predicted_move_nothing_and_narrow_the_interval(tmp_path: Path) -> None:
    before = best()
    app(["calibrate", "--measured", str(write(tmp_path / "runs.csv", rows()))], result_action="return_value")
    moved = in_use()
    assert moved.own_runs == 4
    for name in CONSTANTS:
        assert float(moved[name]) == pytest.approx(float(shipped()[name]), rel=0.01)
    after = best()
    assert after.own_runs == 4 and before.own_runs == 0
    assert after.best.step_s == pytest.approx(before.best.step_s, rel=0.01)
    widths = [found.best.interval_s[1] / found.best.interval_s[0] for found in (before, after)]
    assert 1 < widths[1] < 0.95 * widths[0]


def test_slower_runs_make_plans_slower_but_not_by_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = best().best.step_s
    path = write(tmp_path / "runs.csv", rows(1.3))
    app(["calibrate", "--measured", str(path), "--json"], result_action="return_value")
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 4 and found["after_pct"] < found["before_pct"] == pytest.approx(
        100 * (1 - 1 / 1.3), abs=0.2
    )
    assert 1.1 * before < best().best.step_s < 1.3 * before
    assert len(found["moved"]) == 6
    app(["plan", "llama-3.1-8b", "--fleet", "64xh100"], result_action="return_value")
    assert "by 4 runs of yours" in capsys.readouterr().out
    own_file().unlink()
    assert best().best.step_s == pytest.approx(before)


def test_a_term_that_dominates_is_corrected_by_its_own_constant() -> None:
    """Runs over a slow network that take as long as on one of half its share: the network's constant takes it."""
    asked = [
        ROW | {"gpus": str(8 * dp), "tp": "8", "dp": str(dp), "interconnect": "25 Gbps per GPU"} for dp in (16, 32, 64)
    ]
    table = gather([row | {"global_batch_seqs": row["dp"]} for row in asked])
    values = {**shipped().values, "network_share": 0.5 * float(shipped()["network_share"])}
    slow = replace(table, seconds=predict(table, replace(shipped(), values=values)))
    moved = moved_by(slow, shipped())
    shifts = {name: abs(np.log(moved[name] / shipped()[name])) for name in CONSTANTS}
    assert max(shifts, key=lambda name: shifts[name]) == "network_share"
    assert moved["network_share"] < 0.85 * shipped()["network_share"]
    assert shifts["attention_tuned"] < 0.05


def test_one_run_that_is_absurd_is_not_believed() -> None:
    table = gather([*rows(), ROW | {"step_time_s": "200"}])
    moved = moved_by(table, shipped())
    assert abs(moved.effects[OWN_SOFTWARE[0]]) < 0.1


def test_own_rows_are_worth_something_and_none_are_predicted_by_themselves() -> None:
    """Ten runs 1.4 times as slow as predicted: with more of them given, the others are nearer."""
    times = {"step_time_s": "100"}
    asked = [ROW | times | {"micro_batch": str(1 + n % 2), "global_batch_seqs": str(64 * (1 + n))} for n in range(10)]
    table = gather(asked)
    table = replace(table, seconds=1.4 * predict(table, shipped()))
    errors = curve(lambda _: shipped(), table, np.array(["one"] * 10), (0, 1, 5), 3)
    assert [len(errors[count]) for count in (0, 1, 5)] == [30, 27, 15]
    assert np.median(errors[0]) == pytest.approx(100 * (1 - 1 / 1.4))
    assert np.median(errors[5]) < np.median(errors[1]) < np.median(errors[0])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--compiled"], "leave out"), (["--power", "90"], "leave out"), (["--no-training"], "leave out")],
)
def test_what_measures_nothing_takes_no_option_of_a_measurement(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    path = write(tmp_path / "runs.csv", rows())
    with pytest.raises(UserError, match=said):
        app(["calibrate", "--measured", str(path), *arguments], exit_on_error=False, result_action="return_value")


@pytest.mark.parametrize("content", ["{", "[]", '{"fitted_on": 1}', '{"fitted_on": {}, "values": {}}', "[" * 100_000])
def test_a_broken_file_of_own_runs_is_one_sentence(content: str) -> None:
    own_file().parent.mkdir(parents=True)
    own_file().write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot be used .* delete it$"):
        app(["plan", "llama-3.1-8b", "--fleet", "8xh100"], exit_on_error=False, result_action="return_value")


def test_numbers_that_are_none_and_other_sizes_are_refused(tmp_path: Path) -> None:
    app(["calibrate", "--measured", str(write(tmp_path / "runs.csv", rows()))], result_action="return_value")
    kept = json.loads(own_file().read_text(encoding="utf-8"))
    for changes in ({"software": float("nan")}, {"covariance": [[1.0]]}, {"values": kept["values"] | {"hop": -1.0}}):
        own_file().write_text(json.dumps(kept | changes), encoding="utf-8")
        with pytest.raises(UserError, match="cannot be used"):
            in_use()


def test_runs_that_cannot_be_used_move_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of the 1 rows"):
        app(
            ["calibrate", "--measured", str(write(tmp_path / "runs.csv", [ROW | {"gpu_type": "abacus"}]))],
            exit_on_error=False,
            result_action="return_value",
        )
    assert not own_file().exists()
