"""Failures and a single run: against arithmetic, against published formulas, and against what was published."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ayllu.fleet.simulate import run_simulation
from ayllu.fleet.simulate.failures import DAY, FailureStream, Hazard, causes, fleet_rates, pooled_rate
from ayllu.fleet.simulate.run_simulation import simulate_run
from ayllu.fleet.simulate.training_run import Checkpointing, Recovery, TrainingRun, restart_seconds
from ayllu.lab.error import UserError

LLAMA_3 = TrainingRun(
    accelerators=16_384,
    days=54,
    hazard=Hazard(per_1000_node_days=pooled_rate(without="Llama 3").per_1000_node_days),
    spares=1024,
)


def failures_of(hazard: Hazard, nodes: int, days: float, seed: int) -> int:
    stream = FailureStream(hazard, nodes, days * DAY, np.random.default_rng(seed))
    count = 0
    while stream.peek() < days * DAY:
        stream.pop()
        count += 1
    return count


@pytest.mark.parametrize(
    "hazard",
    [
        Hazard(per_1000_node_days=5),
        Hazard(per_1000_node_days=5, shape=1.0),
        Hazard(per_1000_node_days=5, lemon_share=0.05, lemon_factor=20),
    ],
)
def test_the_fleet_fails_at_the_rate_that_was_given(hazard: Hazard) -> None:
    counts = [failures_of(hazard, 2000, 100, seed) for seed in range(20)]
    assert np.mean(counts) == pytest.approx(1000, rel=0.05)


def test_new_nodes_fail_more_often_in_the_first_days() -> None:
    new = sum(failures_of(Hazard(per_1000_node_days=5, settled=False), 2000, 10, seed) for seed in range(20))
    settled = sum(failures_of(Hazard(per_1000_node_days=5), 2000, 10, seed) for seed in range(20))
    assert new > 1.3 * settled


def test_the_target_is_never_among_the_pooled_rates() -> None:
    rates = {rate.fleet: rate.per_1000_node_days for rate in fleet_rates()}
    others = [rate for fleet, rate in rates.items() if fleet != "Llama 3"]
    assert pooled_rate(without="Llama 3").per_1000_node_days == pytest.approx(math.prod(others) ** (1 / len(others)))
    assert sum(cause.share for cause in causes()) == pytest.approx(1)


def test_the_wall_clock_is_accounted_for_to_the_second() -> None:
    for seed in range(5):
        outcome = simulate_run(LLAMA_3, seed)
        assert sum(outcome.hours.values()) == pytest.approx(54 * 24, abs=0.1)
        assert min(outcome.hours.values()) >= 0
        assert sum(outcome.by_cause.values()) == outcome.unexpected_interruptions == len(outcome.interruptions_at)
    again = simulate_run(LLAMA_3, 4)
    assert again == outcome


def test_nothing_is_computed_between_two_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of weeks costs no more steps than it has stops, however long they lie apart."""
    steps: list[float] = []
    train = run_simulation._RunSimulation._train
    monkeypatch.setattr(
        run_simulation._RunSimulation, "_train", lambda life, running: (steps.append(running), train(life, running))
    )
    outcome = simulate_run(LLAMA_3, 0)
    assert 0 < len(steps) <= outcome.unexpected_interruptions + outcome.planned_interruptions + 1
    steps.clear()
    rare = replace(LLAMA_3, days=3650, planned_per_day=0, hazard=Hazard(per_1000_node_days=0.001))
    assert len(steps) <= simulate_run(rare, 0).unexpected_interruptions + 1


def test_effective_time_follows_the_published_formula() -> None:
    """Kokolis et al. arXiv:2410.21680: ETTR = (1 - N r (u + dt/2)) / (1 + w/dt), in the regime of rare failures."""
    rate, restart, interval, stall = 6.5e-3, 600.0, 3600.0, 60.0
    run = TrainingRun(
        accelerators=2048,
        days=60,
        hazard=Hazard(per_1000_node_days=1000 * rate, shape=1.0),
        checkpointing=Checkpointing(interval=interval, stall=stall, save=stall),
        recovery=Recovery(stall=restart, silent_latency=0),
        planned_per_day=0,
        spares=10_000,
    )
    formula = (1 - 256 * rate / DAY * (restart + interval / 2)) / (1 + stall / interval)
    simulated = np.mean([simulate_run(run, seed).effective_training_time for seed in range(40)])
    assert simulated == pytest.approx(formula, abs=0.004)


def test_a_run_without_spares_waits_and_an_elastic_one_goes_on() -> None:
    run = {"accelerators": 4096, "days": 30, "hazard": Hazard(per_1000_node_days=10), "spares": 0}
    waits = [simulate_run(TrainingRun(**run), seed) for seed in range(5)]
    elastic = [simulate_run(TrainingRun(**run, elastic=True), seed) for seed in range(5)]
    assert all(outcome.hours["waiting for a node"] > 100 for outcome in waits)
    assert all(e.goodput > w.goodput + 0.2 for e, w in zip(elastic, waits, strict=True))
    assert all(e.goodput < e.effective_training_time for e in elastic)


def test_copies_in_memory_lose_less_than_copies_on_disk() -> None:
    run = {"accelerators": 16_384, "days": 20, "hazard": Hazard(per_1000_node_days=6)}
    disk = simulate_run(TrainingRun(**run, checkpointing=Checkpointing(interval=1800)), 1)
    memory = simulate_run(TrainingRun(**run, checkpointing=Checkpointing(interval=1800, memory_interval=30)), 1)
    assert memory.hours["lost"] < 0.5 * disk.hours["lost"]


def test_what_inspections_name_is_not_diagnosed() -> None:
    run = TrainingRun(accelerators=9_600, days=60, hazard=Hazard(per_1000_node_days=4))
    hours = [
        simulate_run(replace(run, recovery=Recovery(manual_share_at_most=0, inspected_share=share)), 3).hours
        for share in (0.0, 1.0)
    ]
    assert hours[1]["detection and diagnosis"] < 0.15 * hours[0]["detection and diagnosis"]


def test_restarts_grow_with_the_size() -> None:
    times = [restart_seconds(size) for size in (8, 1024, 16_384, 22_528, 98_304, 200_000)]
    assert times == sorted(times)
    assert restart_seconds(16_384) == 200


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Hazard(per_1000_node_days=-1), "per_1000_node_days"),
        (lambda: Hazard(per_1000_node_days=1, shape=0), "shape"),
        (lambda: Checkpointing(interval=0), "interval"),
        (lambda: Recovery(inspected_share=1.5), "inspected_share"),
        (lambda: TrainingRun(accelerators=0, days=1, hazard=Hazard(per_1000_node_days=1)), "at least 1"),
        (lambda: TrainingRun(accelerators=8, days=-3, hazard=Hazard(per_1000_node_days=1)), "days"),
    ],
)
def test_figures_that_cannot_be_are_refused_in_one_sentence(make, words: str) -> None:
    with pytest.raises(UserError, match=words) as refusal:
        make()
    assert "\n" not in str(refusal.value)
