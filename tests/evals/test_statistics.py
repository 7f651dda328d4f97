"""Every interval and test against a worked example or scipy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayllu.evals import statistics as s
from support.parts import need_module


@pytest.fixture(scope="session")
def scipy_stats():
    return need_module("scipy.stats", "scipy is not installed (it is in the dev extra)")


def test_wilson_matches_the_worked_example():
    # 15 of 148: Newcombe 1998, Statistics in Medicine 17:857, table I, method 3 gives 0.0624 to 0.1605.
    interval = s.wilson(15, 148)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.0624, 0.1605)
    assert s.wilson(0, 20).low == 0
    assert round(s.wilson(0, 20).high, 4) == 0.1611


@settings(deadline=None)
@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_value_and_agrees_with_scipy(scipy_stats, counts):
    successes, total = counts
    interval = s.wilson(successes, total)
    reference = scipy_stats.binomtest(successes, total).proportion_ci(0.95, method="wilson")
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert (interval.low, interval.high) == pytest.approx((reference.low, reference.high), abs=1e-12)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 30, 99, 100, 101, 5000])
@pytest.mark.parametrize("probability", [0.01, 0.5, 0.9, 0.975, 0.995])
def test_student_t_quantile_agrees_with_scipy(scipy_stats, freedom, probability):
    expected = scipy_stats.t.ppf(probability, freedom)
    assert s.student_t_quantile(probability, freedom) == pytest.approx(expected, rel=1e-7, abs=1e-9)


def test_ratio_interval_by_hand():
    # Bits 8, 10, 30 over bytes 4, 5, 11: ratio 2.4, residuals -1.6, -2.0, 3.6.
    interval = s.ratio_interval([8, 10, 30], [4, 5, 11])
    error = math.sqrt(3 / 2 * (1.6**2 + 2.0**2 + 3.6**2)) / 20
    assert interval.value == pytest.approx(2.4)
    assert interval.high - interval.value == pytest.approx(4.302652729749464 * error)  # t with 2 degrees of freedom


def test_mean_interval_is_student_t(scipy_stats):
    values = np.random.default_rng(5).gamma(2.0, size=40)
    low, high = scipy_stats.t.interval(0.95, 39, loc=values.mean(), scale=scipy_stats.sem(values))
    interval = s.mean_interval(values)
    assert (interval.value, interval.low, interval.high) == pytest.approx((values.mean(), low, high))


def test_one_observation_has_no_interval():
    assert s.ratio_interval([3.0], [2.0]) == s.ConfidenceInterval(value=1.5, low=None, high=None)
    assert s.ratio_bootstrap([3.0], [2.0]).low is None


def test_ratio_bootstrap_agrees_with_the_delta_method_and_repeats():
    generator = np.random.default_rng(0)
    sizes = generator.integers(50, 400, size=300)
    bits = sizes * generator.normal(1.5, 0.3, size=300)
    delta, bootstrap = s.ratio_interval(bits, sizes), s.ratio_bootstrap(bits, sizes, seed=1)
    assert bootstrap == s.ratio_bootstrap(bits, sizes, seed=1)
    assert bootstrap != s.ratio_bootstrap(bits, sizes, seed=2)
    assert (bootstrap.low, bootstrap.high) == pytest.approx((delta.low, delta.high), abs=0.005)


def test_the_delta_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(1000):
        sizes = generator.integers(50, 400, size=12)
        hits += s.ratio_interval(sizes * generator.normal(1.5, 0.3, size=12), sizes).contains(1.5)
    assert 0.92 <= hits / 1000 <= 0.98


def test_clusters_widen_the_interval_of_correlated_units():
    generator = np.random.default_rng(0)
    books = np.repeat(np.arange(20), 50)
    bits = np.repeat(generator.normal(1.5, 0.3, size=20), 50) + generator.normal(0, 0.01, size=1000)
    plain = s.ratio_interval(bits, np.ones(1000))
    for method in (s.ratio_interval, s.ratio_bootstrap):
        clustered = method(bits, np.ones(1000), clusters=books.tolist())
        assert clustered.value == pytest.approx(plain.value)
        assert clustered.high - clustered.low > 5 * (plain.high - plain.low)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(scipy_stats, only_first, only_second):
    total = only_first + only_second
    expected = scipy_stats.binomtest(only_first, total).pvalue if total else 1.0
    assert s.mcnemar(only_first, only_second) == pytest.approx(expected)


def test_mcnemar_is_quick_on_ten_thousand_items():
    assert s.mcnemar(4800, 5200) == pytest.approx(6.6e-5, rel=0.05)


def test_paired_bootstrap_is_narrower_than_unpaired_intervals():
    generator = np.random.default_rng(0)
    first = generator.random(1000) < 0.5
    second = first.copy()
    second[:40] = True
    difference = s.paired_bootstrap(first, second)
    assert difference.value == pytest.approx(float(second.mean() - first.mean()))
    assert difference.low > 0
    apart = s.wilson(int(first.sum()), 1000).high - s.wilson(int(first.sum()), 1000).low
    assert difference.high - difference.low < apart / 2
    with pytest.raises(ValueError, match="differ in number"):
        s.paired_bootstrap([1.0], [1.0, 0.0])


def test_holm_matches_the_textbook_example():
    assert s.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([0.9, 0.8]) == [1.0, 1.0]
    assert s.holm([]) == []


def test_detectable_above_solves_the_sample_size_formula():
    difference = s.detectable_above(1000, 0.25)
    z, reach = 1.959963984540054, 0.8416212335729143
    p1 = 0.25 + difference
    needed = ((z * math.sqrt(0.25 * 0.75) + reach * math.sqrt(p1 * (1 - p1))) / difference) ** 2
    assert needed == pytest.approx(1000)
    assert 0.035 < difference < 0.045
    assert s.detectable_above(2, 0.5) is None


def test_detectable_above_has_the_promised_power():
    difference = s.detectable_above(1000, 0.25)
    draws = np.random.default_rng(0).binomial(1000, 0.25 + difference, size=4000)
    shown = np.mean([s.wilson(int(k), 1000).low > 0.25 for k in draws])
    assert shown == pytest.approx(0.8, abs=0.03)


def test_detectable_difference_matches_connor():
    difference = s.detectable_difference(1000, 0.2)
    by_hand = (1.959964 * math.sqrt(0.2) + 0.841621 * math.sqrt(0.2 - difference**2)) / math.sqrt(1000 - 1 / difference)
    assert difference == pytest.approx(by_hand, rel=1e-5)
    assert s.detectable_difference(10, 0.1) is None
    assert s.detectable_difference(1000, 0.0) is None


@pytest.mark.parametrize(("items", "share"), [(100, 0.2), (200, 0.1), (500, 0.4), (1000, 0.2), (2000, 0.1)])
def test_the_exact_test_shows_a_detectable_difference_four_times_in_five(
    scipy_stats: Any, items: int, share: float
) -> None:
    """Summed over every outcome that there can be."""
    difference = s.detectable_difference(items, share)
    assert difference is not None
    binom, better = scipy_stats.binom, (1 + difference / share) / 2
    shown = 0.0
    for discordant in range(items + 1):
        chance = binom.pmf(discordant, items, share)
        if chance > 1e-12:
            fewest = max((k for k in range(discordant // 2 + 1) if s.mcnemar(discordant - k, k) <= 0.05), default=-1)
            tails = binom.cdf(fewest, discordant, better) + binom.sf(discordant - fewest - 1, discordant, better)
            shown += chance * (tails if fewest >= 0 else 0.0)
    assert 0.785 < shown < 0.83


def test_shares_of_clusters_cover_what_they_should_and_wilson_alone_does_not() -> None:
    """Verdicts of one cluster are right together: by simulation, of 400 sets of 40 clusters of 5."""
    generator = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.85):
        covered = alone = 0
        for _ in range(400):
            of_cluster = generator.beta(share, 1 - share, size=40)
            verdicts = (generator.random((40, 5)) < of_cluster[:, None]).flatten().tolist()
            labels = [index // 5 for index in range(200)]
            covered += s.share_interval(verdicts, clusters=labels).contains(share)
            alone += s.share_interval(verdicts).contains(share)
        assert 0.91 <= covered / 400 <= 0.99
        assert alone / 400 < 0.85


def test_shares_without_variation_are_as_many_as_clusters() -> None:
    labels = [index // 10 for index in range(200)]
    assert s.share_interval([False] * 200, clusters=labels) == s.wilson(0, 20)
    assert s.share_interval([True] * 200, clusters=labels) == s.wilson(20, 20)
    lone = s.share_interval([True, False] * 5, clusters=[0] * 10)
    assert (lone.value, lone.low, lone.high) == (0.5, None, None)


def test_attrition_without_missing_items_is_wilson():
    assert s.attrition_interval(30, 100, 100) == s.wilson(30, 100)
    assert s.attrition_interval(0, 0, 10) == s.ConfidenceInterval(value=0.0, low=0.0, high=1.0)


def test_attrition_bounds_hold_what_the_missing_items_could_be():
    interval = s.attrition_interval(450, 900, 1000)
    assert interval.value == 0.45
    assert interval.low < 0.45 and interval.high > 0.55
    # With a wide range of possible values one side errs at a time: the one-sided quantile is enough.
    one_sided = s.wilson(450, 900, z=1.6448536269514722)
    assert interval.low == pytest.approx(0.9 * one_sided.low, abs=1e-6)
    assert interval.high == pytest.approx(0.9 * one_sided.high + 0.1, abs=1e-6)
    with pytest.raises(ValueError, match="nest"):
        s.attrition_interval(5, 4, 10)
