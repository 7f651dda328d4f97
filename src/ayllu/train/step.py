"""One update of the weights, the same for one process and for thousands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from ayllu.train.distributed.dtensor import local_shard
from ayllu.train.distributed.parallel_model import ParallelModel
from ayllu.train.optimizer import Optimizer


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a step measured; equal in all processes."""

    loss: float
    """Mean loss per counted term before the update; NaN when the step was skipped."""
    norm: float
    """Norm of the whole gradient."""
    count: int
    """Terms of the loss: ids predicted."""

    @property
    def skipped(self) -> bool:
        return math.isnan(self.loss)


def train_step(
    model: ParallelModel,
    optimizer: Optimizer,
    batch: Any,
    lr_scale: float,
    *,
    limit: float = math.inf,
    clip: float = math.inf,
) -> StepResult:
    """Loss, gradients, new weights. `batch` is this process's samples, `lr_scale` multiplies the peak learning rates.

    A loss or gradient that is no finite number, or a loss above `limit`, leaves weights and optimizer untouched, in all
    processes alike. A gradient whose norm is above `clip` is scaled down to it.
    """
    optimizer.set_lr_scale(lr_scale)
    batch = model.shard_batch(batch)
    # The loss is the mean over the terms of the whole batch, and gradients are sums of what each process makes of its
    # rows: so each must divide by the count of all of them, which is known before any forward pass. Dividing by one's
    # own count, and averaging, would give a term in a row with few targets more weight than one in a row with many.
    # The tp * pp processes that share a model have the same rows; each counts for one in as many. Those of cp have
    # different times of them, and count their own.
    model_parallel = model.layout.tp * model.layout.pp
    (count,) = model.all_reduce_sums([batch.count / model_parallel])
    # A batch may have nothing to predict, such as rows that hold only prompts: then all is 0, not 0 / 0.
    terms = max(count, 1.0)
    loss_sum = model.backward(batch, 1 / terms)
    gradients = optimizer.gradients()
    # One exchange for both numbers. Under tp every process has the loss of all its rows, already added up over the
    # vocabulary: the sum over processes has it tp times. Under pp only the last stage has one, under cp and dp each has
    # its own: nothing to divide by.
    total, squares = model.all_reduce_sums([loss_sum.double() / model.layout.tp, model.square_sum(gradients)])
    loss, norm = total / terms, math.sqrt(squares)
    # Both are the same bits in all processes (an all-reduce gives each the same sum), so that all decide alike and no
    # one steps alone. One NaN anywhere makes the norm NaN: the square root of NaN is NaN, and nothing else is negative.
    taken = math.isfinite(loss) and math.isfinite(norm) and loss <= limit
    if taken:
        if norm > clip:
            # The norm is that of the whole gradient, so a shard is scaled by the same number wherever it lies.
            torch._foreach_mul_([local_shard(gradient) for gradient in gradients.values()], clip / norm)
        optimizer.step()
    optimizer.zero_grad()
    return StepResult(loss=loss if taken else math.nan, norm=norm, count=round(count))
