"""One model over many devices: torch.distributed's own parts, put together as a `Layout` says.

Axes of the mesh, outermost first: pp, dp_replicate, dp_shard, cp, tp. Parameters are sharded over dp_shard and cp
together (fully_shard), rows over dp_replicate and dp_shard. Shapes: B batch, T time, D width.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleInterleaved1F1B
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.utils.checkpoint import create_selective_checkpoint_contexts

from ayllu.data.tokens.loader import Batch
from ayllu.lab.error import UserError
from ayllu.model.attention import Mask, attention_mask
from ayllu.model.rope import rotation
from ayllu.model.transformer import Transformer, causal_mask
from ayllu.train.distributed.float8 import use_float8
from ayllu.train.distributed.layout import Layout
from ayllu.train.distributed.processes import device
from ayllu.train.objectives.next_token import Objective, head_loss, next_token_loss
from ayllu.train.optimizer import cut, cut_by, local, settle


class Part(nn.Module):
    """Consecutive layers of a transformer, as a pipeline stage holds them; parameters keep the whole model's names."""

    def __init__(self, model: Transformer, number: int, bounds: list[int], dtype: torch.dtype) -> None:
        """Part `number` of those that begin at `bounds` (see `pipeline_bounds`)."""
        super().__init__()
        self.config, self.fused, self.dtype = model.config, model.fused, dtype
        self.positions_T: Tensor | None = None
        """Set where a device has part of each sequence; it is the same for all micro-batches."""
        # Either end may have no layer at all.
        self.embedding = model.embedding if number == 0 else None
        layers = range(bounds[number], bounds[number + 1])
        self.blocks = nn.ModuleDict({str(layer): model.blocks[layer] for layer in layers})
        ends = number == len(bounds) - 2
        self.norm = model.norm if ends else None
        self.output = model.output if ends else None

    def forward(
        self, x: Tensor, *, targets_BT: Tensor, documents_BT: Tensor | None = None, mask: Mask | None = None
    ) -> Tensor:
        """From ids (B, T), or the stream (B, T, D) of the part before, to the stream or the summed loss."""
        positions_T = self.positions_T
        if positions_T is None:
            positions_T = torch.arange(targets_BT.shape[1], device=x.device)
        if mask is None:
            mask = causal_mask(positions_T, documents_BT, 0, self.dtype, fused=self.fused)
        x_BTD = self.embedding(x).to(self.dtype) if self.embedding is not None else x
        turn = rotation(self.config, positions_T)
        for block in self.blocks.values():
            x_BTD = block(x_BTD, turn, mask, None, 0)
        if self.norm is None or self.output is None:
            return local(x_BTD)
        return head_loss(self.norm(x_BTD), self.output.weight, targets_BT, fused=self.fused)


class Whole(nn.Module):
    """A model with its objective: what one forward pass of an unpipelined layout computes."""

    def __init__(self, model: Transformer, objective: Objective) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: Any, dtype: torch.dtype) -> Tensor:
        return self.objective(self.model, batch, dtype)


class Spread:
    """A model spread as a layout says, and how losses, gradients and sums go through it."""

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
        self.layout, self.dtype, self.model = layout or Layout(), dtype, model
        self._one_batch = layout is None
        self._scale = 1.0
        self._schedule: Any = None
        self._mesh: DeviceMesh | None = None
        self.size = dist.get_world_size() if dist.is_initialized() else 1
        if self.layout.devices != self.size:
            raise UserError(
                f"the layout needs {self.layout.devices} processes and {self.size} are running; "
                "start as many with torchrun, or change the layout"
            )
        check(model, self.layout)
        if not any(weight.is_meta for weight in model.parameters()):
            model.to(device())
        if self.layout.precision == "float8":
            use_float8(model)
        for layer, block in enumerate(model.blocks if self.layout.recompute != "none" else []):
            model.blocks[layer] = recomputed(block, selective=self.layout.recompute == "selective")
        if self.size > 1:
            self._mesh = make_mesh(self.layout, device().type)
        if self._mesh is not None and self.layout.tp > 1:
            tensor_parallel(model, self._mesh["tp"])
        if self._mesh is not None and self.layout.cp > 1:
            share_sequences(model, self._mesh["cp"])
        if compiled:
            model.fuse()
        if self.layout.pp > 1:
            if objective is not next_token_loss:
                raise UserError("a pipeline (pp above 1) trains on the next token only; use another layout")
            self._split()
        else:
            self._roots: list[nn.Module] = [Whole(model, objective)]
            self._shard()

    def _split(self) -> None:
        """Make this process's pipeline stages, and the schedule that runs them."""
        assert self._mesh is not None
        layout, group = self.layout, self._mesh.get_group("pp")
        rank, count = dist.get_rank(group), layout.pp * layout.virtual
        bounds = pipeline_bounds(self.model.config.layers, count)
        mine = range(rank, count, layout.pp)
        self._roots = [Part(self.model, i, bounds, self.dtype) for i in mine]
        self._shard()
        stages = [
            PipelineStage(part, i, count, device(), group=group) for i, part in zip(mine, self._roots, strict=True)
        ]
        kind: Any = ScheduleInterleaved1F1B if layout.virtual > 1 else Schedule1F1B
        self._make_schedule = partial(
            kind,
            stages if layout.virtual > 1 else stages[0],
            loss_fn=lambda output, target: output * self._scale,
            scale_grads=False,
        )
        self._ends = tied_group(self._mesh) if self.model.config.tied else None

    def _shard(self) -> None:
        """Shard parameters, gradients and optimizer state over dp_shard and cp; replicate them over dp_replicate."""
        layout = self.layout
        if self._mesh is None or layout.data_parallel * layout.cp == 1:
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Slicing a flattened dim")  # what torch means to do instead is not there
            mesh = self._mesh["dp_replicate", "fsdp"] if layout.dp_replicate > 1 else self._mesh["fsdp"]
        mixed = MixedPrecisionPolicy(
            param_dtype=self.dtype if self.dtype != torch.float32 else None, reduce_dtype=torch.float32
        )
        for root in self._roots:
            inner: Any = root.model if isinstance(root, Whole) else root
            blocks = inner.blocks if isinstance(root, Whole) else inner.blocks.values()
            for block in blocks:
                fully_shard(block, mesh=mesh, mp_policy=mixed, reshard_after_forward=layout.pp == 1)
            fully_shard(root, mesh=mesh, mp_policy=mixed, reshard_after_forward=False)
            for module in root.modules():
                if isinstance(module, FSDPModule):
                    # Losses are sums: gradients are added up, never averaged.
                    module.set_gradient_divide_factor(1.0)
                    module.set_force_sum_reduction_for_comms(True)

    def weights(self) -> dict[str, Tensor]:
        """This process's parameters by the names that they have in the whole model, a tied one once."""
        found: dict[str, Tensor] = {}
        for root in self._roots:
            inner = root.model if isinstance(root, Whole) else root
            for name, weight in inner.named_parameters():
                found[self._plain_name(name)] = weight
        return found

    def fill(self, values: Iterable[tuple[str, Tensor]]) -> None:
        """Give weights that were spread on the meta device memory, and each its part of `values`: whole, by name.

        So a model that no process could hold is made: a process has its own parts and one whole matrix at a time.
        """
        for root in self._roots:
            root.to_empty(device=device())
            inner: Any = root.model if isinstance(root, Whole) else root
            if self.model.config.tied and inner.embedding is not None and inner.output is not None:
                inner.output.weight = inner.embedding.weight  # giving memory made two of them
        weights = self.weights()
        with torch.no_grad():
            for name, whole in values:
                if name in weights:
                    weight = weights[name]
                    local(weight).copy_(cut(whole.to(device()), weight) if isinstance(weight, DTensor) else whole)

    def _plain_name(self, name: str) -> str:
        name = name.replace("_checkpoint_wrapped_module.", "")
        return "embedding.weight" if self.model.config.tied and name == "output.weight" else name

    @property
    def _place(self) -> int:
        """Which pipeline stage (the first of several) this process has."""
        return 0 if self._mesh is None else self._mesh.get_local_rank("pp")

    def share(self, first: int, size: int) -> tuple[int, int]:
        """Which of the samples `first` to `first + size - 1` this process has: the first, and how many."""
        groups = self.layout.data_parallel
        if size % groups:
            raise UserError(f"a batch of {size} sequences cannot be shared by {groups} data-parallel devices")
        each = size // groups
        return first + each * self._data_rank(), each

    def _data_rank(self) -> int:
        if self._mesh is None:
            return 0
        layout = self.layout
        rank = dist.get_rank() // (layout.cp * layout.tp)
        return rank % layout.data_parallel

    def localise(self, batch: Any) -> Any:
        """The part of a batch's rows that this process computes with, on its device."""
        where = device() if self.size > 1 or torch.cuda.is_available() else None
        if where is not None and where.type != "cpu":
            batch = _to(batch, where)
        if self.layout.cp == 1:
            return batch
        if not isinstance(batch, Batch):
            raise UserError("context parallelism (cp above 1) trains on the next token only; use another layout")
        assert self._mesh is not None
        T, cp = batch.ids_BT.shape[1], self.layout.cp
        if T % (2 * cp):
            raise UserError(f"rows of {T} cannot be shared by cp={cp}: their length must be a multiple of {2 * cp}")
        shares = [context_positions(T, cp, rank) for rank in range(cp)]
        mine = shares[self._mesh.get_local_rank("cp")].to(batch.ids_BT.device)
        keys = torch.cat(shares).to(batch.ids_BT.device)
        documents = batch.documents_BT
        mask = attention_mask(
            mine,
            keys,
            self.dtype,
            query_documents_BT=documents[:, mine] if documents is not None else None,
            key_documents_BS=documents[:, keys] if documents is not None else None,
        )
        return Batch(
            batch.ids_BT[:, mine],
            batch.targets_BT[:, mine],
            None,
            positions_T=mine,
            mask=mask.expand(batch.ids_BT.shape[0], -1, -1, -1),
        )

    def backward(self, batch: Any, scale: float) -> Tensor:
        """Loss and gradients of this process's part of a batch, times `scale`; returns its part of the summed loss."""
        if self.layout.pp > 1:
            return self._pipelined(batch, scale)
        (root,) = self._roots
        pieces = [batch] if self._one_batch else list(split_batch(batch, self.layout.micro_batch))
        total = torch.zeros((), device=device())
        for number, piece in enumerate(pieces):
            if isinstance(root, FSDPModule):
                root.set_requires_gradient_sync(number == len(pieces) - 1)
            loss = root(piece, self.dtype)
            (loss * scale).backward()
            total += loss.detach()
        return total

    def _pipelined(self, batch: Batch, scale: float) -> Tensor:
        count = max(batch.ids_BT.shape[0] // self.layout.micro_batch, 1)
        if batch.ids_BT.shape[0] % count or count < self.layout.pp:
            raise UserError(
                f"a pipeline of {self.layout.pp} needs as many micro-batches: {batch.ids_BT.shape[0]} sequences "
                f"in micro-batches of {self.layout.micro_batch} are {count}"
            )
        if self._schedule is None or self._schedule[0] != count:
            self._schedule = (count, self._make_schedule(n_microbatches=count))
        self._scale = scale
        for part in self._roots:
            part.positions_T = batch.positions_T  # type: ignore[assignment]
        given = {"targets_BT": batch.targets_BT, "documents_BT": batch.documents_BT, "mask": batch.mask}
        given = {name: value for name, value in given.items() if value is not None}
        last = self._place == self.layout.pp - 1
        losses: list[Tensor] = []
        self._schedule[1].step(
            *((batch.ids_BT,) if self._place == 0 else ()),
            **given,
            **({"target": batch.targets_BT, "losses": losses} if last else {}),
            return_outputs=False,
        )
        if self._ends is not None:
            # First and last stage have a copy each of the tied embedding: both take the whole gradient.
            (copy,) = [w for name, w in self.weights().items() if name == "embedding.weight"]
            settle(copy)
            assert copy.grad is not None
            dist.all_reduce(local(copy.grad), group=self._ends)
        return (
            torch.stack([loss.detach() for loss in losses]).sum() / scale if last else torch.zeros((), device=device())
        )

    def totals(self, values: Iterable[float | Tensor]) -> list[float]:
        """Each of `values` summed over all processes."""
        found = torch.stack([torch.as_tensor(v, dtype=torch.float64, device="cpu") for v in values])
        if self.size > 1:
            dist.all_reduce(found)
        return found.tolist()

    def square_sum(self, gradients: Mapping[str, Tensor]) -> float:
        """This process's share of the gradients' squared norm: summed over all processes it counts every entry once."""
        groups: dict[int, list[Tensor]] = {}
        for name, gradient in gradients.items():
            if self.layout.pp > 1 and self._place > 0 and name == "embedding.weight":
                continue
            groups.setdefault(copies(gradient, self.size // self.layout.pp), []).append(local(gradient))
        total = 0.0
        for count, parts in groups.items():
            total += float(torch.stack(torch._foreach_norm(parts)).double().square().sum()) / count
        return total


def copies(tensor: Tensor, processes: int) -> int:
    """How many of the `processes` of a pipeline stage hold the same entries of `tensor`."""
    if not isinstance(tensor, DTensor):
        return processes
    mesh = tensor.device_mesh
    sizes = [mesh.size(axis) for axis, placement in enumerate(tensor.placements) if cut_by(placement) is not None]
    return processes // math.prod(sizes)


def check(model: Transformer, layout: Layout) -> None:
    """Raise UserError where `layout` cannot spread `model`."""
    config = model.config
    if layout.ep > 1:
        raise UserError("the layout has ep above 1, and the model has no experts; leave it out")
    if layout.precision == "float8" and layout.tp > 1:
        raise UserError("float8 products of matrices that tensor parallelism cuts are not there yet; use tp=1 or bf16")
    if layout.virtual > 1 and layout.pp == 1:
        raise UserError("the layout has virtual stages and no pipeline; set pp above 1 or leave virtual out")
    parts = layout.pp * layout.virtual
    if parts > config.layers and (config.layers + 2) % parts:
        raise UserError(f"the layout cuts {config.layers} layers into {parts} parts; lower pp or virtual")
    for name, value in (
        ("heads", config.heads),
        ("kv_heads", config.kv_heads),
        ("feed_forward", config.feed_forward),
        ("vocabulary", config.vocabulary),
    ):
        if value % layout.tp:
            raise UserError(f"{name} ({value}) cannot be shared by tp={layout.tp} devices; choose a divisor")


def pipeline_bounds(layers: int, parts: int) -> list[int]:
    """Where each of `parts` pipeline stages begins among the layers, and the end.

    As even as it goes. Where the layers do not divide but two more would, embedding and output count as a layer each,
    so that first and last stage have one less: as Llama 3 405B was cut (arXiv:2407.21783, section 3.3.2).
    """
    if layers % parts and (layers + 2) % parts == 0:
        each = (layers + 2) // parts
        return [0, *(i * each - 1 for i in range(1, parts)), layers]
    return [round(i * layers / parts) for i in range(parts + 1)]


def make_mesh(layout: Layout, kind: str) -> DeviceMesh:
    """The processes by pp, dp_replicate, dp_shard, cp and tp; `fsdp` is dp_shard and cp together."""
    sizes = (layout.pp, layout.dp_replicate, layout.dp_shard, layout.cp, layout.tp)
    mesh = init_device_mesh(kind, sizes, mesh_dim_names=("pp", "dp_replicate", "dp_shard", "cp", "tp"))
    mesh["dp_shard", "cp"]._flatten("fsdp")
    return mesh


def tied_group(mesh: DeviceMesh) -> dist.ProcessGroup | None:
    """The processes at both ends of this process's pipeline; None between them."""
    mine = None
    for pipeline in mesh.mesh.flatten(1).T.tolist():
        group = dist.new_group([pipeline[0], pipeline[-1]])
        if dist.get_rank() in (pipeline[0], pipeline[-1]):
            mine = group
    return mine


def tensor_parallel(model: Transformer, mesh: DeviceMesh) -> None:
    """Share the matrices of `model` over `mesh`, and the times of what lies between them (sequence parallel)."""
    parallelize_module(model, mesh, {"embedding": RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1))})
    gathered = PrepareModuleInput(
        input_layouts=(Shard(1), None, None, None, None), desired_input_layouts=(Replicate(), None, None, None, None)
    )
    for block in model.blocks:
        parallelize_module(
            block,
            mesh,
            {
                "attention_norm": SequenceParallel(),
                "attention": gathered,
                "attention.wq": ColwiseParallel(),
                "attention.wk": ColwiseParallel(),
                "attention.wv": ColwiseParallel(),
                "attention.wo": RowwiseParallel(output_layouts=Shard(1)),
                "feed_forward_norm": SequenceParallel(),
                "feed_forward": PrepareModuleInput(input_layouts=(Shard(1),), desired_input_layouts=(Replicate(),)),
                "feed_forward.w1": ColwiseParallel(),
                "feed_forward.w3": ColwiseParallel(),
                "feed_forward.w2": RowwiseParallel(output_layouts=Shard(1)),
            },
        )
    parallelize_module(model, mesh, {"norm": SequenceParallel()})
    shared = model.embedding.weight if model.config.tied else distribute_tensor(model.output.weight, mesh, [Shard(0)])
    model.output.weight = shared if isinstance(shared, nn.Parameter) else nn.Parameter(shared)


def share_sequences(model: Transformer, mesh: DeviceMesh) -> None:
    """Context parallelism as Llama 3 was trained (arXiv:2407.21783, section 3.3.2): keys and values are gathered.

    With grouped heads they are small; attention then is that of the whole row for a part of the queries.
    """
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


def context_positions(length: int, devices: int, rank: int) -> Tensor:
    """Positions of one device's share of a row: of 2n slices the rank-th and the rank-th from the end.

    So each has as much to attend to as the others (section 3.3.2 of the same).
    """
    slices = torch.arange(length).chunk(2 * devices)
    return torch.cat((slices[rank], slices[2 * devices - 1 - rank]))


def recomputed(block: nn.Module, *, selective: bool) -> nn.Module:
    """`block`, its activations made again in the backward pass; selectively: all but the results of products."""
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


def split_batch(batch: Any, size: int) -> Iterable[Any]:
    """A batch of tensors in pieces of `size` rows."""
    rows = next(iter(getattr(batch, f.name) for f in dataclasses.fields(batch))).shape[0]
    for first in range(0, rows, size):

        def piece(value: Any, first: int = first) -> Any:
            return value[first : first + size] if isinstance(value, Tensor) and value.shape[:1] == (rows,) else value

        yield dataclasses.replace(batch, **{f.name: piece(getattr(batch, f.name)) for f in dataclasses.fields(batch)})


def _to(value: Any, where: torch.device) -> Any:
    """The same on another device: a tensor, or a batch of tensors and batches."""
    if isinstance(value, Tensor):
        return value.to(where)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    moved = {field.name: _to(getattr(value, field.name), where) for field in dataclasses.fields(value)}
    return dataclasses.replace(value, **moved)
