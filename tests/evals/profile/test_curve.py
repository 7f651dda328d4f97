"""The fitted curve: it finds what made the data, its intervals cover it, and it says when it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from ayllu.evals.profile.curve import (
    LAPSE,
    STEP,
    Cells,
    count_cells,
    detectable_threshold_difference,
    fit_threshold,
    probabilities,
    thresholds,
)
from ayllu.evals.profile.item import LEVELS


def drawn(d50: float, slope: float, chance: float, each: int, seed: int) -> Cells:
    levels = np.repeat(LEVELS, each)
    p = probabilities(levels, np.full(len(levels), chance), d50, slope)
    solved = np.random.default_rng(seed).random(len(levels)) < p
    return count_cells(levels, np.full(len(levels), chance), solved)


def test_half_of_what_chance_leaves_is_solved_at_d50() -> None:
    assert probabilities([8], [0.0], 8.0, 0.7)[0] == pytest.approx((1 - LAPSE) / 2)
    assert probabilities([8], [0.25], 8.0, 0.7)[0] == pytest.approx(0.25 + (0.75 - LAPSE) / 2)
    assert probabilities([-1e6], [0.25], 8.0, 0.7)[0] == pytest.approx(1 - LAPSE)


@pytest.mark.parametrize("chance", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("d50", [3.0, 8.0, 18.0])
def test_much_data_gives_the_truth_back(d50: float, chance: float) -> None:
    found = fit_threshold(drawn(d50, 0.6, chance, 400, seed=int(d50)))
    assert found.d50 == pytest.approx(d50, abs=0.5)
    assert found.slope == pytest.approx(0.6, rel=0.25)
    assert found.low - 0.15 < d50 < found.high + 0.15
    assert found.high - found.low < 1.5


def test_the_maximum_is_that_of_a_general_optimiser() -> None:
    from scipy.optimize import minimize

    cells = drawn(9.0, 0.5, 0.25, 6, seed=3)

    def loss(x: np.ndarray) -> float:
        p = probabilities(cells.levels, cells.chances, x[0], np.exp(x[1]))
        return -float(cells.solved @ np.log(p) + (cells.items - cells.solved) @ np.log1p(-p))

    best = minimize(loss, [9.0, -0.7], method="Nelder-Mead")
    found = fit_threshold(cells)
    assert found.d50 == pytest.approx(best.x[0], abs=0.1)
    assert loss(np.array([found.d50, np.log(found.slope)])) == pytest.approx(best.fun, abs=0.01)


@pytest.mark.parametrize(("d50", "slope", "chance"), [(5.0, 0.5, 0.25), (10.0, 1.0, 0.0), (15.0, 0.3, 0.25)])
def test_the_interval_covers_the_truth_as_often_as_it_says(d50: float, slope: float, chance: float) -> None:
    levels = np.repeat(LEVELS, 6).astype(float)
    p = probabilities(np.array(LEVELS), np.full(len(LEVELS), chance), d50, slope)
    solved = np.random.default_rng(11).binomial(6, p, size=(150, len(LEVELS)))
    held = 0
    for row in solved:
        cells = Cells(np.unique(levels), np.full(len(LEVELS), chance), row.astype(float), np.full(len(LEVELS), 6.0))
        found = fit_threshold(cells, resamples=0)
        held += found.low <= d50 <= found.high
    assert 0.91 <= held / 150 <= 0.99


def test_a_curve_that_never_crosses_is_censored_not_a_number_beyond_the_scale() -> None:
    levels, chances = np.repeat(LEVELS, 4), np.zeros(4 * len(LEVELS))
    none = fit_threshold(count_cells(levels, chances, np.zeros(len(levels))))
    assert (none.censored, none.d50, none.low) == ("below", 1.0, 1.0)
    assert none.high < 2
    everything = fit_threshold(count_cells(levels, chances, np.ones(len(levels))))
    assert (everything.censored, everything.d50, everything.high) == ("above", 30.0, 30.0)
    assert everything.low > 25


def test_a_guesser_is_below_the_scale() -> None:
    levels = np.repeat(LEVELS, 12)
    solved = np.random.default_rng(0).random(len(levels)) < 0.25
    found = fit_threshold(count_cells(levels, np.full(len(levels), 0.25), solved))
    assert found.censored == "below"
    assert found.high < 4


def test_a_sharp_step_is_found_between_its_levels() -> None:
    levels = np.repeat(LEVELS, 4)
    found = fit_threshold(count_cells(levels, np.zeros(len(levels)), levels <= 10))
    assert 10 <= found.d50 <= 12
    assert found.fit_p > 0.5


def test_what_is_no_such_curve_is_told() -> None:
    levels = np.repeat(LEVELS, 10)
    # Easy and hard items solved, those between not.
    odd = (levels < 5) | (levels > 15)
    assert fit_threshold(count_cells(levels, np.zeros(len(levels)), odd)).fit_p < 0.01
    low = [fit_threshold(drawn(8.0, 0.5, 0.25, 6, seed)).fit_p < 0.05 for seed in range(30)]
    assert sum(low) <= 6  # 5 % of good curves, give or take


def test_many_fits_at_once_are_single_fits() -> None:
    cells = [drawn(d50, 0.5, 0.0, 5, seed=4) for d50 in (2.0, 9.0, 25.0)]
    together = thresholds(cells[0], [c.solved for c in cells], [c.items for c in cells])
    assert together == pytest.approx([fit_threshold(c).d50 for c in cells], abs=STEP)


def test_a_difference_of_the_told_size_shows_four_times_in_five() -> None:
    each, slope = 12, 0.5
    levels = np.repeat(LEVELS, each)
    apart = detectable_threshold_difference(levels.tolist(), [0.0] * len(levels), d50=8.0, slope=slope)
    generator = np.random.default_rng(1)

    def fits(d50: float) -> np.ndarray:
        p = probabilities(np.array(LEVELS), np.zeros(len(LEVELS)), d50, slope)
        solved = generator.binomial(each, p, size=(600, len(LEVELS)))
        cells = Cells(np.array(LEVELS, float), np.zeros(len(LEVELS)), solved[0].astype(float), np.full(14, float(each)))
        return thresholds(cells, solved, np.full(solved.shape, each))

    base, better = fits(8.0 - apart / 2), fits(8.0 + apart / 2)
    error = np.sqrt(base.var() + better.var())
    assert np.mean((better - base) / error > 1.96) == pytest.approx(0.8, abs=0.1)
