"""Post-training: how long each method takes, the weights after one, and whether they are better than those before."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.limits import tell_time
from ayllu.recipes.stages.artifacts import Dataset, Rehearsal, Weights
from ayllu.recipes.stages.methods import (
    CHOICE_DRAW,
    GRPO,
    METHODS,
    TIMED,
    WORKED_DRAW,
    Setting,
    Worked,
    fresh_sums,
    sums,
)
from ayllu.recipes.stages.weights import keep_weights, load_weights, note_training

if TYPE_CHECKING:
    from ayllu.data.conversations.reasoning import Family
    from ayllu.model.transformer import Transformer
    from ayllu.text.tokenizer import Tokenizer

ORDER = ("grpo", "sft", "dpo")
"""The methods of smol, in the order in which they pass."""
PREPARED = {"grpo": "worked"}
"""What stands before a method: GRPO starts from a model that has seen sums worked out."""
TRAINING = 0.6
"""Share of the budget that is training; the rest is measuring."""

SUMMED: Mapping[str, type[Worked] | type[GRPO]] = {"worked": Worked, "grpo": GRPO}
"""What learns from sums."""
CHOSEN_BY = 256
"""Questions by which the state after GRPO is compared with the one before it."""
BETTER = 0.1
"""Chance at which a GRPO that changes nothing for the better would be kept all the same."""


@dataclass(frozen=True, kw_only=True)
class PosttrainPlan:
    """How many steps of each method, and how long they should take."""

    steps: Mapping[str, int]
    seconds_per_step: Mapping[str, float]
    """Measured here before the run; 0 where the steps were given."""
    precision: str

    @property
    def seconds(self) -> float:
        return sum(self.steps[name] * self.seconds_per_step[name] for name in self.steps)


def with_preparation(methods: Sequence[str]) -> tuple[str, ...]:
    """The methods in their order, each after what prepares it."""
    return tuple(name for method in methods for name in (PREPARED.get(method), method) if name)


def open_posttrain_plan(folder: Path) -> PosttrainPlan:
    return PosttrainPlan(**json.loads((folder / "plan.json").read_text()))


@stage(
    identity="plan_post",
    makes=open_posttrain_plan,
    rev=3,
    names_in_key={"dataset": "learnt"},
    added={"methods": ORDER, "epochs": None},
    reaches=lambda arguments: [METHODS.find(name) for name in with_preparation(arguments["methods"])],
)
def plan_posttraining(
    ctx: Context,
    base: Handle[Weights],
    dataset: Handle[Dataset],
    *,
    budget: float,
    seed: int,
    steps: tuple[int, ...] | None,
    items: int,
    methods: tuple[str, ...] = ORDER,
    epochs: float | None = None,
) -> None:
    """Steps of each method for `budget` minutes on this machine: a few of each are timed.

    With `epochs` SFT sees each group of conversations so often instead. Where `steps` are given, what prepares a method
    has as many as the method.
    """
    from ayllu.train.machine import fastest_precision

    precision = fastest_precision()
    passed = with_preparation(methods)
    if steps is not None:
        given = dict(zip(methods, steps, strict=True))
        given |= {PREPARED[name]: count for name, count in given.items() if name in PREPARED}
        plan = PosttrainPlan(
            steps={name: given[name] for name in passed},
            seconds_per_step=dict.fromkeys(passed, 0.0),
            precision=precision,
        )
    else:
        used = {name: METHODS.find(name)() for name in passed}
        each = {}
        for name, method in used.items():
            setting = _setting(ctx, base, dataset, adopted=base, precision=precision, seed=seed, steps=1 + TIMED)
            each[name] = method.seconds_per_step(dataclasses.replace(setting, journal="trial.jsonl"))
        whole = math.fsum(method.share for method in used.values())
        bought = {name: 60 * budget * TRAINING * method.share / whole / each[name] for name, method in used.items()}
        planned = {name: max(round(bought[name]), method.least_steps) for name, method in used.items()}
        if epochs is not None:
            planned["sft"] = math.ceil(epochs * len(dataset.value.conversations()) / used["sft"].batch)
        plan = PosttrainPlan(
            steps=planned,
            seconds_per_step={name: round(seconds, 3) for name, seconds in each.items()},
            precision=precision,
        )
        fewest = ", ".join(f"{method.least_steps} steps of {name}" for name, method in used.items())
        asked = 60 * budget * TRAINING * sum(method.share for method in used.values())
        tell_time(ctx, asked=asked, expected=plan.seconds, fewest=f"{fewest} are the fewest")
    (ctx.folder / "plan.json").write_text(json.dumps(dataclasses.asdict(plan), indent=2) + "\n")
    ctx.note("plan", dataclasses.asdict(plan))


@stage(identity="measured_in", makes=open_posttrain_plan)
def measured_in(ctx: Context, plan: Handle[PosttrainPlan]) -> None:
    """The plan without its steps: what is measured of the adopted model is the same for every plan in its precision.

    Keys follow from what inputs hold: other seeds and minutes find those figures where one run has made them.
    """
    kept = PosttrainPlan(steps={}, seconds_per_step={}, precision=plan.value.precision)
    (ctx.folder / "plan.json").write_text(json.dumps(dataclasses.asdict(kept), indent=2) + "\n")


@stage(
    identity="teach",
    makes=Weights,
    rev=2,
    names_in_key={
        "dataset": "learnt",
        "method": "kind",
        "lr": "rate",
        "adopted": "before",
        "rehearsal": "rehearsed",
    },
    added={"tasks": ()},
    reaches=lambda arguments: [METHODS.find(arguments["method"])],
)
def posttrain(
    ctx: Context,
    model: Handle[Weights],
    dataset: Handle[Dataset],
    plan: Handle[PosttrainPlan],
    *,
    method: str,
    seed: int,
    lr: float,
    rank: int,
    adopted: Handle[Weights],
    rehearsal: Handle[Rehearsal] | None = None,
    tasks: tuple[str, ...] = (),
) -> None:
    """The weights after one method with LoRA, merged; `adopted` is the model that everything began with.

    `tasks` are the kinds of questions, in turn, of a method that learns from a checker.
    """
    from ayllu.recipes.stages.proof import kept_in, note_stretch
    from ayllu.train.loop import Execution, train
    from ayllu.train.lora import LoraConfig, attach, detach

    planned, used = plan.value, METHODS.find(method)()
    steps = planned.steps[method]
    setting = _setting(ctx, model, dataset, adopted=adopted, precision=planned.precision, seed=seed, steps=steps)
    if rehearsal is not None:
        setting = dataclasses.replace(setting, rehearsal=rehearsal.value)
    if tasks:
        setting = dataclasses.replace(setting, tasks=tasks)
    source, objective = used.source(setting), used.objective(setting)
    # The source of rollouts draws from these weights, so they get their adapters in place.
    attach(setting.model, LoraConfig(rank=rank, alpha=2.0 * rank), seed=seed)
    ctx.predict("seconds", round(steps * planned.seconds_per_step[method], 1))
    config = used.config(steps=steps, lr=lr, precision=planned.precision)
    result = train(
        setting.model,
        source,
        config,
        objective=objective,
        scratch=ctx.scratch,
        title=method,
        execution=Execution(logs=ctx.logs),
        stretch=kept_in(ctx),
    )
    keep_weights(ctx, detach(setting.model, merge=True), setting.tokenizer, like=model.value)
    journal = ctx.scratch / setting.journal
    if journal.exists():
        (ctx.folder / setting.journal).write_bytes(journal.read_bytes())
    note_training(ctx, result.losses, seconds=result.seconds, steps=steps)
    told = getattr(used, "told", None)  # methods of others may leave it out
    note_stretch(ctx, result, {**told(), "lora": {"rank": rank, "alpha": 2.0 * rank}} if told else None)
    ctx.note("waited_for_checkpoints", round(result.waited, 2))
    ctx.note("final_loss", result.losses[-1])
    ctx.note("batch", config.batch)
    ctx.note("length", source.length)


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


def _setting(
    ctx: Context,
    model: Handle[Weights],
    dataset: Handle[Dataset],
    *,
    adopted: Handle[Weights],
    precision: str,
    seed: int,
    steps: int,
) -> Setting:
    weights, tokenizer = load_weights(model.value)
    return Setting(
        model=weights,
        tokenizer=tokenizer,
        dataset=dataset.value,
        adopted=adopted.value,
        precision=precision,
        seed=seed,
        steps=steps,
        cache=ctx.cache,
        scratch=ctx.scratch,
    )
