"""Taking the steps of a stretch again: the same state, the same batches, and the losses that come of them now."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ayllu.model.transformer import Transformer
from ayllu.train.distributed.parallel_model import ParallelModel
from ayllu.train.loop import TrainConfig, make_deterministic
from ayllu.train.machine import compiler_available, dtype_of
from ayllu.train.objectives.distill import distillation_loss
from ayllu.train.objectives.dpo import DPOConfig, dpo_loss
from ayllu.train.objectives.grpo import GRPOConfig, grpo_loss
from ayllu.train.objectives.kl_anchor import kl_anchored_loss
from ayllu.train.objectives.next_token import Objective, next_token_loss
from ayllu.train.objectives.sft import conversation_loss
from ayllu.train.optimizer import Optimizer, OptimizerConfig
from ayllu.train.schedule import lr_scale
from ayllu.train.step import train_step
from ayllu.train.stretch.batches import from_parts
from ayllu.train.stretch.keep import CHECKPOINT, FACTS, batch_file


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """What a folder of `Keeper` says."""

    folder: Path
    config: TrainConfig
    first: int
    """Steps done before."""
    losses: tuple[float, ...]
    """Mean loss of each step, as it was when the model was trained."""
    batches: tuple[Mapping[str, Any], ...]

    @property
    def steps(self) -> range:
        """The steps' numbers, from 1."""
        return range(self.first + 1, self.config.steps + 1)


def read_stretch(folder: Path) -> Stretch:
    """Read what was kept. Raises OSError, ValueError, KeyError or TypeError where it is something else."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    fields = dict(facts["config"])
    rates = dict(fields.pop("optimizer"))
    first, second = map(float, rates.pop("adam_betas"))
    optimizer = OptimizerConfig(**rates, adam_betas=(first, second))
    stretch = Stretch(
        folder=folder,
        config=TrainConfig(**fields, optimizer=optimizer),
        first=int(facts["first"]),
        losses=tuple(map(float, facts["losses"])),
        batches=tuple(batch["batch"] for batch in facts["batches"]),
    )
    if not 0 < len(stretch.losses) == len(stretch.batches) == len(stretch.steps):
        raise ValueError("its losses, batches and steps are not as many")
    return stretch


def objective_of(told: Mapping[str, Any], reference: Transformer | None) -> Objective:
    """The objective that a training says it had; `reference` is the model that it learnt from or was held to.

    Raises ValueError for one that is not known, or that lacks its reference.
    """
    name = told["objective"]
    if name == "next_token":
        return next_token_loss
    if name == "dpo":
        return dpo_loss(DPOConfig(**told["config"]))
    inner = {"conversation": lambda: conversation_loss, "grpo": lambda: grpo_loss(GRPOConfig(**told["config"]))}
    if reference is None or name not in ("distillation", *inner):
        raise ValueError(f"there is no objective {name!r} here, or the model that it needs is missing")
    if name == "distillation":
        return distillation_loss(reference.requires_grad_(False))
    return kl_anchored_loss(inner[name](), reference, weight=float(told["anchor"]))


def replay(stretch: Stretch, model: Transformer, objective: Objective) -> Iterator[float]:
    """Yield the loss of each step of `stretch`, taken again; changes `model`, whose weights its checkpoint replaces.

    Weights that the training left alone must be those of `model`. Raises ValueError where the state does not fit.
    """
    make_deterministic()
    config = stretch.config
    compiled = config.compiled and compiler_available()
    parallel = ParallelModel(model, None, objective=objective, dtype=dtype_of(config.precision), compiled=compiled)
    optimizer = Optimizer(parallel.weights(), config.optimizer)
    _restore(stretch, parallel, optimizer)
    for step, told in zip(stretch.steps, stretch.batches, strict=True):
        batch = from_parts(told, load_file(stretch.folder / batch_file(step)))
        scale = lr_scale(step - 1, steps=config.steps, warmup=config.warmup, stable=config.stable)
        yield train_step(parallel, optimizer, batch, scale, clip=config.clip or math.inf).loss


@torch.no_grad()
def _restore(stretch: Stretch, parallel: ParallelModel, optimizer: Optimizer) -> None:
    wanted = {f"model.{name}": weight for name, weight in parallel.weights().items() if weight.requires_grad}
    wanted |= {f"optimizer.{name}": value for name, value in optimizer.state().items()}
    kept = load_file(stretch.folder / CHECKPOINT)
    if kept.keys() != wanted.keys():
        odd = sorted(kept.keys() ^ wanted.keys())[0]
        raise ValueError(f"the state of the training does not fit the model: {odd} is only in one of them")
    for name, value in wanted.items():
        if kept[name].shape != value.shape:
            raise ValueError(f"the state of the training does not fit the model: {name} has another shape")
        value.copy_(kept[name])
