"""From minutes to a model."""

from __future__ import annotations

from pathlib import Path

from ayllu.train.budget import BudgetPlan
from ayllu.train.loop import TrainConfig
from support.training.tiny import CONFIG


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
