"""Muon: updates of the promised size, the same whether matrices are stacked or not."""

from __future__ import annotations

import torch

from ayllu.data.tokens.loader import Loader
from ayllu.train.objectives.next_token import next_token_loss
from ayllu.train.optimizer import Optimizer, OptimizerConfig, orthogonalise
from support.training import fresh_model


def test_muon_updates_have_the_promised_size() -> None:
    matrices = torch.randn(3, 40, 24, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices, 5).float())
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_stacking_matrices_changes_no_update(loader: Loader) -> None:
    model = fresh_model()
    optimizer = Optimizer(dict(model.named_parameters()), OptimizerConfig())
    next_token_loss(model, loader.batch(0, 4), torch.float32).backward()
    weight = model.blocks[1].attention.wq.weight  # type: ignore[union-attr]
    before, gradient = weight.detach().clone(), weight.grad.clone()  # type: ignore[union-attr,operator]
    optimizer.step()
    config = optimizer.config
    momentum = (1 - config.muon_momentum) * gradient
    update = orthogonalise((gradient.lerp(momentum, config.muon_momentum))[None], 5)[0].float()
    expected = before * (1 - config.muon_lr * config.weight_decay) - config.muon_lr * 0.2 * 32**0.5 * update
    torch.testing.assert_close(weight, expected, rtol=0, atol=2e-4)
