"""What GRPO leaves goes on only where it is better: a real GRPO whose learning rate destroys the policy, and others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ayllu.data.archive import default_cache
from ayllu.data.conversations.reasoning import is_held_out
from ayllu.evals.statistics import better_p
from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.run import Place, resolve
from ayllu.lab.store import Artifact, Store
from ayllu.model.files import hf
from ayllu.recipes.stages.artifacts import Dataset, Weights
from ayllu.recipes.stages.better import CHOSEN_BY, choice, keep_better
from ayllu.recipes.stages.methods import GRPO, WORKED_DRAW, sum_tasks
from ayllu.recipes.stages.posttrain import open_posttrain_plan, posttrain
from ayllu.text.tokenizer import Tokenizer
from support.models import same_bits
from support.programs.smol import says_four, tiny

SEED, STEPS = 3, {"worked": 2, "grpo": 3}
KINDS = ("reasoning", "three_terms", "long_sums")


@stage(identity="tests.plain", makes=Dataset)
def plain(ctx: Context) -> None:
    """Nothing but text to hold on to."""
    (ctx.folder / "plain.json").write_text(json.dumps([[7, 8, 9, 10] * 4] * 4))


@stage(identity="tests.three_steps", makes=open_posttrain_plan)
def plan(ctx: Context) -> None:
    told = {"steps": STEPS, "seconds_per_step": dict.fromkeys(STEPS, 0.0), "precision": "float32"}
    (ctx.folder / "plan.json").write_text(json.dumps(told))


def made(home: Path, *wanted: Handle[Any]) -> list[Artifact]:
    return [resolve(handle, Place(store=Store(home), cache=default_cache()))[handle] for handle in wanted]


def same_weights(one: Artifact, other: Artifact) -> bool:
    return same_bits(hf.load(one.folder), hf.load(other.folder))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def taught(lr: float) -> Handle[Weights]:
    adopted = tiny()
    return posttrain(
        says_four(adopted), plain(), plan(), method="grpo", seed=SEED, lr=lr, rank=4, adopted=adopted, tasks=KINDS
    )


def test_a_policy_that_grpo_destroyed_ends_as_it_was_before(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before, after = says_four(tiny()), taught(lr=3.0)
    first, last, kept = made(home, before, after, keep_better(before, after, plan(), seed=SEED, tasks=KINDS))
    told = kept.record["choice"]
    assert not same_weights(first, last)
    assert told["right_before"] > 5
    assert told["right_after"] < told["right_before"] / 2, "a rate of 3 leaves no skill"
    assert told["kept"] == "before"
    assert same_weights(kept, first)
    assert capfd.readouterr().err.count(told["told"]) == 1
    assert "GRPO is not kept" in told["told"]


def test_a_better_state_goes_on(home: Path) -> None:
    worse, better = taught(lr=3.0), says_four(tiny())
    first, kept = made(home, better, keep_better(worse, better, plan(), seed=SEED, tasks=KINDS))
    assert kept.record["choice"]["kept"] == "after"
    assert same_weights(kept, first)


def test_what_chooses_is_neither_held_out_nor_learnt_from(home: Path) -> None:
    before = says_four(tiny())
    first, kept = made(home, before, keep_better(before, before, plan(), seed=SEED, tasks=KINDS))
    lines = [json.loads(line) for line in (kept.folder / "choice.jsonl").read_text().splitlines()]
    asked = [line["question"] for line in lines]
    assert len(set(asked)) == len(asked) == CHOSEN_BY
    assert {line["kind"] for line in lines} == set(KINDS)
    assert not any(map(is_held_out, asked))
    learnt = ((SEED + WORKED_DRAW, STEPS["worked"] * 24), (SEED, STEPS["grpo"] * GRPO().batch))
    for seed, count in learnt:
        tasks = sum_tasks(default_cache(), Tokenizer.load(first.folder), turns=KINDS, seed=seed)
        assert not {tasks.item(number)["question"] for number in range(count)} & set(asked)
    # Every reply of both sides is kept, and what the record says follows from them.
    assert sum(line["before"]["correct"] for line in lines) == kept.record["choice"]["right_before"]
    assert all(line["before"] == line["after"] for line in lines)
    assert kept.record["choice"]["p"] == 1.0


@pytest.mark.parametrize(
    ("lost", "gained", "kept"),
    [(0, 0, "before"), (0, 3, "before"), (0, 4, "after"), (5, 0, "before"), (8, 8, "before"), (10, 20, "after")],
)
def test_only_what_chance_seldom_makes_is_kept(lost: int, gained: int, kept: str) -> None:
    both = [(True, False)] * lost + [(False, True)] * gained + [(True, True), (False, False)] * 20
    told = choice([was for was, _ in both], [now for _, now in both])
    assert (told["kept"], told["lost"], told["gained"]) == (kept, lost, gained)


def test_chance_of_being_no_better_by_hand() -> None:
    assert better_p(0, 0) == 1.0
    assert better_p(0, 4) == 1 / 16
    assert better_p(1, 4) == 6 / 32
    assert better_p(4, 1) == 31 / 32
