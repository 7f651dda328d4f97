"""smol: somebody else's small open model, made into an assistant that calls tools, in the minutes that you give it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.error import UserError
from ayllu.lab.graph import Context, Handle
from ayllu.lab.progress import say
from ayllu.recipes.adopt import adopted
from ayllu.recipes.limits import check_budget, check_least
from ayllu.recipes.stages.artifacts import Comparison, Release, ScoreFolder, Weights
from ayllu.recipes.stages.dataset import LONGEST, build_dataset
from ayllu.recipes.stages.evaluate import benchmarks, compare, losses, skills
from ayllu.recipes.stages.methods import SUMS, TURNS
from ayllu.recipes.stages.posttrain import PosttrainPlan, plan_posttraining, posttrain
from ayllu.recipes.stages.rehearse import rehearse
from ayllu.recipes.stages.release import Contents, policy_arguments, release_stage
from ayllu.recipes.stages.weights import interpolate_weights

if TYPE_CHECKING:
    from ayllu.text.chat import Message

KEPT = 0.5
"""Share of what was learnt that the final model keeps: see `interpolate_weights`."""
GENERATED = (
    {"name": "tool-requests", "title": "Requests for tools, written for Ayllu", "licence": "Apache-2.0"},
    {"name": "small-talk", "title": "Small talk written for Ayllu", "licence": "Apache-2.0"},
    {"name": "reasoning-gym", "title": "Generated sums of reasoning-gym 0.1.25", "licence": "Apache-2.0"},
    {"name": "boolq-passages", "title": "Openings of Wikipedia articles", "licence": "CC-BY-SA-3.0"},
)
"""What the model learns from, as the release's licences name it."""


def smol(
    *,
    budget: float = 45.0,
    seed: int = 0,
    base: str = "smollm2",
    chats: Path | None = None,
    preferences: Path | None = None,
    items: int = 200,
    steps: tuple[int, int, int] | None = None,
    policy: Path | None = None,
    name: str = "smol",
) -> Handle[Release]:
    """Adopt a small open model, teach it sums, tools and manners on this machine, measure both, and release it.

    Parameters
    ----------
    budget
        Minutes in all: six of ten for training, the rest for measuring. A few steps of each kind are timed first.
    seed
        Draws what is learnt, its order, and the answers that GRPO compares.
    base
        What to start from, as `ayllu adopt` takes it.
    chats
        Conversations of your own, JSONL with `messages` on each line: a third of what SFT sees.
    preferences
        Pairs of answers of your own, JSONL with `prompt`, `chosen` and `rejected` on each line: half of what DPO sees.
    items
        Held-out questions of each kind; of each benchmark six times as many.
    steps
        Steps of GRPO, SFT and DPO instead of what the budget buys. With the same values a run can be repeated exactly.
    policy
        Rules of the release, signed by `ayllu release policy`: thresholds of its scores. Ayllu's own when not given.
    name
        Name of the release, and of the channel that points to it.
    """
    from ayllu.data.conversations.chats import read_chats, read_preferences

    check_budget(budget, usual=45)
    check_least(10, items=items)
    if steps is not None and min(steps) < 1:
        raise UserError(f"steps are {', '.join(map(str, steps))}; give three numbers from 1 on, for GRPO, SFT and DPO")
    return from_adopted(
        adopted(base),
        budget=budget,
        seed=seed,
        chats=_own(chats, read_chats) if chats else None,
        preferences=_own(preferences, read_preferences) if preferences else None,
        items=items,
        steps=steps,
        policy=policy,
        name=name,
    )


def from_adopted(
    start: Handle[Weights],
    *,
    budget: float,
    seed: int,
    chats: str | None,
    preferences: str | None,
    items: int,
    steps: tuple[int, int, int] | None,
    name: str,
    rank: int = 16,
    policy: Path | None = None,
) -> Handle[Release]:
    """The recipe from an adopted model on; your own conversations and preferences by their digests."""
    rules, signed = policy_arguments(policy)
    groups = max(60, round(20 * budget))
    data = build_dataset(start, seed=seed, groups=groups, chats=chats, preferences=preferences)
    plan = plan_posttraining(start, data, budget=budget, seed=seed, steps=steps, items=items)
    # Rewards first: GRPO needs answers that differ, and after SFT all of a small model's answers are alike.
    grpo = posttrain(start, data, plan, method="grpo", seed=seed, lr=1e-3, rank=rank, adopted=start, tasks=TURNS)
    right = rehearse(grpo, plan, seed=seed)
    sft = posttrain(grpo, data, plan, method="sft", seed=seed, lr=3e-3, rank=rank, adopted=start, rehearsal=right)
    dpo = posttrain(sft, data, plan, method="dpo", seed=seed, lr=5e-4, rank=rank, adopted=start)
    final = interpolate_weights(start, dpo, kept=KEPT)
    kinds = ("tool_calls", "strangers_calls", *SUMS)
    first, last = (skills(model, plan, items=items, kinds=kinds) for model in (start, final))
    between = skills(grpo, plan, items=items, kinds=tuple(SUMS))
    before = benchmarks(start, plan, items=6 * items)
    after = benchmarks(final, plan, items=6 * items, policy=signed)
    comparison = compare(first, between, last, before, after, grpo)
    return release_assistant(
        start, final, grpo, sft, dpo, after, comparison, plan, name=name, version="1.0.0", policy=rules
    )


@release_stage(identity="release_post")
def release_assistant(
    ctx: Context,
    base: Handle[Weights],
    model: Handle[Weights],
    grpo: Handle[Weights],
    sft: Handle[Weights],
    dpo: Handle[Weights],
    scores: Handle[ScoreFolder],
    comparison: Handle[Comparison],
    plan: Handle[PosttrainPlan],
    *,
    name: str,
    version: str,
    policy: str,
) -> Contents:
    """The assistant, with the table of before and after. Raises UserError where it may have lost what it could do."""
    from ayllu.data.origin import read_origin

    measured_on = json.loads((comparison.value / "comparison.json").read_text())
    if lost := losses(measured_on):
        raise UserError(
            f"{name} is not released: beside the adopted model a loss cannot be ruled out ({'; '.join(lost)}); give it "
            "another --seed or more minutes, or more --items to measure by"
        )
    origin = read_origin(base.value)
    told = {kind: handle.artifact.record for kind, handle in (("grpo", grpo), ("sft", sft), ("dpo", dpo))}
    measured = math.fsum(record["seconds"] for record in told.values())
    return Contents(
        name=name,
        version=version,
        policy=policy,
        weights=model.value,
        scores=scores.value,
        sources=[{"name": origin.title, "title": origin.source, "licence": origin.licence}],
        dialogues=GENERATED,
        records={
            "description": (
                f"{origin.title}, taught sums, to call tools, and some manners, with Ayllu's recipe smol. The weights "
                f"keep {100 * KEPT:.0f} % of what training changed."
            ),
            "predicted": {"seconds": round(plan.value.seconds, 1)},
            "measured": {"seconds": round(measured, 1)},
            "posttraining": {
                kind: {field: record[field] for field in ("steps", "seconds", "loss", "final_loss")}
                for kind, record in told.items()
            },
            "comparison": measured_on,
            "machine": dpo.artifact.manifest["machine"],
        },
        figures=[comparison.value / "rewards.png"],
    )


def _own(path: Path, read: Callable[..., Any]) -> str:
    """The digest of a file of yours; every line is read first, so that a bad one stops the run before it starts."""
    from ayllu.data.archive import default_cache
    from ayllu.data.conversations.chats import store_copy

    unread: Counter[str] = Counter()

    def words(messages: list[Message]) -> int:
        return sum(len(message.content.split()) for message in messages)

    # A token has at least one byte, so that what is too long for any tokenizer shows already here.
    read(path, longest=4 * LONGEST, length=words, unread=unread)
    if unread:
        say(f"{path}: not read: {', '.join(f'{name} ({count:,})' for name, count in sorted(unread.items()))}")
    return store_copy(path, default_cache())
