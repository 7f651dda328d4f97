"""A straight line of a task's score against the loss, and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from ayllu.evals.scaling.line import fit_line


def test_a_line_without_noise_is_found() -> None:
    line = fit_line([2.4, 2.2, 2.0, 1.9], [2.9, 2.6, 2.3, 2.15])
    assert line.slope == pytest.approx(1.5) and line.score(1.8) == pytest.approx(2.0)
    low, high = line.interval(1.8, 1.8, 1.8)
    assert low < 2.0 < high and high - low < 0.1


def test_intervals_hold_as_often_as_they_say() -> None:
    draw, inside = np.random.default_rng(0), 0
    losses = np.array([2.4, 2.2, 2.0, 1.9])
    for seed in range(400):
        scores = 1.5 * losses - 0.7 + 0.03 * draw.standard_normal(4)
        expected = 1.75 + 0.02 * draw.standard_normal()
        came = 1.5 * 1.75 - 0.7 + 0.03 * draw.standard_normal()
        half = 0.02 * 1.2816
        low, high = fit_line(losses.tolist(), scores.tolist(), seed=seed).interval(
            expected, expected - half, expected + half
        )
        inside += low <= came <= high
    assert 0.74 <= inside / 400 <= 0.86


def test_an_expected_loss_that_is_less_sure_widens_the_interval() -> None:
    line = fit_line([2.4, 2.2, 2.0], [2.91, 2.6, 2.29])
    sure, unsure = (line.interval(1.8, 1.8 - half, 1.8 + half) for half in (0.001, 0.1))
    assert unsure[1] - unsure[0] > 1.5 * (sure[1] - sure[0])


def test_two_points_make_no_line() -> None:
    with pytest.raises(ValueError, match="a line needs 3"):
        fit_line([2.0, 1.9], [2.0, 1.9])
    with pytest.raises(ValueError, match="a line needs 3"):
        fit_line([2.0, 2.0, 2.0], [2.0, 1.9, 1.8])
