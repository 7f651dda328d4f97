"""Bytes that one accelerator needs at its peak, by cause, for thousands of layouts at once.

Activations after Korthikanti et al. (arXiv:2205.05198, section 4), generalised to grouped-query attention and gated
feed-forwards; states after Rajbhandari et al. (arXiv:1910.02054). The first pipeline stage is the fullest: it keeps the
activations of a micro-batch for every stage behind it. `q` are the queries, a column for each of their fields.
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


def footprint(q: Queries) -> Footprint:
    """Peak bytes of each query on its fullest accelerator."""
    full, sharded = q.sharding >= SHARDING["full"], q.sharding >= SHARDING["optimizer"]
    wide = q.element > 2
    blocks = np.ceil(q.layers / q.pp) * (q.block_matrices + 2 * q.width)
    embedding = q.vocabulary * q.width
    both_ends = np.where(q.pp > 1, 1.0, 2.0 - q.tied)
    parameters = (blocks + embedding * both_ends) / q.tp
    # Dense layers come first, so that a later stage may hold experts in all of its own.
    sparse_here = np.minimum(np.ceil(q.layers / q.pp), q.layers * q.sparse)
    experts = sparse_here * q.expert_matrices / np.where(q.sparse > 0, q.sparse, 1.0) / q.ep

    # Sharded fully the weights lie in float32 with their states; two blocks and the embedding are gathered at a time.
    # A pipeline keeps what it gathered for the step.
    shards = np.where(sharded, q.dp_shard * q.cp, 1.0)
    two_blocks = (2 * q.block_matrices + embedding) / q.tp + 2 * q.expert_matrices / q.ep
    here = parameters + experts
    kept_here = parameters / shards + experts / np.where(sharded, q.expert_shards, 1.0)
    gathered = np.where(q.pp > 1, here, two_blocks) * q.element
    weights = np.where(full, np.where(q.frozen, q.element, 4.0) * kept_here + gathered, q.element * here)
    # Sharded fully in a pipeline, gradients are summed whole in float32 and scattered after the last micro-batch.
    unsharded = np.where(q.pp > 1, 4 * here, gathered / 2)
    gradients = np.where(full, 4 * kept_here + unsharded, np.where(sharded | wide, 4.0, 2.0) * here)
    states = np.where(full, 8.0, np.where(wide, 8.0, 12.0)) * kept_here
    # Frozen weights have neither gradients nor states, and lie in the type of the products; adapters are in float32.
    adapters = np.ceil(q.layers / q.pp) * q.block_adapters / q.tp / shards
    weights = weights + 4 * adapters
    gradients = np.where(q.frozen, 4 * adapters, gradients)
    states = np.where(q.frozen, 8 * adapters, states)

    tokens = q.micro_batch * q.sequence / q.cp
    kept = _block_activations(q)
    resident = np.where(
        q.pp > 1,
        q.pp * (1 + (q.pp - 1) / (q.pp * q.virtual)) * (q.virtual > 1),
        1.0,
    )
    resident = np.where((q.pp > 1) & (q.virtual <= 1), q.pp, resident)
    resident = np.minimum(resident, np.maximum(q.micro_batches, 1.0))
    inputs = q.element * tokens * q.width / _stream_ranks(q)
    layers_here = q.layers / q.pp
    recompute_full = q.recompute >= 2
    activations = np.where(recompute_full, resident * layers_here * inputs + kept, resident * layers_here * kept)
    logits = tokens * q.vocabulary / q.tp * _bytes_of_a_logit(q) * np.where(q.pp > 1, 0.0, 1.0)
    return Footprint(
        weights=weights,
        gradients=gradients,
        optimizer=states,
        activations=activations,
        logits=logits,
        workspace=np.full_like(weights, FIXED_BYTES),
    )


def fits_memory(q: Queries) -> np.ndarray:
    """Whether each query fits its accelerator, with room for what an allocator does not count."""
    return footprint(q).total <= USABLE_SHARE * q.memory


def _bytes_of_a_logit(q: Queries) -> Column:
    held: Column = np.zeros_like(q.element)
    held = np.where(q.loss == LOSS["fused"], 2 * q.element, held)
    held = np.where(q.loss == LOSS["sharded"], q.element + 4, held)
    return np.where(q.loss == LOSS["plain"], q.element + 8, held)


def _stream_ranks(q: Queries) -> Column:
    """Ranks that share the residual stream: the tensor-parallel ones where they split the sequence too."""
    return np.where(q.sequence_parallel > 0, q.tp, 1.0)


def _block_activations(q: Queries) -> Column:
    """Bytes that one block keeps for its backward pass, one micro-batch.

    Two norms' inputs and the two residual sums at D, queries, keys, values and attention's output, what leads into the
    feed-forward and its inside; and without fused attention the scores after the softmax, after dropout, and its mask.
    """
    tokens = q.micro_batch * q.sequence / q.cp
    narrow = np.where(q.precision >= PRECISIONS.index("float8"), 0.75, 1.0)
    attention = (2 * q.heads + 2 * q.kv_heads) * q.head_width / q.tp
    inside = (q.gates + 1) * q.always_width / q.tp
    # Without sequence parallelism every tensor-parallel rank keeps the whole residual stream.
    stream = 4 * q.width / _stream_ranks(q)
    # A routed token is kept as it went into its expert, inside of it, and as it came out.
    routed = q.sparse * q.routed * (2 * q.width + (q.gates + 1) * q.expert_width)
    plain = q.element * (tokens * (stream + attention + inside) + routed) * narrow
    scores = q.micro_batch * q.heads / q.tp * q.sequence**2 / q.cp
    dropped = np.where(q.kernels >= KERNELS["eager"], q.element, 0.0)
    kept_scores = np.where(q.attention > ATTENTION["scores"], 0.0, (q.element + dropped + 1) * scores)
    selective = (q.recompute >= 1) & (q.recompute < 2)
    kept_scores = np.where(selective, 0.0, kept_scores)
    fused = q.attention > ATTENTION["scores"]
    return plain * np.where(selective & fused, SELECTIVE_KEPT, 1.0) + kept_scores
