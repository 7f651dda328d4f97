"""One update of the weights, the same for one process and for thousands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from ayllu.train.distributed.parallel_model import Spread
from ayllu.train.optimizer import Optimizer, local


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
    spread: Spread, optimizer: Optimizer, batch: Any, factor: float, *, limit: float = math.inf, clip: float = math.inf
) -> StepResult:
    """Loss, gradients, new weights. `batch` is this process's share, `factor` that of the peak learning rates.

    A loss or gradient that is no finite number, or a loss above `limit`, leaves weights and optimizer untouched, in all
    processes alike: they decide on sums over all. A gradient whose norm is above `clip` is scaled down to it.
    """
    optimizer.set_rate(factor)
    twins = spread.layout.tp * spread.layout.pp
    batch = spread.localise(batch)
    (count,) = spread.totals([batch.count / twins])
    loss = spread.backward(batch, 1 / max(count, 1.0))
    gradients = optimizer.gradients()
    summed, squares = spread.totals([loss.double() / spread.layout.tp, spread.square_sum(gradients)])
    mean, norm = summed / max(count, 1.0), math.sqrt(squares) if squares >= 0 else math.nan
    taken = math.isfinite(mean) and math.isfinite(norm) and mean <= limit
    if taken:
        if norm > clip:
            torch._foreach_mul_([local(gradient) for gradient in gradients.values()], clip / norm)
        optimizer.step()
    optimizer.zero_grad()
    return StepResult(loss=mean if taken else math.nan, norm=norm, count=round(count))
