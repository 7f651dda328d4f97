"""Experiments as files: the verdict follows from threshold and interval, and what was asked stays as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ayllu.cli.main import main
from ayllu.lab.error import UserError
from ayllu.lab.run import Place
from ayllu.lab.store import Store
from ayllu.recipes.sweeping import experiment
from ayllu.recipes.sweeping.trial import Measured

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.05, -0.02, "held"), (-0.05, 0.01, "open"), (-0.005, 0.02, "refuted"), (None, None, "open")],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(low: float | None, high: float | None, said: str) -> None:
    assert experiment.verdict({"mean": 0.0, "low": low, "high": high}, -0.01) == said


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that was run; what its trainings came to is made up: the file and the verdict are looked at."""

    def measured(recipe: Any, options: dict[str, Any], *rest: Any, **more: Any) -> Measured:
        value = 2.0 + 0.01 * options["seed"] - (0.05 if options["batch"] == 8 else 0.0)
        return Measured(value=value, source="s", key="k", seconds=1.0, parameters=1, tokens=1)

    monkeypatch.setattr(experiment, "run_trial", measured)
    path = experiment.new("small_batch", tmp_path / "experiments")
    facts = experiment.run(path, Place(store=Store(tmp_path / "home"), cache=tmp_path))
    assert facts["state"] == "finished"
    return path


def test_the_result_stands_in_the_file_and_in_the_home(ran: Path, tmp_path: Path) -> None:
    (row,) = experiment.report(ran.parent)
    assert (row["name"], row["state"], row["verdict"]) == ("0001_small_batch", "finished", "held")
    assert row["difference"] == pytest.approx(-0.05)
    assert (tmp_path / "home" / "experiments" / "0001_small_batch.json").is_file()


def test_a_long_result_stands_in_lines_that_a_formatter_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = Measured(value=2.123456, source="s", key="k", seconds=1.0, parameters=1, tokens=1)
    monkeypatch.setattr(experiment, "run_trial", lambda *rest, **more: value)
    path = experiment.new("long_names", tmp_path / "experiments")
    text = path.read_text().replace('"16 rows"', '"sixteen rows at the usual rate"')
    path.write_text(text.replace('"8 rows"', '"eight rows, half as many as usual, at the same rate"'))
    formatter = [sys.executable, "-m", "ruff", "format", "--line-length=120", str(path)]
    subprocess.run(formatter, check=True)
    experiment.run(path, Place(store=Store(tmp_path / "home"), cache=tmp_path))
    assert subprocess.run([*formatter, "--check"]).returncode == 0
    assert [row["state"] for row in experiment.report(path.parent)] == ["finished"]


def test_an_arm_that_came_to_nothing_writes_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(recipe: Any, options: dict[str, Any], *rest: Any, **more: Any) -> Measured:
        value = float("nan") if options["batch"] == 8 else 2.0
        return Measured(value=value, source="s", key="k", seconds=1.0, parameters=1, tokens=1)

    monkeypatch.setattr(experiment, "run_trial", measured)
    path = experiment.new("small_batch", tmp_path / "experiments")
    with pytest.raises(UserError, match="8 rows, seed 0: its bits per byte are nan"):
        experiment.run(path, Place(store=Store(tmp_path / "home"), cache=tmp_path))
    assert [row["state"] for row in experiment.report(path.parent)] == ["not run"]


def test_a_threshold_that_is_moved_after_the_result_is_told_and_refused(ran: Path, tmp_path: Path) -> None:
    ran.write_text(ran.read_text().replace("below=-0.01", "below=-0.04"))
    assert experiment.report(ran.parent)[0]["state"] == "changed since"
    with pytest.raises(UserError, match="asks something else"):
        experiment.run(ran, Place(store=Store(tmp_path / "home"), cache=tmp_path))


def test_files_are_numbered_and_found_by_number_and_name(ran: Path) -> None:
    second = experiment.new("deep", ran.parent)
    assert second.name == "0002_deep.py"
    assert experiment.find("2", ran.parent) == experiment.find("deep", ran.parent) == second
    with pytest.raises(UserError, match="no experiment"):
        experiment.find("3", ran.parent)


def test_a_name_of_two_files_is_told_as_such_and_a_strange_digit_is_no_number(tmp_path: Path) -> None:
    for _ in range(2):
        experiment.new("deep", tmp_path)
    with pytest.raises(UserError, match="0001_deep, 0002_deep"):
        experiment.find("deep", tmp_path)
    with pytest.raises(UserError, match="no experiment"):
        experiment.find("²", tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("below=-0.01", "below='x'"),
        ("below=-0.01", "below=float('nan')"),
        ("seeds=(0, 1, 2)", "seeds=(0, 'a')"),
        ("seeds=(0, 1, 2)", "seeds=(0, 0, 1)"),
        ("seeds=(0, 1, 2)", "seeds=5"),
        ('{"batch": 16}', '{"bach": 16}'),
        ('{"batch": 16}', '{"batch": "\\x1b[31m"}'),
        ('{"batch": 16}', '{"seed": 16}'),
        ('{"batch": 16}', "7"),
        ('recipe="cria"', "recipe=3"),
        ("    seeds=", "    heldout=0,\n    seeds="),
        ("EXPERIMENT =", "RESULT = {'asked': 3, 'difference': 'x'}\nEXPERIMENT ="),
    ],
)
def test_what_no_experiment_can_ask_is_refused_before_anything_runs(old: str, new: str, tmp_path: Path) -> None:
    path = experiment.new("odd", tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError) as said:
        experiment.run(path, Place(store=Store(tmp_path / "home"), cache=tmp_path))
    assert str(said.value).isprintable()
    assert not list((tmp_path / "home").rglob("*.json"))


@pytest.mark.parametrize(
    "text", ["1/0", "EXPERIMENT = 3", "x =", "raise SystemExit(0)", "raise ValueError('\x1b[31m')"]
)
def test_a_file_that_sets_no_experiment_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "0001_bad.py"
    path.write_text(text)
    with pytest.raises(UserError) as said:
        experiment.read(path)
    assert str(said.value).isprintable()


def test_a_file_that_cannot_be_read_hides_no_other(ran: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ran.parent / "0000_broken.py").write_text("1/0")
    broken, whole = experiment.report(ran.parent)
    assert (broken["state"], whole["verdict"]) == ("cannot be read", "held")
    assert "ZeroDivisionError" in broken["question"]
    with pytest.raises(SystemExit) as ended:
        main(["experiment", "report", "--folder", str(ran.parent)])
    told = capsys.readouterr().out
    assert ended.value.code == 0 and "cannot be read" in told and "held" in told


def test_no_experiment_of_ours_was_changed_after_its_result() -> None:
    rows = experiment.report(ROOT / "experiments")
    assert rows
    assert all(row["state"] != "changed since" for row in rows)
