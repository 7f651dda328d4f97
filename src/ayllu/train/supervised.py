"""Finetuning on what the assistant says: the loss of a conversation's predicted ids alone.

Shapes: B batch, T time, D width, N predicted ids.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ayllu.data.loader import IGNORED, Batch
from ayllu.model.transformer import Transformer
from ayllu.train.objective import linear_cross_entropy


def supervised_loss(model: Transformer, batch: Batch, dtype: torch.dtype) -> Tensor:
    """Summed cross-entropy (natural log) of the ids of `batch` that are to be predicted, a float32 scalar.

    The same number as `next_token_loss`, which multiplies every state with the whole vocabulary; here those that
    predict nothing are left out first. In a conversation they are three of four, and a small model's output
    projection is a fifth of its work.
    """
    state_BTD = model.hidden(batch.ids_BT, documents_BT=batch.documents_BT, dtype=dtype)
    counted_BT = batch.targets_BT != IGNORED
    return linear_cross_entropy(state_BTD[counted_BT], model.output.weight, batch.targets_BT[counted_BT])
