"""KL anchor: holding a model to what it was while it learns something else.

Beside the batch of another objective each step sees plain text that has nothing to do with it, on which the model must
not diverge from the one before training. The added gradient is zero as long as the model has not moved (LwF, Li and
Hoiem, arXiv:1606.09282, section 3, there on the new task's own inputs; a text of its own covers what they leave out).

Shapes: B rows, T time, D width.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ayllu.data.tokens.loader import permute
from ayllu.model.transformer import Transformer
from ayllu.train.objectives.distill import linear_kl_divergence
from ayllu.train.objectives.next_token import Objective
from ayllu.train.objectives.shared_prefix import content_fingerprint


@dataclass(frozen=True, kw_only=True)
class KLAnchoredBatch:
    """A batch of the inner objective, and rows of plain text."""

    inner: Any
    text_BT: Tensor

    @property
    def ids(self) -> int:
        """Ids that go in, padding with them."""
        return int(self.inner.ids) + self.text_BT.numel()

    @property
    def count(self) -> Tensor:
        """The inner batch's terms: what the summed loss is divided by."""
        count: Tensor = self.inner.count
        return count


class KLAnchoredSource:
    """The batches of another source, each with `rows` rows of `text`: in an order drawn from a seed, once per pass."""

    def __init__(self, inner: Any, text: Sequence[Sequence[int]], *, rows: int, seed: int) -> None:
        """Raises ValueError where there is no text, or rows differ in length."""
        if not text or len({len(row) for row in text}) != 1:
            raise ValueError("the text to hold on to must be rows of one length, at least one")
        self._inner, self._text, self._rows, self._seed = inner, text, rows, seed
        self.length: int = inner.length

    @functools.cached_property
    def fingerprint(self) -> str:
        """Differs where any batch does."""
        return content_fingerprint(self._inner.fingerprint, self._rows, self._seed, list(map(list, self._text)))

    def batch(self, first: int, size: int) -> KLAnchoredBatch:
        """Samples `first` to `first + size - 1` of the inner source, with the text of that step."""
        chosen = []
        for place in range(first // size * self._rows, (first // size + 1) * self._rows):
            epoch, at = divmod(place, len(self._text))
            chosen.append(self._text[permute(at, len(self._text), self._seed * 1_000_003 + epoch)])
        return KLAnchoredBatch(inner=self._inner.batch(first, size), text_BT=torch.tensor(chosen))


def kl_anchored_loss(objective: Any, before: Transformer, *, weight: float) -> Objective:
    """`objective` + `weight` times KL(before || model) per id of the text, times the batch's count: a summed loss.

    Raises ValueError on a weight that is not above 0.
    """
    if weight <= 0:
        raise ValueError(f"weight is {weight}; it must be above 0")

    def loss(model: Transformer, batch: KLAnchoredBatch, dtype: torch.dtype) -> Tensor:
        share = weight * batch.count / batch.text_BT.numel()
        return objective(model, batch.inner, dtype) + share * kl_divergence(before, model, batch.text_BT, dtype)

    return loss


def kl_divergence(before: Transformer, model: Transformer, text_BT: Tensor, dtype: torch.dtype) -> Tensor:
    """KL(before || model) of the next id in nats, summed over all ids of `text_BT`, a float32 scalar."""
    with torch.no_grad():
        before_BTD = before.to(text_BT.device).hidden(text_BT, dtype=dtype)
    state_BTD = model.hidden(text_BT, dtype=dtype)
    return linear_kl_divergence(
        state_BTD.flatten(0, 1), model.output.weight, before_BTD.flatten(0, 1), before.output.weight, 1.0
    )
