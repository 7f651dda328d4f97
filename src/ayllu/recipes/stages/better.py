"""Whether GRPO has made a model better: both states answer the same questions, and one of them goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.stages.artifacts import Weights
from ayllu.recipes.stages.methods import CHOICE_DRAW, WORKED_DRAW, fresh_sums, sums
from ayllu.recipes.stages.posttrain import SUMMED, PosttrainPlan
from ayllu.recipes.stages.weights import keep_weights, load_weights

if TYPE_CHECKING:
    from ayllu.data.conversations.reasoning import Family
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

CHOSEN_BY = 256
"""Questions by which the state after GRPO is compared with the one before it."""
BETTER = 0.1
"""Chance at which a GRPO that changes nothing for the better would be kept all the same."""


@stage(identity="better", makes=Weights)
def keep_better(
    ctx: Context,
    before: Handle[Weights],
    after: Handle[Weights],
    plan: Handle[PosttrainPlan],
    *,
    seed: int,
    tasks: tuple[str, ...],
) -> None:
    """The weights after GRPO where it has made them better at sums, else those before it.

    Both answer the same questions of the training side, of the kinds that GRPO practised, which neither has learnt
    from; `choice.jsonl` keeps every reply. What is held out has no part in the choice.
    """
    from ayllu.lab.progress import say
    from ayllu.train.machine import dtype_of

    learnt = {name: plan.value.steps[name] * method().questions for name, method in SUMMED.items()}
    asked = choosing_questions(before.value, ctx.cache, seed=seed, tasks=tasks, learnt=learnt)
    dtype = dtype_of(plan.value.precision)
    sides = [answered(*load_weights(side.value), asked, dtype=dtype) for side in (before, after)]
    chosen = choice(*([bool(row["correct"]) for row in rows] for rows in sides))
    lines = [
        {"kind": kind, "question": was["question"]}
        | {side: {name: row[name] for name in ("reply", "correct")} for side, row in (("before", was), ("after", now))}
        for (kind, _, _), was, now in zip(asked, *sides, strict=True)
    ]
    (ctx.folder / "choice.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    kept = after if chosen["kept"] == "after" else before
    keep_weights(ctx, *load_weights(kept.value), like=kept.value)
    ctx.note("choice", chosen)
    say(chosen["told"])


def choosing_questions(
    model: Path, cache: Path, *, seed: int, tasks: Sequence[str], learnt: Mapping[str, int]
) -> list[tuple[str, Family, dict[str, Any]]]:
    """Kind, family and item of each question that chooses: none of the `learnt` ones, so many of each method."""
    from ayllu.text.tokenizer import Tokenizer

    draws = [(seed + {"worked": WORKED_DRAW, "grpo": 0}[name], count) for name, count in learnt.items()]
    drawn = fresh_sums(cache, Tokenizer.load(model), turns=tasks, seed=seed + CHOICE_DRAW, learnt=draws)
    families = {kind: sums(cache, kind) for kind in tasks}
    return [(kind, families[kind], item) for kind, item in islice(drawn, CHOSEN_BY)]


def answered(
    model: Transformer, tokenizer: Tokenizer, asked: Sequence[tuple[str, Family, dict[str, Any]]], *, dtype: Any
) -> list[dict[str, Any]]:
    """The likeliest reply to each question, with its verdict, in their order."""
    from ayllu.evals.skills.reasoning import score_reasoning

    rows: dict[int, dict[str, Any]] = {}
    for kind in dict.fromkeys(kind for kind, _, _ in asked):
        places = [place for place, (other, _, _) in enumerate(asked) if other == kind]
        items = [asked[place][2] for place in places]
        found = score_reasoning(model, tokenizer, asked[places[0]][1], items, dtype=dtype)
        rows |= dict(zip(places, found, strict=True))
    return [rows[place] for place in range(len(asked))]


def choice(before: Sequence[bool], after: Sequence[bool]) -> dict[str, Any]:
    """Which of two states goes on, by verdicts on the same questions: `before` unless `after` is shown to be better.

    "Shown" is a one-sided exact sign test on the questions that one alone gets right, at `BETTER`.
    """
    from ayllu.evals.statistics import better_p

    lost = sum(was and not now for was, now in zip(before, after, strict=True))
    gained = sum(now and not was for was, now in zip(before, after, strict=True))
    p = better_p(lost, gained)
    kept = "after" if p <= BETTER else "before"
    ends = "the model after it goes on" if kept == "after" else "the model before it goes on"
    told = (
        f"GRPO {'is' if kept == 'after' else 'is not'} kept, {ends}: of {len(before)} questions of the training side "
        f"that neither learnt from, {sum(before)} were right before and {sum(after)} after ({lost} lost, {gained} "
        f"gained; one-sided sign test p = {p:.2g}, kept at {BETTER:g} or less)"
    )
    return {
        "kept": kept,
        "questions": len(before),
        "right_before": sum(before),
        "right_after": sum(after),
        "lost": lost,
        "gained": gained,
        "p": p,
        "at": BETTER,
        "told": told,
    }
