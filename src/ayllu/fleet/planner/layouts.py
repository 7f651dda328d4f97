"""Every layout of a model on a pool that the devices, the heads, the layers and the batch allow."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from ayllu.fleet.catalogue import Pool
from ayllu.fleet.experts import ExpertModel
from ayllu.fleet.planner.queries import RECOMPUTE, SHARDING
from ayllu.model.config import ModelConfig

LAYOUT_COLUMNS = ("tp", "cp", "pp", "virtual", "ep", "dp_shard", "dp_replicate", "micro_batch", "recompute", "sharding")
MICRO_BATCHES = (1, 2, 4, 8, 16)
CONTEXT_PARALLEL = (1, 2, 4, 8, 16)
MIN_TOKENS_PER_CONTEXT_RANK = 1024
"""Below this, context parallelism sends more than it computes."""


def layouts(model: ModelConfig, pool: Pool, *, sequence: int, global_batch: int) -> Iterator[tuple[int, ...]]:
    """Rows of degrees, in the order of `LAYOUT_COLUMNS`, that divide devices, heads, layers and batch."""
    count = pool.count
    domain = max(pool.accelerator.link_domain, pool.accelerator.node_size)
    tensor = [
        n
        for n in _powers(min(count, 2 * domain, 64))
        if model.heads % n == 0 and max(n, model.kv_heads) % min(n, model.kv_heads) == 0
    ]
    context = [n for n in CONTEXT_PARALLEL if sequence // n >= MIN_TOKENS_PER_CONTEXT_RANK or n == 1]
    pipeline = sorted(
        {n for n in range(1, model.layers + 1) if model.layers % n == 0 or (model.layers + 2) % n == 0}
        | set(_powers(min(model.layers, 128)))
    )
    for tp, cp, pp in product(tensor, context, pipeline):
        replicas = count // (tp * cp * pp)
        if replicas < 1:
            continue
        for micro in MICRO_BATCHES:
            dp = _data_parallel(replicas, global_batch, micro)
            for virtual, ep, recompute, (shard, sharding) in product(
                _chunks(model.layers, pp), _expert_degrees(model, dp), RECOMPUTE.values(), _shardings(dp, pool, tp * cp)
            ):
                yield tp, cp, pp, virtual, ep, shard, dp // shard, micro, int(recompute), int(sharding)


def _expert_degrees(model: ModelConfig, dp: int) -> list[int]:
    """Ranks between which the experts divide evenly, whole on each, out of `dp` replicas; one in a dense model."""
    if not isinstance(model, ExpertModel):
        return [1]
    return [n for n in range(1, min(model.experts, dp) + 1) if model.experts % n == 0 and dp % n == 0]


def _data_parallel(replicas: int, batch: int, micro: int) -> int:
    """The most replicas, at most `replicas`, between which `batch` divides evenly in micro-batches."""
    share = batch // micro
    return next((n for n in range(min(replicas, share), 0, -1) if share % n == 0 and batch % micro == 0), 1)


def _chunks(layers: int, pp: int) -> list[int]:
    """Chunks per stage that divide the layers evenly, or with embedding and head counted as layers."""
    if pp == 1:
        return [1]
    per_stage = {total // pp for total in (layers, layers + 2) if total % pp == 0}
    return sorted({1} | {n for share in per_stage for n in range(2, share + 1) if share % n == 0})


def _shardings(dp: int, pool: Pool, inner: int) -> list[tuple[int, int]]:
    """Ranks that share the states, and how: not at all, over all replicas, or over those within reach of the link."""
    if dp == 1:
        return [(1, int(SHARDING["replicated"]))]
    near = max(1, pool.accelerator.link_domain // inner)
    choices = [(dp, int(SHARDING["optimizer"])), (dp, int(SHARDING["full"]))]
    if 1 < near < dp and dp % near == 0:
        choices.append((near, int(SHARDING["full"])))
    return [(1, int(SHARDING["replicated"])), *choices]


def _powers(limit: int) -> list[int]:
    return [2**n for n in range(limit.bit_length()) if 2**n <= limit]
