"""What each process of a layout holds of a model, found by building it as the engine does, without memory or processes.

The model stands on the meta device and torch's fake process group plays the other processes, so that the 405B model is
spread over 16,384 of them on a laptop by the code that does it on a cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from ayllu.lab.error import UserError
from ayllu.model.config import ModelConfig
from ayllu.model.transformer import Transformer
from ayllu.train.distributed.dtensor import local_shard
from ayllu.train.distributed.layout import Layout
from ayllu.train.distributed.parallel_model import ParallelModel
from ayllu.train.optimizer import OptimizerConfig, is_matrix


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What one process holds between steps, in bytes; activations come on top while it computes."""

    rank: int
    stage: int
    """Which pipeline stage it is."""
    layers: int
    """Layers of which it has a part."""
    parameters: int
    """Entries of parameters."""
    weights: int
    """float32 weights."""
    gradients: int
    optimizer: int
    """Momentum of the blocks' matrices with Muon, two moments of everything else."""

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer


def holdings(config: ModelConfig, layout: Layout, *, optimizer: OptimizerConfig | None = None) -> list[Holding]:
    """The first process of each pipeline stage: others of a stage hold as much, to a row of a matrix.

    Raises UserError when the layout does not fit the model, and inside a job: it plays a process group of its own.
    """
    if dist.is_initialized():
        raise UserError("a layout is tried outside of a running job; start the command without torchrun")
    each = layout.devices // layout.pp
    return [_holding(config, layout, optimizer or OptimizerConfig(), stage * each) for stage in range(layout.pp)]


def _holding(config: ModelConfig, layout: Layout, optimizer: OptimizerConfig, rank: int) -> Holding:
    with torch.device("meta"):
        model = Transformer(config)
    with _playing(rank, layout.devices):
        parallel = ParallelModel(model, layout, dtype=torch.bfloat16)
        weights = parallel.weights()
        sizes = {name: local_shard(weight).numel() for name, weight in weights.items()}
    return Holding(
        rank=rank,
        stage=rank // (layout.devices // layout.pp),
        layers=len({name.split(".")[1] for name in weights if name.startswith("blocks.")}),
        parameters=sum(sizes.values()),
        weights=4 * sum(sizes.values()),
        gradients=4 * sum(sizes.values()),
        optimizer=_state_bytes(weights, sizes, optimizer),
    )


def _state_bytes(weights: Mapping[str, Tensor], sizes: Mapping[str, int], optimizer: OptimizerConfig) -> int:
    """float32 moments: one of a matrix under Muon, else two."""
    single = {name for name, weight in weights.items() if optimizer.matrices == "muon" and is_matrix(name, weight)}
    return 4 * sum(size * (1 if name in single else 2) for name, size in sizes.items())


@contextmanager
def _playing(rank: int, size: int) -> Iterator[None]:
    """Inside, this process is `rank` of `size`: collectives return at once and move nothing."""
    if size == 1:
        yield
        return
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=rank, world_size=size, store=FakeStore())
    try:
        yield
    finally:
        dist.destroy_process_group()


def table(found: list[Holding]) -> str:
    """One line for each pipeline stage, in GiB."""
    head = f"{'stage':>5} {'rank':>6} {'layers':>6} {'parameters':>14}"
    head += f" {'weights':>8} {'gradients':>9} {'optimizer':>9} {'GiB':>7}"
    lines = [
        f"{h.stage:>5} {h.rank:>6} {h.layers:>6} {h.parameters:>14,} {_gib(h.weights)} {_gib(h.gradients):>9} "
        f"{_gib(h.optimizer):>9} {h.total / 2**30:>7.2f}"
        for h in found
    ]
    return "\n".join([head, *lines])


def _gib(value: int) -> str:
    return f"{value / 2**30:8.2f}"
