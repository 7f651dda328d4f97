"""Training objectives: what one is, and the first of them, the cross-entropy of the next token.

An objective is a function `(model, batch, dtype) -> summed loss`; a batch says with `count` by what the sum is to be
divided. Shapes: B batch, T time, D width, V vocabulary (of this device), N tokens of a chunk.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.tensor import DTensor, Partial, Replicate

from ayllu.data.tokens.loader import IGNORED, Batch
from ayllu.model.transformer import Transformer

CHUNK_LOGITS = 1 << 24
"""Logits held at a time: 16.8 M, 32 MiB in bf16."""
GPU_CHUNK_LOGITS, GPU_CHUNK_MULTIPLE = 1 << 28, 128
"""On a GPU, where matmuls with fewer rows are slow: 512 MiB in bf16, and rows in multiples of 128."""
ROWS = 1 << 14
"""Rows of the output weight whose gradient is made at a time, before it is added up."""


class Countable(Protocol):
    """Anything that an objective takes: a frozen dataclass of tensors."""

    @property
    def ids(self) -> int:
        """Ids that go in: what speed is counted in."""
        ...

    @property
    def count(self) -> Tensor:
        """How many terms the summed loss has."""
        ...


Objective = Callable[[Transformer, Any, torch.dtype], Tensor]
"""Summed loss of a batch, a float32 scalar, computed with matmuls in the given type."""


def next_token_loss(model: Transformer, batch: Batch, dtype: torch.dtype) -> Tensor:
    """Summed cross-entropy (natural log) of the targets of `batch`, a float32 scalar."""
    state_BTD = model.hidden(
        batch.ids_BT, documents_BT=batch.documents_BT, positions_T=batch.positions_T, mask=batch.mask, dtype=dtype
    )
    return head_loss(state_BTD, model.output.weight, batch.targets_BT, fused=model.fused)


def head_loss(state_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor, *, fused: bool = False) -> Tensor:
    """Summed cross-entropy of the output projection; the vocabulary may be shared by tensor-parallel devices.

    A device then has some rows of the weight (a DTensor) and the states of some times; it gets all times, and gives
    back its part of their gradient. `fused` compiles what lies between the matmuls.
    """
    if not isinstance(weight_VD, DTensor):
        return linear_cross_entropy(state_BTD.flatten(0, 1), weight_VD, targets_BT.flatten(), fused=fused)
    mesh = weight_VD.device_mesh
    assert isinstance(state_BTD, DTensor)
    whole_BTD = state_BTD.redistribute(placements=[Replicate()]).to_local(grad_placements=[Partial()])
    local_VD = weight_VD.to_local()
    first = mesh.get_local_rank() * local_VD.shape[0]
    return linear_cross_entropy(
        whole_BTD.flatten(0, 1), local_VD, targets_BT.flatten(), group=mesh.get_group(), first=first
    )


def linear_cross_entropy(
    state_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    *,
    group: dist.ProcessGroup | None = None,
    first: int = 0,
    fused: bool = False,
) -> Tensor:
    """Sum over targets of -log softmax(state @ weight.T)[target], without ever holding all the logits.

    With a `group` each of its devices holds the rows of the weight from `first` on.
    """
    return _LinearCrossEntropy.apply(state_ND, weight_VD, targets_N, group, first, fused)


class _LinearCrossEntropy(torch.autograd.Function):
    """Makes gradients together with the loss, chunk by chunk: dL/dlogits = softmax - onehot needs the logits once."""

    @staticmethod
    def forward(
        ctx: Any,
        state_ND: Tensor,
        weight_VD: Tensor,
        targets_N: Tensor,
        group: dist.ProcessGroup | None,
        first: int,
        fused: bool,
    ) -> Tensor:
        chunk_loss = _fused_whole_vocabulary() if fused else whole_vocabulary
        weight = weight_VD.to(state_ND.dtype)
        chunk = chunk_rows(weight)
        loss = torch.zeros((), dtype=torch.float32, device=state_ND.device)
        d_weight = torch.zeros_like(weight_VD)
        d_states = []
        for x_ND, targets in zip(state_ND.split(chunk), targets_N.split(chunk), strict=True):
            logits_NV = x_ND @ weight.t()
            if group is None:
                part, d_logits_NV = chunk_loss(logits_NV, targets)
            else:
                part, d_logits_NV = shared_vocabulary(logits_NV, targets - first, targets != IGNORED, group)
            loss = loss + part
            d_states.append(d_logits_NV @ weight)
            for start in range(0, len(d_weight), ROWS):
                rows = slice(start, start + ROWS)
                d_weight[rows].add_(d_logits_NV[:, rows].t() @ x_ND)
        ctx.gradients = torch.cat(d_states), d_weight
        return loss

    @staticmethod
    def backward(ctx: Any, *d_loss: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        # Scaled in place: with a large vocabulary a second gradient of the weight is what does not fit. So there is one
        # backward pass for a forward pass.
        d_state, d_weight = ctx.gradients
        del ctx.gradients
        return d_state.mul_(d_loss[0].to(d_state.dtype)), d_weight.mul_(d_loss[0]), None, None, None, None


def chunk_rows(weight_VD: Tensor) -> int:
    """How many states meet the vocabulary at a time."""
    if weight_VD.is_cuda:
        return max(GPU_CHUNK_LOGITS // weight_VD.shape[0] // GPU_CHUNK_MULTIPLE, 1) * GPU_CHUNK_MULTIPLE
    return max(CHUNK_LOGITS // weight_VD.shape[0], 1)


def whole_vocabulary(logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """Summed loss of a chunk, and its gradient (N, V) in the type of the logits."""
    logits = logits_NV.float()
    counted = targets_N != IGNORED
    safe = targets_N.masked_fill(~counted, 0)
    log_sum = logits.logsumexp(-1, keepdim=True)
    chosen = logits.gather(-1, safe[:, None])
    loss = ((log_sum - chosen)[:, 0] * counted).sum()
    onehot = torch.arange(logits.shape[1], device=logits.device)[None, :] == safe[:, None]
    gradient = ((logits - log_sum).exp() - onehot.float()) * counted[:, None]
    return loss, gradient.to(logits_NV.dtype)


@functools.cache
def _fused_whole_vocabulary() -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return torch.compile(whole_vocabulary, dynamic=False)


def shared_vocabulary(
    logits_NV: Tensor, targets_N: Tensor, counted_N: Tensor, group: dist.ProcessGroup
) -> tuple[Tensor, Tensor]:
    """The same where each device of `group` has some of the columns; `targets_N` are counted from its first."""
    logits = logits_NV.float()
    largest = logits.max(-1, keepdim=True).values
    dist.all_reduce(largest, dist.ReduceOp.MAX, group=group)
    mine = (targets_N >= 0) & (targets_N < logits.shape[1]) & counted_N
    chosen = logits.gather(-1, targets_N.clamp(0, logits.shape[1] - 1)[:, None])
    sums = torch.cat(((logits - largest).exp().sum(-1, keepdim=True), (chosen - largest) * mine[:, None]), 1)
    dist.all_reduce(sums, group=group)
    log_sum = sums[:, :1].log()
    loss = ((log_sum - sums[:, 1:])[:, 0] * counted_N).sum()
    columns = torch.arange(logits.shape[1], device=logits.device)[None, :]
    onehot = (columns == targets_N[:, None]) & mine[:, None]
    gradient = ((logits - largest - log_sum).exp() - onehot.float()) * counted_N[:, None]
    return loss, gradient.to(logits_NV.dtype)


def reference_loss(model: Transformer, batch: Batch) -> Tensor:
    """The same by torch's own function on whole logits in float32: what tests compare with."""
    logits_BTV = model(batch.ids_BT, documents_BT=batch.documents_BT).float()
    return F.cross_entropy(logits_BTV.flatten(0, 1), batch.targets_BT.flatten(), ignore_index=IGNORED, reduction="sum")
