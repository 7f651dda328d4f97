"""Bytes that one accelerator needs at its peak, by cause, for thousands of layouts at once.

Activations after Korthikanti et al. (arXiv:2205.05198, section 4), generalised to grouped-query attention and gated
feed-forwards; states after Rajbhandari et al. (arXiv:1910.02054). The first pipeline stage is the fullest: it keeps the
activations of a micro-batch for every stage behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ayllu.fleet.catalogue import PRECISIONS
from ayllu.fleet.planner.queries import ATTENTION, KERNELS, LOSS, SHARDING, Cases, Column

USABLE_SHARE = 0.95
"""Share of the memory that a run can fill: the rest is the driver's, the collectives' buffers and fragmentation."""
FIXED_BYTES = 1.5e9
"""Workspaces of the libraries and buffers of the collectives that an allocator counts."""
SELECTIVE_KEPT = 0.55
"""Share of a block's activations that selective recomputation keeps where attention is fused (torchtitan's policy)."""


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes per accelerator by cause; `total` is their sum."""

    weights: Column
    gradients: Column
    optimizer: Column
    activations: Column
    logits: Column
    workspace: Column

    @property
    def total(self) -> Column:
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits + self.workspace


def footprint(cases: Cases) -> Footprint:
    """Peak bytes of each case on its fullest accelerator."""
    full, sharded = cases.sharding >= SHARDING["full"], cases.sharding >= SHARDING["optimizer"]
    wide = cases.element > 2
    blocks = np.ceil(cases.layers / cases.pp) * (cases.block_matrices + 2 * cases.width)
    embedding = cases.vocabulary * cases.width
    both_ends = np.where(cases.pp > 1, 1.0, 2.0 - cases.tied)
    parameters = (blocks + embedding * both_ends) / cases.tp
    # Dense layers come first, so that a later stage may hold experts in all of its own.
    sparse_here = np.minimum(np.ceil(cases.layers / cases.pp), cases.layers * cases.sparse)
    experts = sparse_here * cases.expert_matrices / np.where(cases.sparse > 0, cases.sparse, 1.0) / cases.ep

    # Sharded fully the weights lie in float32 with their states; two blocks and the embedding are gathered at a time.
    # A pipeline keeps what it gathered for the step.
    shards = np.where(sharded, cases.dp_shard * cases.cp, 1.0)
    two_blocks = (2 * cases.block_matrices + embedding) / cases.tp + 2 * cases.expert_matrices / cases.ep
    here = parameters + experts
    kept_here = parameters / shards + experts / np.where(sharded, cases.expert_shards, 1.0)
    gathered = np.where(cases.pp > 1, here, two_blocks) * cases.element
    weights = np.where(full, 4 * kept_here + gathered, cases.element * here)
    # Sharded fully in a pipeline, gradients are summed whole in float32 and scattered after the last micro-batch.
    unsharded = np.where(cases.pp > 1, 4 * here, gathered / 2)
    gradients = np.where(full, 4 * kept_here + unsharded, np.where(sharded | wide, 4.0, 2.0) * here)
    states = np.where(full, 8.0, np.where(wide, 8.0, 12.0)) * kept_here

    tokens = cases.micro_batch * cases.sequence / cases.cp
    kept = _block_activations(cases)
    resident = np.where(
        cases.pp > 1, cases.pp * (1 + (cases.pp - 1) / (cases.pp * cases.virtual)) * (cases.virtual > 1), 1.0
    )
    resident = np.where((cases.pp > 1) & (cases.virtual <= 1), cases.pp, resident)
    resident = np.minimum(resident, np.maximum(cases.micro_batches, 1.0))
    inputs = cases.element * tokens * cases.width / _stream_ranks(cases)
    layers_here = cases.layers / cases.pp
    recompute_full = cases.recompute >= 2
    activations = np.where(recompute_full, resident * layers_here * inputs + kept, resident * layers_here * kept)
    logits = tokens * cases.vocabulary / cases.tp * _bytes_of_a_logit(cases) * np.where(cases.pp > 1, 0.0, 1.0)
    return Footprint(
        weights=weights,
        gradients=gradients,
        optimizer=states,
        activations=activations,
        logits=logits,
        workspace=np.full_like(weights, FIXED_BYTES),
    )


def fits(cases: Cases) -> np.ndarray:
    """Whether each case fits its accelerator, with room for what an allocator does not count."""
    return footprint(cases).total <= USABLE_SHARE * cases.memory


def _bytes_of_a_logit(cases: Cases) -> Column:
    held: Column = np.zeros_like(cases.element)
    held = np.where(cases.loss == LOSS["fused"], 2 * cases.element, held)
    held = np.where(cases.loss == LOSS["sharded"], cases.element + 4, held)
    return np.where(cases.loss == LOSS["plain"], cases.element + 8, held)


def _stream_ranks(cases: Cases) -> Column:
    """Ranks that share the residual stream: the tensor-parallel ones where they split the sequence too."""
    return np.where(cases.sequence_parallel > 0, cases.tp, 1.0)


def _block_activations(cases: Cases) -> Column:
    """Bytes that one block keeps for its backward pass, one micro-batch.

    Two norms' inputs and the two residual sums at D, queries, keys, values and attention's output, what leads into the
    feed-forward and its inside; and without fused attention the scores after the softmax, after dropout, and its mask.
    """
    tokens = cases.micro_batch * cases.sequence / cases.cp
    narrow = np.where(cases.precision >= PRECISIONS.index("float8"), 0.75, 1.0)
    attention = (2 * cases.heads + 2 * cases.kv_heads) * cases.head_width / cases.tp
    inside = (cases.gates + 1) * cases.always_width / cases.tp
    # Without sequence parallelism every tensor-parallel rank keeps the whole residual stream.
    stream = 4 * cases.width / _stream_ranks(cases)
    # A routed token is kept as it went into its expert, inside of it, and as it came out.
    routed = cases.sparse * cases.routed * (2 * cases.width + (cases.gates + 1) * cases.expert_width)
    plain = cases.element * (tokens * (stream + attention + inside) + routed) * narrow
    scores = cases.micro_batch * cases.heads / cases.tp * cases.sequence**2 / cases.cp
    dropped = np.where(cases.kernels >= KERNELS["eager"], cases.element, 0.0)
    kept_scores = np.where(cases.attention > ATTENTION["scores"], 0.0, (cases.element + dropped + 1) * scores)
    selective = (cases.recompute >= 1) & (cases.recompute < 2)
    kept_scores = np.where(selective, 0.0, kept_scores)
    fused = cases.attention > ATTENTION["scores"]
    return plain * np.where(selective & fused, SELECTIVE_KEPT, 1.0) + kept_scores
