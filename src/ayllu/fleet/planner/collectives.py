"""Seconds that accelerators spend on one another: collectives over links and networks, and exchanges of parameters.

`q` are the queries, a column of one length for each of their fields.
"""

from __future__ import annotations

import numpy as np

from ayllu.fleet.planner.constants import Constants
from ayllu.fleet.planner.queries import SHARDING, Column, Queries

OVERLAP_NORM = 4.0
"""Two overlapped streams take the p-norm of their times: the longer one, and a little more when they are alike."""
BUCKET, BUCKET_PER_REPLICA = 40e6, 1e6
"""Parameters that are exchanged at once, and at least for each replica (Megatron-Core's `bucket_size`)."""
BACKWARD_SHARE = 2 / 3
"""Of a micro-batch's work."""


def overlapped(one: Column, other: Column) -> Column:
    """Seconds of two streams of work that run beside each other."""
    return (one**OVERLAP_NORM + other**OVERLAP_NORM) ** (1 / OVERLAP_NORM)


def network(q: Queries, constants: Constants) -> Column:
    return q.network * constants["network_share"]


def all_reduce(q: Queries, constants: Constants, message: Column, ranks: Column) -> Column:
    """Seconds to sum `message` bytes over neighbouring `ranks` in a ring: over the link, or beyond the domain over the
    slower of the link and the ports of all accelerators of a domain together."""
    link = q.link * constants["link_share"]
    reach = np.where(ranks > q.link_domain, np.minimum(link, q.link_domain * network(q, constants)), link)
    return 2 * (ranks - 1) / ranks * message / reach + latency(q, constants, ranks, 1.0)


def latency(q: Queries, constants: Constants, ranks: Column, apart: Column | float) -> Column:
    """Seconds that a collective of `ranks`, which stand `apart` devices from each other, takes though it moves nothing.

    A hop for each doubling within a domain, and one for each further domain that the ring passes (NCCL 2.27, tuning.cc:
    14 us for a step over a network in its Simple protocol, 3.4 us over NVLink).
    """
    near = np.clip(q.link_domain / apart, 1.0, ranks)
    domains = np.where(ranks * apart > q.link_domain, ranks / near, 1.0)
    return constants["hop"] * (np.log2(np.maximum(near, 2.0)) + domains - 1)


def all_to_all(q: Queries, constants: Constants) -> Column:
    """Seconds in which each of `ep` neighbouring ranks sends every routed token to its expert's rank.

    A token crosses the network once for each node that has experts of its own, and is handed on over the link there
    (arXiv:2412.19437, section 3.2.2), both at the same time; beyond the pod what crosses is slowed by the
    oversubscription.
    """
    message = q.element * q.routed * q.width
    near = np.minimum(q.ep, q.link_domain)
    inside = message * (near - 1) / near / (q.link * constants["link_share"])
    groups = q.ep / near
    # Of `groups` domains a token's experts, drawn evenly, lie in so many; its own costs nothing.
    reached = (groups - 1) * (1 - (1 - 1 / groups) ** q.active_experts)
    crossing = message / np.maximum(q.active_experts, 1.0) * reached
    beyond_pod = np.maximum(1 - q.pod_size / q.ep, 0.0)
    outside = crossing / network(q, constants) * (1 + beyond_pod * (q.oversubscription - 1))
    return overlapped(inside, outside) + constants["hop"] * np.log2(np.maximum(q.ep, 2))


def data_bandwidth(q: Queries, constants: Constants, ranks: Column, apart: Column) -> Column:
    """Bytes/s at which each of the data-parallel `ranks`, which stand `apart` devices from each other, moves a ring's
    traffic.

    Ranks of one group that share a node share its ports, so their traffic enters the node once; beyond the pod the
    traffic that crosses is slowed by the oversubscription (a ring crosses once per pod).
    """
    beside = np.clip(q.link_domain / apart, 1.0, ranks)
    outside = beside * network(q, constants)
    pods = np.maximum(q.devices / q.pod_size, 1.0)
    outside = outside / np.where(pods > 1, np.sqrt(q.oversubscription), 1.0)
    link = q.link * constants["link_share"]
    return np.where(ranks * apart <= q.link_domain, link, np.minimum(outside, link))


def pipeline_transfer(q: Queries, constants: Constants) -> Column:
    """Seconds in which a stage waits for its neighbours' activations and gradients, per micro-batch.

    Each tensor-parallel rank sends its part (Megatron's sequence parallel, DeepSpeed's partitioned activations), and
    each part takes a hop however small it is.
    """
    message = q.element * q.micro_batch * q.sequence / q.cp * q.width / q.tp
    whole_job_in_domain = q.devices <= q.link_domain
    reach = np.where(whole_job_in_domain, q.link * constants["link_share"], network(q, constants))
    moved = 2 * q.virtual * (message / reach + constants["hop"])
    return np.where(q.pp > 1, constants["pp_exposed"] * moved, 0.0)


def _gathers_each_time(q: Queries) -> Column:
    """Whether parameters are gathered, and gradients scattered, for every micro-batch: where they are sharded fully."""
    return (q.sharding >= SHARDING["full"]) & (q.dp_shard * q.cp > 1)


def fsdp(q: Queries, constants: Constants, compute: Column) -> Column:
    """Seconds that gathering parameters and scattering gradients adds to a micro-batch, states sharded fully.

    Two gathers and one scatter of an element per parameter (of frozen ones no scatter) hide behind `compute` but for
    contention. Context-parallel ranks hold the same parameters, so they share the states too.
    """
    ranks = q.dp_shard * q.cp
    moved = q.passes * q.element * q.common_parameters / (q.tp * q.pp) * (ranks - 1) / ranks
    seconds = moved / data_bandwidth(q, constants, ranks, q.tp)
    alike = q.expert_shards
    experts = 3 * q.element * q.expert_parameters / (q.ep * q.pp) * (alike - 1) / alike
    seconds = seconds + experts / data_bandwidth(q, constants, alike, q.ep)
    seconds = seconds + 3 * q.layers / q.pp * latency(q, constants, ranks, q.tp)
    added = overlapped(compute, seconds) - compute + constants["fsdp_contention"] * np.minimum(seconds, compute)
    return np.where(_gathers_each_time(q), added, 0.0)


def gradient_exchange(q: Queries, constants: Constants, compute: Column) -> Column:
    """Seconds per step in which the exchange of gradients (and of sharded optimizers' parameters) is not hidden.

    A sum moves each 16-bit gradient twice around the ring; a sharded optimizer scatters it and gathers the parameter.
    What overlaps hides behind one micro-batch's `compute` at most: gradients are whole in the last backward pass only,
    and parameters are gathered in the first forward pass.
    """
    each_time = _gathers_each_time(q)
    shards = np.where(each_time, q.dp_shard * q.cp, 1.0)
    ranks = np.where(each_time, q.dp_replicate, q.dp * q.cp)
    per_rank = q.trained_parameters / (q.tp * q.pp) / shards
    width = 2 * q.element
    seconds = width * per_rank * (ranks - 1) / ranks / data_bandwidth(q, constants, ranks, q.tp * shards)
    parts = np.where(each_time, q.expert_shards, 1.0)
    copies = np.maximum(q.expert_copies / parts, 1.0)
    experts = width * q.expert_parameters / (q.ep * q.pp) / parts * (copies - 1) / copies
    seconds = seconds + experts / data_bandwidth(q, constants, copies, q.ep * parts)
    buckets = per_rank / np.maximum(BUCKET, BUCKET_PER_REPLICA * q.dp)
    rings = np.ceil(buckets) * latency(q, constants, ranks, q.tp * shards)
    seconds = seconds + np.where(ranks > 1, 2 * rings, 0.0)
    shown = np.where(q.overlap > 0, constants["dp_overlapped"], constants["dp_exposed"])
    hidden = (1 - shown) * seconds
    # A stage ends its first chunks while it still works on the others, `pp` micro-batches at a time.
    last = 1 + (q.pp - 1) * (q.virtual - 1) / q.virtual
    behind = compute * last * np.where(q.sharding > 0, 1.0, BACKWARD_SHARE)
    left = shown * seconds + overlapped(behind, hidden) - behind
    return np.where((ranks > 1) | (copies > 1), left, 0.0)
