"""From minutes to a model."""

from __future__ import annotations

from pathlib import Path

from ayllu.train.budget import LADDER, TOKENS_PER_PARAMETER, BudgetPlan, choose_shape
from ayllu.train.flops import training_flops
from ayllu.train.loop import TrainConfig
from support.training import CONFIG


def test_more_time_never_buys_a_smaller_model() -> None:
    sizes = [
        choose_shape(rate=2e11, seconds=60 * minutes, vocabulary=4096, length=256).parameters
        for minutes in (0.1, 1, 10, 100, 1000, 10_000)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_the_chosen_model_sees_its_share_of_tokens() -> None:
    for minutes in (10, 100, 1000):
        config = choose_shape(rate=2e11, seconds=60 * minutes, vocabulary=4096, length=256)
        tokens = 2e11 * 60 * minutes / training_flops(config, 256)
        assert tokens >= TOKENS_PER_PARAMETER * config.matrix_parameters or config.layers == LADDER[0][0]


def test_a_plan_survives_being_written(tmp_path: Path) -> None:
    plan = BudgetPlan(
        model=CONFIG,
        train=TrainConfig(steps=10, batch=2, warmup=1, compiled=True),
        tokens_per_second=5.0,
        seconds=3.0,
        bits_per_byte=None,
    )
    plan.write(tmp_path / "plan.json")
    assert BudgetPlan.read(tmp_path / "plan.json") == plan
