"""DPO and its variants against a plain computation on whole logits, value and gradients."""

from __future__ import annotations

import math

import pytest
import torch

from ayllu.train.objectives.dpo import DPOConfig, PairBatch, PairSource, dpo_loss, reference_log_probabilities
from ayllu.train.objectives.shared_prefix import pack_shared_prefix
from support.models import sharp_model
from support.training.objectives import PAIRS, descend, gradients, log_softmax_of, same_gradients

pytestmark = pytest.mark.usefixtures("small_chunks")
F32 = torch.float32


@pytest.mark.parametrize(
    "config",
    [
        DPOConfig(beta=0.3),
        DPOConfig(beta=0.3, likelihood=0.2),
        DPOConfig(kind="ipo", beta=0.5),
        DPOConfig(kind="simpo", beta=2.0, margin=0.5),
    ],
)
def test_preference_losses_by_hand(config: DPOConfig) -> None:
    model, reference = sharp_model(seed=0), sharp_model(seed=1)
    known = reference_log_probabilities(reference, PAIRS, length=16, dtype=F32, batch=2)
    source = PairSource(PAIRS, known, length=16, seed=3)
    batch = source.batch(0, 3)
    assert batch.count == 3
    expected = torch.zeros(())
    for prompt, good, bad in PAIRS:
        chosen, rejected = log_softmax_of(model, prompt, good), log_softmax_of(model, prompt, bad)
        with torch.no_grad():
            before = log_softmax_of(reference, prompt, good).sum() - log_softmax_of(reference, prompt, bad).sum()
        margin = chosen.sum() - rejected.sum() - before
        if config.kind == "dpo":
            expected = expected + torch.log(1 + torch.exp(-config.beta * margin))
        elif config.kind == "ipo":
            expected = expected + (margin - 1 / (2 * config.beta)) ** 2
        else:
            expected = expected + torch.log(
                1 + torch.exp(-config.beta * (chosen.mean() - rejected.mean()) + config.margin)
            )
        expected = expected - config.likelihood * chosen.mean()
    loss = dpo_loss(config)(model, batch, F32)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    same_gradients(gradients(model, loss), gradients(model, expected))


def test_untouched_policy_has_dpo_loss_log_2() -> None:
    model = sharp_model()
    known = reference_log_probabilities(model, PAIRS, length=16, dtype=F32)
    batch = PairSource(PAIRS, known, length=16, seed=0).batch(0, 3)
    assert dpo_loss(DPOConfig())(model, batch, F32).item() == pytest.approx(3 * math.log(2), abs=1e-5)


def test_dpo_learns_to_prefer() -> None:
    model = sharp_model()
    known = reference_log_probabilities(model, PAIRS, length=16, dtype=F32)
    source = PairSource(PAIRS, known, length=16, seed=0)
    losses = descend(model, dpo_loss(DPOConfig()), source, steps=20, size=3, lr=3e-3)
    assert losses[-1] < 0.3 < losses[0]


def test_each_pair_comes_once_per_pass() -> None:
    source = PairSource(PAIRS, torch.arange(6.0).view(3, 2), length=16, seed=7)
    for epoch in range(3):
        seen = torch.cat([source.batch(3 * epoch + i, 1).reference_P2 for i in range(3)])
        assert sorted(seen[:, 0].tolist()) == [0, 2, 4]


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="beta"):
        DPOConfig(beta=0)


def test_pair_batch_counts_pairs() -> None:
    rows = pack_shared_prefix([([1], ([2], [3]))], length=4)
    assert PairBatch(rows=rows, reference_P2=torch.zeros(1, 2)).count == 1
