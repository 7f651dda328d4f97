"""Collectives over many nodes and stages split by cost, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ayllu.fleet.catalogue import find_accelerator
from ayllu.fleet.planner.collectives import all_reduce, gradient_exchange, latency
from ayllu.fleet.planner.constants import Constants, believed
from ayllu.fleet.planner.cost import step_time
from ayllu.fleet.planner.queries import (
    ATTENTION,
    KERNELS,
    LOSS,
    SHARDING,
    SPLIT,
    Queries,
    model_columns,
    queries,
    rate_columns,
)
from ayllu.model.presets import PRESETS

HOP = 1e-5
PLAIN = Constants(
    values=believed().values
    | {"hop": HOP, "link_share": 1.0, "network_share": 1.0, "dp_exposed": 1.0, "dp_overlapped": 0.1}
)


def table(**changes: Any) -> Queries:
    """Llama-3.1-8B on nodes of eight with 400 GB/s inside and 50 GB/s each outside."""
    columns = {
        **dict.fromkeys(("tp", "cp", "pp", "virtual", "dp_replicate", "micro_batch", "overlap"), 1),
        **dict.fromkeys(("recompute", "sequence_parallel", "split"), 0),
        "dp_shard": 8,
        "global_batch": 64,
        "sharding": SHARDING["optimizer"],
        "attention": ATTENTION["tuned"],
        "kernels": KERNELS["fused"],
        "loss": LOSS["sharded"],
        "pod_size": 1e9,
        "oversubscription": 1,
        **model_columns(PRESETS["llama-3.1-8b"], 8192),
        **rate_columns(find_accelerator("h100"), "bf16"),
        **{"link": 400e9, "link_domain": 8, "network": 50e9},
    }
    return queries(**(columns | changes))


def value(column: Any) -> float:
    return float(np.atleast_1d(column)[0])


@pytest.mark.parametrize(
    ("ranks", "apart", "hops"),
    [
        (8, 1, 3),  # one node: log2(8)
        (16, 1, 3 + 1),  # two nodes
        (512, 1, 3 + 63),
        (64, 8, 1 + 63),  # one rank of each of 64 nodes
        (4, 2, 2),  # every other device of one node
    ],
)
def test_latency_grows_with_the_nodes_of_the_ring(ranks: int, apart: int, hops: float) -> None:
    assert value(latency(table(), PLAIN, np.array([ranks]), apart)) == pytest.approx(hops * HOP)


def test_a_sum_over_nodes_takes_the_slower_of_link_and_network() -> None:
    """2 (r - 1) / r messages of 1 GB: at 400 GB/s inside; outside eight ports of 50 are as fast, eight of 5 are not."""
    message = np.array([1e9])
    inside = value(all_reduce(table(), PLAIN, message, np.array([8.0])))
    assert inside == pytest.approx(2 * 7 / 8 * 1e9 / 400e9 + 3 * HOP)
    for network, reach in ((50e9, 400e9), (5e9, 40e9)):
        over = value(all_reduce(table(network=network), PLAIN, message, np.array([16.0])))
        assert over == pytest.approx(2 * 15 / 16 * 1e9 / reach + 4 * HOP)


def test_tensor_parallel_over_nodes_is_hardly_hidden() -> None:
    """Within a node 0.4 of it shows, beyond one 0.95, as where software waits."""
    parts = {
        (tp, overlap): value(step_time(table(tp=tp, overlap=overlap, dp_shard=4), believed()).tensor_parallel)
        for tp in (8, 16)
        for overlap in (0, 1)
    }
    assert parts[8, 1] / parts[8, 0] == pytest.approx(0.4 / 0.95)
    assert parts[16, 1] == pytest.approx(parts[16, 0])


def test_an_exchange_hides_behind_one_micro_batch_and_no_more() -> None:
    """8.03B parameters of two bytes go around twice: 0.64 s at 50 GB/s for each rank of 64 nodes. A tenth shows in any
    case; the rest where there is nothing to hide behind, and hardly any of it behind ten seconds of work."""
    query = table(tp=8, dp_shard=64, network=50e9)
    parameters = value(query.trained_parameters) / 8
    rings = np.ceil(parameters / 64e6) * 2 * (1 + 63) * HOP  # a bucket holds a million parameters for each replica
    whole = 4 * parameters * 63 / 64 / 50e9 + rings
    shown = [value(gradient_exchange(query, PLAIN, np.array([work]))) for work in (1e-9, 0.05, 10.0)]
    assert shown[0] == pytest.approx(whole, rel=1e-3)
    assert shown[2] == pytest.approx(0.1 * whole, rel=1e-3)
    assert shown[2] < shown[1] < shown[0]
    waits = value(gradient_exchange(replace(query, overlap=np.zeros(1)), PLAIN, np.array([10.0])))
    assert waits == pytest.approx(whole, rel=1e-3)


def test_a_chunk_that_is_done_early_is_exchanged_early() -> None:
    """With four chunks a stage has done three while it works on the last: more to hide behind."""
    one, four = (
        value(gradient_exchange(table(pp=4, virtual=chunks, dp_shard=64), PLAIN, np.array([0.05]))) for chunks in (1, 4)
    )
    assert four < one


@pytest.mark.parametrize(
    ("layers", "pp", "vocabulary_blocks", "slowest"),
    [
        # Fair shares of layers and a head worth two: (30 + 2) / 4 = 8 each; the last has 6 layers and the head.
        (30, 4, 2.0, 8.0),
        # (32 + 2) / 4 = 8.5: ends after 8, 17 and 25 layers; the second stage has 9, the last 7 and the head.
        (32, 4, 2.0, 9.0),
        # A head worth six layers of eight: (8 + 6) / 4 = 3.5: ends after 3, 7 and 8; the last has the head alone.
        (8, 4, 6.0, 6.0),
    ],
)
def test_stages_split_by_cost_end_where_their_share_does(
    layers: int, pp: int, vocabulary_blocks: float, slowest: float
) -> None:
    """Time of the slowest stage in blocks, of one whose head costs as its matrices say."""
    from ayllu.fleet.planner.cost import _slowest_stage

    query = table(layers=layers, pp=pp, dp_shard=1, split=SPLIT["cost"])
    query = replace(query, vocabulary=vocabulary_blocks * query.block_matrices / query.width)
    assert value(_slowest_stage(query, np.ones(1), np.array([vocabulary_blocks]))) == pytest.approx(slowest)
    even = replace(query, split=np.zeros(1))
    if layers % pp == 0:
        assert value(_slowest_stage(even, np.ones(1), np.array([vocabulary_blocks]))) == layers / pp + vocabulary_blocks
