"""Paired comparison and variance between seeds: published examples, and coverage by simulation."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.evals.comparison.paired import (
    clustered_share_interval,
    paired_mean_interval,
    paired_share_interval,
    permutation_p,
    seed_variance,
)
from ayllu.evals.statistics import ConfidenceInterval, share_interval, wilson
from support.parts import need_module

interval = lru_cache(maxsize=None)(paired_share_interval)


def test_the_score_interval_matches_the_published_example() -> None:
    # Airway hyper-responsiveness before and after transplantation (Bentur et al. 2009): 7 and 1 discordant of 21.
    # Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33:2850, Tango's interval: -0.517 to -0.026.
    found = paired_share_interval(7, 1, 21)
    assert (round(found.low, 3), round(found.high, 3)) == (-0.517, -0.026)
    assert found.value == pytest.approx(-6 / 21)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n // 2), st.integers(0, n // 2), st.just(n))))
def test_zero_is_outside_exactly_where_mcnemars_test_rejects(counts: tuple[int, int, int]) -> None:
    only_first, only_second, items = counts
    found = paired_share_interval(only_first, only_second, items)
    assert -1 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 1
    z = abs(only_first - only_second) / max(1, only_first + only_second) ** 0.5
    if abs(z - 1.959964) > 1e-3:
        assert found.contains(0) is (z < 1.959964)


def test_the_interval_is_the_same_from_the_other_side() -> None:
    one, other = paired_share_interval(30, 12, 200), paired_share_interval(12, 30, 200)
    assert (one.low, one.high) == (pytest.approx(-other.high), pytest.approx(-other.low))
    with pytest.raises(ValueError, match="do not nest"):
        paired_share_interval(15, 6, 20)


@pytest.mark.parametrize(
    ("items", "most"), [(20, 0.3), (20, 0.8), (50, 0.2), (50, 0.6), (200, 0.1), (200, 0.6), (2000, 0.2)]
)
def test_the_paired_interval_covers_what_it_says(items: int, most: float) -> None:
    """Over pairs of models that differ on up to `most` of the items, so that all accuracies are among them.

    For one pair of models coverage jumps with the counts that are possible, and where few items tell them apart it is
    above 95 %: with 20 items and three discordant ones no interval that draws nothing can be narrower.
    """
    generator = np.random.default_rng(7)
    draws = 2500
    shares = generator.uniform(0, most / 2, size=(draws, 2))
    held = 0
    for first, second in shares:
        only_first, only_second, _ = generator.multinomial(items, [first, second, 1 - first - second])
        held += interval(int(only_first), int(only_second), items).contains(second - first)
    assert held / draws >= 0.94
    if items * most >= 20:
        assert held / draws <= 0.965


@pytest.mark.parametrize("items", [20, 50, 100, 200, 500, 1000, 2000])
@pytest.mark.parametrize("band", [(0.001, 0.05), (0.05, 0.3), (0.3, 0.7), (0.7, 0.95), (0.95, 0.999)])
def test_wilsons_interval_covers_94_to_96_percent(items: int, band: tuple[float, float]) -> None:
    """The exact coverage, from the binomial distribution, on average over accuracies in a band, near 0 and 1 too."""
    stats = need_module("scipy.stats", "scipy is not installed (it is in the dev extra)")
    counts = np.arange(items + 1)
    bounds = [wilson(int(count), items) for count in counts]
    low, high = np.array([b.low for b in bounds]), np.array([b.high for b in bounds])
    accuracies = np.linspace(*band, 81)[:, None]
    held = (stats.binom.pmf(counts, items, accuracies) * ((low <= accuracies) & (accuracies <= high))).sum(1)
    assert 0.94 <= held.mean() <= 0.96


@pytest.mark.parametrize("clusters", [20, 60, 200])
def test_clustered_intervals_cover_what_they_say(clusters: int) -> None:
    """Items of one passage are right or wrong together: the share, and the paired difference of two models."""
    generator = np.random.default_rng(clusters)
    each, draws = 5, 600
    labels = np.repeat(np.arange(clusters), each).tolist()
    ease = generator.beta(2, 1, size=(draws, clusters)).repeat(each, axis=1)  # the mean is 2/3
    first = generator.random(ease.shape) < ease
    second = generator.random(ease.shape) < ease * 0.9
    share = np.mean([share_interval(row.tolist(), clusters=labels).contains(2 / 3) for row in first])
    pairs = zip(first, second, strict=True)
    difference = np.mean([paired_mean_interval(a, b, clusters=labels).contains(-0.1 * 2 / 3) for a, b in pairs])
    assert 0.92 <= share <= 0.98  # 600 draws: 95 % give or take 2
    assert 0.92 <= difference <= 0.98
    naive = np.mean([wilson(int(row.sum()), len(row)).contains(2 / 3) for row in first])
    assert naive < 0.92


def test_the_permutation_test_matches_fishers() -> None:
    # Darwin's maize, 15 pairs, in eighths of an inch: Fisher 1935 counts 863 of 32,768 on one side.
    crossed_minus_selfed = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert permutation_p([0] * 15, crossed_minus_selfed) == pytest.approx(2 * 863 / 32768)
    # The same pairs, each three times in a cluster, are still 15 independent ones.
    clusters = list(range(15)) * 3
    assert permutation_p([0] * 45, crossed_minus_selfed * 3, clusters=clusters) == pytest.approx(2 * 863 / 32768)


def test_a_drawn_permutation_test_agrees_with_the_exact_one_and_repeats() -> None:
    generator = np.random.default_rng(2)
    difference = generator.normal(0.4, 1, size=16)
    exact = permutation_p(np.zeros(16), difference)
    drawn = permutation_p(np.zeros(17), np.append(difference, 0.0))
    assert drawn == pytest.approx(exact, abs=0.02)
    many = generator.normal(0, 1, size=300)
    assert permutation_p(np.zeros(300), many, seed=1) == permutation_p(np.zeros(300), many, seed=1)
    assert permutation_p(np.zeros(300), np.ones(300)) == pytest.approx(1 / 10_001)


def test_the_permutation_test_rejects_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    p = [permutation_p(np.zeros(10), generator.normal(size=10)) for _ in range(600)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.025)


def test_the_variance_of_seeds_matches_a_published_analysis() -> None:
    # Shrout and Fleiss 1979, Psychological Bulletin 86:420, table 2: six targets by four judges. Their mean squares are
    # 11.24 between targets, 32.49 between judges and 1.02 for the rest, so ICC(2,1) is 0.29.
    ratings = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]).T
    found = seed_variance(ratings)
    assert found.rest == pytest.approx(1.02, abs=0.005)
    assert found.items == pytest.approx((11.24 - 1.02) / 4, abs=0.01)
    assert found.seeds == pytest.approx((32.49 - 1.02) / 6, abs=0.01)
    assert found.items / (found.items + found.seeds + found.rest) == pytest.approx(0.29, abs=0.005)


@pytest.mark.parametrize(("seeds", "between"), [(3, 0.03), (5, 0.03), (5, 0.0)])
def test_an_interval_over_seeds_covers_where_one_over_items_does_not(seeds: int, between: float) -> None:
    generator = np.random.default_rng(9)
    held = alone = 0
    for _ in range(300):
        shift = generator.normal(0, between, size=(seeds, 1))
        ease = generator.normal(0, 0.3, size=(1, 200))
        scores = 0.5 + shift + ease + generator.normal(0, 0.3, size=(seeds, 200))
        held += seed_variance(scores).interval.contains(0.5)
        of_items: ConfidenceInterval = paired_mean_interval(np.zeros(200), scores[0])
        alone += of_items.contains(0.5)
    assert held / 300 >= 0.93
    if between:
        assert alone / 300 < 0.9


def test_one_seed_says_nothing_of_seeds() -> None:
    with pytest.raises(ValueError, match="at least two seeds"):
        seed_variance(np.ones((1, 20)))


def test_a_difference_of_shares_is_never_more_than_all_of_them() -> None:
    clusters = [number // 3 for number in range(30)]
    nearly = [number != 4 for number in range(30)]
    interval = clustered_share_interval([False] * 30, nearly, clusters)
    assert interval.high == 1.0 and interval.low is not None and interval.low < interval.value < 1.0
    alone = clustered_share_interval([False] * 30, nearly, [0] * 30)
    assert alone.low is None and alone.high is None
