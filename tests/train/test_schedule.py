"""The learning rate over a run."""

from __future__ import annotations

import pytest

from ayllu.train.schedule import lr_scale


def test_the_learning_rate_rises_and_ends_near_zero() -> None:
    rates = [lr_scale(step, steps=100, warmup=10) for step in range(100)]
    assert max(rates) == pytest.approx(0.91, abs=0.02)
    assert rates[0] < rates[5] < rates[9]
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01)


def test_the_learning_rate_stays_until_its_decay_begins() -> None:
    rates = [lr_scale(step, steps=100, warmup=10, stable=80) for step in range(100)]
    assert rates[9:81] == [1.0] * 72
    assert rates[80:] == sorted(rates[80:], reverse=True)
    assert rates[-1] == pytest.approx(0.05)
    assert [lr_scale(step, steps=80, warmup=10, stable=80) for step in range(80)] == rates[:80], "a trunk has no decay"
