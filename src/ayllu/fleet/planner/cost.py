"""Seconds of one optimizer step, from first principles and a few fitted constants, for thousands of layouts at once.

The shapes of the terms follow Narayanan et al. (arXiv:2104.04473: pipeline bubble, tensor-parallel traffic),
Korthikanti et al. (arXiv:2205.05198: sequence parallel, what recomputation repeats), Rajbhandari et al.
(arXiv:1910.02054: traffic of sharded states) and the roofline: a product takes its FLOPs over the achievable rate plus
the part of its operand traffic that the FLOPs do not hide. The roll-off at small dimensions is that traffic.

Letters: T time, D width, H query heads, K key/value heads, h head width, F feed-forward, V vocabulary, L layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ayllu.fleet.catalogue import PRECISIONS
from ayllu.fleet.planner.constants import Constants
from ayllu.fleet.planner.queries import ATTENTION, KERNELS, SHARDING, Column, Queries

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
OVERLAP_NORM = 4.0
"""Two overlapped streams take the p-norm of their times: the longer one, and a little more when they are alike."""


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


def step_time(queries: Queries, constants: Constants) -> Breakdown:
    """Seconds of one optimizer step of each case, by cause."""
    block = _block(queries, constants)
    head = _head(queries, constants)
    micro = np.maximum(queries.micro_batches, 1.0)

    layers_here = queries.layers / queries.pp
    busy = sum(block.values(), np.zeros(()))
    launch = constants["launch"] * np.where(_fused(queries), FUSED_LAUNCH_SHARE, 1.0)
    per_layer = _overlapped(busy, launch)
    block["overhead"] = block["overhead"] + per_layer - busy
    stage = layers_here * per_layer
    slowest = _slowest_stage(queries, per_layer, head)
    imbalance = slowest - stage - head / queries.pp
    transfer = _pipeline_transfer(queries, constants)
    sharded = _fsdp(queries, constants, slowest)
    work = slowest + transfer + constants["micro_batch_overhead"]
    bubble = work * (queries.pp - 1) / queries.virtual
    exchange = _gradient_exchange(queries, constants)

    sharded_states = queries.sharding > 0
    state = (
        queries.common_parameters
        / (queries.tp * queries.pp)
        / np.where(sharded_states, queries.dp_shard * queries.cp, 1.0)
    )
    experts = queries.expert_parameters / (queries.ep * queries.pp)
    state = state + experts / np.where(sharded_states, queries.expert_shards, 1.0)
    optimizer = state * constants["optimizer_bytes"] / queries.memory_bandwidth + constants["step_overhead"]
    step = micro * (work + sharded) + bubble + exchange + optimizer
    lag = constants["straggling"] * np.log2(np.maximum(queries.devices / 8, 1.0))

    def summed(name: str) -> Column:
        return micro * layers_here * block[name]

    return Breakdown(
        products=summed("products") + micro * head / queries.pp,
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


def mfu(queries: Queries, seconds: Column, peak: Column | float) -> Column:
    """Model FLOPs utilisation: `Queries.model_flops` over what all devices could do at `peak` FLOP/s in that time."""
    return queries.model_flops / (seconds * queries.devices * peak)


def product_time(
    m: Column, n: Column, k: Column, *, rate: Column, element: Column, bandwidth: Column, shown: float | Column
) -> Column:
    """Seconds of an (m, k) by (k, n) product: FLOPs over `rate`, and the `shown` share of its operand traffic."""
    return 2 * m * n * k / rate + shown * element * (m * k + k * n + m * n) / bandwidth


def _block(queries: Queries, constants: Constants) -> dict[str, Column]:
    """Seconds of one block for one micro-batch, forward and backward, by cause."""
    tokens = queries.micro_batch * queries.sequence / queries.cp
    narrow = queries.precision >= PRECISIONS.index("float8")
    share = np.where(
        queries.precision == PRECISIONS.index("float4"),
        constants["product_4"],
        np.where(narrow, constants["product_8"], constants["product_16"]),
    )

    def product(n: Column, k: Column) -> Column:
        return product_time(
            tokens,
            n,
            k,
            rate=queries.narrow_rate * share,
            element=queries.element,
            bandwidth=queries.memory_bandwidth,
            shown=constants["product_bytes"],
        )

    inner, q_k_v = queries.heads * queries.head_width, (queries.heads + 2 * queries.kv_heads) * queries.head_width

    def grouped(n: Column, k: Column) -> Column:
        """Seconds of one product in all experts of the rank: each reads weights of its own."""
        flops = 2 * queries.routed * n * k / (queries.narrow_rate * share * constants["expert_product"])
        moved = queries.routed * (n + k) + queries.experts / queries.ep * n * k
        return flops + constants["product_bytes"] * queries.element * moved / queries.memory_bandwidth

    attention_products = product(q_k_v / queries.tp, queries.width) + product(queries.width, inner / queries.tp)
    dense = 1 - queries.sparse
    forward = (
        attention_products * queries.attention_share
        + dense * product(queries.gates * queries.feed_forward / queries.tp, queries.width)
        + dense * product(queries.width, queries.feed_forward / queries.tp)
    )
    shared = product(queries.gates * queries.shared_width / queries.tp, queries.width)
    shared = shared + product(queries.width, queries.shared_width / queries.tp)
    experts = grouped(queries.gates * queries.expert_width, queries.width) + grouped(
        queries.width, queries.expert_width
    )
    router = product(queries.experts / queries.tp, queries.width)
    forward = forward + queries.sparse * (shared + experts + router)
    attention_forward, attention_backward = _attention(queries, constants)

    d_passes = FUSED_WIDTH_PASSES * queries.width / queries.tp
    f_passes = FUSED_FEED_FORWARD_PASSES * queries.gates * queries.always_width / queries.tp
    traffic = queries.element * tokens * (d_passes + f_passes) * constants["elementwise"]
    passes = ROUTING_PASSES * queries.width + FUSED_FEED_FORWARD_PASSES * queries.gates * queries.expert_width
    traffic = traffic + queries.sparse * queries.element * queries.routed * passes * constants["elementwise"]
    eager = constants["unfused"] * np.where(queries.kernels >= KERNELS["eager"], 1.0, NAIVE_TRAFFIC)
    traffic = traffic * np.where(_fused(queries), 1.0, eager)
    casts = (
        constants["cast"] * 3 * tokens * (2 * queries.width + (queries.gates + 1) * queries.always_width) / queries.tp
    )
    routed_casts = (
        3 * queries.sparse * queries.routed * (2 * queries.width + (queries.gates + 1) * queries.expert_width)
    )
    casts = casts + constants["cast"] * routed_casts
    elementwise = (traffic + np.where(narrow, casts, 0.0)) / queries.memory_bandwidth

    full, selective = queries.recompute >= 2, (queries.recompute >= 1) & (queries.recompute < 2)
    again_selective = np.where(queries.attention > 0, SELECTIVE_SHARE * (forward + elementwise), attention_forward)
    again = np.where(full, forward + attention_forward + elementwise, np.where(selective, again_selective, 0.0))

    # Experts are whole on their rank, so a layer without shared ones needs no sum after its feed-forward.
    summed_layers = 1 - 0.5 * queries.sparse * (queries.shared_width <= 0)
    collectives = (4 + np.where(full, 2.0, 0.0)) * summed_layers
    message = queries.element * tokens * queries.width
    tensor_parallel = np.where(queries.tp > 1, collectives * _all_reduce(queries, constants, message, queries.tp), 0.0)
    keys_values = (
        queries.element
        * queries.micro_batch
        * queries.sequence
        * 2
        * queries.kv_heads
        * queries.head_width
        / queries.tp
    )
    reach = np.where(
        queries.tp * queries.cp <= queries.link_domain,
        queries.link * constants["link_share"],
        _network(queries, constants),
    )
    context_parallel = np.where(queries.cp > 1, 3 * keys_values * (queries.cp - 1) / queries.cp / reach, 0.0)
    # Tokens go to their experts and come back, and so do their gradients.
    exchanges = (4 + np.where(full, 2.0, 0.0)) * queries.sparse
    expert_parallel = np.where(queries.ep > 1, exchanges * _all_to_all(queries, constants), 0.0)
    # Each micro-batch adds its weight gradients to a float32 sum: one read and one write of 4 bytes.
    here = queries.block_matrices / queries.tp + queries.expert_matrices / queries.ep
    accumulate = 8 * here / queries.memory_bandwidth * constants["product_bytes"]
    routing = constants["expert_overhead"] * queries.sparse
    repeated = 1 + np.where(full, 1 / 3, 0.0)
    return {
        "products": 3 * forward + accumulate,
        "attention": attention_forward + attention_backward,
        "elementwise": 3 * elementwise,
        "recompute": again,
        "overhead": constants["layer_overhead"] * repeated * np.where(_fused(queries), 1.0, 2.0) + routing * repeated,
        "tensor_parallel": tensor_parallel
        * np.where(queries.overlap > 0, constants["tp_overlapped"], constants["tp_exposed"]),
        "context_parallel": context_parallel * constants["cp_exposed"],
        "expert_parallel": expert_parallel * constants["expert_exposed"],
    }


def _attention(queries: Queries, constants: Constants) -> tuple[Column, Column]:
    """Seconds of one block's attention core, forward and backward: fused and causal, or scores through memory and
    full."""
    heads_here = queries.heads / queries.tp
    scores = queries.micro_batch * heads_here * queries.sequence**2 / queries.cp
    flops = 4 * scores * queries.head_width
    narrow_heads = np.minimum(queries.head_width / 128, 1.0) ** 0.3
    triton = queries.attention < ATTENTION["portable"]
    portable = np.where(triton, constants["attention_triton"], constants["attention_portable"])
    portable = portable * np.where(queries.later > 0, constants["attention_later"], 1.0)
    share = np.where(queries.attention >= ATTENTION["tuned"], constants["attention_tuned"], portable)
    fused = flops / 2 / (queries.wide_rate * share * narrow_heads)
    softmax = np.where(_fused(queries), FUSED_SOFTMAX_SHARE, 1.0)
    passes = constants["score_passes"] * softmax * queries.element * scores / queries.memory_bandwidth
    unfused = flops / (queries.wide_rate * constants["product_16"])
    flash = queries.attention > 0
    forward = np.where(flash, fused, unfused + 0.4 * passes)
    backward = np.where(flash, ATTENTION_BACKWARD * fused, 2 * unfused + 0.6 * passes)
    return forward, backward


def _head(queries: Queries, constants: Constants) -> Column:
    """Seconds of the output projection and the loss for one micro-batch, forward and backward."""
    tokens = queries.micro_batch * queries.sequence / queries.cp
    product = product_time(
        tokens,
        queries.vocabulary / queries.tp,
        queries.width,
        rate=queries.wide_rate * constants["product_16"],
        element=queries.element,
        bandwidth=queries.memory_bandwidth,
        shown=constants["product_bytes"],
    )
    loss_bytes = tokens * queries.vocabulary / queries.tp * (2 * queries.element + 12) * constants["elementwise"]
    return 3 * product + loss_bytes / queries.memory_bandwidth


def _slowest_stage(queries: Queries, per_layer: Column, head: Column) -> Column:
    """Seconds of one micro-batch on the slowest pipeline stage.

    Where the layers divide evenly the last stage also carries the head. Where they do not, frameworks count the
    embedding and the head as a layer each (Megatron's `account_for_embedding_in_pipeline_split`).
    """
    chunks = queries.pp * queries.virtual
    even = np.mod(queries.layers, chunks) == 0
    share = queries.layers / queries.pp
    padded = np.minimum(
        np.ceil((queries.layers + 2) / chunks) * queries.virtual, np.ceil((queries.layers + 2) / queries.pp)
    )
    uneven = np.maximum(padded * per_layer, (padded - 1) * per_layer + head)
    return np.where(queries.pp > 1, np.where(even, share * per_layer + head, uneven), share * per_layer + head)


def _network(queries: Queries, constants: Constants) -> Column:
    return queries.network * constants["network_share"]


def _all_reduce(queries: Queries, constants: Constants, message: Column, ranks: Column) -> Column:
    """Seconds to sum `message` bytes over neighbouring `ranks`: a ring over the link, over the network beyond the
    domain."""
    inside = 2 * (ranks - 1) / ranks * message / (queries.link * constants["link_share"])
    outside = (
        2
        * message
        / np.minimum(queries.link_domain * _network(queries, constants), queries.link * constants["link_share"])
    )
    over = ranks > queries.link_domain
    return np.where(over, inside + outside, inside) + constants["hop"] * np.log2(np.maximum(ranks, 2))


def _all_to_all(queries: Queries, constants: Constants) -> Column:
    """Seconds in which each of `ep` neighbouring ranks sends every routed token to its expert's rank.

    A token crosses the network once for each node that has experts of its own, and is handed on over the link there
    (arXiv:2412.19437, section 3.2.2), both at the same time; beyond the pod what crosses is slowed by the
    oversubscription.
    """
    message = queries.element * queries.routed * queries.width
    near = np.minimum(queries.ep, queries.link_domain)
    inside = message * (near - 1) / near / (queries.link * constants["link_share"])
    groups = queries.ep / near
    # Of `groups` domains a token's experts, drawn evenly, lie in so many; its own costs nothing.
    reached = (groups - 1) * (1 - (1 - 1 / groups) ** queries.active_experts)
    crossing = message / np.maximum(queries.active_experts, 1.0) * reached
    beyond_pod = np.maximum(1 - queries.pod_size / queries.ep, 0.0)
    outside = crossing / _network(queries, constants) * (1 + beyond_pod * (queries.oversubscription - 1))
    return _overlapped(inside, outside) + constants["hop"] * np.log2(np.maximum(queries.ep, 2))


def _data_bandwidth(queries: Queries, constants: Constants, ranks: Column, apart: Column) -> Column:
    """Bytes/s at which each of the data-parallel `ranks`, which stand `apart` devices from each other, moves a ring's
    traffic.

    Ranks of one group that share a node share its ports, so their traffic enters the node once; beyond the pod the
    traffic that crosses is slowed by the oversubscription (a ring crosses once per pod).
    """
    beside = np.clip(queries.link_domain / apart, 1.0, ranks)
    network = beside * _network(queries, constants)
    pods = np.maximum(queries.devices / queries.pod_size, 1.0)
    network = network / np.where(pods > 1, np.sqrt(queries.oversubscription), 1.0)
    link = queries.link * constants["link_share"]
    return np.where(ranks * apart <= queries.link_domain, link, np.minimum(network, link))


def _pipeline_transfer(queries: Queries, constants: Constants) -> Column:
    """Seconds in which a stage waits for its neighbours' activations and gradients, per micro-batch.

    Each tensor-parallel rank sends its part (Megatron's sequence parallel, DeepSpeed's partitioned activations).
    """
    message = queries.element * queries.micro_batch * queries.sequence / queries.cp * queries.width / queries.tp
    whole_job_in_domain = queries.devices <= queries.link_domain
    reach = np.where(whole_job_in_domain, queries.link * constants["link_share"], _network(queries, constants))
    moved = 2 * queries.virtual * message / reach
    return np.where(queries.pp > 1, constants["pp_exposed"] * moved, 0.0)


def _fused(queries: Queries) -> Column:
    return queries.kernels >= KERNELS["fused"]


def _overlapped(one: Column, other: Column) -> Column:
    """Seconds of two streams of work that run beside each other."""
    return (one**OVERLAP_NORM + other**OVERLAP_NORM) ** (1 / OVERLAP_NORM)


def _gathers_each_time(queries: Queries) -> Column:
    """Whether parameters are gathered, and gradients scattered, for every micro-batch: where they are sharded fully."""
    return (queries.sharding >= SHARDING["full"]) & (queries.dp_shard * queries.cp > 1)


def _fsdp(queries: Queries, constants: Constants, compute: Column) -> Column:
    """Seconds that gathering parameters and scattering gradients adds to a micro-batch, states sharded fully.

    Two gathers and one scatter of an element per parameter hide behind `compute` but for contention. Context-parallel
    ranks hold the same parameters, so they share the states too.
    """
    ranks = queries.dp_shard * queries.cp
    moved = 3 * queries.element * queries.common_parameters / (queries.tp * queries.pp) * (ranks - 1) / ranks
    seconds = moved / _data_bandwidth(queries, constants, ranks, queries.tp)
    alike = queries.expert_shards
    experts = 3 * queries.element * queries.expert_parameters / (queries.ep * queries.pp) * (alike - 1) / alike
    seconds = seconds + experts / _data_bandwidth(queries, constants, alike, queries.ep)
    seconds = seconds + 3 * queries.layers / queries.pp * constants["hop"] * np.log2(np.maximum(ranks, 2))
    added = _overlapped(compute, seconds) - compute + constants["fsdp_contention"] * np.minimum(seconds, compute)
    return np.where(_gathers_each_time(queries), added, 0.0)


def _gradient_exchange(queries: Queries, constants: Constants) -> Column:
    """Seconds per step in which the exchange of gradients (and of sharded optimizers' parameters) is not hidden.

    Bytes per parameter: 4 to sum 16-bit gradients, 6 to scatter float32 gradients and gather 16-bit parameters.
    """
    each_time = _gathers_each_time(queries)
    shards = np.where(each_time, queries.dp_shard * queries.cp, 1.0)
    ranks = np.where(each_time, queries.dp_replicate, queries.dp * queries.cp)
    per_rank = queries.common_parameters / (queries.tp * queries.pp) / shards
    width = np.where(queries.sharding > 0, 6.0, 2 * queries.element)
    seconds = width * per_rank * (ranks - 1) / ranks / _data_bandwidth(queries, constants, ranks, queries.tp * shards)
    parts = np.where(each_time, queries.expert_shards, 1.0)
    copies = np.maximum(queries.expert_copies / parts, 1.0)
    experts = width * queries.expert_parameters / (queries.ep * queries.pp) / parts * (copies - 1) / copies
    seconds = seconds + experts / _data_bandwidth(queries, constants, copies, queries.ep * parts)
    shown = np.where(queries.overlap > 0, constants["dp_overlapped"], constants["dp_exposed"])
    return np.where((ranks > 1) | (copies > 1), shown * seconds, 0.0)
