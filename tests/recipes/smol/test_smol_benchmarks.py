"""How many items the benchmarks of smol have: what its minutes are enough for on this machine."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from ayllu.data.archive import default_cache
from ayllu.evals.recompute import recompute
from ayllu.lab.graph import Handle
from ayllu.lab.run import Place, order, resolve
from ayllu.lab.store import Store
from ayllu.recipes.smol import from_adopted
from ayllu.recipes.stages import evaluate
from ayllu.recipes.stages.artifacts import Weights
from ayllu.recipes.stages.evaluate import TRIED, benchmarks, plan_benchmarks
from ayllu.recipes.stages.posttrain import PosttrainPlan, measured_in, plan_posttraining
from support.programs.smol import tiny


def counted(home: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> tuple[int, str]:
    """Items of each set, and the digest of the artifact that says so, where one item of each takes so many seconds."""
    be_slow(monkeypatch, seconds)
    start = tiny()
    handle = plan_benchmarks(start, kept_of(start), budget=45.0, most=1200)
    made = resolve(handle, Place(store=Store(home), cache=default_cache()))[handle]
    return evaluate.open_count(made.folder), made.manifest["digest"]


def be_slow(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    clock = itertools.accumulate(itertools.cycle([0.0, seconds, 0.0, TRIED * seconds]))
    monkeypatch.setattr(evaluate, "perf_counter", lambda: next(clock))


def kept_of(start: Handle[Weights]) -> Handle[PosttrainPlan]:
    plan = plan_posttraining(start, start, budget=1.0, seed=0, steps=(1,), items=1, methods=("sft",))
    return measured_in(plan)


def test_a_slow_machine_measures_fewer_items_and_each_finds_the_others_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [counted(tmp_path / str(n), monkeypatch, s) for n, s in enumerate((0.1, 0.5, 0.6, 10.0))]
    assert [items for items, _ in found] == [1200, 400, 400, 200]
    assert found[1][1] == found[2][1], "the same items of another time are the same artifact"


def test_the_benchmarks_have_the_items_that_were_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    be_slow(monkeypatch, 90.0)
    start = tiny()
    kept = kept_of(start)
    handle = benchmarks(start, kept, items=6, counted=plan_benchmarks(start, kept, budget=45.0, most=6))
    made = resolve(handle, Place(store=Store(tmp_path), cache=default_cache()))[handle]
    assert [len(outcomes) for outcomes in recompute(made.folder).by_set().values()] == [3, 3, 3]


def test_steps_that_were_given_are_measured_by_all_items() -> None:
    def stages(steps: tuple[int, int, int] | None) -> list[str]:
        handle = from_adopted(
            tiny(), budget=45.0, seed=0, items=200, steps=steps, name="smol", chats=None, preferences=None
        )
        return [node.stage.identity for node in order(handle)]

    assert "benchmark_items" in stages(None) and "benchmark_items" not in stages((1, 1, 1))
