"""Published situations: runs that are simulated from others' figures, and recorded runs of `bench/reproduce`."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from typing import Any

import numpy as np
import pytest

from ayllu.fleet.simulate.published import described_runs, published_scenarios
from ayllu.fleet.simulate.run_simulation import simulate_run
from ayllu.fleet.simulate.scenarios import play
from ayllu.fleet.simulate.training_run import Checkpointing, Recovery, TrainingRun

FILE = json.loads(resources.files("ayllu.fleet").joinpath("data", "scenarios.json").read_text(encoding="utf-8"))
ENTRIES: dict[str, dict[str, Any]] = {entry["name"]: entry for entry in FILE["scenarios"]}
SCENARIOS = {scenario.name: scenario for scenario in published_scenarios()}
RECORDED = [name for name, entry in ENTRIES.items() if "recorded" in entry]


def run(name: str, label: str = "run") -> TrainingRun:
    return described_runs(ENTRIES[name])[label]


def test_llama3_is_reproduced_from_the_figures_of_others() -> None:
    found = SCENARIOS["llama3-54-days"].run(30)
    interruptions, effective = (each.simulated for each in found.reproduced)
    assert interruptions.low <= 419 <= interruptions.high
    assert abs(interruptions.mean - 419) < 20.5
    assert effective.mean > 0.90
    assert run("llama3-54-days").spares == 1024


def test_replicas_that_recover_alone_raise_the_effective_time() -> None:
    figures = SCENARIOS["ft-hsdp"].run(5).figures
    assert figures["whole_job"].mean == pytest.approx(0.44, abs=0.04)
    assert figures["replicas"].mean == pytest.approx(0.80, abs=0.04)
    # 98,304 GPUs fail every 18 minutes.
    assert run("ft-hsdp", "whole").hazard.mean_seconds() / 12_288 == pytest.approx(18 * 60)


def test_inspections_and_copies_every_step_bring_byterobust_near_its_best() -> None:
    described = run("byterobust-3-months")
    plain = replace(described, checkpointing=Checkpointing(), recovery=Recovery())
    with_both = np.mean([simulate_run(described, seed).effective_training_time for seed in range(20)])
    without = np.mean([simulate_run(plain, seed).effective_training_time for seed in range(20)])
    assert with_both > without + 0.008
    assert with_both == pytest.approx(0.97, abs=0.015)


@pytest.mark.parametrize("name", ["rsc-mttf", "rsc-lemons"])
def test_research_clusters_are_reproduced(name: str) -> None:
    for figure in SCENARIOS[name].run(6).reproduced:
        assert figure.simulated.mean == pytest.approx(figure.published, rel=0.3), figure.figure


@pytest.mark.parametrize(("name", "least"), [("Seren", 10), ("Kalos", 10), ("Helios", 2), ("Philly", 2)])
def test_waits_come_near_the_published_ones(name: str, least: int) -> None:
    """The mean of a heavy tail within a factor of five (Seren is the worst), the middle run's median within two."""
    targets = {target["figure"]: target for target in ENTRIES["queues"]["targets"]}
    mean, median = (targets[f"{name}: {which} queue time, s"] for which in ("mean", "median"))
    assert len(mean["values"]) >= least
    assert mean["published"] / 5 < np.mean(mean["values"]) < 5 * mean["published"]
    assert median["published"] / 2 <= np.median(median["values"]) <= max(2 * median["published"], 1)


@pytest.mark.parametrize("name", ["Seren", "Kalos"])
def test_the_share_that_waits_so_long_is_near_the_published_one(name: str) -> None:
    shares = [target for target in ENTRIES["queues"]["targets"] if target["figure"].startswith(f"{name}: jobs")]
    assert len(shares) == 3
    for target in shares:
        assert np.mean(target["values"]) == pytest.approx(target["published"], abs=0.1), target["figure"]


@pytest.mark.parametrize("name", ["Seren", "Kalos"])
def test_what_nobody_published_is_drawn_and_spans_the_published_mean(name: str) -> None:
    (mean,) = (t for t in ENTRIES["queues"]["targets"] if t["figure"] == f"{name}: mean queue time, s")
    assert min(mean["values"]) < mean["published"] < max(mean["values"])


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_scenario_answers_for_the_runs_that_it_has(name: str) -> None:
    recorded = ENTRIES[name]["recorded"]
    few, all_of_them, more = (play(SCENARIOS[name], seeds) for seeds in (2, recorded["seeds"], 10_000))
    assert {**more, "seconds": 0} == {**all_of_them, "seconds": 0}
    for figure, values in recorded["figures"].items():
        assert few[figure]["mean"] == pytest.approx(np.mean(values[:2]), abs=1e-4)
        assert (few[figure]["runs"], more[figure]["runs"]) == (2, len(values))
    assert any("bench/reproduce" in note for note in few["notes"])
    assert all(len(target["values"]) == recorded["seeds"] for target in ENTRIES[name]["targets"])


def test_no_scenario_starts_from_its_own_target() -> None:
    for scenario in SCENARIOS.values():
        assert scenario.inputs
        assert all(each.source for each in scenario.inputs)
    assert not any("2407.21783" in each.source for each in SCENARIOS["llama3-54-days"].inputs)


def test_what_is_from_memory_is_marked() -> None:
    marked = {(s.name, each.name) for s in SCENARIOS.values() for each in s.inputs if each.unsourced}
    assert marked == {("rsc-mttf", "lemons"), ("rsc-lemons", "lemons"), ("queues", "submitted at once")}
    assert all(
        "memory" in i.source or "summary" in i.source for s in SCENARIOS.values() for i in s.inputs if i.unsourced
    )
