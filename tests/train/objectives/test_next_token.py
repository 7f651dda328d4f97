"""The chunked cross-entropy is torch's own, value and gradients."""

from __future__ import annotations

import pytest
import torch

from ayllu.data.tokens.loader import Loader
from ayllu.train.objectives import next_token
from ayllu.train.objectives.next_token import next_token_loss, reference_loss
from support.training.tiny import fresh_model


@pytest.mark.parametrize("chunk", [1 << 24, 64 * 7])
def test_chunked_loss_and_gradients_are_those_of_torch(
    loader: Loader, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(next_token, "CHUNK_LOGITS", chunk)
    ours, theirs = fresh_model(), fresh_model()
    batch = loader.batch(0, 4)
    loss, expected = next_token_loss(ours, batch, torch.float32), reference_loss(theirs, batch)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    (loss * 0.5).backward()
    (expected * 0.5).backward()
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5, msg=name)
