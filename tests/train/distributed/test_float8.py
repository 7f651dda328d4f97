"""Products in 8 bits: near the exact ones, forwards and backwards, and a run learns with them as in bf16."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ayllu.data.tokens.loader import Loader
from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig
from ayllu.model.transformer import Linear, Transformer
from ayllu.train.distributed.float8 import matmul, use_float8
from ayllu.train.distributed.layout import Layout
from ayllu.train.distributed.parallel_model import ParallelModel
from ayllu.train.loop import Execution, TrainConfig, train
from support.models import sharp_model
from support.programs.layouts import tokens


def near(found: torch.Tensor, exact: torch.Tensor) -> float:
    return ((found - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize("rows", [32, 7])
def test_products_and_gradients_are_near_the_exact_ones(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, rows, 64, generator=generator).requires_grad_()
    weight = (0.02 * torch.randn(48, 64, generator=generator)).requires_grad_()
    d_y = 1e-4 * torch.randn(2, rows, 48, generator=generator)
    exact = torch.autograd.grad(F.linear(x, weight), (x, weight), d_y)
    y = matmul(x, weight)
    found = torch.autograd.grad(y, (x, weight), d_y)
    assert 1e-3 < near(y, F.linear(x, weight)) < 0.06, "8 bits, and no more of an error than they have"
    for one, other in zip(found, exact, strict=True):
        assert 1e-3 < near(one, other) < 0.1


def test_zeros_stay_zeros() -> None:
    assert torch.equal(matmul(torch.zeros(16, 32), torch.zeros(16, 32)), torch.zeros(16, 16))


def test_a_run_learns_as_in_bf16_and_leaves_a_plain_model(tmp_path) -> None:
    config = ModelConfig(vocabulary=64, layers=2, width=32, heads=4, kv_heads=2, feed_forward=48, context=64)
    losses = {}
    for precision in ("bf16", "float8"):
        model = Transformer(config)
        model.initialise(0)
        source = Loader(tokens(tmp_path / "tokens"), seed=0)
        plan = TrainConfig(steps=30, batch=8, warmup=5, checkpoint_seconds=1e9)
        execution = Execution(layout=Layout(precision=precision, micro_batch=8))
        scratch = tmp_path / precision
        losses[precision] = train(model, source, plan, scratch=scratch, title=precision, execution=execution).losses
        assert not any("matmul" in vars(module) for module in model.modules())
    assert losses["float8"] != losses["bf16"]
    assert losses["float8"][0] == pytest.approx(losses["bf16"][0], rel=0.02)
    assert losses["float8"][-1] == pytest.approx(losses["bf16"][-1], rel=0.1)
    assert losses["float8"][-1] < 0.7 * losses["float8"][0]


def test_every_matrix_of_the_blocks_and_nothing_else() -> None:
    model = sharp_model()
    use_float8(model)
    changed = [
        name for name, module in model.named_modules() if isinstance(module, Linear) and "matmul" in vars(module)
    ]
    assert len(changed) == 7 * len(model.blocks)
    assert all(name.startswith("blocks.") for name in changed)


def test_matrices_that_cannot_are_refused() -> None:
    odd = Transformer(ModelConfig(vocabulary=64, layers=1, width=24, heads=2, kv_heads=1, feed_forward=48))
    with pytest.raises(UserError, match="multiples of 16"):
        use_float8(odd)


def test_a_layout_of_float32_computes_in_float32_whatever_the_machine_prefers() -> None:
    model = sharp_model()
    assert ParallelModel(model, Layout(precision="float32"), dtype=torch.bfloat16).dtype == torch.float32
    assert ParallelModel(model, Layout(), dtype=torch.bfloat16).dtype == torch.bfloat16
