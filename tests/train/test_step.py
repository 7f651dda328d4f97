"""One step: a bad batch breaks nothing."""

from __future__ import annotations

import math

import pytest
import torch

from ayllu.data.tokens.loader import Batch, Loader
from ayllu.model.transformer import Transformer
from ayllu.train.distributed.parallel_model import ParallelModel
from ayllu.train.objectives.next_token import next_token_loss
from ayllu.train.optimizer import Optimizer, OptimizerConfig
from ayllu.train.step import train_step
from support.training.tiny import fresh_model


@pytest.mark.parametrize("broken", [math.inf, math.nan])
def test_a_step_without_a_number_changes_no_bit(loader: Loader, broken: float) -> None:
    """OLMo-core's SkipStepAdamW writes NaN into every parameter here: 0 * NaN is NaN."""
    model = fresh_model()
    factor = 1.0

    def loss(model: Transformer, batch: Batch, dtype: torch.dtype) -> torch.Tensor:
        return next_token_loss(model, batch, dtype) * factor

    parallel = ParallelModel(model, None, objective=loss, dtype=torch.float32)
    optimizer = Optimizer(parallel.weights(), OptimizerConfig())
    train_step(parallel, optimizer, loader.batch(0, 4), 0.1)
    state = {**{n: w.detach() for n, w in parallel.weights().items()}, **optimizer.state()}
    before = {name: value.clone() for name, value in state.items()}
    factor = broken
    assert train_step(parallel, optimizer, loader.batch(4, 4), 0.1).skipped
    assert all(torch.equal(before[name], value) for name, value in state.items())
    factor = 1.0
    assert math.isfinite(train_step(parallel, optimizer, loader.batch(8, 4), 0.1).loss)
