"""What training makes small.

Shapes: B batch, T time, D width, V vocabulary, N tokens of a chunk.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ayllu.data.loader import IGNORED, Batch
from ayllu.model.transformer import Transformer

CHUNK_LOGITS = 1 << 24
"""Logits held at a time: 16.8 M, 32 MiB in bf16."""


def next_token_loss(model: Transformer, batch: Batch, *, dtype: torch.dtype) -> Tensor:
    """Summed cross-entropy (natural log) of the targets of `batch`, a float32 scalar."""
    state_BTD = model.hidden(batch.ids_BT, documents_BT=batch.documents_BT, dtype=dtype)
    return linear_cross_entropy(state_BTD.flatten(0, 1), model.output.weight, batch.targets_BT.flatten())


def linear_cross_entropy(state_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Sum over targets of -log softmax(state @ weight.T)[target], without ever holding all the logits."""
    return _LinearCrossEntropy.apply(state_ND, weight_VD, targets_N)


class _LinearCrossEntropy(torch.autograd.Function):
    """Makes gradients together with the loss, chunk by chunk: dL/dlogits = softmax - onehot needs the logits once."""

    @staticmethod
    def forward(ctx: Any, state_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
        weight = weight_VD.to(state_ND.dtype)
        chunk = max(CHUNK_LOGITS // weight.shape[0], 1)
        loss = torch.zeros((), dtype=torch.float32, device=state_ND.device)
        d_weight = torch.zeros_like(weight_VD)
        d_states = []
        for x_ND, targets in zip(state_ND.split(chunk), targets_N.split(chunk), strict=True):
            logits_NV = (x_ND @ weight.t()).float()
            counted = targets != IGNORED
            safe = targets.masked_fill(~counted, 0)
            log_sum = logits_NV.logsumexp(-1, keepdim=True)
            chosen = logits_NV.gather(-1, safe[:, None])
            loss = loss + ((log_sum - chosen)[:, 0] * counted).sum()
            onehot = torch.arange(weight.shape[0], device=targets.device)[None, :] == safe[:, None]
            d_logits = (((logits_NV - log_sum).exp() - onehot.float()) * counted[:, None]).to(x_ND.dtype)
            d_states.append(d_logits @ weight)
            d_weight = d_weight + (d_logits.t() @ x_ND).to(d_weight.dtype)
        ctx.save_for_backward(torch.cat(d_states), d_weight)
        return loss

    @staticmethod
    def backward(ctx: Any, *d_loss: Tensor) -> tuple[Tensor, Tensor, None]:
        d_state, d_weight = ctx.saved_tensors
        return d_state * d_loss[0].to(d_state.dtype), d_weight * d_loss[0], None


def reference_loss(model: Transformer, batch: Batch) -> Tensor:
    """The same by torch's own function on whole logits in float32: what tests compare with."""
    logits_BTV = model(batch.ids_BT, documents_BT=batch.documents_BT).float()
    return F.cross_entropy(logits_BTV.flatten(0, 1), batch.targets_BT.flatten(), ignore_index=IGNORED, reduction="sum")
