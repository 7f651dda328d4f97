"""Learning to see, in two stages: the words of a picture's cells, then answers to questions about it."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NewType

from ayllu.lab.graph import Context, Handle, stage
from ayllu.recipes.limits import tell_time
from ayllu.recipes.sight.scenes import SceneFolder, cell_words, group_ids, lesson
from ayllu.recipes.stages.artifacts import Weights
from ayllu.recipes.stages.weights import load_weights, note_training

if TYPE_CHECKING:
    from ayllu.model.sight.seeing import SeeingTransformer
    from ayllu.train.loop import TrainConfig
    from ayllu.train.lora import LoraConfig
    from ayllu.train.objectives.sight import SceneSource

Aligned = NewType("Aligned", Path)
"""A projector that tells cells by words."""
Learnt = NewType("Learnt", Path)
"""A projector, and an adapter of the language model."""

CELL_BATCH, CELL_PASSES, CELL_LR = 32, 16, 2e-3
"""Pictures of a step, passes and peak learning rate of AdamW while cells are learnt."""
LENGTH = 198
"""Ids of a picture with its questions, on average: for plans of machines on which nothing is drawn yet."""
BATCH = 4
"""Pictures of a step while answers are learnt, some seven questions each."""
LR, PROJECTOR_LR = 3e-3, 3e-4
"""Peak learning rates of Muon for the adapter and of AdamW for the projector."""
RANK = 16
TRAINING = 0.55
"""Share of the budget in which answers are learnt; the rest draws scenes, learns cells and measures."""
LEAST_STEPS = 8
TIMED = 3


@dataclass(frozen=True, kw_only=True)
class SightPlan:
    """How many steps of answers, and how long they should take."""

    steps: int
    seconds_per_step: float
    """Measured here before the run; 0 where the steps were given."""
    precision: str


def open_sight_plan(folder: Path) -> SightPlan:
    return SightPlan(**json.loads((folder / "plan.json").read_text()))


@stage(identity="align_eyes", makes=Aligned)
def align_eyes(ctx: Context, base: Handle[Weights], scenes: Handle[SceneFolder], *, seed: int) -> None:
    """A projector whose vectors lie near the words for what is in a cell."""
    from ayllu.model.sight.efficientnet import CELLS
    from ayllu.model.sight.seeing import Projector, SeeingTransformer, save_projector
    from ayllu.train.loop import Execution, TrainConfig, train
    from ayllu.train.objectives.sight import CellSource, cell_loss
    from ayllu.train.optimizer import OptimizerConfig

    language, tokenizer = load_weights(base.value)
    features_PIF = scenes.value.features()
    words_PIG = cell_words([asked.scene for asked in scenes.value.asked()], CELLS)
    projector = Projector(language.config.width)
    projector.initialise(features_PIF[:256], language.embedding.weight, seed=seed)
    model = SeeingTransformer(language, projector).requires_grad_(False)
    projector.requires_grad_(True)
    steps = max(1, CELL_PASSES * len(features_PIF) // CELL_BATCH)
    result = train(
        model,
        CellSource(features_PIF, words_PIG, seed=seed),
        TrainConfig(
            steps=steps,
            batch=CELL_BATCH,
            warmup=max(1, min(20, steps // 10)),
            optimizer=OptimizerConfig(adam_lr=CELL_LR),
            precision="float32",
        ),
        objective=cell_loss(group_ids(tokenizer)),
        scratch=ctx.scratch,
        title="cells",
        execution=Execution(logs=ctx.logs),
    )
    save_projector(ctx.folder, projector)
    note_training(ctx, result.losses, seconds=result.seconds, steps=steps)


@stage(identity="plan_sight", makes=open_sight_plan)
def plan_sight(
    ctx: Context,
    base: Handle[Weights],
    scenes: Handle[SceneFolder],
    aligned: Handle[Aligned],
    *,
    budget: float,
    seed: int,
    steps: int | None,
) -> None:
    """Steps for `budget` minutes on this machine: a few are timed."""
    from ayllu.train.machine import fastest_precision

    precision, seconds = fastest_precision(), 0.0
    if steps is None:
        model, source = _setting(base.value, scenes.value, aligned.value, seed=seed)
        seconds = _seconds_per_step(model, source, precision)
        asked = 60 * budget * TRAINING
        steps = max(round(asked / seconds), LEAST_STEPS)
        tell_time(ctx, asked=asked, expected=steps * seconds, fewest=f"{LEAST_STEPS} steps are the fewest")
    plan = SightPlan(steps=steps, seconds_per_step=round(seconds, 3), precision=precision)
    (ctx.folder / "plan.json").write_text(json.dumps(dataclasses.asdict(plan), indent=2) + "\n")
    ctx.note("plan", dataclasses.asdict(plan))


@stage(identity="learn_sight", makes=Learnt)
def learn_sight(
    ctx: Context,
    base: Handle[Weights],
    scenes: Handle[SceneFolder],
    aligned: Handle[Aligned],
    plan: Handle[SightPlan],
    *,
    seed: int,
) -> None:
    """The projector and an adapter of the language model, which answers questions about pictures."""
    from ayllu.model.sight.seeing import save_projector
    from ayllu.train.loop import Execution, train
    from ayllu.train.lora import save_adapter
    from ayllu.train.objectives.sight import scene_loss

    planned = plan.value
    model, source = _setting(base.value, scenes.value, aligned.value, seed=seed)
    ctx.predict("seconds", round(planned.steps * planned.seconds_per_step, 1))
    result = train(
        model,
        source,
        _config(planned),
        objective=scene_loss,
        scratch=ctx.scratch,
        title="answers",
        execution=Execution(logs=ctx.logs),
    )
    save_projector(ctx.folder, model.projector)
    save_adapter(ctx.folder, model, _adapter())
    note_training(ctx, result.losses, seconds=result.seconds, steps=planned.steps)
    ctx.note("batch", BATCH)
    ctx.note("length", source.length)


def _config(plan: SightPlan) -> TrainConfig:
    from ayllu.train.loop import TrainConfig
    from ayllu.train.optimizer import OptimizerConfig

    return TrainConfig(
        steps=plan.steps,
        batch=BATCH,
        warmup=max(1, min(10, plan.steps // 10)),
        optimizer=OptimizerConfig(muon_lr=LR, adam_lr=PROJECTOR_LR, weight_decay=0.0),
        precision=plan.precision,
        clip=1.0,
        checkpoint_seconds=30.0,
    )


def _adapter() -> LoraConfig:
    from ayllu.train.lora import LoraConfig

    return LoraConfig(rank=RANK, alpha=2.0 * RANK)


def _setting(base: Path, scenes: SceneFolder, aligned: Path, *, seed: int) -> tuple[SeeingTransformer, SceneSource]:
    """The model with its adapter, and what it learns from."""
    from ayllu.data.scenes.prompts import picture_prompt
    from ayllu.model.sight.seeing import SeeingTransformer, load_projector
    from ayllu.train.lora import attach
    from ayllu.train.objectives.sight import Asked, SceneSource

    language, tokenizer = load_weights(base)
    attach(language, _adapter(), seed=seed)
    model = SeeingTransformer(language, load_projector(aligned))
    asked = [
        [
            Asked(question=tokenizer.encode(lesson(question, number + at)), answer=tokenizer.encode(question.answer))
            for at, question in enumerate(one.questions)
        ]
        for number, one in enumerate(scenes.asked())
    ]
    return model, SceneSource(scenes.features(), asked, picture_prompt(tokenizer), seed=seed)


def _seconds_per_step(model: SeeingTransformer, source: SceneSource, precision: str) -> float:
    from ayllu.train.machine import dtype_of
    from ayllu.train.objectives.sight import scene_loss

    taken = []
    for step in range(1 + TIMED):
        began = time.monotonic()
        batch = source.batch(step * BATCH, BATCH)
        (scene_loss(model, batch, dtype_of(precision)) / batch.count).backward()
        model.zero_grad(set_to_none=True)
        taken.append(time.monotonic() - began)
    return statistics.median(taken[1:])
