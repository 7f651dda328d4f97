"""Adapters (LoRA): frozen weights need no gradient of their own, no exchange of it and no state of an optimizer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ayllu
from ayllu.cli.fleet.commands import app
from ayllu.fleet.catalogue import find_fleet
from ayllu.fleet.planner.constants import shipped
from ayllu.fleet.planner.cost import step_time
from ayllu.fleet.planner.memory import footprint
from ayllu.fleet.planner.plan import _layout_table
from ayllu.fleet.planner.queries import Queries
from ayllu.fleet.planner.training_job import TrainingJob
from ayllu.fleet.validation.measured_run import Unusable, read_measured_run
from ayllu.lab.error import UserError
from ayllu.model.presets import PRESETS
from ayllu.model.transformer import Transformer
from ayllu.train.lora import LoraConfig, LoraLinear, attach
from support.fleet.runs_table import ROW
from support.models import sharp_model


def table(rank: int, model: str = "llama-3.1-8b", fleet: str = "16xh100") -> Queries:
    """Every layout."""
    shape = PRESETS[model]
    job = TrainingJob(name=model, model=shape, sequence=8192, global_batch=128, tokens=1e9, adapter_rank=rank)
    return _layout_table(job, find_fleet(fleet).pools[0])


def test_the_adapters_are_those_that_the_engine_attaches() -> None:
    model: Transformer = sharp_model()
    config = model.config
    attach(model, LoraConfig(rank=3))
    real = sum(m.a.numel() + m.b.numel() for m in model.modules() if isinstance(m, LoraLinear))
    job = TrainingJob(name="x", model=config, sequence=8, global_batch=8, tokens=1e6, adapter_rank=3)
    assert _layout_table(job, find_fleet("1xh100").pools[0]).trained_parameters[0] == real


def test_a_step_saves_the_gradients_of_frozen_weights_and_nothing_else() -> None:
    full, frozen = (step_time(table(rank), shipped()) for rank in (0, 16))
    assert np.all(frozen.total < full.total)
    ratio = frozen.products / full.products
    assert ratio.min() > 0.6 and ratio.max() < 0.85, "two products of three, the thin ones, and no sum of gradients"
    np.testing.assert_array_equal(frozen.attention, full.attention)
    np.testing.assert_array_equal(frozen.elementwise, full.elementwise)
    np.testing.assert_array_equal(frozen.tensor_parallel, full.tensor_parallel)
    assert np.all(frozen.optimizer <= full.optimizer) and np.all(frozen.data_parallel <= full.data_parallel)
    copied = (table(0).dp_replicate > 1) | (table(0).sharding == 1)
    alone = copied & (table(0).dp > 1) & (table(0).sharding < 3) & (full.data_parallel > 0)
    assert np.all(frozen.data_parallel[alone] < 0.05 * full.data_parallel[alone]), "only the adapters are exchanged"
    higher = step_time(table(256), shipped())
    assert np.all(higher.products > frozen.products)


def test_memory_holds_no_state_of_frozen_weights() -> None:
    full, frozen = (footprint(table(rank)) for rank in (0, 16))
    assert np.all(frozen.total < full.total)
    assert np.all(frozen.gradients + frozen.optimizer < 0.05 * (full.gradients + full.optimizer))
    np.testing.assert_array_equal(frozen.activations, full.activations)
    one = table(16, fleet="1xh100")
    weights = float(footprint(one).weights[0])
    assert weights == pytest.approx(2 * PRESETS["llama-3.1-8b"].parameters, rel=0.02), "16 bits each"


def test_what_is_too_large_to_train_whole_fits_with_adapters() -> None:
    with pytest.raises(UserError, match="fits no layout"):
        ayllu.plan("llama-3.1-70b", fleet="8xh100", tokens=1e9)
    found = ayllu.plan("llama-3.1-70b", fleet="8xh100", tokens=1e9, adapter_rank=16)
    assert found.plans[0].best.memory_share < 0.95
    assert found.as_json()["adapter_rank"] == 16 and "4 x (frozen)" in found.as_json()["mfu_formula"]
    assert 0.2 < found.plans[0].best.mfu < 0.8
    assert ayllu.plan("llama-3.2-1b", fleet="1xh100", tokens=1e9).as_json()["adapter_rank"] == 0


@pytest.mark.parametrize(
    ("changes", "rank"),
    [({}, 0), ({"lora_rank": "8"}, 8), ({"notes": "LoRA on all layers"}, 16), ({"model": "Llama-3.1-8B LoRA"}, 16)],
)
def test_a_measured_run_says_that_it_trained_adapters(changes: dict[str, str], rank: int) -> None:
    renamed = {("adapter_rank" if name == "lora_rank" else name): value for name, value in changes.items()}
    assert read_measured_run(ROW | renamed).columns["adapter_rank"] == rank


def test_frozen_weights_in_4_bits_are_left_out() -> None:
    with pytest.raises(Unusable, match="QLoRA"):
        read_measured_run(ROW | {"notes": "QLoRA, r=16"})


def test_what_cannot_be_planned_with_adapters_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for model, rank, said in (("llama-3.2-1b", 0, "at least 1"), ("mixtral-8x7b", 8, "dense models only")):
        with pytest.raises(UserError, match=said):
            ayllu.plan(model, fleet="64xh100", adapter_rank=rank)
    app(["plan", "llama-3.2-1b", "--fleet", "8xh100", "--adapter-rank", "8", "--json"], result_action="return_value")
    path = tmp_path / "plan.json"
    path.write_text(capsys.readouterr().out)
    assert json.loads(path.read_text())["asked"] == {"adapter_rank": 8}
    words = ["launch", "llama", "--on", "slurm", "--plan", str(path), "--dry-run"]
    with pytest.raises(UserError, match="no recipe takes from a plan"):
        app(words, result_action="return_value")
