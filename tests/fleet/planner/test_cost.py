"""The cost and memory models: bounds that no machine breaks, and how they move."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.fleet.catalogue import find_accelerator
from ayllu.fleet.planner.constants import believed, shipped
from ayllu.fleet.planner.cost import mfu, step_time
from ayllu.fleet.planner.memory import FIXED_BYTES, fits_memory, footprint
from ayllu.fleet.planner.queries import (
    ATTENTION,
    KERNELS,
    LOSS,
    RECOMPUTE,
    SHARDING,
    Queries,
    model_columns,
    queries,
    rate_columns,
)
from ayllu.model.presets import PRESETS
from ayllu.train.flops import training_flops

POWERS = st.sampled_from([1, 2, 4, 8])


def question(model: str = "llama-3.1-8b", accelerator: str = "h100", **changes: Any) -> Queries:
    """One layout of `model` on eight accelerators, with changes."""
    columns = {
        "tp": 1,
        "cp": 1,
        "pp": 1,
        "virtual": 1,
        "dp_shard": 8,
        "dp_replicate": 1,
        "micro_batch": 1,
        "global_batch": 128,
        "recompute": 0,
        "sharding": SHARDING["optimizer"],
        "attention": ATTENTION["tuned"],
        "kernels": KERNELS["fused"],
        "overlap": 1,
        "loss": LOSS["sharded"],
        "sequence_parallel": 1,
        "pod_size": 1e9,
        "oversubscription": 1,
        **model_columns(PRESETS[model], 8192),
        **rate_columns(find_accelerator(accelerator), changes.pop("precision", "bf16")),
    }
    return queries(**(columns | changes))


def seconds(**changes: Any) -> float:
    return float(step_time(question(**changes), shipped()).total[0])


def test_parameters_and_flops_are_the_models() -> None:
    for name, model in PRESETS.items():
        query = question(name)
        assert query.parameters[0] == model.parameters
        assert query.model_flops[0] == pytest.approx(training_flops(model, 8192) * 128 * 8192)


@settings(max_examples=60, deadline=None)
@given(
    tp=POWERS,
    cp=POWERS,
    pp=POWERS,
    virtual=st.sampled_from([1, 2, 4]),
    dp=st.sampled_from([1, 2, 8, 64]),
    micro=st.sampled_from([1, 2, 4]),
    recompute=st.sampled_from(list(RECOMPUTE.values())),
    sharding=st.sampled_from(list(SHARDING.values())),
    precision=st.sampled_from(["bf16", "float8", "float32"]),
    part=st.sampled_from(["a100-80gb", "h100", "gb200", "mi300x", "tpu-v5p", "rtx-4090", "laptop-cpu"]),
)
def test_no_layout_is_faster_than_its_flops(**layout: Any) -> None:
    precision, part = layout.pop("precision"), layout.pop("part")
    dp, micro, virtual = layout.pop("dp"), layout.pop("micro"), layout.pop("virtual")
    if part in ("tpu-v5p", "laptop-cpu") and precision == "float32":
        precision = "bf16"
    query = question(
        accelerator=part,
        precision=precision,
        dp_shard=dp,
        micro_batch=micro,
        virtual=virtual,
        global_batch=dp * micro * 4,
        **layout,
    )
    parts = step_time(query, shipped())
    named = [float(np.broadcast_to(getattr(parts, name), (1,))[0]) for name in parts.__dataclass_fields__]
    assert all(np.isfinite(named))
    assert min(named) >= -1e-12 * max(named)
    assert sum(named) == pytest.approx(float(parts.total[0]))
    least = query.needed_flops[0] / (query.devices[0] * find_accelerator(part).peak(precision) * 1e12)
    assert parts.total[0] > least
    assert footprint(query).total[0] > FIXED_BYTES


def test_a_faster_part_is_faster() -> None:
    times = [seconds(accelerator=part) for part in ("v100-32gb", "a100-80gb", "h100", "b200")]
    assert times == sorted(times, reverse=True)


def test_more_of_what_costs_costs_more() -> None:
    base = seconds()
    assert seconds(global_batch=256) == pytest.approx(2 * base, rel=0.03)
    assert seconds(recompute=RECOMPUTE["full"]) / base == pytest.approx(4 / 3, abs=0.06)
    assert base < seconds(recompute=RECOMPUTE["selective"]) < seconds(recompute=RECOMPUTE["full"])
    assert seconds(kernels=KERNELS["eager"]) > base
    assert seconds(attention=ATTENTION["portable"]) > base
    assert seconds(precision="float8") < base < seconds(precision="float32")


def test_the_bubble_shrinks_with_micro_batches_and_chunks() -> None:
    def bubble(**changes: Any) -> float:
        query = question(pp=8, dp_shard=1, **changes)
        parts = step_time(query, shipped())
        return float(parts.bubble[0] / parts.total[0])

    plain, many, chunked = bubble(global_batch=16), bubble(global_batch=128), bubble(global_batch=16, virtual=4)
    assert plain == pytest.approx(7 / 23, abs=0.03)  # (p - 1) / (m + p - 1), arXiv:2104.04473
    assert many == pytest.approx(7 / 135, abs=0.01)
    assert chunked == pytest.approx(7 / 4 / (16 + 7 / 4), abs=0.03)


def test_tensor_parallel_beyond_the_link_is_slow() -> None:
    inside, outside = (
        float(step_time(question("llama-3.1-70b", tp=tp, dp_shard=1, link_domain=8), shipped()).tensor_parallel[0])
        for tp in (8, 16)
    )
    assert outside > 2 * inside


def test_slow_networks_show_in_sharded_training() -> None:
    fast, slow = (seconds(dp_shard=64, global_batch=64, network=network) for network in (50e9, 1e9))
    assert slow > 1.5 * fast
    pods = [seconds(dp_shard=1024, global_batch=1024, pod_size=256, oversubscription=over) for over in (1, 7)]
    assert pods[1] > pods[0]


def test_gradients_stay_on_the_link_where_their_ranks_do() -> None:
    """Context-parallel ranks of one node sum gradients over its link; replicas of whole nodes over the network."""

    def loss(**changes: Any) -> float:
        return seconds(network=1e9, **changes) / seconds(network=50e9, **changes)

    assert loss(cp=8, dp_shard=1) == pytest.approx(1)
    assert loss(cp=4, dp_shard=2) == pytest.approx(1)
    assert loss(cp=8, dp_shard=1, sharding=SHARDING["full"]) == pytest.approx(1)
    assert loss(cp=8, dp_shard=2) > 1.05
    assert loss(dp_shard=8, dp_replicate=4, sharding=SHARDING["full"]) > 1.05


def test_states_take_18_bytes_or_their_share() -> None:
    model = PRESETS["llama-3.1-8b"]

    def states(**changes: Any) -> float:
        found = footprint(question(**changes))
        return float((found.weights + found.gradients + found.optimizer)[0]) / model.parameters

    assert states(sharding=SHARDING["replicated"]) == pytest.approx(2 + 2 + 12)
    assert states(sharding=SHARDING["optimizer"]) == pytest.approx(2 + 4 + 12 / 8)
    assert states(sharding=SHARDING["full"], dp_shard=512) < 0.6


def test_recomputing_and_splitting_save_memory() -> None:
    def activations(**changes: Any) -> float:
        return float(footprint(question(**changes)).activations[0])

    base = activations()
    assert activations(recompute=RECOMPUTE["full"]) < 0.2 * base
    assert activations(tp=4) == pytest.approx(base / 4)
    assert activations(cp=2) == pytest.approx(base / 2)
    assert activations(attention=ATTENTION["scores"]) > 2 * base


def test_logits_take_what_their_loss_holds() -> None:
    """Bytes of a logit: none at all, 16 bits twice, one float32 copy, or two; a vocabulary split by tp splits them."""
    logits = 4096 * PRESETS["llama-3.1-8b"].vocabulary

    def held(loss: str, **changes: Any) -> float:
        return float(footprint(question(sequence=4096, loss=LOSS[loss], **changes)).logits[0]) / logits

    assert [held(loss) for loss in LOSS] == pytest.approx([0, 4, 6, 10])
    assert held("plain", tp=4) == pytest.approx(10 / 4)


def test_what_cannot_fit_does_not() -> None:
    assert not fits_memory(question("llama-3.1-405b"))[0]
    assert not fits_memory(question("llama-3.1-8b"))[0]
    assert fits_memory(question("llama-3.1-8b", sharding=SHARDING["full"]))[0]


def test_the_fullest_stage_holds_the_odd_layers() -> None:
    """32 layers over 5 stages are 7, 7, 6, 6 and 6: the memory is that of 7, whole layers, never of 6.4 or 6."""
    model = PRESETS["llama-3.1-8b"]
    found = footprint(question(pp=5, dp_shard=1, sharding=SHARDING["replicated"]))
    query = question()
    block = float(query.block_matrices[0]) + 2 * model.width
    weights = float(found.weights[0]) / 2  # bf16
    assert weights == pytest.approx(7 * block + model.vocabulary * model.width)
    even = footprint(question(pp=4, dp_shard=1, sharding=SHARDING["replicated"]))
    assert float(even.weights[0]) / 2 == pytest.approx(8 * block + model.vocabulary * model.width)


def test_a_twentieth_of_the_memory_is_left_free() -> None:
    """What the driver, fragmentation and the collectives' buffers take stands in no formula."""
    needed = float(footprint(question()).total[0])
    assert fits_memory(question(memory=needed / 0.949))[0]
    assert not fits_memory(question(memory=needed / 0.951))[0]


def test_mfu_counts_the_stated_flops() -> None:
    query = question()
    at_peak = query.model_flops / (query.devices * 989e12)
    assert mfu(query, 2 * at_peak, 989e12)[0] == pytest.approx(0.5)


def test_many_layouts_are_one_pass_and_agree_with_one_by_one() -> None:
    tps = np.tile([1, 2, 4, 8], 5000)
    table = question(tp=tps)
    together = step_time(table, shipped()).total
    assert together.shape == tps.shape
    assert together[:4] == pytest.approx([seconds(tp=tp) for tp in (1, 2, 4, 8)])


def test_every_constant_matters() -> None:
    """Each constant moves the time of some layout: none is dead weight."""
    layouts = [
        question(
            "llama-3.1-70b", tp=16, pp=2, cp=2, dp_shard=4, recompute=2, sharding=3, overlap=overlap, attention=kind
        )
        for overlap in (0, 1)
        for kind in ATTENTION.values()
    ]
    layouts += [question(kernels=0, precision=kind) for kind in ("bf16", "float8", "float4")]
    layouts += [question(tp=tp, overlap=overlap, dp_shard=64) for tp in (1, 8) for overlap in (0, 1)]
    base = believed()
    for name, value in base.values.items():
        moved = replace(base, values=base.values | {name: 1.5 * value})
        assert any(
            abs(step_time(query, moved).total[0] / step_time(query, base).total[0] - 1) > 1e-7 for query in layouts
        ), name
