"""Supervised finetuning (SFT): the cross-entropy of what the assistant says, and of nothing else.

Shapes: B batch, T time, D width, N predicted ids.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ayllu.data.tokens.loader import IGNORED, Batch, permute
from ayllu.model.transformer import Transformer
from ayllu.train.objectives.next_token import linear_cross_entropy
from ayllu.train.objectives.shared_prefix import SharedPrefixRows, content_fingerprint, pack_shared_prefix


def sft_loss(model: Transformer, batch: Batch, dtype: torch.dtype) -> Tensor:
    """Summed cross-entropy (natural log) of the ids of `batch` that are to be predicted, a float32 scalar.

    The same number as `next_token_loss`, which multiplies every state with the whole vocabulary; here those that
    predict nothing are left out first. In a conversation they are three of four, and a small model's output
    projection is a fifth of its work.
    """
    state_BTD = model.hidden(batch.ids_BT, documents_BT=batch.documents_BT, dtype=dtype)
    counted_BT = batch.targets_BT != IGNORED
    return linear_cross_entropy(state_BTD[counted_BT], model.output.weight, batch.targets_BT[counted_BT])


@dataclass(frozen=True, kw_only=True)
class Conversations:
    """Conversations with one prefix, such as several requests to the same tools."""

    prefix: Sequence[int]
    continuations: Sequence[Sequence[int]]
    predict: Sequence[Sequence[bool]]
    """For each id of each continuation, whether the assistant has to produce it."""

    def as_json(self) -> dict[str, Any]:
        """As artifacts hold it, where the prefix is called `trunk`."""
        return {"trunk": self.prefix, "continuations": self.continuations, "predict": self.predict}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Conversations:
        """What `as_json` gave."""
        return cls(prefix=fields["trunk"], continuations=fields["continuations"], predict=fields["predict"])


def with_shared_prefix(conversations: Sequence[tuple[Sequence[int], Sequence[bool]]]) -> Conversations:
    """Conversations (ids, and which of them the assistant produces) with what they share as one prefix.

    The prefix ends before the first produced id and leaves every continuation at least one id. Raises ValueError where
    the conversations share no beginning or the assistant produces nothing.
    """
    if not all(any(predict) for _, predict in conversations):
        raise ValueError("the assistant says nothing in a conversation: there is nothing to learn")
    shared = min(list(predict).index(True) for _, predict in conversations)
    first = conversations[0][0]
    for ids, _ in conversations[1:]:
        shared = next((at for at in range(shared) if ids[at] != first[at]), shared)
    if shared == 0:
        raise ValueError("the conversations share no beginning")
    return Conversations(
        prefix=first[:shared],
        continuations=[ids[shared:] for ids, _ in conversations],
        predict=[predict[shared:] for _, predict in conversations],
    )


@dataclass(frozen=True, kw_only=True)
class ConversationBatch:
    """SharedPrefixRows rows of which the assistant's ids are scored."""

    rows: SharedPrefixRows

    @property
    def ids(self) -> int:
        """Ids that go in, padding with them."""
        return self.rows.ids_BT.numel()

    @property
    def count(self) -> Tensor:
        """Scored ids: what the summed loss is divided by."""
        return torch.tensor(len(self.rows.targets_N))


class ConversationSource:
    """Batches of conversations in an order drawn from a seed, each once per pass."""

    def __init__(self, conversations: Sequence[Conversations], *, length: int, seed: int) -> None:
        if not conversations:
            raise ValueError("there are no conversations to learn from")
        self._conversations, self.length, self._seed = conversations, length, seed

    @functools.cached_property
    def fingerprint(self) -> str:
        """Differs where any batch does."""
        return content_fingerprint(self.length, self._seed, [(c.prefix, c.continuations) for c in self._conversations])

    def batch(self, first: int, size: int) -> ConversationBatch:
        """Conversations `first` to `first + size - 1` of the order."""
        chosen = []
        for sample in range(first, first + size):
            epoch, at = divmod(sample, len(self._conversations))
            chosen.append(self._conversations[permute(at, len(self._conversations), self._seed * 1_000_003 + epoch)])
        return ConversationBatch(
            rows=pack_shared_prefix(
                [(c.prefix, c.continuations) for c in chosen], length=self.length, predict=[c.predict for c in chosen]
            )
        )


def conversation_loss(model: Transformer, batch: ConversationBatch, dtype: torch.dtype) -> Tensor:
    """Summed cross-entropy (natural log) of the assistant's ids, a float32 scalar."""
    rows = batch.rows
    state_BTD = model.hidden(rows.ids_BT, documents_BT=rows.documents_BT, shared_prefix=rows.shared_prefix, dtype=dtype)
    return linear_cross_entropy(state_BTD.flatten(0, 1)[rows.places_N], model.output.weight, rows.targets_N)
