"""Scaling laws: known constants are found again, and intervals hold as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from ayllu.evals.scaling.law import Law, Point, fit_law

TRUE = Law(floor=0.9, a=12.0, alpha=0.3, b=400.0, beta=0.45)
SIZES = (0.36e6, 0.72e6, 1.3e6, 2.2e6)
NEXT = (3.45e6, 28e6)
"""Parameters and tokens of a rung above all of them."""


def points(noise: float = 0.0, seed: int = 0) -> list[Point]:
    """Four rungs of three token counts; half of the noise is a rung's own."""
    rng = np.random.default_rng(seed)
    found = []
    for rung, size in enumerate(SIZES):
        common = rng.standard_normal()
        for share in (0.3, 0.55, 1.0):
            tokens = NEXT[1] * share * (size / NEXT[0]) ** 0.5
            error = noise * (common + rng.standard_normal()) / 2**0.5
            found.append(Point(rung=rung, parameters=size, tokens=tokens, loss=TRUE.loss(size, tokens) * (1 + error)))
    return found


def test_the_constants_of_losses_without_noise_are_found() -> None:
    found = fit_law(points(), draws=2).law
    assert found.alpha == pytest.approx(TRUE.alpha, abs=0.01)
    assert found.beta == pytest.approx(TRUE.beta, abs=0.01)
    assert found.floor == pytest.approx(TRUE.floor, abs=0.02)
    assert found.loss(*NEXT) == pytest.approx(TRUE.loss(*NEXT), rel=1e-4)
    assert found.size_exponent == pytest.approx(0.6, abs=0.01)


def test_the_interval_of_the_next_rung_holds_about_as_often_as_it_says() -> None:
    inside, errors = 0, []
    for seed in range(30):
        law = fit_law(points(0.005, seed), draws=80, seed=seed)
        low, high = law.interval(*NEXT)
        measured = TRUE.loss(*NEXT) * (1 + 0.005 * np.random.default_rng(100 + seed).standard_normal())
        inside += low <= measured <= high
        errors.append(abs(law.law.loss(*NEXT) / measured - 1))
    assert 18 <= inside <= 29, "80 % of 30, within what chance allows"
    assert np.median(errors) < 0.015


def test_constants_are_never_below_zero() -> None:
    rows = [Point(rung=r, parameters=s, tokens=t, loss=1.0 + 0.1 * r) for r, s in enumerate(SIZES) for t in (1e6, 2e6)]
    law = fit_law(rows, draws=2).law
    assert min(law.floor, law.a, law.b) >= 0


@pytest.mark.parametrize("rungs", [1, 2])
def test_fewer_than_three_rungs_make_no_law(rungs: int) -> None:
    with pytest.raises(ValueError, match="three rungs"):
        fit_law([point for point in points() if point.rung < rungs])


def test_a_fit_says_its_intervals() -> None:
    told = fit_law(points(0.005), draws=40).as_json()
    for name, (low, high) in told["intervals"].items():
        assert low <= high, name
    assert told["points"] == 12
    assert 0 < told["residual_pct"] < 2
