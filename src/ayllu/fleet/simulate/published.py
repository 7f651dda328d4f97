"""Published situations by name, from `data/scenarios.json`: what is known of each, and what was measured there.

A training run is simulated here. What reproduces other people's clusters of many jobs is `bench/reproduce` of the
repository: of it the file holds what every simulated run found, and a scenario answers from those.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from typing import Any

import numpy as np

from ayllu.fleet.simulate.failures import Hazard, fleet_rates, pooled_rate
from ayllu.fleet.simulate.prediction_interval import PredictionInterval
from ayllu.fleet.simulate.run_file import training_run
from ayllu.fleet.simulate.run_simulation import RunOutcome, simulate_run
from ayllu.fleet.simulate.scenario import Input, ReproducedFigure, Result, Scenario, run_figures
from ayllu.fleet.simulate.training_run import TrainingRun

Entry = Mapping[str, Any]
"""One scenario of the file."""


def published_scenarios() -> tuple[Scenario, ...]:
    """Every published situation, in the order of the file."""
    text = resources.files("ayllu.fleet").joinpath("data", "scenarios.json").read_text(encoding="utf-8")
    content = json.loads(text)
    shared = {each["name"]: Input(**each) for each in content["shared_inputs"]}
    return tuple(
        Scenario(
            name=entry["name"],
            title=entry["title"],
            inputs=tuple(_inputs(entry, shared)),
            run=partial(_recall if "recorded" in entry else _simulate, entry),
            seeds=entry["seeds"],
        )
        for entry in content["scenarios"]
    )


def described_runs(entry: Entry) -> dict[str, TrainingRun]:
    """The runs of an entry by their labels; one without a hazard has the pooled rate of the other fleets."""
    runs = {}
    for label, values in entry["runs"].items():
        given = dict(values)
        if "rate_without" in given:
            given["hazard"] = {"per_1000_node_days": pooled_rate(without=given.pop("rate_without")).per_1000_node_days}
        runs[label] = training_run(given, f"scenario {entry['name']}")
    return runs


def _inputs(entry: Entry, shared: Mapping[str, Input]) -> Iterator[Input]:
    """A name stands for a shared input; `failure rate` for the rate that its run is given."""
    for each in entry["inputs"]:
        if each == "failure rate":
            (run,) = entry["runs"].values()
            yield _rate_input(run["rate_without"])
        else:
            yield shared[each] if isinstance(each, str) else Input(**each)


def _rate_input(without: str) -> Input:
    pooled = pooled_rate(without=without)
    others = ", ".join(rate.fleet for rate in fleet_rates() if rate.fleet != without)
    return Input(
        name="failure rate",
        value=f"{pooled.per_1000_node_days:.2f} per 1,000 node-days",
        source=f"geometric mean of {others}; between fleets x/÷ {math.exp(pooled.log_spread):.1f}",
    )


def _simulate(entry: Entry, seeds: int) -> Result:
    """Live through every run of the entry once for each seed."""
    runs = described_runs(entry)
    outcomes = {label: [simulate_run(run, seed) for seed in range(seeds)] for label, run in runs.items()}
    found = {label: run_figures(lived) for label, lived in outcomes.items()}
    if "figures" in entry:
        figures = {name: found[label][figure] for name, (label, figure) in entry["figures"].items()}
    else:
        (figures,) = found.values()
    return Result(
        figures=figures,
        reproduced=[_reproduced(target, figures[target["of"]]) for target in entry["targets"]],
        notes=entry["notes"],
        details=_details(entry, runs, outcomes) if entry.get("details") else {},
    )


def _recall(entry: Entry, seeds: int) -> Result:
    """What the first `seeds` recorded runs found; all of them where more are asked for."""
    recorded = entry["recorded"]
    figures = {name: PredictionInterval.of(values[:seeds]) for name, values in recorded["figures"].items()}
    note = f"Recorded, {recorded['seeds']} runs: {recorded['by']} of the repository simulates them and more."
    return Result(
        figures=figures,
        reproduced=[
            _reproduced(target, PredictionInterval.of(target["values"][:seeds])) for target in entry["targets"]
        ],
        notes=[*entry["notes"], note],
    )


def _reproduced(target: Mapping[str, Any], simulated: PredictionInterval) -> ReproducedFigure:
    return ReproducedFigure(
        figure=target["figure"],
        published=target["published"],
        at_least=target.get("at_least", False),
        source=target["source"],
        simulated=simulated,
    )


def _details(
    entry: Entry, runs: Mapping[str, TrainingRun], outcomes: Mapping[str, Sequence[RunOutcome]]
) -> dict[str, Any]:
    """Where the time of the one run goes, what broke, and the figures with a rate drawn as one draws a fleet."""
    (label,) = runs
    lived = outcomes[label]
    causes: Counter[str] = Counter()
    for outcome in lived:
        causes.update(outcome.by_cause)
    names = sorted({name for outcome in lived for name in outcome.hours})
    unknown = run_figures(_with_unknown_rate(runs[label], entry["runs"][label]["rate_without"], len(lived)))
    return {
        "rate_unknown": {name: interval.as_json() for name, interval in unknown.items()},
        "interruptions_by_cause": {name: round(count / len(lived), 1) for name, count in causes.most_common()},
        "hours": {name: round(float(np.mean([o.hours.get(name, 0.0) for o in lived])), 2) for name in names},
    }


def _with_unknown_rate(run: TrainingRun, without: str, seeds: int) -> list[RunOutcome]:
    pooled = pooled_rate(without=without)
    draws = np.random.default_rng(0).standard_normal(seeds)
    rates = [pooled.per_1000_node_days * math.exp(pooled.log_spread * z) for z in draws]
    return [simulate_run(replace(run, hazard=Hazard(per_1000_node_days=rate)), seed) for seed, rate in enumerate(rates)]
