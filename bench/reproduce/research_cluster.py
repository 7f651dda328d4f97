"""Scenarios of single runs and of failures: Llama 3, ByteRobust, MegaScale, FT-HSDP and Meta's research clusters.

Every scenario is held out from its target: its inputs come from other sources, or from other measurements of the same
source. Where a source gives only a bound ("less than 10 minutes"), the model draws uniformly from zero to the bound.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np

from ayllu.fleet.simulate.failures import DAY, FailureStream, Hazard, pooled_rate
from ayllu.fleet.simulate.prediction_interval import PredictionInterval
from ayllu.fleet.simulate.run_simulation import RunOutcome, simulate_run
from ayllu.fleet.simulate.scenario import Input, Result, Row, Scenario
from ayllu.fleet.simulate.training_run import HOUR, Checkpointing, Recovery, TrainingRun

RECOVERY_INPUTS = (
    Input(name="causes", value="678 events in 16 kinds", source="FT-HSDP, arXiv:2602.00277, 32K H100 window"),
    Input(name="time between failures", value="Weibull, shape 0.75", source="Schroeder and Gibson, DSN 2006"),
    Input(name="detection", value="2 to 60 s, hang 10 min", source="ByteRobust, arXiv:2509.16293"),
    Input(name="diagnosis", value="0 to 10 min", source="MegaScale, NSDI 2024: less than 10 min"),
    Input(
        name="needs a person", value="0 to 10 %, 68 min each", source="MegaScale: over 90 % automatic; Unicron: 68 min"
    ),
    Input(name="restart", value="200 s at 16K to 900 s at 98K", source="FT-HSDP, cold recovery by size"),
    Input(name="checkpoint", value="stall 0.59 s, safe after 51 s", source="ByteCheckpoint, up to 8,960 GPUs"),
    Input(name="checkpoint interval", value="5 min", source="Kokolis et al., arXiv:2410.21680"),
    Input(name="silent corruption", value="10 min computed again", source="Gemini: 0.25 % of steps replayed"),
    Input(name="planned stops", value="1 a day", source="assumption"),
)

RSC_NODES = 2000
RSC_RATE = 6.50
"""Failures per 1,000 node-days that RSC-1 attributes to a node (printed)."""
LEMON_NODES = 24
"""Lemon nodes that RSC-1's owners found (Kokolis et al., section on lemon nodes; not read again for this file)."""


def _rate_input(without: str) -> Input:
    pooled = pooled_rate(without=without)
    others = "RSC-1, RSC-2, FT-HSDP window, DGX-B200" + ("" if without == "Llama 3" else ", Llama 3")
    return Input(
        name="failure rate",
        value=f"{pooled.per_1000_node_days:.2f} per 1,000 node-days",
        source=f"geometric mean of {others}; between fleets x/÷ {math.exp(pooled.log_spread):.1f}",
    )


def _runs(run: TrainingRun, seeds: int) -> list[RunOutcome]:
    return [simulate_run(run, seed) for seed in range(seeds)]


def _figures(outcomes: list[RunOutcome]) -> dict[str, PredictionInterval]:
    return {
        "unexpected_interruptions": PredictionInterval.of([o.unexpected_interruptions for o in outcomes]),
        "effective_training_time": PredictionInterval.of([o.effective_training_time for o in outcomes]),
        "goodput": PredictionInterval.of([o.goodput for o in outcomes]),
        "mean_time_to_failure_hours": PredictionInterval.of([o.mean_time_to_failure / HOUR for o in outcomes]),
    }


def _where_time_goes(outcomes: list[RunOutcome]) -> dict[str, float]:
    names = sorted({name for o in outcomes for name in o.hours})
    return {name: round(float(np.mean([o.hours.get(name, 0.0) for o in outcomes])), 2) for name in names}


def llama3_run() -> TrainingRun:
    """Llama 3 405B as far as others' figures tell: 16,384 GPUs in a cluster of 24,576, for 54 days."""
    rate = pooled_rate(without="Llama 3").per_1000_node_days
    return TrainingRun(
        accelerators=16_384, days=54, hazard=Hazard(per_1000_node_days=rate), spares=(24_576 - 16_384) // 8
    )


def _llama3(seeds: int) -> Result:
    run = llama3_run()
    outcomes = _runs(run, seeds)
    figures = _figures(outcomes)
    pooled = pooled_rate(without="Llama 3")
    draws = np.random.default_rng(0).standard_normal(seeds)
    unknown = [
        simulate_run(
            replace(run, hazard=Hazard(per_1000_node_days=pooled.per_1000_node_days * math.exp(pooled.log_spread * z))),
            seed,
        )
        for seed, z in enumerate(draws)
    ]
    causes: Counter[str] = Counter()
    for outcome in outcomes:
        causes.update(outcome.by_cause)
    table = "arXiv:2407.21783, Table 5 and section 3.3.4"
    return Result(
        figures=figures,
        rows=[
            Row(
                figure="unexpected interruptions in 54 days",
                published=419,
                simulated=figures["unexpected_interruptions"],
                source=table,
            ),
            Row(
                figure="effective training time",
                published=0.90,
                at_least=True,
                simulated=figures["effective_training_time"],
                source=table,
            ),
        ],
        notes=[
            "The intervals are over seeds at the pooled rate. `rate_unknown` also draws the rate as one draws a fleet: "
            "whoever plans a new fleet knows its rate only to a factor of about two."
        ],
        details={
            "rate_unknown": {name: interval.as_json() for name, interval in _figures(unknown).items()},
            "interruptions_by_cause": {name: round(n / seeds, 1) for name, n in causes.most_common()},
            "hours": _where_time_goes(outcomes),
        },
    )


def byterobust_run() -> TrainingRun:
    """9,600 GPUs for three months, with what ByteRobust has and others have not: copies every step, inspections."""
    rate = pooled_rate(without="ByteRobust").per_1000_node_days
    return TrainingRun(
        accelerators=9_600,
        days=90,
        hazard=Hazard(per_1000_node_days=rate),
        checkpointing=Checkpointing(memory_interval=60.0),
        recovery=Recovery(inspected_share=0.3252),
    )


def _byterobust(seeds: int) -> Result:
    figures = _figures(_runs(byterobust_run(), seeds))
    row = Row(
        figure="effective training time, 9,600 GPUs, 3 months",
        published=0.97,
        simulated=figures["effective_training_time"],
        source="ByteRobust, arXiv:2509.16293 (up to 97 %)",
    )
    return Result(
        figures=figures,
        rows=[row],
        notes=[
            "The published figure is ByteRobust's best run. Its restarts (warm standbys, updates in place) are taken "
            "from another source, so we are somewhat lower."
        ],
    )


def _megascale(seeds: int) -> Result:
    rate = pooled_rate(without="MegaScale").per_1000_node_days
    figures = _figures(_runs(TrainingRun(accelerators=12_288, days=21, hazard=Hazard(per_1000_node_days=rate)), seeds))
    row = Row(
        figure="effective training time, 12,288 GPUs, weeks",
        published=0.90,
        at_least=True,
        simulated=figures["effective_training_time"],
        source="MegaScale, NSDI 2024",
    )
    return Result(figures=figures, rows=[row])


def ft_hsdp_run(*, replicas: int) -> TrainingRun:
    """98,304 GPUs that break every 18 minutes, as one job or as replicas of 4,096 GPUs that recover alone."""
    accelerators = 98_304
    hazard = Hazard.from_mtbf(18 * 60, accelerators // 8)
    stall = 180.0 if replicas > 1 else 600.0
    return TrainingRun(
        accelerators=accelerators,
        days=7,
        hazard=hazard,
        replicas=replicas,
        recovery=Recovery(stall=stall),
        spares=accelerators // 8 // 16,
    )


def _ft_hsdp(seeds: int) -> Result:
    whole = _figures(_runs(ft_hsdp_run(replicas=1), seeds))
    alone = _figures(_runs(ft_hsdp_run(replicas=24), seeds))
    source = "FT-HSDP, arXiv:2602.00277"
    return Result(
        figures={
            "whole_job": whole["effective_training_time"],
            "replicas": alone["effective_training_time"],
            "replicas_goodput": alone["goodput"],
        },
        rows=[
            Row(
                figure="effective time, stall 10 min, whole job",
                published=0.44,
                simulated=whole["effective_training_time"],
                source=source,
            ),
            Row(
                figure="effective time, stall 3 min, replicas",
                published=0.80,
                simulated=alone["effective_training_time"],
                source=source,
            ),
        ],
        notes=[
            "The whole job also loses what it did since the last checkpoint; replicas take the state from each other.",
            "`replicas_goodput` also charges the time in which a replica is away, in proportion to its size.",
        ],
    )


def _days_between_failures(hazard: Hazard, nodes: int, seed: int, days: float = 330) -> float:
    """Days between failures of a job on `nodes` random nodes, pooled over as many jobs as fill RSC-1 for 11 months."""
    stream = FailureStream(hazard, RSC_NODES, days * DAY, np.random.default_rng(seed))
    failures = 0
    while stream.peek() < days * DAY:
        stream.pop()
        failures += 1
    return days * (RSC_NODES / nodes) / failures


def _lemon_hazard(mean_rate: float) -> Hazard:
    share = LEMON_NODES / RSC_NODES
    return Hazard(per_1000_node_days=mean_rate, lemon_share=share, lemon_factor=1 + (mean_rate / RSC_RATE - 1) / share)


def _rsc_mttf(seeds: int) -> Result:
    # Removing lemons lowered the failures of large jobs from 14 % to 4 %: with lemons nodes fail this much more often.
    with_lemons = RSC_RATE * math.log(1 - 0.14) / math.log(1 - 0.04)
    hazard = _lemon_hazard(with_lemons)
    # Two other operators say which part of all failures takes a node out; a job also sees the rest.
    transient = Hazard(per_1000_node_days=RSC_RATE / math.sqrt(0.3252 * 0.37))
    source = "Kokolis et al., HPCA 2025, arXiv:2410.21680"
    figures = {
        "mttf_days_8": PredictionInterval.of([_days_between_failures(hazard, 1, seed) for seed in range(seeds)]),
        "mttf_hours_1024": PredictionInterval.of(
            [24 * _days_between_failures(hazard, 128, seed) for seed in range(seeds)]
        ),
        "transient_mttf_days_8": PredictionInterval.of(
            [_days_between_failures(transient, 1, seed) for seed in range(seeds)]
        ),
        "transient_mttf_hours_1024": PredictionInterval.of(
            [24 * _days_between_failures(transient, 128, seed) for seed in range(seeds)]
        ),
    }
    return Result(
        figures=figures,
        rows=[
            Row(figure="days to failure at 8 GPUs", published=47.7, simulated=figures["mttf_days_8"], source=source),
            Row(
                figure="hours to failure at 1,024 GPUs",
                published=7.9,
                simulated=figures["mttf_hours_1024"],
                source=source,
            ),
        ],
        notes=[
            "6.50 failures per 1,000 node-days alone would give 154 days and 28.8 hours: it counts what is attributed "
            "to a healthy fleet's nodes, not all that a job sees.",
            "`transient_…` is a second, independent way to the same figures, from the share of failures that drain a "
            "node at ByteRobust (32.5 %) and Unicron (37 %).",
        ],
    )


def _large_job_failures(seed: int, *, removed_after: int, days: int = 120, learn_days: int = 28) -> tuple[float, float]:
    """Part of the large jobs that fail, with lemons and without nodes that failed `removed_after` times in 28 days."""
    rng = np.random.default_rng(seed)
    with_lemons = 1000 / (7.9 / 24 * 128)
    horizon = 2 * days * DAY
    stream = FailureStream(_lemon_hazard(with_lemons), RSC_NODES, horizon, rng)
    events: list[tuple[float, int]] = []
    while stream.peek() < horizon:
        failure = stream.pop()
        events.append((failure.time, failure.slot))
    times = np.array([time for time, _ in events])
    nodes = np.array([node for _, node in events])
    recent = nodes[(times > (days - learn_days) * DAY) & (times < days * DAY)]
    removed = np.bincount(recent, minlength=RSC_NODES) >= removed_after
    # 12 % of the GPU time of 83 % of 16,000 GPUs, on less than 1 % of 7,200 jobs a day: node-days of one large job.
    node_days = 0.12 * 0.83 * RSC_NODES / (0.005 * 7200)
    rates = []
    for begin, usable in ((0, np.arange(RSC_NODES)), (days, np.flatnonzero(~removed))):
        failed = 0
        starts = begin * DAY + rng.uniform(0, (days - 1) * DAY, 2000)
        for start in starts:
            size = int(rng.choice([64, 128, 256, 512]))
            lo, hi = np.searchsorted(times, [start, start + node_days / size * DAY])
            failed += bool(np.isin(nodes[lo:hi], rng.choice(usable, size, replace=False)).any())
        rates.append(failed / len(starts))
    return rates[0], rates[1]


def _lemons(seeds: int) -> Result:
    pairs = [_large_job_failures(seed, removed_after=6) for seed in range(seeds)]
    before, after = (
        PredictionInterval.of([pair[0] for pair in pairs]),
        PredictionInterval.of([pair[1] for pair in pairs]),
    )
    source = "Kokolis et al., HPCA 2025, arXiv:2410.21680"
    return Result(
        figures={"failed_with_lemons": before, "failed_without_lemons": after},
        rows=[
            Row(figure="large jobs that fail, lemons in", published=0.14, simulated=before, source=source),
            Row(figure="large jobs that fail, lemons removed", published=0.04, simulated=after, source=source),
        ],
        notes=["Nodes are removed by what they did (6 failures in 28 days), not by knowing which are lemons."],
    )


RSC_INPUTS = (
    Input(name="failure rate", value="6.50 per 1,000 node-days", source="RSC-1, printed"),
    Input(name="lemons", value="24 of 2,000 nodes", source="Kokolis et al.; number not read again"),
)

SCENARIOS = (
    Scenario(
        name="llama3-54-days",
        title="Llama 3 405B: 54 days on 16,384 H100",
        inputs=(
            _rate_input("Llama 3"),
            *RECOVERY_INPUTS,
            Input(
                name="spares", value="1,024 nodes", source="cluster of 24,576 GPUs, Meta engineering blog, March 2024"
            ),
        ),
        run=_llama3,
        seeds=40,
    ),
    Scenario(
        name="byterobust-3-months",
        title="ByteRobust: 3 months on 9,600 GPUs",
        inputs=(
            _rate_input("ByteRobust"),
            *RECOVERY_INPUTS,
            Input(
                name="copies in memory",
                value="every step, at most 60 s apart",
                source="ByteRobust saves every step; 60 s is an assumption",
            ),
            Input(
                name="seen by inspection",
                value="32.5 % of the failures, not diagnosed",
                source="ByteRobust: evictions by its own tests, 19 jobs of 9,600 GPUs or more",
            ),
        ),
        run=_byterobust,
    ),
    Scenario(
        name="megascale-weeks",
        title="MegaScale: weeks on 12,288 GPUs",
        inputs=(_rate_input("MegaScale"), *RECOVERY_INPUTS),
        run=_megascale,
    ),
    Scenario(
        name="ft-hsdp",
        title="FT-HSDP: about 100K H100, as one job and as replicas that recover alone",
        inputs=(
            Input(name="time between failures", value="18 min at 98,304 GPUs", source="FT-HSDP, arXiv:2602.00277"),
            Input(
                name="stall", value="10 min, 3 min with replicas", source="FT-HSDP; the effective times are not used"
            ),
            Input(name="replica", value="4,096 GPUs", source="assumption"),
            *(item for item in RECOVERY_INPUTS if item.name.startswith(("checkpoint", "causes", "planned"))),
        ),
        run=_ft_hsdp,
    ),
    Scenario(
        name="rsc-mttf",
        title="Meta's research cluster: mean time to failure by job size",
        inputs=(
            *RSC_INPUTS,
            Input(name="failures of large jobs", value="14 % with lemons, 4 % without", source="Kokolis et al."),
            Input(
                name="failures that drain a node", value="32.5 % and 37 %", source="ByteRobust, Unicron (second way)"
            ),
        ),
        run=_rsc_mttf,
    ),
    Scenario(
        name="rsc-lemons",
        title="Meta's research cluster: large jobs before and after lemon nodes are removed",
        inputs=(
            *RSC_INPUTS,
            Input(name="time to failure at 1,024 GPUs", value="7.9 h", source="Kokolis et al., measured with lemons"),
            Input(
                name="a large job",
                value="5.5 node-days",
                source="12 % of GPU time on less than 1 % of 7,200 jobs a day",
            ),
        ),
        run=_lemons,
    ),
)
