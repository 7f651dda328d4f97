"""Pipeline parallelism: consecutive layers on each process, micro-batches running through them (1F1B).

Shapes: B batch, T time, D width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B

from ayllu.data.tokens.loader import Batch
from ayllu.lab.error import UserError
from ayllu.model.attention import Mask
from ayllu.model.transformer import Transformer
from ayllu.train.distributed.dtensor import local_shard, redistribute_grad
from ayllu.train.distributed.layout import Layout
from ayllu.train.distributed.processes import device
from ayllu.train.objectives.next_token import head_loss


class StageModule(nn.Module):
    """Consecutive layers of a transformer, and behind the last of them the loss: what a `PipelineStage` runs."""

    def __init__(self, model: Transformer, number: int, bounds: list[int], dtype: torch.dtype) -> None:
        """Stage `number` of those that begin at `bounds` (see `pipeline_bounds`); its modules are those of `model`."""
        super().__init__()
        self.model = stage_model(model, number, bounds)
        self.dtype = dtype
        self.positions_T: Tensor | None = None
        """Set where a device has part of each sequence; it is the same for all micro-batches."""

    def forward(
        self, x: Tensor, *, targets_BT: Tensor, documents_BT: Tensor | None = None, mask: Mask | None = None
    ) -> Tensor:
        """From ids (B, T), or the stream (B, T, D) of the stage before, to the stream or the summed loss."""
        positions_T = self.positions_T
        if positions_T is None:
            # Of the targets' times: under tensor parallelism a stream comes in with this device's share of them.
            positions_T = torch.arange(targets_BT.shape[1], device=x.device)
        state_BTD = self.model.hidden(
            x, documents_BT=documents_BT, positions_T=positions_T, mask=mask, dtype=self.dtype
        )
        if self.model.output is None:
            return local_shard(state_BTD)  # stages send plain tensors
        return head_loss(state_BTD, self.model.output.weight, targets_BT, fused=self.model.fused)


def stage_model(model: Transformer, number: int, bounds: list[int]) -> Transformer:
    """The modules of `model` that belong to stage `number`, under their names; all others are absent.

    Either end may have no layer at all.
    """
    with torch.device("meta"):
        # Without memory and blocks of its own: every module is taken from `model` or goes.
        stage = Transformer(replace(model.config, layers=1))
    stage.config, stage.fused = model.config, model.fused
    begin, end = bounds[number], bounds[number + 1]
    own = [block if begin <= layer < end else None for layer, block in enumerate(model.blocks)]
    stage.blocks = nn.ModuleList(own)  # type: ignore[arg-type]
    first, last = number == 0, number == len(bounds) - 2
    stage.embedding = model.embedding if first else None
    stage.norm = model.norm if last else None  # type: ignore[assignment]
    stage.output = model.output if last else None  # type: ignore[assignment]
    return stage


def pipeline_bounds(layers: int, stages: int) -> list[int]:
    """Where each of `stages` begins among the layers, and the end.

    As even as it goes. Where the layers do not divide but two more would, embedding and output count as a layer each,
    so that first and last stage have one less: as Llama 3 405B was cut (arXiv:2407.21783, section 3.3.2).
    """
    if layers % stages and (layers + 2) % stages == 0:
        each = (layers + 2) // stages
        return [0, *(i * each - 1 for i in range(1, stages)), layers]
    return [round(i * layers / stages) for i in range(stages + 1)]


class Pipeline:
    """This process's stages of a pipeline, one or (interleaved) several, and the schedule that runs them."""

    def __init__(self, model: Transformer, layout: Layout, mesh: DeviceMesh, dtype: torch.dtype) -> None:
        self.layout, self._mesh = layout, mesh["pp"]
        self.place = self._mesh.get_local_rank()
        """Which stage, the first where it has several, this process has."""
        self._count = layout.pp * layout.virtual
        self._numbers = range(self.place, self._count, layout.pp)
        bounds = pipeline_bounds(model.config.layers, self._count)
        self.modules = [StageModule(model, number, bounds, dtype) for number in self._numbers]
        self._ends = tied_group(mesh) if model.config.tied else None
        self._schedule: Any = None
        self._micro_batches = 0
        self._scale = 1.0

    def backward(self, batch: Batch, scale: float) -> Tensor:
        """Gradients of `batch` times `scale`; returns this process's part of the summed loss: 0 but in the last."""
        self._prepare(batch.ids_BT.shape[0])
        self._scale = scale
        for module in self.modules:
            module.positions_T = batch.positions_T
        first, last = self.place == 0, self.place == self.layout.pp - 1
        # torch splits what it is given into micro-batches by rows, and None has none.
        given = {"targets_BT": batch.targets_BT, "documents_BT": batch.documents_BT, "mask": batch.mask}
        given = {name: value for name, value in given.items() if value is not None}
        losses: list[Tensor] = []
        self._schedule.step(
            *((batch.ids_BT,) if first else ()),
            **given,
            **({"target": batch.targets_BT, "losses": losses} if last else {}),
            return_outputs=False,
        )
        self._add_tied_gradients()
        if not last:
            return torch.zeros((), device=device())
        # The schedule collects the losses scaled, as it differentiates them.
        return torch.stack([loss.detach() for loss in losses]).sum() / scale

    def _prepare(self, rows: int) -> None:
        """Make the schedule for a batch of `rows`: torch's has a fixed number of micro-batches."""
        layout = self.layout
        count = max(rows // layout.micro_batch, 1)
        if rows % count or count < layout.pp:
            raise UserError(
                f"a pipeline of {layout.pp} needs as many micro-batches: {rows} sequences "
                f"in micro-batches of {layout.micro_batch} are {count}"
            )
        if self._micro_batches == count:
            return
        group = self._mesh.get_group()
        stages = [
            PipelineStage(module, number, self._count, device(), group=group)
            for number, module in zip(self._numbers, self.modules, strict=True)
        ]
        kind: Any = ScheduleInterleaved1F1B if layout.virtual > 1 else Schedule1F1B
        self._schedule = kind(
            stages if layout.virtual > 1 else stages[0],
            n_microbatches=count,
            loss_fn=lambda output, target: output * self._scale,
            # torch would divide by the number of micro-batches; our scale says already what a term counts.
            scale_grads=False,
        )
        self._micro_batches = count

    def _add_tied_gradients(self) -> None:
        """First and last stage have a copy each of the tied embedding: both take the whole gradient."""
        if self._ends is None:
            return
        model = (self.modules[0] if self.place == 0 else self.modules[-1]).model
        weight = model.embedding.weight if self.place == 0 else model.output.weight
        redistribute_grad(weight)
        assert weight.grad is not None
        dist.all_reduce(local_shard(weight.grad), group=self._ends)


def tied_group(mesh: DeviceMesh) -> dist.ProcessGroup | None:
    """The processes at both ends of this process's pipeline; None between them."""
    mine = None
    for pipeline in mesh.mesh.flatten(1).T.tolist():
        # Every process takes part in the making of every group, or new_group waits for ever.
        group = dist.new_group([pipeline[0], pipeline[-1]])
        if dist.get_rank() in (pipeline[0], pipeline[-1]):
            mine = group
    return mine
