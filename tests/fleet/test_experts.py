"""Mixtures of experts: their counts, memory and time, and the layouts that divide them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ayllu.cli.fleet.commands import app
from ayllu.fleet.catalogue import find_accelerator, find_fleet
from ayllu.fleet.experts import ExpertModel, expert_models
from ayllu.fleet.launch.planned_layout import read_layout
from ayllu.fleet.planner.constants import EXPERT_CONSTANTS, shipped
from ayllu.fleet.planner.cost import step_time
from ayllu.fleet.planner.find_job import find_model_config
from ayllu.fleet.planner.layouts import LAYOUT_COLUMNS, layouts
from ayllu.fleet.planner.memory import footprint
from ayllu.fleet.planner.plan import plan
from ayllu.fleet.planner.queries import (
    ATTENTION,
    KERNELS,
    LOSS,
    SHARDING,
    Queries,
    model_columns,
    queries,
    rate_columns,
)
from ayllu.fleet.planner.training_job import TrainingJob
from ayllu.fleet.validation.measured_runs import MeasuredRuns, read_measured_runs
from ayllu.lab.error import UserError
from ayllu.model.presets import PRESETS

MIXTRAL = "mixtral-8x7b"


def question(model: Any, accelerator: str = "h100", **changes: Any) -> Queries:
    columns = {
        **dict.fromkeys(("tp", "cp", "pp", "virtual", "dp_replicate", "micro_batch", "overlap"), 1),
        **{"dp_shard": 64, "global_batch": 512, "recompute": 0, "sharding": SHARDING["optimizer"]},
        **{"attention": ATTENTION["tuned"], "kernels": KERNELS["fused"], "loss": LOSS["sharded"]},
        **{"sequence_parallel": 1, "pod_size": 1e9, "oversubscription": 1},
        **model_columns(model, 4096),
        **rate_columns(find_accelerator(accelerator), "bf16"),
    }
    return queries(**(columns | changes))


def seconds(model: Any = None, **changes: Any) -> float:
    return float(step_time(question(model or expert_models()[MIXTRAL], **changes), shipped()).total[0])


@pytest.fixture(scope="module")
def mixtures() -> MeasuredRuns:
    found = read_measured_runs().experts
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "total", "active"),
    [
        # arXiv:2401.04088 section 2.1, 2505.09388 Table 2, 2508.10925 Table 1, 2405.04434 and 2412.19437 abstracts
        ("mixtral-8x7b", 46.7, 12.9),
        ("qwen3-30b-a3b", 30.5, 3.3),
        ("qwen3-235b-a22b", 235, 22),
        ("gpt-oss-120b", 116.8, 5.7),
        ("gpt-oss-20b", 20.9, 4.2),
        ("deepseek-v2", 236, 21),
        ("deepseek-v3", 671, 37),
    ],
)
def test_parameters_are_the_published_ones(name: str, total: float, active: float) -> None:
    model = expert_models()[name]
    assert model.parameters / 1e9 == pytest.approx(total, rel=0.01)
    assert model.active_parameters / 1e9 == pytest.approx(active, rel=0.03)
    query = question(model)
    # Attention's two matrices for its latent, in the mean of the layers, are the only rounding.
    assert query.parameters[0] == pytest.approx(model.parameters, rel=1e-9)


def test_one_expert_that_sees_every_token_is_a_dense_model() -> None:
    dense = PRESETS["llama-3.1-8b"]
    shape = {name: getattr(dense, name) for name in ("vocabulary", "layers", "width", "heads", "kv_heads")}
    one = ExpertModel(**shape, feed_forward=14_336, experts=1, active_experts=1, expert_width=14_336)
    router = dense.layers * dense.width
    assert one.parameters == one.active_parameters == dense.parameters + router
    assert question(one).model_flops[0] == pytest.approx(question(dense).model_flops[0], rel=1e-4)
    assert footprint(question(one)).total[0] == pytest.approx(footprint(question(dense)).total[0], rel=0.15)
    assert seconds(dense) < seconds(one) < 1.6 * seconds(dense)


def test_dividing_experts_saves_their_memory_and_costs_an_exchange() -> None:
    model = expert_models()[MIXTRAL]
    whole, divided = (footprint(question(model, ep=ep)) for ep in (1, 8))
    experts = 32 * 8 * 3 * 4096 * 14_336
    assert whole.weights[0] - divided.weights[0] == pytest.approx(2 * experts * 7 / 8)
    # Sharded over 64 ranks either way: dividing the experts moves the states, and saves none.
    assert whole.optimizer[0] == pytest.approx(divided.optimizer[0])
    parts = [step_time(question(model, ep=ep), shipped()) for ep in (1, 8)]
    assert parts[0].expert_parallel[0] == 0 < parts[1].expert_parallel[0]
    assert parts[1].data_parallel[0] < parts[0].data_parallel[0]


def test_the_fullest_stage_holds_the_odd_layers_experts() -> None:
    """32 layers over 5 stages are 7, 7, 6, 6 and 6."""
    model = expert_models()[MIXTRAL]
    whole, divided = (footprint(question(model, pp=5, ep=ep)) for ep in (1, 8))
    assert whole.weights[0] - divided.weights[0] == pytest.approx(2 * 7 * 8 * 3 * 4096 * 14_336 * 7 / 8)


def test_the_exchange_grows_with_the_ranks_and_leaves_the_link_at_a_price() -> None:
    model = expert_models()["deepseek-v3"]
    spent = [
        float(step_time(question(model, ep=ep, dp_shard=256), shipped()).expert_parallel[0]) for ep in (1, 4, 8, 16, 64)
    ]
    assert spent == sorted(spent)
    assert spent[4] > 1.5 * spent[2]
    on_one_link = step_time(question(model, "gb200", ep=64, dp_shard=256), shipped()).expert_parallel[0]
    assert on_one_link < spent[4] / 2


def test_oversubscription_slows_only_what_leaves_the_pod() -> None:
    model = expert_models()["deepseek-v3"]
    slow = [seconds(model, ep=64, dp_shard=256, oversubscription=7, pod_size=size) for size in (16, 256)]
    assert slow[0] > 1.05 * slow[1]


def test_a_token_passes_its_experts_once_whatever_their_number() -> None:
    few, many = (question(expert_models()[MIXTRAL], experts=count, ep=8) for count in (8, 64))
    assert few.model_flops[0] == pytest.approx(many.model_flops[0], rel=1e-3)
    more = question(expert_models()[MIXTRAL], active_experts=4, ep=8)
    assert step_time(more, shipped()).products[0] > 1.3 * step_time(few, shipped()).products[0]


def test_every_constant_of_experts_matters() -> None:
    query = question(expert_models()[MIXTRAL], ep=8)
    base = shipped()
    for name in EXPERT_CONSTANTS:
        moved = {**base.values, name: 1.5 * base[name]}
        assert step_time(query, type(base)(values=moved)).total[0] != step_time(query, base).total[0], name
        dense = question(PRESETS["llama-3.1-8b"])
        assert step_time(dense, type(base)(values=moved)).total[0] == step_time(dense, base).total[0], name


def test_layouts_divide_the_experts_and_the_replicas() -> None:
    model = expert_models()[MIXTRAL]
    rows = np.array(list(layouts(model, find_fleet("64xh100").pools[0], sequence=4096, global_batch=512)))
    found = dict(zip(LAYOUT_COLUMNS, rows.T, strict=True))
    assert set(found["ep"]) == {1, 2, 4, 8}
    assert not np.any((found["dp_shard"] * found["dp_replicate"]) % found["ep"])
    dense = list(layouts(PRESETS["llama-3.1-8b"], find_fleet("64xh100").pools[0], sequence=4096, global_batch=512))
    assert {row[LAYOUT_COLUMNS.index("ep")] for row in dense} == {1}


def test_deepseek_v3_is_planned_nearly_as_fast_as_it_was_trained() -> None:
    # arXiv:2412.19437, Table 1 and section 4.2: 2.664 million hours of 2,048 H800 for 14.8T tokens, in steps of 15,360
    # sequences of 4,096; so 54 days. It is in no table that anything was fitted on.
    job = TrainingJob(
        name="deepseek-v3",
        model=expert_models()["deepseek-v3"],
        sequence=4096,
        global_batch=15_360,
        tokens=14.8e12,
        precision="float8",
    )
    found = plan(job, find_fleet("2048xh800").pools[0])
    assert found.layouts_considered > 50_000
    assert found.best.days == pytest.approx(2.664e6 / 2048 / 24, rel=0.3)
    assert found.best.layout.ep > 1
    assert any(reason.startswith("with ep") for reason in found.why)


def test_published_mixtures_are_scored_apart(mixtures: MeasuredRuns, report: Any) -> None:
    assert report.experts is not None
    assert report.experts["rows"] == len(mixtures.runs) > 100
    assert report.experts["median_abs_error_pct"] < 15
    assert report.left_out["a mixture of experts (scored apart)"] == len(mixtures.runs)
    assert sum(found["rows"] for found in report.experts["by_source"].values()) == len(mixtures.runs)


def test_peaks_of_mixtures_are_near_the_measured_ones(mixtures: MeasuredRuns) -> None:
    measured = np.array([run.measured_memory or np.nan for run in mixtures.runs])
    rows = ~np.isnan(measured)
    assert rows.sum() == 10
    error = footprint(mixtures.queries.take(rows)).total / measured[rows] - 1
    assert np.abs(error).max() < 0.06


def test_a_plan_with_divided_experts_says_so_and_is_not_launched(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    app(["plan", MIXTRAL, "--fleet", "64xh100", "--json"], result_action="return_value")
    text = capsys.readouterr().out
    value = json.loads(text)
    assert "planned only" in value["note"]
    assert value["active_parameters"] < value["parameters"] / 3
    choices = value["pools"][0]["choices"]
    number = next(n for n, choice in enumerate(choices, 1) if choice["layout"]["ep"] > 1)
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(UserError, match="does not train"):
        read_layout(tmp_path / "plan.json", number)


DEEPSEEK_V3 = {
    **{"model_type": "deepseek_v3", "hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128},
    **{"num_key_value_heads": 128, "intermediate_size": 18_432, "moe_intermediate_size": 2048, "vocab_size": 129_280},
    **{"n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "first_k_dense_replace": 3},
    **{"q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128},
    **{"max_position_embeddings": 163_840, "moe_layer_freq": 1},
}


def test_a_config_of_experts_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(DEEPSEEK_V3))
    assert find_model_config(str(tmp_path)) == expert_models()["deepseek-v3"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps(DEEPSEEK_V3 | {"moe_layer_freq": 2}), "not simply all"),
        (json.dumps(DEEPSEEK_V3 | {"num_experts_per_tok": 300}), "300 of 256"),
        (json.dumps({k: v for k, v in DEEPSEEK_V3.items() if k != "vocab_size"}), "lacks 'vocab_size'"),
        (json.dumps({"model_type": "mamba"}), "'mamba'"),
        ("[]", "config.json"),
        ("", "config.json"),
        (None, "does not exist"),
    ],
)
def test_a_config_that_cannot_be_planned_is_one_sentence(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=said) as error:
        find_model_config(str(tmp_path))
    assert "\n" not in str(error.value)
