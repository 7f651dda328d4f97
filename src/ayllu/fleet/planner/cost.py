"""Seconds of one optimizer step, from first principles and a few fitted constants, for thousands of layouts at once.

The shapes of the terms follow Narayanan et al. (arXiv:2104.04473: pipeline bubble, tensor-parallel traffic),
Korthikanti et al. (arXiv:2205.05198: sequence parallel, what recomputation repeats), Rajbhandari et al.
(arXiv:1910.02054: traffic of sharded states) and the roofline: a product takes its FLOPs over the achievable rate plus
the part of its operand traffic that the FLOPs do not hide. The roll-off at small dimensions is that traffic.

Letters: T time, D width, H query heads, K key/value heads, h head width, F feed-forward, V vocabulary, L layers; `q`
are the queries, a column of one length for each of their fields.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ayllu.fleet.catalogue import PRECISIONS
from ayllu.fleet.planner.collectives import (
    all_reduce,
    all_to_all,
    fsdp,
    gradient_exchange,
    network,
    overlapped,
    pipeline_transfer,
)
from ayllu.fleet.planner.constants import Constants
from ayllu.fleet.planner.queries import ATTENTION, KERNELS, Column, Queries

FUSED_WIDTH_PASSES = 14
"""Reads and writes of the residual stream in one block forward: two norms, two residual sums, attention's in and
out."""
FUSED_FEED_FORWARD_PASSES = 3
"""Reads and writes of the feed-forward's inside in one block forward, per matrix that leads into it."""
ATTENTION_BACKWARD = 2.5
"""Backward over forward FLOPs of fused attention: five products against two (FlashAttention-2, arXiv:2307.08691)."""
SELECTIVE_SHARE = 0.5
"""Share of a block's forward products that selective recomputation repeats where attention is fused (torchtitan's
policy)."""
NAIVE_TRAFFIC = 1.65
"""Elementwise traffic in eager mode with biases and dropout over that without (62 D against 38 D, counted at F =
4D)."""
FUSED_SOFTMAX_SHARE = 0.6
"""Passes over the scores with one kernel for scale, mask and softmax, over those with a kernel each (12 of 20,
counted)."""
FUSED_LAUNCH_SHARE = 0.4
"""Kernels of a block where the elementwise work is fused, over those in eager mode (about 60 of 150, counted)."""
ROUTING_PASSES = 6
"""Reads and writes of a routed token in one block forward: into the experts' order and back, weighted and summed."""


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """Seconds of one step by cause; `total` is their sum."""

    products: Column
    attention: Column
    elementwise: Column
    recompute: Column
    overhead: Column
    tensor_parallel: Column
    context_parallel: Column
    expert_parallel: Column
    pipeline_transfer: Column
    bubble: Column
    imbalance: Column
    data_parallel: Column
    optimizer: Column
    straggling: Column

    @property
    def total(self) -> Column:
        return sum((getattr(self, name) for name in self.__dataclass_fields__), np.zeros(()))


def step_time(q: Queries, constants: Constants) -> Breakdown:
    """Seconds of one optimizer step of each query, by cause."""
    block = _block(q, constants)
    head = _head(q, constants)
    micro = np.maximum(q.micro_batches, 1.0)

    layers_here = q.layers / q.pp
    busy = sum(block.values(), np.zeros(()))
    launch = constants["launch"] * np.where(_fused(q), FUSED_LAUNCH_SHARE, 1.0)
    per_layer = overlapped(busy, launch)
    block["overhead"] = block["overhead"] + per_layer - busy
    stage = layers_here * per_layer
    slowest = _slowest_stage(q, per_layer, head)
    imbalance = slowest - stage - head / q.pp
    transfer = pipeline_transfer(q, constants)
    sharded = fsdp(q, constants, slowest)
    work = slowest + transfer + constants["micro_batch_overhead"]
    bubble = work * (q.pp - 1) / q.virtual
    exchange = gradient_exchange(q, constants, work)

    sharded_states = q.sharding > 0
    state = q.common_parameters / (q.tp * q.pp) / np.where(sharded_states, q.dp_shard * q.cp, 1.0)
    experts = q.expert_parameters / (q.ep * q.pp)
    state = state + experts / np.where(sharded_states, q.expert_shards, 1.0)
    adapters = q.trained_parameters / (q.tp * q.pp) / np.where(sharded_states, q.dp_shard * q.cp, 1.0)
    state = np.where(q.frozen, adapters, state)
    optimizer = state * constants["optimizer_bytes"] / q.memory_bandwidth + constants["step_overhead"]
    step = micro * (work + sharded) + bubble + exchange + optimizer
    lag = constants["straggling"] * np.log2(np.maximum(q.devices / 8, 1.0))

    def summed(name: str) -> Column:
        return micro * layers_here * block[name]

    return Breakdown(
        products=summed("products") + micro * head / q.pp,
        attention=summed("attention"),
        elementwise=summed("elementwise"),
        recompute=summed("recompute"),
        overhead=summed("overhead") + micro * constants["micro_batch_overhead"],
        tensor_parallel=summed("tensor_parallel"),
        context_parallel=summed("context_parallel"),
        expert_parallel=summed("expert_parallel"),
        pipeline_transfer=micro * transfer,
        bubble=bubble,
        imbalance=micro * imbalance,
        data_parallel=micro * sharded + exchange,
        optimizer=optimizer,
        straggling=step * lag,
    )


def mfu(q: Queries, seconds: Column, peak: Column | float) -> Column:
    """Model FLOPs utilisation: `Queries.model_flops` over what all devices could do at `peak` FLOP/s in that time."""
    return q.model_flops / (seconds * q.devices * peak)


def product_time(
    m: Column, n: Column, k: Column, *, rate: Column, element: Column, bandwidth: Column, shown: float | Column
) -> Column:
    """Seconds of an (m, k) by (k, n) product: FLOPs over `rate`, and the `shown` share of its operand traffic."""
    return 2 * m * n * k / rate + shown * element * (m * k + k * n + m * n) / bandwidth


def _block(q: Queries, constants: Constants) -> dict[str, Column]:
    """Seconds of one block for one micro-batch, forward and backward, by cause."""
    forward = _block_products(q, constants)
    attention_forward, attention_backward = _attention(q, constants)
    elementwise = _elementwise(q, constants)

    full, selective = q.recompute >= 2, (q.recompute >= 1) & (q.recompute < 2)
    again_selective = np.where(q.attention > 0, SELECTIVE_SHARE * (forward + elementwise), attention_forward)
    adapters = _adapters(q, constants)
    whole = forward + attention_forward + elementwise + adapters
    again = np.where(full, whole, np.where(selective, again_selective, 0.0))
    # Each micro-batch adds its weight gradients to a float32 sum: one read and one write of 4 bytes.
    here = q.block_matrices / q.tp + q.expert_matrices / q.ep
    here = np.where(q.frozen, q.block_adapters / q.tp, here)
    accumulate = 8 * here / q.memory_bandwidth * constants["product_bytes"]
    routing = constants["expert_overhead"] * q.sparse
    repeated = 1 + np.where(full, 1 / 3, 0.0)
    return {
        "products": q.passes * forward + accumulate + 3 * adapters,
        "attention": attention_forward + attention_backward,
        "elementwise": 3 * elementwise,
        "recompute": again,
        "overhead": constants["layer_overhead"] * repeated * np.where(_fused(q), 1.0, 2.0) + routing * repeated,
        **_block_collectives(q, constants),
    }


def _adapters(q: Queries, constants: Constants) -> Column:
    """Seconds of one block's adapters, forward: two thin products beside each matrix, whose traffic nothing hides (the
    input is read once more, and the output read and written to add to it)."""
    tokens = q.micro_batch * q.sequence / q.cp
    flops = 2 * tokens * q.block_adapters / q.tp / (q.wide_rate * constants["product_16"])
    moved = 1.5 * q.element * tokens * q.adapted_width / q.tp / q.memory_bandwidth
    return np.where(q.frozen, flops + moved, 0.0)


def _block_products(q: Queries, constants: Constants) -> Column:
    """Seconds of one block's matrix products, forward."""
    tokens = q.micro_batch * q.sequence / q.cp
    share = np.where(
        q.precision == PRECISIONS.index("float4"),
        constants["product_4"],
        np.where(_narrow(q), constants["product_8"], constants["product_16"]),
    )

    def product(n: Column, k: Column) -> Column:
        return product_time(
            tokens,
            n,
            k,
            rate=q.narrow_rate * share,
            element=q.element,
            bandwidth=q.memory_bandwidth,
            shown=constants["product_bytes"],
        )

    def grouped(n: Column, k: Column) -> Column:
        """Seconds of one product in all experts of the rank: each reads weights of its own."""
        flops = 2 * q.routed * n * k / (q.narrow_rate * share * constants["expert_product"])
        moved = q.routed * (n + k) + q.experts / q.ep * n * k
        return flops + constants["product_bytes"] * q.element * moved / q.memory_bandwidth

    inner, q_k_v = q.heads * q.head_width, (q.heads + 2 * q.kv_heads) * q.head_width
    attention_products = product(q_k_v / q.tp, q.width) + product(q.width, inner / q.tp)
    dense = 1 - q.sparse
    forward = (
        attention_products * q.attention_share
        + dense * product(q.gates * q.feed_forward / q.tp, q.width)
        + dense * product(q.width, q.feed_forward / q.tp)
    )
    shared = product(q.gates * q.shared_width / q.tp, q.width)
    shared = shared + product(q.width, q.shared_width / q.tp)
    experts = grouped(q.gates * q.expert_width, q.width)
    experts = experts + grouped(q.width, q.expert_width)
    router = product(q.experts / q.tp, q.width)
    return forward + q.sparse * (shared + experts + router)


def _elementwise(q: Queries, constants: Constants) -> Column:
    """Seconds of one block's norms, residuals, activations and casts, forward."""
    tokens = q.micro_batch * q.sequence / q.cp
    d_passes = FUSED_WIDTH_PASSES * q.width / q.tp
    f_passes = FUSED_FEED_FORWARD_PASSES * q.gates * q.always_width / q.tp
    traffic = q.element * tokens * (d_passes + f_passes) * constants["elementwise"]
    passes = ROUTING_PASSES * q.width + FUSED_FEED_FORWARD_PASSES * q.gates * q.expert_width
    traffic = traffic + q.sparse * q.element * q.routed * passes * constants["elementwise"]
    eager = constants["unfused"] * np.where(q.kernels >= KERNELS["eager"], 1.0, NAIVE_TRAFFIC)
    traffic = traffic * np.where(_fused(q), 1.0, eager)
    casts = constants["cast"] * 3 * tokens * (2 * q.width + (q.gates + 1) * q.always_width) / q.tp
    routed_casts = 3 * q.sparse * q.routed * (2 * q.width + (q.gates + 1) * q.expert_width)
    casts = casts + constants["cast"] * routed_casts
    return (traffic + np.where(_narrow(q), casts, 0.0)) / q.memory_bandwidth


def _block_collectives(q: Queries, constants: Constants) -> dict[str, Column]:
    """Seconds of one block's collectives for one micro-batch that nothing hides, forward and backward."""
    full = q.recompute >= 2
    # Experts are whole on their rank, so a layer without shared ones needs no sum after its feed-forward.
    summed_layers = 1 - 0.5 * q.sparse * (q.shared_width <= 0)
    collectives = (4 + np.where(full, 2.0, 0.0)) * summed_layers
    tokens = q.micro_batch * q.sequence / q.cp
    message = q.element * tokens * q.width
    tensor_parallel = np.where(q.tp > 1, collectives * all_reduce(q, constants, message, q.tp), 0.0)
    keys_values = q.element * q.micro_batch * q.sequence * 2 * q.kv_heads * q.head_width / q.tp
    reach = np.where(
        q.tp * q.cp <= q.link_domain,
        q.link * constants["link_share"],
        network(q, constants),
    )
    context_parallel = np.where(q.cp > 1, 3 * keys_values * (q.cp - 1) / q.cp / reach, 0.0)
    # Tokens go to their experts and come back, and so do their gradients.
    exchanges = (4 + np.where(full, 2.0, 0.0)) * q.sparse
    expert_parallel = np.where(q.ep > 1, exchanges * all_to_all(q, constants), 0.0)
    # Chunks that are sent while others are computed must be small, which pays within a domain only.
    near = (q.overlap > 0) & (q.tp <= q.link_domain)
    shown = np.where(near, constants["tp_overlapped"], constants["tp_exposed"])
    return {
        "tensor_parallel": tensor_parallel * shown,
        "context_parallel": context_parallel * constants["cp_exposed"],
        "expert_parallel": expert_parallel * constants["expert_exposed"],
    }


def _narrow(q: Queries) -> Column:
    """Whether products are in 8 bits or fewer."""
    return q.precision >= PRECISIONS.index("float8")


def _attention(q: Queries, constants: Constants) -> tuple[Column, Column]:
    """Seconds of one block's attention core, forward and backward: fused and causal, or scores through memory and
    full."""
    heads_here = q.heads / q.tp
    scores = q.micro_batch * heads_here * q.sequence**2 / q.cp
    flops = 4 * scores * q.head_width
    narrow_heads = np.minimum(q.head_width / 128, 1.0) ** 0.3
    triton = q.attention < ATTENTION["portable"]
    portable = np.where(triton, constants["attention_triton"], constants["attention_portable"])
    portable = portable * np.where(q.later > 0, constants["attention_later"], 1.0)
    share = np.where(q.attention >= ATTENTION["tuned"], constants["attention_tuned"], portable)
    fused = flops / 2 / (q.wide_rate * share * narrow_heads)
    softmax = np.where(_fused(q), FUSED_SOFTMAX_SHARE, 1.0)
    passes = constants["score_passes"] * softmax * q.element * scores / q.memory_bandwidth
    unfused = flops / (q.wide_rate * constants["product_16"])
    flash = q.attention > 0
    forward = np.where(flash, fused, unfused + 0.4 * passes)
    backward = np.where(flash, ATTENTION_BACKWARD * fused, 2 * unfused + 0.6 * passes)
    return forward, backward


def _head(q: Queries, constants: Constants) -> Column:
    """Seconds of the output projection and the loss for one micro-batch, forward and backward."""
    tokens = q.micro_batch * q.sequence / q.cp
    product = product_time(
        tokens,
        q.vocabulary / q.tp,
        q.width,
        rate=q.wide_rate * constants["product_16"],
        element=q.element,
        bandwidth=q.memory_bandwidth,
        shown=constants["product_bytes"],
    )
    loss_bytes = tokens * q.vocabulary / q.tp * (2 * q.element + 12) * constants["elementwise"]
    return q.passes * product + loss_bytes / q.memory_bandwidth


def _slowest_stage(q: Queries, per_layer: Column, head: Column) -> Column:
    """Seconds of one micro-batch on the slowest pipeline stage.

    Where the layers divide evenly the last stage also carries the head. Where they do not, frameworks count the
    embedding and the head as a layer each (Megatron's `account_for_embedding_in_pipeline_split`). Where they are split
    by cost, a stage ends at the last layer before its share of all matrices (nanotron's `get_block_compute_costs`).
    """
    fair = (q.layers + q.vocabulary * q.width / q.block_matrices) / q.pp
    before = np.minimum(np.floor((q.pp - 1) * fair), q.layers)
    most = np.floor(fair) + (np.floor((q.pp - 1) * np.mod(fair, 1)) >= 1)
    by_cost = np.maximum(np.minimum(most, q.layers) * per_layer, (q.layers - before) * per_layer + head)
    chunks = q.pp * q.virtual
    even = np.mod(q.layers, chunks) == 0
    share = q.layers / q.pp
    padded = np.minimum(np.ceil((q.layers + 2) / chunks) * q.virtual, np.ceil((q.layers + 2) / q.pp))
    uneven = np.maximum(padded * per_layer, (padded - 1) * per_layer + head)
    by_count = np.where(even, share * per_layer + head, uneven)
    return np.where(q.pp > 1, np.where(q.split > 0, by_cost, by_count), share * per_layer + head)


def _fused(q: Queries) -> Column:
    return q.kernels >= KERNELS["fused"]
