"""Tensor parallelism: devices share each matrix, and the times of what lies between matrices (sequence parallelism).

Megatron-LM's split (arXiv:1909.08053, section 3; arXiv:2205.05198, section 4.2): w1, w3 and the heads by output
features, w2 and wo by input features, so that a block gathers its input twice and scatters its sums twice.
Shapes: B batch, T time, D width, V vocabulary.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

from ayllu.model.transformer import Transformer


def tensor_parallel(model: Transformer, mesh: DeviceMesh) -> None:
    """Shard the matrices of `model` over `mesh`; the stream (B, T, D) between them is sharded by time."""
    parallelize_module(model, mesh, {"embedding": RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1))})
    if model.embedding is not None:
        model.embedding.register_forward_hook(_arrived)
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
    # The output is no parallel module: `head_loss` multiplies with the local rows (V) and never holds whole logits.
    shared = model.embedding.weight if model.config.tied else distribute_tensor(model.output.weight, mesh, [Shard(0)])
    model.output.weight = shared if isinstance(shared, nn.Parameter) else nn.Parameter(shared)


def _arrived(embedding: nn.Module, inputs: tuple[Tensor, ...], x_BTD: Tensor) -> Tensor:
    """The stream once its messages are in: a compiled block gives one still under way a gradient of the wrong kind.

    torch 2.13's AsyncCollectiveTensor; copying waits. In bfloat16 the cast behind the embedding would do.
    """
    return x_BTD.clone()
