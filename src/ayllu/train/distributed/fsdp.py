"""Data parallelism with shards: torch's fully_shard (FSDP2) over dp_shard and cp, copies of them over dp_replicate."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from ayllu.train.distributed.layout import Layout


def shard_parameters(
    root: nn.Module, blocks: Iterable[nn.Module], mesh: DeviceMesh, layout: Layout, dtype: torch.dtype
) -> None:
    """Shard parameters, gradients and optimizer state of `root`, each of its `blocks` gathered on its own.

    Weights are gathered in `dtype`; gradients are added up in float32.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Slicing a flattened dim")  # what torch means to do instead is not there
        mesh = mesh["dp_replicate", "fsdp"] if layout.dp_replicate > 1 else mesh["fsdp"]
    mixed = MixedPrecisionPolicy(param_dtype=dtype if dtype != torch.float32 else None, reduce_dtype=torch.float32)
    for block in blocks:
        # In a pipeline a block is used by one micro-batch after the other: gathering it anew for each costs more than
        # the memory is worth.
        fully_shard(block, mesh=mesh, mp_policy=mixed, reshard_after_forward=layout.pp == 1)
    # What the root holds itself, embedding and output, is used last forwards and first backwards: it stays gathered.
    fully_shard(root, mesh=mesh, mp_policy=mixed, reshard_after_forward=False)
    for module in root.modules():
        if isinstance(module, FSDPModule):
            # Losses are sums, divided by the count of the whole batch: gradients are added up, never averaged.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
