"""Context parallelism as Llama 3 was trained (arXiv:2407.21783, section 3.3.2): devices share each sequence.

Keys and values are gathered: with grouped heads they are small; attention then is that of the whole row for a part of
the queries. Shapes: B batch, T time of this device, S time of all, K key/value heads, h head width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from ayllu.data.tokens.loader import Batch
from ayllu.lab.error import UserError
from ayllu.model.attention import attention_mask
from ayllu.model.transformer import Transformer


def context_parallel(model: Transformer, mesh: DeviceMesh) -> None:
    """Have every attention of `model` gather the keys and values of all devices of `mesh`."""
    group = mesh.get_group()

    def gather(x_BKTh: Tensor) -> Tensor:
        return _GatherTimes.apply(x_BKTh, group)

    for block in model.blocks:
        block.attention.gather = gather  # type: ignore[assignment]


class _GatherTimes(torch.autograd.Function):
    """All devices' times (axis 2) one after the other; each gets back the sum of what all of them made of its own."""

    @staticmethod
    def forward(ctx: Any, x_BKTh: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group, ctx.times = group, x_BKTh.shape[2]
        parts = [torch.empty_like(x_BKTh, memory_format=torch.contiguous_format) for _ in range(group.size())]
        dist.all_gather(parts, x_BKTh.contiguous(), group=group)
        return torch.cat(parts, 2)

    @staticmethod
    def backward(ctx: Any, *d_out: Tensor) -> tuple[Tensor, None]:
        total_BKSh = d_out[0].contiguous()
        dist.all_reduce(total_BKSh, group=ctx.group)
        return total_BKSh.narrow(2, ctx.group.rank() * ctx.times, ctx.times), None


def shard_sequences(batch: Any, mesh: DeviceMesh, dtype: torch.dtype) -> Batch:
    """This device's times of each row of `batch`, with their positions and what each of them may see of the whole row.

    Raises UserError where the rows cannot be shared by the devices of `mesh`.
    """
    if not isinstance(batch, Batch):
        raise UserError("context parallelism (cp above 1) trains on the next token only; use another layout")
    length, cp = batch.ids_BT.shape[1], mesh.size()
    if length % (2 * cp):
        raise UserError(f"rows of {length} cannot be shared by cp={cp}: their length must be a multiple of {2 * cp}")
    positions = [context_positions(length, cp, rank).to(batch.ids_BT.device) for rank in range(cp)]
    mine_T = positions[mesh.get_local_rank()]
    # Keys come in the order in which they are gathered: device after device, not by position.
    keys_S = torch.cat(positions)
    documents = batch.documents_BT
    mask = attention_mask(
        mine_T,
        keys_S,
        dtype,
        query_documents_BT=documents[:, mine_T] if documents is not None else None,
        key_documents_BS=documents[:, keys_S] if documents is not None else None,
    )
    return Batch(
        batch.ids_BT[:, mine_T],
        batch.targets_BT[:, mine_T],
        None,
        positions_T=mine_T,
        # A row of the mask for each row of ids, so that both can be split into micro-batches.
        mask=mask.expand(batch.ids_BT.shape[0], -1, -1, -1),
    )


def context_positions(length: int, devices: int, rank: int) -> Tensor:
    """Positions of one device's share of a row: of 2n slices the rank-th and the rank-th from the end.

    A query sees the keys before it, so late ones are dear and early ones cheap: with one slice of each kind all devices
    have as much to attend to (section 3.3.2 of the same).
    """
    slices = torch.arange(length).chunk(2 * devices)
    return torch.cat((slices[rank], slices[2 * devices - 1 - rank]))
