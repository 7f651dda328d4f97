"""Published clusters: jobs that keep the published curves, and waits that know no published wait and come near."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "bench" / "reproduce"))

import a100_power  # noqa: E402
import clusters  # noqa: E402
import queues  # noqa: E402
import record  # noqa: E402
import research_cluster  # noqa: E402
from clusters import CLUSTERS, KINDS, Unknown  # noqa: E402
from job_curves import KindMix, Parts, curves, read_table, shared_mix  # noqa: E402
from record import Reproduction  # noqa: E402

from ayllu.fleet.simulate.prediction_interval import PredictionInterval  # noqa: E402

RECORDED = {
    entry["name"]: entry
    for entry in json.loads((ROOT / "src/ayllu/fleet/data/scenarios.json").read_text(encoding="utf-8"))["scenarios"]
}
SUMMARY = {row["id"]: row for row in read_table("queues.csv")}
CLUSTER = {cluster.name: cluster for cluster in CLUSTERS}


def share_at_most(values: np.ndarray, at: tuple[float, ...]) -> np.ndarray:
    return np.array([(values <= each).mean() for each in at])


def all_waits(name: str, seed: int, days: float | None = None) -> np.ndarray:
    """With the rule nearest to all four, and machines kept in proportion to time (71 % of Seren, 97 of Kalos)."""
    kept = {"Seren": 0.70, "Kalos": 0.995}.get(name, 0.0)
    unknown = Unknown(holders="users, teams", kept=kept, fullest=0.0)
    return np.concatenate(list(queues.queue_times(CLUSTER[name], seed, days, unknown).values()))


def test_every_published_curve_rises_to_all_jobs() -> None:
    for key, (at, below) in curves().items():
        assert list(at) == sorted(at), key
        assert list(below) == sorted(below), key
        assert below[-1] > 0.99, key
    for name, kinds in KINDS.items():
        assert sum(jobs for jobs, _ in kinds.values()) == pytest.approx(100, abs=0.5), name
        assert sum(time for _, time in kinds.values()) == pytest.approx(100, abs=0.5), name


def test_virtual_clusters_share_jobs_and_time_as_asked_and_all_times_keep_their_curve() -> None:
    parts = Parts(
        accelerators=np.array([256, 64, 32]),
        load=np.array([0.8, 0.2, 0.9]),
        jobs=np.array([1.0, 8.0, 1.0]),
        usual_size=np.array([16.0, 2.0, 4.0]),
        batch=np.ones(3),
    )
    mix = shared_mix("Saturn", parts, 39_000, 4e6)
    rng = np.random.default_rng(0)
    drawn = [mix.draw(part, np.arange(count), rng) for part, count in enumerate((40_000, 320_000, 40_000))]
    time = np.array([float((sizes * seconds).sum()) for sizes, seconds in drawn])
    wanted = parts.load * parts.accelerators
    assert time / time.sum() == pytest.approx(wanted / wanted.sum(), rel=0.15)
    assert time.sum() / 400_000 == pytest.approx(39_000, rel=0.15)
    assert all(sizes.max() <= most for (sizes, _), most in zip(drawn, parts.accelerators, strict=True))
    at, below = curves()["Saturn", "all", "seconds"]
    assert share_at_most(np.concatenate([seconds for _, seconds in drawn]), at) == pytest.approx(below, abs=0.02)


def test_jobs_of_a_kind_keep_both_curves_and_their_accelerator_time() -> None:
    mix = KindMix(
        sizes=curves()["Seren", "SFT", "accelerators"],
        seconds=curves()["Seren", "SFT", "seconds"],
        longest=1.2e6,
        accelerator_seconds=14_000,
    )
    sizes, seconds = mix.draw(np.arange(200_000), np.random.default_rng(1))
    assert float((sizes * seconds).mean()) == pytest.approx(14_000, rel=0.1)
    at, below = mix.seconds
    assert share_at_most(seconds, at[1:]) == pytest.approx(below[1:], abs=0.01)
    assert np.median(sizes) == 8
    together, _ = mix.draw(np.repeat(np.arange(1000), 20), np.random.default_rng(2))
    assert all(len(set(batch)) == 1 for batch in together.reshape(1000, 20).tolist())


@pytest.mark.parametrize("name", ["Kalos", "Philly"])
def test_no_published_wait_of_a_job_with_accelerators_is_an_input(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = all_waits(name, 0, 5)
    hidden = {
        key: {column: value for column, value in row.items() if column not in ("avg_que_time_gpu", "med_que_time_gpu")}
        for key, row in SUMMARY.items()
    }

    def without_answers(table: str) -> list[dict[str, str]]:
        assert table != "queue_shapes.csv"
        return [{key: value for key, value in row.items() if key != "mean_wait_s"} for row in read_table(table)]

    monkeypatch.setattr(clusters, "summaries", lambda: hidden)
    for module in (clusters, queues):
        monkeypatch.setattr(module, "read_table", without_answers)
    assert np.array_equal(all_waits(name, 0, 5), before)


def test_a_start_takes_what_it_takes_jobs_without_accelerators() -> None:
    """Their median and mean, as a log-normal time; where neither is published, the median that is known otherwise."""
    median, sigma = clusters.start_of(CLUSTER["Kalos"])
    drawn = median * np.exp(sigma * np.random.default_rng(0).standard_normal(1_000_000))
    assert np.median(drawn) == pytest.approx(float(SUMMARY["Kalos"]["med_que_time_cpu"]), rel=0.02)
    assert drawn.mean() == pytest.approx(float(SUMMARY["Kalos"]["avg_que_time_cpu"]), rel=0.1)
    assert clusters.start_of(CLUSTER["Philly"]) == (150.0, 0.5)


def test_every_rule_of_who_holds_back_is_drawn() -> None:
    assert len({Unknown.draw(seed).holders for seed in range(10)}) == 5


@pytest.mark.parametrize("name", [cluster.name for cluster in CLUSTERS if cluster.name != "Helios"])
def test_a_simulated_run_is_the_recorded_one(name: str) -> None:
    """What the package answers with is what is simulated here, seed by seed; Helios takes longer, see below."""
    wait = np.concatenate(list(queues.queue_times(CLUSTER[name], 0).values()))
    targets = {target["figure"]: target["values"][0] for target in RECORDED["queues"]["targets"]}
    assert wait.mean() == pytest.approx(targets[f"{name}: mean queue time, s"], rel=1e-9)
    assert np.median(wait) == pytest.approx(targets[f"{name}: median queue time, s"], abs=1e-9)


@pytest.mark.slow
def test_a_simulated_run_of_helios_is_the_recorded_one() -> None:
    waits = queues.queue_times(CLUSTER["Helios"], 0)
    targets = {target["figure"]: target["values"][0] for target in RECORDED["queues"]["targets"]}
    for name, wait in waits.items():
        assert wait.mean() == pytest.approx(targets[f"{name}: mean queue time, s"], rel=1e-9)


@pytest.mark.parametrize(
    ("name", "run"),
    [
        ("rsc-mttf", research_cluster.mean_time_to_failure),
        ("rsc-lemons", research_cluster.lemons),
        ("a100-power", a100_power.a100_power),
    ],
)
def test_simulated_runs_are_the_recorded_ones(name: str, run: Callable[[int], Reproduction]) -> None:
    found = run(2)
    for figure, values in found.figures.items():
        assert values == pytest.approx(RECORDED[name]["recorded"]["figures"][figure][:2], rel=1e-9), figure
    for target, recorded in zip(found.targets, RECORDED[name]["targets"], strict=True):
        assert (target.figure, target.published, target.source) == tuple(
            recorded[field] for field in ("figure", "published", "source")
        )


def test_what_is_recorded_keeps_the_rest_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, copy = record.SCENARIOS.read_text(encoding="utf-8"), tmp_path / "scenarios.json"
    copy.write_text(before, encoding="utf-8")
    monkeypatch.setattr(record, "SCENARIOS", copy)
    record.main({"a100-power": (a100_power.a100_power, RECORDED["a100-power"]["recorded"]["seeds"])}, ["--record"])
    after = copy.read_text(encoding="utf-8")
    assert len(after.splitlines()) == len(before.splitlines())
    written = {entry["name"]: entry for entry in json.loads(after)["scenarios"]}
    figures = written.pop("a100-power")["recorded"]["figures"]
    assert figures == {
        name: pytest.approx(values, rel=1e-9) for name, values in RECORDED["a100-power"]["recorded"]["figures"].items()
    }
    assert written == {name: entry for name, entry in RECORDED.items() if name != "a100-power"}


def test_power_comes_from_the_other_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    before = a100_power.accelerator_power("Seren", 0)
    for name, published in (("Seren", 168.4), ("Kalos", 191.4)):
        watts = PredictionInterval.of([a100_power.accelerator_power(name, seed) for seed in range(20)])
        assert watts.low < published < watts.high
    levels, drawn = a100_power.power_curve("Kalos")
    assert np.all(np.diff(levels) > 0) and np.all(np.diff(drawn) > 0)
    rows = [{**row, "seren_watts": "1"} for row in read_table("a100_activity.csv")]
    monkeypatch.setattr(a100_power, "read_table", lambda name: rows)
    assert a100_power.accelerator_power("Seren", 0) == before
