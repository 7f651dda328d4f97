"""Results that a store holds are found again, however stages, parameters and files are called today."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ayllu.lab.graph import Context, Handle, stage
from ayllu.lab.key import key_of
from ayllu.lab.run import Place, order, resolve
from ayllu.lab.store import MANIFEST, Store
from ayllu.lab.why import explain
from ayllu.recipes.adopt import adopted
from ayllu.recipes.cria import cria
from ayllu.recipes.draft import from_teacher
from ayllu.recipes.llama import llama
from ayllu.recipes.smol import from_adopted
from ayllu.recipes.stages.posttrain import measured_in, open_posttrain_plan

BEFORE = json.loads((Path(__file__).parent / "data" / "keys_before_types.json").read_text())
"""Stage and key of each result of the recipes, as the commit 34ec4f5 computed them: the digest of what a stage made is
taken as the sha256 of its key. Those of smol from the plan on are newer: held-out questions were drawn otherwise, sums
worked out came before GRPO, the state that goes on after it is chosen, the release is told what was learnt from, and
what the adopted model is measured by no longer holds the plan's steps."""


def handle(recipe: str) -> Handle[Any]:
    """The recipe with the options with which those keys were computed."""
    if recipe == "cria":
        return cria(budget=3, seed=1, sources=("sotu", "austen"), licence="MIT", speed=1e4)
    if recipe == "llama":
        return llama(sources=("sotu",), tokens=1e6, rate=1e-3)
    start = adopted("smollm2")
    if recipe == "draft":
        return from_teacher(start, budget=10.0, seed=0, layers=4, items=64, steps=None, name="draft")
    own = {"chats": None, "preferences": None}
    return from_adopted(start, budget=45.0, seed=0, items=200, steps=(4, 5, 6), name="smol", **own)


@pytest.mark.parametrize("recipe", BEFORE)
def test_what_a_store_of_the_commit_before_the_types_holds_is_found(recipe: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    for row in BEFORE[recipe]:
        folder = store.path(row["stage"], row["key"])
        folder.mkdir()
        made = {"finished": "2026-11-27T12:00:00+00:00", "seconds": 12.0, "record": {}, "source": "as it was then"}
        manifest = row | made | {"digest": hashlib.sha256(row["key"].encode()).hexdigest(), "files": {}}
        (folder / MANIFEST).write_text(json.dumps(manifest))
    found = explain(handle(recipe), Place(store=store, cache=tmp_path))
    assert [reason.stage for reason in found] == [row["stage"] for row in BEFORE[recipe]]
    assert {reason.state for reason in found} == {"kept, code unknown"}, "found, and said to be of other code"


@stage(identity="tests.planned", makes=open_posttrain_plan)
def planned(ctx: Context, *, steps: int, precision: str) -> None:
    """A plan of so many steps."""
    told = {"steps": {"sft": steps}, "seconds_per_step": {"sft": 1.5 * steps}, "precision": precision}
    (ctx.folder / "plan.json").write_text(json.dumps(told))


def test_the_adopted_model_is_measured_once_for_all_seeds_and_minutes(tmp_path: Path) -> None:
    """What its figures follow from holds nothing of a plan but the precision."""
    place, digests = Place(store=Store(tmp_path), cache=tmp_path), []
    for steps, precision in ((1, "bf16"), (2, "bf16"), (2, "float32")):
        kept = measured_in(planned(steps=steps, precision=precision))
        digests.append(resolve(kept, place)[kept].manifest["digest"])
    assert digests[0] == digests[1] != digests[2]
    measured = [node for node in order(handle("smol")) if node.stage.identity in ("skills", "benchmarks")]
    of_start = [node for node in measured if node.inputs["model"].stage.identity == "adopt"]
    assert {node.stage.identity for node in of_start} == {"skills", "benchmarks"}
    assert {node.inputs["plan"].stage.identity for node in of_start} == {"measured_in"}
    assert not any("seed" in node.arguments or "budget" in node.arguments for node in of_start)


def test_an_argument_that_came_later_stays_out_of_the_key_while_it_says_nothing_new() -> None:
    nodes = order(handle("smol"))
    (plan,) = (node for node in nodes if node.stage.identity == "plan_post")
    assert plan.arguments["methods"] == ("grpo", "sft", "dpo")
    assert "methods" not in plan.stage.in_key(plan.arguments)
    other = plan.stage.in_key({**plan.arguments, "methods": ("sft",)})
    assert key_of("plan_post", 3, other, {}) != key_of("plan_post", 3, plan.stage.in_key(plan.arguments), {})
