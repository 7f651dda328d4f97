"""Bytes that one accelerator needs at its peak, by cause, for thousands of layouts at once.

Activations after Korthikanti et al. (arXiv:2205.05198, section 4), generalised to grouped-query attention and gated
feed-forwards; states after Rajbhandari et al. (arXiv:1910.02054). The first pipeline stage is the fullest: it keeps the
activations of a micro-batch for every stage behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ayllu.fleet.catalogue import PRECISIONS
from ayllu.fleet.planner.queries import ATTENTION, KERNELS, LOSS, SHARDING, Column, Queries

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


def footprint(queries: Queries) -> Footprint:
    """Peak bytes of each case on its fullest accelerator."""
    full, sharded = queries.sharding >= SHARDING["full"], queries.sharding >= SHARDING["optimizer"]
    wide = queries.element > 2
    blocks = np.ceil(queries.layers / queries.pp) * (queries.block_matrices + 2 * queries.width)
    embedding = queries.vocabulary * queries.width
    both_ends = np.where(queries.pp > 1, 1.0, 2.0 - queries.tied)
    parameters = (blocks + embedding * both_ends) / queries.tp
    # Dense layers come first, so that a later stage may hold experts in all of its own.
    sparse_here = np.minimum(np.ceil(queries.layers / queries.pp), queries.layers * queries.sparse)
    experts = sparse_here * queries.expert_matrices / np.where(queries.sparse > 0, queries.sparse, 1.0) / queries.ep

    # Sharded fully the weights lie in float32 with their states; two blocks and the embedding are gathered at a time.
    # A pipeline keeps what it gathered for the step.
    shards = np.where(sharded, queries.dp_shard * queries.cp, 1.0)
    two_blocks = (2 * queries.block_matrices + embedding) / queries.tp + 2 * queries.expert_matrices / queries.ep
    here = parameters + experts
    kept_here = parameters / shards + experts / np.where(sharded, queries.expert_shards, 1.0)
    gathered = np.where(queries.pp > 1, here, two_blocks) * queries.element
    weights = np.where(full, 4 * kept_here + gathered, queries.element * here)
    # Sharded fully in a pipeline, gradients are summed whole in float32 and scattered after the last micro-batch.
    unsharded = np.where(queries.pp > 1, 4 * here, gathered / 2)
    gradients = np.where(full, 4 * kept_here + unsharded, np.where(sharded | wide, 4.0, 2.0) * here)
    states = np.where(full, 8.0, np.where(wide, 8.0, 12.0)) * kept_here

    tokens = queries.micro_batch * queries.sequence / queries.cp
    kept = _block_activations(queries)
    resident = np.where(
        queries.pp > 1,
        queries.pp * (1 + (queries.pp - 1) / (queries.pp * queries.virtual)) * (queries.virtual > 1),
        1.0,
    )
    resident = np.where((queries.pp > 1) & (queries.virtual <= 1), queries.pp, resident)
    resident = np.minimum(resident, np.maximum(queries.micro_batches, 1.0))
    inputs = queries.element * tokens * queries.width / _stream_ranks(queries)
    layers_here = queries.layers / queries.pp
    recompute_full = queries.recompute >= 2
    activations = np.where(recompute_full, resident * layers_here * inputs + kept, resident * layers_here * kept)
    logits = tokens * queries.vocabulary / queries.tp * _bytes_of_a_logit(queries) * np.where(queries.pp > 1, 0.0, 1.0)
    return Footprint(
        weights=weights,
        gradients=gradients,
        optimizer=states,
        activations=activations,
        logits=logits,
        workspace=np.full_like(weights, FIXED_BYTES),
    )


def fits_memory(queries: Queries) -> np.ndarray:
    """Whether each case fits its accelerator, with room for what an allocator does not count."""
    return footprint(queries).total <= USABLE_SHARE * queries.memory


def _bytes_of_a_logit(queries: Queries) -> Column:
    held: Column = np.zeros_like(queries.element)
    held = np.where(queries.loss == LOSS["fused"], 2 * queries.element, held)
    held = np.where(queries.loss == LOSS["sharded"], queries.element + 4, held)
    return np.where(queries.loss == LOSS["plain"], queries.element + 8, held)


def _stream_ranks(queries: Queries) -> Column:
    """Ranks that share the residual stream: the tensor-parallel ones where they split the sequence too."""
    return np.where(queries.sequence_parallel > 0, queries.tp, 1.0)


def _block_activations(queries: Queries) -> Column:
    """Bytes that one block keeps for its backward pass, one micro-batch.

    Two norms' inputs and the two residual sums at D, queries, keys, values and attention's output, what leads into the
    feed-forward and its inside; and without fused attention the scores after the softmax, after dropout, and its mask.
    """
    tokens = queries.micro_batch * queries.sequence / queries.cp
    narrow = np.where(queries.precision >= PRECISIONS.index("float8"), 0.75, 1.0)
    attention = (2 * queries.heads + 2 * queries.kv_heads) * queries.head_width / queries.tp
    inside = (queries.gates + 1) * queries.always_width / queries.tp
    # Without sequence parallelism every tensor-parallel rank keeps the whole residual stream.
    stream = 4 * queries.width / _stream_ranks(queries)
    # A routed token is kept as it went into its expert, inside of it, and as it came out.
    routed = queries.sparse * queries.routed * (2 * queries.width + (queries.gates + 1) * queries.expert_width)
    plain = queries.element * (tokens * (stream + attention + inside) + routed) * narrow
    scores = queries.micro_batch * queries.heads / queries.tp * queries.sequence**2 / queries.cp
    dropped = np.where(queries.kernels >= KERNELS["eager"], queries.element, 0.0)
    kept_scores = np.where(queries.attention > ATTENTION["scores"], 0.0, (queries.element + dropped + 1) * scores)
    selective = (queries.recompute >= 1) & (queries.recompute < 2)
    kept_scores = np.where(selective, 0.0, kept_scores)
    fused = queries.attention > ATTENTION["scores"]
    return plain * np.where(selective & fused, SELECTIVE_KEPT, 1.0) + kept_scores
