"""One model over many devices: torch.distributed's own parts, put together as a `Layout` says.

Axes of the mesh, outermost first: pp, dp_replicate, dp_shard, cp, tp. Parameters are sharded over dp_shard and cp
together (fully_shard), rows over dp_replicate and dp_shard.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.utils.checkpoint import create_selective_checkpoint_contexts

from ayllu.lab.error import UserError
from ayllu.model.transformer import Transformer
from ayllu.train.distributed.context import context_parallel, shard_sequences
from ayllu.train.distributed.dtensor import copies, local_shard, shard_like
from ayllu.train.distributed.float8 import use_float8
from ayllu.train.distributed.fsdp import shard_parameters
from ayllu.train.distributed.layout import Layout, check_layout
from ayllu.train.distributed.pipeline import Pipeline, StageModule
from ayllu.train.distributed.processes import device
from ayllu.train.distributed.tensor import tensor_parallel
from ayllu.train.objectives.next_token import Objective, next_token_loss


class LossModule(nn.Module):
    """A model with its objective: what one forward pass computes where there is no pipeline."""

    def __init__(self, model: Transformer, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Any, dtype: torch.dtype) -> Tensor:
        return self.objective(self.model, batch, dtype)


class ParallelModel:
    """A model spread over devices as a layout says, and how batches, gradients and sums go through it."""

    def __init__(
        self,
        model: Transformer,
        layout: Layout | None,
        *,
        objective: Objective = next_token_loss,
        dtype: torch.dtype,
        compiled: bool = False,
    ) -> None:
        """Change `model` in place. Without a layout everything is on this device, and a batch is one micro-batch.

        Raises UserError when the layout fits neither the processes nor the model.
        """
        self.layout, self.model = layout or Layout(), model
        # A layout of float32 was planned so; bf16, which it says where nobody does, is what the machine is best at.
        self.dtype = dtype = torch.float32 if self.layout.precision == "float32" else dtype
        self._one_batch = layout is None
        self.size = dist.get_world_size() if dist.is_initialized() else 1
        if self.layout.devices != self.size:
            raise UserError(
                f"the layout needs {self.layout.devices} processes and {self.size} are running; "
                "start as many with torchrun, or change the layout"
            )
        check_layout(self.layout, model.config)
        if not any(weight.is_meta for weight in model.parameters()):
            model.to(device())
        self._mesh = make_mesh(self.layout, device().type) if self.size > 1 else None
        self._transform_blocks(compiled)
        self._pipeline: Pipeline | None = None
        self._roots: list[LossModule | StageModule] = []
        if self._mesh is not None and self.layout.pp > 1:
            if objective is not next_token_loss:
                raise UserError("a pipeline (pp above 1) trains on the next token only; use another layout")
            self._pipeline = Pipeline(model, self.layout, self._mesh, dtype)
            self._roots += self._pipeline.modules
        else:
            self._roots.append(LossModule(model, objective))
        if self._mesh is not None and self.layout.data_parallel * self.layout.cp > 1:
            for root in self._roots:
                blocks = [block for block in root.model.blocks if block is not None]
                shard_parameters(root, blocks, self._mesh, self.layout, dtype)

    def _transform_blocks(self, compiled: bool) -> None:
        """What changes inside the blocks, from the innermost outwards: each step wraps what the one before made."""
        model, layout, mesh = self.model, self.layout, self._mesh
        if layout.precision == "float8":
            use_float8(model)
        if layout.recompute != "none":
            for layer, block in enumerate(model.blocks):
                model.blocks[layer] = recomputed(block, selective=layout.recompute == "selective")
        if mesh is not None and layout.tp > 1:
            tensor_parallel(model, mesh["tp"])
        if mesh is not None and layout.cp > 1:
            context_parallel(model, mesh["cp"])
        if compiled:
            model.fuse()

    def weights(self) -> dict[str, Tensor]:
        """This process's parameters by the names that they have in the whole model, a tied one once."""
        return {
            self._plain_name(name): weight for root in self._roots for name, weight in root.model.named_parameters()
        }

    def fill(self, values: Iterable[tuple[str, Tensor]]) -> None:
        """Give weights that are on the meta device memory, and each its part of `values`: whole, by name.

        So a model that no process could hold is made: a process has its own parts and one whole matrix at a time.
        """
        for root in self._roots:
            root.to_empty(device=device())
            model = root.model
            if model.config.tied and model.embedding is not None and model.output is not None:
                model.output.weight = model.embedding.weight  # giving memory made two
        weights = self.weights()
        with torch.no_grad():
            for name, whole in values:
                if name in weights:
                    weight = weights[name]
                    part = shard_like(whole.to(device()), weight) if isinstance(weight, DTensor) else whole
                    local_shard(weight).copy_(part)

    def _plain_name(self, name: str) -> str:
        name = name.replace("_checkpoint_wrapped_module.", "")
        return "embedding.weight" if self.model.config.tied and name == "output.weight" else name

    def local_samples(self, first: int, size: int) -> tuple[int, int]:
        """Which of the samples `first` to `first + size - 1` this process has: the first, and how many."""
        groups = self.layout.data_parallel
        if size % groups:
            raise UserError(f"a batch of {size} sequences cannot be shared by {groups} data-parallel devices")
        each = size // groups
        return first + each * self._data_rank(), each

    def _data_rank(self) -> int:
        """Which of the data-parallel groups this process is in: cp and tp lie inside of one, pp outside of all."""
        if self._mesh is None:
            return 0
        layout = self.layout
        return dist.get_rank() // (layout.cp * layout.tp) % layout.data_parallel

    def shard_batch(self, batch: Any) -> Any:
        """The part of a batch of this process's samples that it computes with, on its device."""
        if device().type != "cpu":
            batch = to_device(batch, device())
        if self._mesh is None or self.layout.cp == 1:
            return batch
        return shard_sequences(batch, self._mesh["cp"], self.dtype)

    def backward(self, batch: Any, scale: float) -> Tensor:
        """Gradients of this process's part of a batch, times `scale`; returns its part of the summed loss, unscaled."""
        if self._pipeline is not None:
            return self._pipeline.backward(batch, scale)
        (root,) = self._roots
        parts = [batch] if self._one_batch else list(micro_batches(batch, self.layout.micro_batch))
        total = torch.zeros((), device=device())
        for number, part in enumerate(parts):
            if isinstance(root, FSDPModule):
                # Until the last micro-batch gradients are added up here; only then do they go to the others.
                root.set_requires_gradient_sync(number == len(parts) - 1)
            loss = root(part, self.dtype)
            (loss * scale).backward()
            total += loss.detach()
        return total

    def all_reduce_sums(self, values: Iterable[float | Tensor]) -> list[float]:
        """Each of `values` summed over all processes, in float64: the same bits in all of them."""
        sums = torch.stack([torch.as_tensor(v, dtype=torch.float64, device="cpu") for v in values])
        if self.size > 1:
            dist.all_reduce(sums)
        return sums.tolist()

    def square_sum(self, gradients: Mapping[str, Tensor]) -> float:
        """This process's share of the gradients' squared norm: summed over all processes it counts every entry once."""
        groups: dict[int, list[Tensor]] = {}
        for name, gradient in gradients.items():
            # A tied embedding's gradient is in both ends of the pipeline: the first counts it.
            if self._pipeline is not None and self._pipeline.place > 0 and name == "embedding.weight":
                continue
            # Entries that several processes hold count as many times in the sum: each gives its part of them.
            count = copies(gradient, self.size // self.layout.pp)
            groups.setdefault(count, []).append(local_shard(gradient))
        total = 0.0
        for count, shards in groups.items():
            total += float(torch.stack(torch._foreach_norm(shards)).double().square().sum()) / count
        return total


def make_mesh(layout: Layout, kind: str) -> DeviceMesh:
    """The processes by pp, dp_replicate, dp_shard, cp and tp; `fsdp` is dp_shard and cp together.

    What talks most is innermost, where ranks are on one node: tp in every matrix, cp in every attention, fully_shard
    once a layer, replicas once a step, the pipeline once a stage.
    """
    sizes = (layout.pp, layout.dp_replicate, layout.dp_shard, layout.cp, layout.tp)
    mesh = init_device_mesh(kind, sizes, mesh_dim_names=("pp", "dp_replicate", "dp_shard", "cp", "tp"))
    mesh["dp_shard", "cp"]._flatten("fsdp")
    return mesh


def recomputed(block: nn.Module, *, selective: bool) -> nn.Module:
    """`block`, its activations made again in the backward pass; selectively: all but the results of matmuls."""
    if not selective:
        return checkpoint_wrapper(block, preserve_rng_state=False)
    kept = [
        torch.ops.aten.mm.default,
        torch.ops.aten._scaled_dot_product_flash_attention.default,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
        torch.ops.aten._scaled_dot_product_efficient_attention.default,
        torch.ops.aten._scaled_dot_product_cudnn_attention.default,
        torch.ops.higher_order.flex_attention,
    ]
    contexts = partial(create_selective_checkpoint_contexts, kept)
    return checkpoint_wrapper(block, preserve_rng_state=False, context_fn=contexts)


def micro_batches(batch: Any, size: int) -> Iterator[Any]:
    """A batch of tensors in parts of `size` rows."""
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    rows = next(iter(fields.values())).shape[0]
    for first in range(0, rows, size):
        part = {
            name: value[first : first + size]
            for name, value in fields.items()
            # What has one axis only, the positions, is the same for all rows.
            if isinstance(value, Tensor) and value.ndim > 1 and value.shape[0] == rows
        }
        yield dataclasses.replace(batch, **part)


def to_device(value: Any, where: torch.device) -> Any:
    """The same on another device: a tensor, or a batch of tensors and batches."""
    if isinstance(value, Tensor):
        return value.to(where)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    moved = {field.name: to_device(getattr(value, field.name), where) for field in dataclasses.fields(value)}
    return dataclasses.replace(value, **moved)
