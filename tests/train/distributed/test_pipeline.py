"""Pipeline stages without processes: where they begin, and that one after the other they are the whole model."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ayllu.data.tokens.loader import Loader
from ayllu.model.transformer import Transformer
from ayllu.train.distributed.pipeline import StageModule, pipeline_bounds
from ayllu.train.objectives.next_token import next_token_loss
from support.training.tiny import CONFIG


def test_embedding_and_output_count_as_layers_where_that_divides() -> None:
    assert pipeline_bounds(8, 4) == [0, 2, 4, 6, 8]
    assert pipeline_bounds(126, 16) == [0, *range(7, 126, 8), 126]
    assert pipeline_bounds(4, 6) == [0, 0, 1, 2, 3, 4, 4]
    assert pipeline_bounds(5, 3) == [0, 2, 3, 5]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("stages", [2, 3, 6])
def test_stages_one_after_the_other_are_the_whole_model(loader: Loader, tied: bool, stages: int) -> None:
    """Loss, gradients and names to the bit; with six stages of four layers either end has no layer."""
    model = Transformer(replace(CONFIG, layers=4, tied=tied))
    model.initialise(0)
    batch = loader.batch(0, 4)
    whole = next_token_loss(model, batch, torch.float32)
    whole.backward()
    expected = {name: weight.grad for name, weight in model.named_parameters()}
    model.zero_grad()

    bounds = pipeline_bounds(4, stages)
    modules = [StageModule(model, number, bounds, torch.float32) for number in range(stages)]
    x = batch.ids_BT
    for module in modules:
        x = module(x, targets_BT=batch.targets_BT, documents_BT=batch.documents_BT)
    x.backward()
    assert torch.equal(x, whole)
    found = {name: weight.grad for module in modules for name, weight in module.model.named_parameters()}
    assert found.keys() == expected.keys() | ({"output.weight"} if tied else set())
    for name, gradient in expected.items():
        assert gradient is not None
        assert torch.equal(found[name], gradient), name  # type: ignore[arg-type]
