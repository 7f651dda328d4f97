"""Large models under the layouts that are planned for them: built as the engine builds them, on no memory."""

from __future__ import annotations

import json
import math
import sys

import pytest

from ayllu.cli.main import main
from ayllu.fleet.catalogue import find_fleet
from ayllu.fleet.planner.plan import plan
from ayllu.fleet.planner.training_job import TrainingJob
from ayllu.lab.error import UserError
from ayllu.model.presets import PRESETS
from ayllu.train.distributed.layout import Layout
from ayllu.train.placement import holdings, table


@pytest.mark.parametrize(
    ("name", "fleet"), [("llama-3.1-8b", "64xh100"), ("llama-3.1-70b", "512xh100"), ("llama-3.1-405b", "16384xh100")]
)
def test_large_models_build_under_their_planned_layouts(name: str, fleet: str) -> None:
    config = PRESETS[name]
    (pool,) = find_fleet(fleet).pools
    job = TrainingJob(name=name, model=config, sequence=8192, global_batch=2048, tokens=1e12)
    layout = plan(job, pool).best.layout
    found = holdings(config, layout)
    sys.stdout.write(f"\n{name} under {layout}\n{table(found)}\n")
    assert len(found) == layout.pp
    assert sum(h.layers for h in found) == config.layers
    # The first process of a stage has a row of each matrix even where there are fewer rows than processes (wk and wv
    # of the 405B model), and norms lie whole on all tensor-parallel ones: a little more than its share.
    shards = layout.dp_shard * layout.cp * layout.tp
    assert math.isclose(sum(h.parameters for h in found) * shards, config.parameters, rel_tol=0.015)
    assert max(h.total for h in found) < 0.95 * 80 * 2**30


def test_bytes_by_hand() -> None:
    """8B on 8 processes: 4 bytes a weight, 4 a gradient; one moment of matrices, two of embedding, output and norms."""
    config = PRESETS["llama-3.1-8b"]
    (held,) = holdings(config, Layout(dp_shard=8))
    ends = 2 * config.vocabulary * config.width
    norms = (2 * config.layers + 1) * config.width
    matrices = config.parameters - ends - norms
    assert held.parameters == config.parameters / 8
    assert held.weights == held.gradients == 4 * config.parameters / 8
    assert held.optimizer == 4 * (matrices + 2 * (ends + norms)) / 8


def test_a_layout_that_fits_not_is_refused() -> None:
    with pytest.raises(UserError, match="kv_heads"):
        holdings(PRESETS["llama-3.1-8b"], Layout(tp=16))


def test_the_command_prints_one_line_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["layout", "llama-3.1-8b", "pp=4,dp_shard=2", "--json"])
    assert done.value.code == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [stage["layers"] for stage in stages] == [8, 8, 8, 8]
