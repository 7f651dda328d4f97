"""smol: somebody else's small open model, made into an assistant that calls tools, in the minutes that you give it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ayllu.lab.error import UserError
from ayllu.recipes.adopt import adopted
from ayllu.recipes.stages import posttrain as post


def smol(
    *,
    budget: float = 45.0,
    seed: int = 0,
    base: str = "smollm2",
    chats: Path | None = None,
    preferences: Path | None = None,
    items: int = 200,
    steps: tuple[int, int, int] | None = None,
    name: str = "smol",
) -> Any:
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
    name
        Name of the release, and of the channel that points to it.
    """
    from ayllu.data.conversations.chats import read_chats, read_preferences

    if not 0 < budget <= 60 * 24 * 365:
        raise UserError(f"the budget is {budget:g} minutes; give a number above 0, such as --budget 45")
    if items < 10:
        raise UserError(f"items is {items}; give at least 10")
    if steps is not None and min(steps) < 1:
        raise UserError(f"steps are {', '.join(map(str, steps))}; give three numbers from 1 on, for GRPO, SFT and DPO")
    return teach(
        adopted(base),
        budget=budget,
        seed=seed,
        chats=_own(chats, read_chats) if chats else None,
        preferences=_own(preferences, read_preferences) if preferences else None,
        items=items,
        steps=steps,
        name=name,
    )


def teach(
    start: Any,
    *,
    budget: float,
    seed: int,
    chats: str | None,
    preferences: str | None,
    items: int,
    steps: tuple[int, int, int] | None,
    name: str,
    rank: int = 16,
) -> Any:
    """The recipe from an adopted model on; your own conversations and preferences by their digests."""
    groups = max(60, round(20 * budget))
    learnt = post.lessons(start, seed=seed, groups=groups, chats=chats, preferences=preferences)
    plan = post.plan_post(start, learnt, budget=budget, seed=seed, steps=steps, items=items)
    # Rewards first: GRPO needs answers that differ, and after SFT all of a small model's answers are alike.
    grpo = post.teach(start, learnt, plan, kind="grpo", seed=seed, rate=1e-3, rank=rank, before=start)
    right = post.rehearsal(grpo, plan, seed=seed)
    sft = post.teach(grpo, learnt, plan, kind="sft", seed=seed, rate=3e-3, rank=rank, before=start, rehearsed=right)
    dpo = post.teach(sft, learnt, plan, kind="dpo", seed=seed, rate=5e-4, rank=rank, before=start)
    final = post.soften(start, dpo, kept=post.KEPT)
    kinds = ("tool_calls", "reasoning")
    first, last = (post.skills(model, plan, items=items, kinds=kinds) for model in (start, final))
    between = post.skills(grpo, plan, items=items, kinds=("reasoning",))
    before, after = (post.benchmarks(model, plan, items=6 * items) for model in (start, final))
    comparison = post.compare(first, between, last, before, after, grpo)
    return post.release_post(
        start, final, grpo, sft, dpo, after, comparison, plan, name=name, version="1.0.0", policy="open"
    )


def _own(path: Path, read: Callable[..., Any]) -> str:
    """The digest of a file of yours; every line is read first, so that a bad one stops the run before it starts."""
    from ayllu.data.archive import default_cache
    from ayllu.data.conversations.chats import keep

    # A token has at least one byte, so that what is too long for any tokenizer shows already here.
    read(path, longest=4 * post.LONGEST, length=lambda messages: sum(len(m.content.split()) for m in messages))
    return keep(path, default_cache())
