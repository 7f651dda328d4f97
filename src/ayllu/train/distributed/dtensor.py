"""What DTensor leaves to its users: local shards, whole tensors out of them and back, gradients still to be added up.

A tensor may be sharded twice along one axis: fully_shard cuts what tensor parallelism has cut already.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard


def local_shard(tensor: Tensor) -> Tensor:
    """The part of a tensor that this device holds; all of one that is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def redistribute_grad(weight: Tensor) -> None:
    """Shard a weight's gradient as the weight is.

    Under sequence parallelism the gradient of a norm is that of this device's times (Partial): adding up is still due.
    """
    if isinstance(weight, DTensor) and isinstance(weight.grad, DTensor):
        weight.grad = weight.grad.redistribute(placements=weight.placements)


def sharded_axis(placement: Placement) -> int | None:
    """The axis of a tensor that a placement shards; None for copies. fully_shard's own kind is no `Shard`."""
    return getattr(placement, "dim", None)


def copies(tensor: Tensor, processes: int) -> int:
    """How many of `processes` that hold `tensor` together have the same entries of it."""
    if not isinstance(tensor, DTensor):
        return processes
    mesh = tensor.device_mesh
    sizes = [mesh.size(axis) for axis, placement in enumerate(tensor.placements) if sharded_axis(placement) is not None]
    return processes // math.prod(sizes)


def gather_like(part: Tensor, like: DTensor, *, stacked: bool = False) -> Tensor:
    """The whole of what is sharded as `like` is: axis by axis, the outermost of the mesh first.

    `stacked` parts have one more axis in front, of tensors that are all sharded so: one message for many.
    DTensor's own `full_tensor` does not undo two cuts along one axis.
    """
    for mesh_axis, placement in enumerate(like.placements):
        axis = sharded_axis(placement)
        if axis is not None:
            shape = list(part.shape)
            shape[axis + stacked] = _extent(like, mesh_axis)
            part = DTensor.from_local(
                part,
                _submesh(like.device_mesh, mesh_axis),
                [Shard(axis + stacked)],
                shape=torch.Size(shape),
                stride=part.contiguous().stride(),
            ).full_tensor()
    return part


def shard_like(whole: Tensor, like: DTensor, *, stacked: bool = False) -> Tensor:
    """This device's part of `whole`, sharded as `like` is: the inverse of `gather_like`."""
    for mesh_axis, placement in reversed(list(enumerate(like.placements))):
        axis = sharded_axis(placement)
        if axis is not None:
            mesh = _submesh(like.device_mesh, mesh_axis)
            replicated = DTensor.from_local(whole, mesh, [Replicate()], run_check=False)
            whole = replicated.redistribute(placements=[Shard(axis + stacked)]).to_local()
    return whole


def _submesh(mesh: DeviceMesh, axis: int) -> DeviceMesh:
    return mesh if mesh.ndim == 1 else mesh[mesh.mesh_dim_names[axis]]  # type: ignore[index]


def _extent(like: DTensor, mesh_axis: int) -> int:
    """Entries along the axis that `mesh_axis` shards, before it does: later axes of the mesh shard before it."""
    axis = sharded_axis(like.placements[mesh_axis])
    assert axis is not None
    later = [
        like.device_mesh.size(other)
        for other, placement in enumerate(like.placements)
        if other > mesh_axis and sharded_axis(placement) == axis
    ]
    return like.shape[axis] // math.prod(later)
