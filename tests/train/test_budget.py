"""From minutes to a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from ayllu.train import budget
from ayllu.train.budget import BudgetPlan, compiling_pays
from ayllu.train.flops import training_flops
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


@pytest.mark.parametrize(("minutes", "pays"), [(1.0, False), (2.0, True)])
@pytest.mark.parametrize("stated", [False, True], ids=["measured", "stated"])
def test_a_run_shorter_than_compiling_is_not_compiled(
    minutes: float, pays: bool, stated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the speed that was stated, or the share of this machine's matmuls that code as it is reaches."""
    each = training_flops(CONFIG, 64)
    monkeypatch.setattr(budget, "compiler_available", lambda: True)
    monkeypatch.setattr(budget, "matmul_speed", lambda *_, **__: 4 * 1000 * each if not stated else 1.0)
    speed = 1000.0 if stated else None
    given = {"length": 64, "tokens": round(60 * minutes * 1000), "precision": "bf16", "speed": speed}
    assert compiling_pays(CONFIG, **given) == pays  # type: ignore[arg-type]
    monkeypatch.setattr(budget, "compiler_available", lambda: False)
    assert not compiling_pays(CONFIG, **given)  # type: ignore[arg-type]
