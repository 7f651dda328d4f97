"""Post-training: how long each method takes, and the weights after one."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.limits import tell_time
from ayllu.recipes.stages.artifacts import Dataset, Rehearsal, Weights
from ayllu.recipes.stages.methods import (
    GRPO,
    METHODS,
    TIMED,
    Setting,
    Worked,
)
from ayllu.recipes.stages.weights import keep_weights, load_weights, note_training

if TYPE_CHECKING:
    pass

ORDER = ("grpo", "sft", "dpo")
"""The methods of smol, in the order in which they pass."""
PREPARED = {"grpo": "worked"}
"""What stands before a method: GRPO starts from a model that has seen sums worked out."""
TRAINING = 0.6
"""Share of the budget that is training; the rest is measuring."""

SUMMED: Mapping[str, type[Worked] | type[GRPO]] = {"worked": Worked, "grpo": GRPO}
"""What learns from sums."""


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
