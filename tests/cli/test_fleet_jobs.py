"""`ayllu fleet simulate` as its users call it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ayllu.cli.fleet.commands import app as fleet_app
from ayllu.lab.error import UserError

Command = Callable[[list[str]], None]


@pytest.fixture
def fleet() -> Command:
    return partial(fleet_app, result_action="return_value")


def test_simulate_prints_one_object_with_means_and_intervals(fleet: Command, capsys: pytest.CaptureFixture) -> None:
    fleet(["simulate", "llama3-54-days", "--seeds", "10", "--json"])
    printed = json.loads(capsys.readouterr().out)
    for name in ("unexpected_interruptions", "effective_training_time"):
        low, high = printed[name]["interval"]
        assert low <= printed[name]["mean"] <= high
    assert printed["effective_training_time"]["mean"] > 0.9
    assert all(row["expected"] and row["simulated"] for row in printed["reproduction"])
    assert not any("2407.21783" in item["source"] for item in printed["inputs"])


def test_a_run_of_ones_own_comes_from_a_file(fleet: Command, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "eight.json"
    path.write_text(json.dumps({"accelerators": 8, "days": 30, "checkpointing": {"interval": 1800}}))
    fleet(["simulate", str(path), "--seeds", "20", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["scenario"] == "eight"
    assert printed["effective_training_time"]["mean"] > 0.98


def test_what_a_file_does_not_say_is_shown_as_a_default(
    fleet: Command, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """One spare node more or less is most of what such a run loses, so nobody may be left to guess it."""
    path = tmp_path / "run.json"

    def inputs(**values: object) -> dict[str, tuple[str, str]]:
        path.write_text(json.dumps({"accelerators": 256, "days": 30} | values))
        fleet(["simulate", str(path), "--seeds", "4", "--json"])
        printed = json.loads(capsys.readouterr().out)
        found = {each["name"]: (each["value"], each["source"]) for each in printed["inputs"]}
        return found | {"notes": (" ".join(printed["notes"]), ""), "effective": printed["effective_training_time"]}

    plain = inputs()
    assert plain["accelerators"] == ("256", "run.json")
    assert plain["recovery stall"] == ("none", "default"), "two fields have that name"
    assert plain["spares"] == ("1 (1 for 32 nodes)", "default")
    assert "1 spare node" in plain["notes"][0]
    assert plain["hazard per 1000 node days"][1].startswith("default")
    assert plain["checkpointing interval"] == ("300", "default") and plain["recovery restart"] == ("by size", "default")
    said = inputs(spares=0, checkpointing={"interval": 300.0}, hazard={"per_1000_node_days": 4.5})
    assert said["spares"] == ("0", "run.json") and said["notes"][0] == ""
    assert said["checkpointing interval"] == ("300", "run.json") and said["checkpointing stall"][1] == "default"
    assert said["hazard per 1000 node days"] == ("4.5", "run.json")
    assert inputs(spares=0)["effective"]["mean"] < plain["effective"]["mean"] - 0.05


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not a JSON file"),
        ("[]", "one object"),
        ('{"accelerators": 8}', "days is missing"),
        ('{"accelerators": 8.5, "days": 3}', "must be a whole number"),
        ('{"accelerators": 8, "days": [1]}', "must be a number"),
        ('{"accelerators": 8, "days": true}', "must be a number"),
        ('{"accelerators": 8, "days": 3, "elastic": 1}', "true or false"),
        ('{"accelerators": 8, "days": 3, "recovery": {"detect": 5}}', "a pair of numbers"),
        ('{"accelerators": 8, "days": 3, "recovery": {"detect": [9, 5]}}', "in order"),
        ('{"accelerators": 8, "days": 3, "repair_days": -4}', "repair_days"),
        ('{"accelerators": 8, "days": 3, "degraded_loss": 7}', "degraded_loss"),
        ('{"accelerators": 8, "days": 3, "gpus": 1}', "unknown field 'gpus'"),
        ('{"accelerators": 8, "days": "three"}', "must be a number"),
        ('{"accelerators": 8, "days": 3, "hazard": {"per_1000_node_days": -2}}', "per_1000_node_days"),
    ],
)
def test_a_file_that_is_wrong_is_refused_in_one_sentence(fleet: Command, tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(UserError, match=words):
        fleet(["simulate", str(path), "--json"])


def test_an_unknown_scenario_names_those_that_there_are(fleet: Command) -> None:
    with pytest.raises(UserError, match="llama3-54-days"):
        fleet(["simulate", "llama9"])
