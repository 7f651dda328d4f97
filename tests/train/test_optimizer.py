"""Muon and AdamW: updates of the promised size, as a plain calculation gives them, stacked or not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ayllu.data.tokens.loader import Loader
from ayllu.train.objectives.next_token import next_token_loss
from ayllu.train.optimizer import Optimizer, OptimizerConfig, orthogonalise
from support.training.tiny import fresh_model


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


def plain_muon(matrix: Tensor, gradients: list[Tensor], config: OptimizerConfig) -> Tensor:
    """The matrix after a step with each gradient, from the papers' formulas alone, in float64."""
    matrix, momentum = matrix.double(), torch.zeros_like(matrix, dtype=torch.float64)
    rows, columns = matrix.shape
    for gradient in gradients:
        momentum = config.muon_momentum * momentum + (1 - config.muon_momentum) * gradient.double()
        # Nesterov (Jordan et al.): the gradient once more on top of the momentum that already holds it.
        ahead = config.muon_momentum * momentum + (1 - config.muon_momentum) * gradient.double()
        x = ahead / ahead.norm()
        for _ in range(config.iterations):
            x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
        # arXiv:2502.16982, equation 4: the scale, and the decay beside it.
        update = 0.2 * max(rows, columns) ** 0.5 * x + config.weight_decay * matrix
        matrix = matrix - config.muon_lr * update
    return matrix


@pytest.mark.parametrize("shape", [(6, 20), (20, 6)], ids=["wide", "tall"])
def test_two_steps_of_muon_are_those_of_the_formulas(shape: tuple[int, int]) -> None:
    chance = torch.Generator().manual_seed(0)
    start, *gradients = (torch.randn(shape, generator=chance) for _ in range(3))
    config = OptimizerConfig(muon_dtype="float32", muon_lr=0.1, weight_decay=0.5)
    weight = torch.nn.Parameter(start.clone())
    optimizer = Optimizer({"blocks.0.w": weight}, config)
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(weight.double(), plain_muon(start, gradients, config), rtol=1e-5, atol=1e-5)


def plain_adam(start: Tensor, gradients: list[Tensor], config: OptimizerConfig, decay: float) -> Tensor:
    """Loshchilov and Hutter, arXiv:1711.05101, algorithm 2."""
    (b1, b2), weight = config.adam_betas, start.double()
    first = second = torch.zeros_like(weight)
    for step, gradient in enumerate((g.double() for g in gradients), start=1):
        first, second = b1 * first + (1 - b1) * gradient, b2 * second + (1 - b2) * gradient**2
        moved = (first / (1 - b1**step)) / ((second / (1 - b2**step)).sqrt() + 1e-10)
        weight = weight - config.adam_lr * (moved + decay * weight)
    return weight


@pytest.mark.parametrize("name", ["embedding.weight", "output.weight", "blocks.0.norm.weight"])
@pytest.mark.parametrize("matrices", ["muon", "adamw"])
def test_embeddings_and_norms_take_adam_without_decay(name: str, matrices: str) -> None:
    chance = torch.Generator().manual_seed(0)
    shape = (6,) if "norm" in name else (6, 20)
    start, *gradients = (torch.randn(shape, generator=chance) for _ in range(3))
    config = OptimizerConfig(matrices=matrices, weight_decay=0.5)  # type: ignore[arg-type]
    weight, beside = torch.nn.Parameter(start.clone()), torch.nn.Parameter(torch.ones(4, 4))
    optimizer = Optimizer({name: weight, "blocks.0.w": beside}, config)
    for gradient in gradients:
        weight.grad, beside.grad = gradient.clone(), torch.ones(4, 4)
        optimizer.step()
    torch.testing.assert_close(weight.double(), plain_adam(start, gradients, config, 0.0), rtol=1e-5, atol=1e-5)
    if matrices == "adamw":
        expected = plain_adam(torch.ones(4, 4), [torch.ones(4, 4)] * 2, config, config.weight_decay)
        torch.testing.assert_close(beside.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_schedule_scales_each_part_from_its_own_peak() -> None:
    weights = {
        "blocks.0.w": torch.nn.Parameter(torch.ones(4, 6)),
        "embedding.weight": torch.nn.Parameter(torch.ones(4)),
    }
    optimizer = Optimizer(weights, OptimizerConfig(muon_lr=0.02, adam_lr=0.04))
    for scale in (0.5, 0.25):
        optimizer.set_lr_scale(scale)
        lrs = {group["lr"] for part in optimizer.parts for group in part.param_groups}
        assert lrs == {0.02 * scale, 0.04 * scale}
