"""What speculative decoding accepts of a draft, against many draws and by hand."""

from __future__ import annotations

import random

import pytest
import torch

from ayllu.evals.skills.acceptance import draft_acceptance, tokens_per_pass
from ayllu.model.config import ModelConfig
from ayllu.model.transformer import Transformer


def small(seed: int, *, spread: float = 1.0) -> Transformer:
    model = Transformer(ModelConfig(vocabulary=50, layers=1, width=16, heads=2, kv_heads=1, feed_forward=32))
    model.initialise(seed)
    with torch.no_grad():
        model.output.weight.mul_(spread)
    return model


def test_acceptance_is_what_speculative_sampling_accepts() -> None:
    """Draw x from the draft and accept it with min(1, p/q), many times."""
    target, quick = small(0, spread=8), small(1, spread=8)
    prompt, answer = [1, 2, 3], [4, 5]
    (found,) = draft_acceptance(target, quick, [(prompt, answer)])
    chance, accepted, tries = random.Random(0), 0, 20_000
    for end in (prompt, [*prompt, 4]):
        with torch.no_grad():
            p, q = (model(torch.tensor([end]))[0, -1].softmax(-1).tolist() for model in (target, quick))
        drawn = chance.choices(range(50), q, k=tries)
        accepted += sum(chance.random() < p[x] / q[x] for x in drawn)
    assert found.tokens == 2
    assert found.accepted == pytest.approx(accepted / tries, abs=0.02)
    assert draft_acceptance(target, target, [(prompt, answer)])[0].accepted == pytest.approx(2)
    assert draft_acceptance(target, target, [(prompt, answer)])[0].greedy == 2


def test_tokens_per_pass_by_hand() -> None:
    assert tokens_per_pass(0.5, 2) == pytest.approx(1 + 0.5 + 0.25)
    assert tokens_per_pass(1.0, 4) == 5
