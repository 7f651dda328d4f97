"""Rows with shared prefixes score every continuation as it would be scored alone."""

from __future__ import annotations

import pytest
import torch

from ayllu.train.objectives.shared_prefix import pack_shared_prefix
from support.models import sharp_model
from support.training.objectives import PAIRS, gradients, log_softmax_of, same_gradients

pytestmark = pytest.mark.usefixtures("small_chunks")
F32 = torch.float32


def test_log_probabilities_of_packed_rows() -> None:
    model = sharp_model()
    rows = pack_shared_prefix([(prompt, (good, bad)) for prompt, good, bad in PAIRS], length=12)
    assert rows.ids_BT.shape[0] == 2, "two documents should share a row"
    weights = torch.linspace(-1, 2, len(rows.targets_N))
    plain = [log_softmax_of(model, prompt, answer) for prompt, good, bad in PAIRS for answer in (good, bad)]
    found = rows.log_probabilities(model, F32)
    torch.testing.assert_close(found, torch.cat(plain), rtol=0, atol=2e-5)
    torch.testing.assert_close(rows.by_continuation(found), torch.stack([p.sum() for p in plain]), rtol=0, atol=1e-4)
    assert rows.lengths().tolist() == [3, 1, 2, 4, 1, 2]
    same_gradients(gradients(model, (found * weights).sum()), gradients(model, (torch.cat(plain) * weights).sum()))


def test_an_empty_continuation_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        pack_shared_prefix([([1, 2], [[3], []])], length=8)
