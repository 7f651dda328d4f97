"""What each recipe would train on another machine, for `ayllu fleet plan`: the rules of the recipes, nothing run."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ayllu.model.config import ModelConfig
from ayllu.recipes.limits import check_budget
from ayllu.recipes.registry import RECIPES

if TYPE_CHECKING:
    from ayllu.fleet.catalogue import Pool, Precision
    from ayllu.fleet.planner.training_job import RecipePlan, Trained


# The config.json of HuggingFaceTB/SmolLM2-135M-Instruct.
SMOLLM2 = ModelConfig(
    vocabulary=49_152,
    layers=30,
    width=576,
    heads=9,
    kv_heads=3,
    feed_forward=1536,
    rope_theta=100_000.0,
    tied=True,
)


def cria(pool: Pool, precision: Precision, budget: float | None) -> Trained:
    """Pretraining: the minutes and the speed of one accelerator choose the model, as `ayllu.train.ladder` does."""
    from ayllu.fleet.planner.training_job import Trained
    from ayllu.train.ladder import BATCH, COMPILE_MINUTES, EFFICIENCY, choose_shape

    minutes, length = _minutes("cria", budget), _default("cria", "length")
    model = choose_shape(
        rate=pool.accelerator.achieved(precision) * 1e12 * EFFICIENCY[minutes >= COMPILE_MINUTES],
        seconds=60 * minutes,
        vocabulary=_default("cria", "vocabulary"),
        length=length,
    )
    return Trained(
        model=model,
        sequence=length,
        global_batch=BATCH,
        minutes=minutes,
        note=f"{minutes:g} minutes of pretraining (--budget) and the speed of one accelerator choose the model; "
        "finetuning, a sixth more at most, and measuring come on top",
    )


def smol(pool: Pool, precision: Precision, budget: float | None) -> Trained:
    """Post-training of SmolLM2-135M, the model that the recipe adopts where none is named."""
    from ayllu.fleet.planner.training_job import Trained
    from ayllu.recipes.stages.methods import LENGTH, SFT
    from ayllu.recipes.stages.posttrain import TRAINING

    minutes = _minutes("smol", budget)
    return Trained(
        model=SMOLLM2,
        sequence=LENGTH,
        global_batch=SFT().batch,
        minutes=minutes * TRAINING,
        note=f"of {minutes:g} minutes (--budget) {100 * TRAINING:.0f} % are training, planned as steps of SFT on all "
        "weights; LoRA takes less, and drawing answers for GRPO is not planned",
    )


def draft(pool: Pool, precision: Precision, budget: float | None) -> Trained:
    """Distillation of some layers of SmolLM2-135M, the teacher where none is named."""
    from ayllu.fleet.planner.training_job import Trained
    from ayllu.recipes.draft import LENGTH, TRAINING
    from ayllu.recipes.stages.methods import Distill

    minutes = _minutes("draft", budget)
    return Trained(
        model=replace(SMOLLM2, layers=_default("draft", "layers")),
        sequence=LENGTH,
        global_batch=Distill().batch,
        minutes=minutes * TRAINING,
        note=f"of {minutes:g} minutes (--budget) {100 * TRAINING:.0f} % are training; the teacher's pass is left out",
    )


def see(pool: Pool, precision: Precision, budget: float | None) -> Trained:
    """SmolLM2-135M learns to take pictures: one at a time, with some seven questions behind its image tokens."""
    from ayllu.fleet.planner.training_job import Trained
    from ayllu.recipes.sight.learn import BATCH, LENGTH, TRAINING

    minutes = _minutes("see", budget)
    return Trained(
        model=SMOLLM2,
        sequence=LENGTH,
        global_batch=BATCH,
        minutes=minutes * TRAINING,
        note=f"of {minutes:g} minutes (--budget) {100 * TRAINING:.0f} % are training, planned as steps on all weights; "
        "LoRA takes less, and the network that looks at pictures is not planned",
    )


PLANNED: dict[str, RecipePlan] = {"cria": cria, "smol": smol, "draft": draft, "see": see}
"""By the names that `ayllu run` takes; the recipe llama is planned by the name of its shape."""


def _default(recipe: str, name: str) -> Any:
    return inspect.signature(RECIPES.find(recipe)).parameters[name].default


def _minutes(recipe: str, budget: float | None) -> float:
    minutes = float(_default(recipe, "budget")) if budget is None else budget
    check_budget(minutes, usual=10)
    return minutes
