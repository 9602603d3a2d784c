"""Exact statistics: against brute force over all signs, scipy, statsmodels and published examples, and in simulation
with a known truth."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from bnexp.claims.statistics import (
    EXACT_UP_TO,
    SAMPLED_SUBSETS,
    Bounded,
    Exact,
    Interval,
    Share,
    Values,
    holm,
    pseudo_values,
    sign_flip,
    welch,
    wilson,
)

NORMAL = np.random.default_rng(5).normal(0.4, 1, 10)
SAMPLES = {
    "normal": NORMAL,
    "skewed": np.exp(NORMAL),
    "six": NORMAL[:6],
    "eight": 3 * NORMAL[:8] - 2,
    "of 360 images": np.array([3, -1, 0, 0, 5, 2, 2, -4, 1, 7]) * 100 / 360,
    "zeros and ones": np.array([0.0, 1, 0, 0, 1, 0, -1, 0, 0, 1]),
    "all equal": np.full(7, 100 / 3),
}
some_samples = pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)


def p_by_signs(differences: Sequence[float] | Values, limit: float) -> tuple[float, float]:
    """The shares of all 2^n sign vectors whose sum of differences from `limit` is at least (at most) the data's."""
    away = np.asarray(differences) - limit
    signs = np.array(list(itertools.product((1, -1), repeat=len(away))))
    sums, close = (signs * away).sum(axis=1), 1e-9 * np.abs(away).max()
    return float(np.mean(sums >= away.sum() - close)), float(np.mean(sums <= away.sum() + close))


@some_samples
def test_p_is_the_share_of_sign_vectors_as_extreme_as_the_data(values: Values) -> None:
    test = sign_flip(values)
    for limit in (-3.0, -0.5, 0.0, 0.1, 1.0, 1.5, 2.0, *values[:2], float(np.mean(values))):
        assert (test.p_greater(limit), test.p_less(limit)) == p_by_signs(values, limit), limit


@given(st.lists(st.integers(-6, 6), min_size=1, max_size=8), st.integers(-12, 12))
@settings(deadline=None, derandomize=True, database=None)
def test_p_counts_ties_as_extreme_and_follows_shifts_and_signs(values: list[int], twice: int) -> None:
    """On a lattice of thirds, whose sums are not exact in binary."""
    thirds, limit = [value / 3 for value in values], twice / 6
    test = sign_flip(thirds)
    assert (test.p_greater(limit), test.p_less(limit)) == p_by_signs(thirds, limit)
    assert sign_flip([-value for value in thirds]).p_less(-limit) == test.p_greater(limit)
    assert sign_flip([value + 5 for value in thirds]).p_greater(limit + 5) == test.p_greater(limit)
    ends, again = test.interval(), sign_flip(thirds[::-1]).interval()
    assert (again.low, again.high) == (ends.low, ends.high)


@some_samples
@pytest.mark.parametrize("side", ["greater", "less"])
def test_p_is_that_of_scipys_permutation_test(values: Values, side: str) -> None:
    test = sign_flip(values)
    for limit in (-0.5, 0.25, 1.0):
        theirs = stats.permutation_test(
            (values - limit,),
            np.mean,
            permutation_type="samples",
            alternative=side,
            n_resamples=np.inf,
            vectorized=True,
        )
        ours = test.p_greater(limit) if side == "greater" else test.p_less(limit)
        assert ours == pytest.approx(theirs.pvalue, rel=1e-12)


@pytest.mark.parametrize("ratio", [2, 3, 5, 7, 10 / 3])
def test_a_limit_that_all_differences_equal_is_neither_above_nor_below_them(ratio: float) -> None:
    """Ratios of steps are compared as logarithms, and often are equal on every seed."""
    test = sign_flip([math.log2(ratio)] * 10)
    assert test.p_greater(math.log2(ratio)) == test.p_less(math.log2(ratio)) == 1
    assert test.p_greater(math.log2(ratio) - 1e-6) == test.p_less(math.log2(ratio) + 1e-6) == 1 / 1024


@some_samples
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_is_every_centre_that_the_two_sided_test_does_not_reject(values: Values, level: float) -> None:
    interval = sign_flip(values).interval(level)
    reach = float(np.ptp(values)) + 1
    grid = np.linspace(np.min(values) - reach, np.max(values) + reach, 301)
    kept = [centre for centre in grid if 2 * min(p_by_signs(values, centre)) > 1 - level]
    assert kept == [centre for centre in grid if interval.low - 1e-9 <= centre <= interval.high + 1e-9]
    for end in (interval.low, interval.high):
        assert 2 * min(p_by_signs(values, end)) > 1 - level or np.ptp(values) == 0
    assert interval.low - 1e-9 <= interval.point <= interval.high + 1e-9
    assert interval.point == pytest.approx(np.mean(values))


@pytest.mark.parametrize("count", range(1, 6))
def test_fewer_than_six_differences_allow_no_interval(count: int) -> None:
    test = sign_flip([1.0 + index for index in range(count)])
    assert test.interval() == Interval((count + 1) / 2, -math.inf, math.inf)
    assert 2 * test.p_greater(0) == 2 / 2**count > 0.05


def test_six_differences_allow_an_interval_and_ten_of_one_sign_reach_two_in_1024() -> None:
    six = sign_flip([3.0, 1, 2, 6, 5, 4])
    assert six.interval() == Interval(3.5, 1.0, 6.0) and 2 * six.p_greater(0) == 2 / 64
    for sign in (1, -1):
        ten = sign_flip([sign * (1.0 + index) for index in range(10)])
        assert min(ten.p_greater(0), ten.p_less(0)) == 1 / 1024
        assert max(ten.p_greater(0), ten.p_less(0)) == 1


@pytest.mark.parametrize("level", [0.0, 100 / 360, 1 / 3, -1.7])
def test_equal_differences_have_an_interval_of_one_point(level: float) -> None:
    interval = sign_flip([level] * 10).interval()
    assert interval.low == interval.high == pytest.approx(level, abs=1e-9)


def test_infinite_differences_count_as_farther_than_any_other() -> None:
    far, finite = -1e9, [1.0, 2, 3, 4, 5, 6, 7, 8]
    for count in range(1, 5):
        test, like = sign_flip([-math.inf] * count + finite), sign_flip([far] * count + finite)
        for limit in (-2.0, 0.5, 4.0):
            assert (test.p_greater(limit), test.p_less(limit)) == (like.p_greater(limit), like.p_less(limit))
        ends, wanted = test.interval(), like.interval()
        assert test.mean == ends.point == -math.inf
        assert (ends.low, ends.high) == tuple(
            -math.inf if end < far / 100 else end for end in (wanted.low, wanted.high)
        )
    never = sign_flip([-math.inf] * 10)
    assert never.interval() == Interval(-math.inf, -math.inf, -math.inf) and never.p_less(0) == 1 / 1024
    assert sign_flip([math.inf] * 10).p_greater(0) == 1 / 1024


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, 2.0, math.nan]])
def test_no_differences_and_missing_ones_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one difference, and none of them NaN"):
        sign_flip(values)


def test_many_differences_are_tested_by_a_fixed_sample_close_to_all_subsets() -> None:
    values = np.random.default_rng(1).normal(0.3, 1, 20)
    test = sign_flip(values)
    assert sign_flip(values).interval() == test.interval()
    assert 0.999 * SAMPLED_SUBSETS <= len(test.subset_means) <= SAMPLED_SUBSETS

    def exact(limit: float) -> float:
        sums = np.zeros(1)
        for value in values - limit:
            sums = np.concatenate([sums, sums + value])
        return float(np.mean(sums <= 0))

    for limit in np.linspace(-0.6, 0.6, 9):
        p = exact(limit)
        assert abs(test.p_greater(limit) - p) < 4 * math.sqrt(p * (1 - p) / SAMPLED_SUBSETS) + 2 / SAMPLED_SUBSETS
    interval, error = test.interval(), 4 * math.sqrt(0.025 * 0.975 / SAMPLED_SUBSETS)
    assert abs(exact(interval.low) - 0.025) < error and abs(exact(interval.high) - 0.975) < error


def test_the_sample_takes_over_without_a_jump() -> None:
    values = np.random.default_rng(2).normal(0.5, 1, EXACT_UP_TO + 1)
    narrow, wide = sign_flip(values[:-1]), sign_flip(values)
    assert len(narrow.subset_means) == 2**EXACT_UP_TO - 1 and len(wide.subset_means) <= SAMPLED_SUBSETS
    assert wide.p_greater(0) == pytest.approx(narrow.p_greater(0), abs=0.05)


Truth = Callable[[np.random.Generator], npt.NDArray[Any]]
TRUTHS: dict[str, Truth] = {
    "normal": lambda random: random.normal(0, 1, 10),
    "uniform": lambda random: random.uniform(-1, 1, 10),
    "lattice": lambda random: random.integers(-3, 4, 10) * (100 / 360),
    "accuracies": lambda random: np.diff(random.binomial(360, 0.97, (2, 10)), axis=0)[0] * (100 / 360),
    "means of cells": lambda random: np.diff((100 * (random.binomial(90, 0.9, (2, 3, 10)) / 90)).mean(axis=1), axis=0)[
        0
    ],
    "heavy tails": lambda random: random.standard_t(2, 10),
}


@pytest.mark.parametrize("truth", TRUTHS.values(), ids=TRUTHS)
def test_intervals_cover_and_verdicts_err_as_promised(truth: Truth) -> None:
    """Truths symmetric about 0, ten seeds: coverage at least 93%; a verdict on either side of 0 in at most 5%."""
    random, count = np.random.default_rng(0), 800
    covered = wrong = 0
    for _ in range(count):
        test = sign_flip(truth(random))
        interval = test.interval()
        covered += interval.low <= 0 <= interval.high
        wrong += 2 * min(test.p_greater(0), test.p_less(0)) <= 0.05
    assert covered / count >= 0.93
    assert wrong / count <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / count)
    assert covered + wrong == count


def test_intervals_follow_a_centre_that_is_not_zero() -> None:
    random = np.random.default_rng(3)
    intervals = [sign_flip(random.normal(7, 2, 10)).interval() for _ in range(400)]
    assert np.mean([interval.low <= 7 <= interval.high for interval in intervals]) >= 0.93
    assert np.mean([interval.high - interval.low for interval in intervals]) < 4


@pytest.mark.parametrize("trials", [1, 2, 10, 37, 1000])
def test_wilson_is_scipys(trials: int) -> None:
    for successes in range(trials + 1) if trials <= 37 else (0, 1, 17, 500, 983, 999, 1000):
        theirs = stats.binomtest(successes, trials).proportion_ci(method="wilson")
        ours = wilson(successes, trials)
        assert ours.point == successes / trials
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9, abs=1e-12)
        assert 0 <= ours.low <= ours.point + 1e-12 and ours.point - 1e-12 <= ours.high <= 1


def test_wilson_of_nothing_is_everything() -> None:
    nothing = wilson(0, 0)
    assert math.isnan(nothing.point) and (nothing.low, nothing.high) == (0, 1)


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.01, 0.02, 0.022], [0.03, 0.04, 0.04]),
        ([0.6, 0.5, 0.01], [1.0, 1.0, 0.03]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([2 / 1024] * 25, [50 / 1024] * 25),
    ],
)
def test_holm_by_hand(raw: list[float], adjusted: list[float]) -> None:
    assert holm(raw) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), max_size=12))
@settings(deadline=None, derandomize=True, database=None)
def test_holm_keeps_the_order_and_lies_between_the_raw_p_and_one(raw: list[float]) -> None:
    adjusted = holm(raw)
    assert all(p <= after <= 1 for p, after in zip(raw, adjusted, strict=True))
    assert [after for _, after in sorted(zip(raw, adjusted, strict=True))] == sorted(adjusted)
    assert all(after <= min(1, len(raw) * p) for p, after in zip(raw, adjusted, strict=True) if p == min(raw))
    backwards = holm(raw[::-1])[::-1]
    assert backwards == pytest.approx(adjusted)


# Published examples. A sign-flip interval, and a test of bounds, are in none of scipy, statsmodels and lifelines: the
# first is checked above by inverting the test on a grid, the second by hand.

ZEA_MAYS = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
"""Darwin's 15 pairs of maize, crossed minus self-fertilized, in eighths of an inch."""
SLEEP = (
    np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]),
    np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]),
)
"""Hours of sleep gained by two drugs (Cushny and Peebles 1905, Student 1908)."""
LAW = np.array(
    [
        [576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594],
        [3.39, 3.30, 2.81, 3.03, 3.44, 3.07, 3.00, 3.43, 3.36, 3.13, 3.12, 2.74, 2.76, 2.88, 2.96],
    ]
)
"""LSAT and grades of 15 law schools (Efron 1982)."""


def test_fishers_randomization_test_of_darwins_maize() -> None:
    """Fisher (1935), The Design of Experiments, section 21: 863 of the 32,768 sums are as high, 1,726 as far off."""
    test = sign_flip(ZEA_MAYS)
    assert test.p_greater(0) == 863 / 32768 and round(2 * test.p_greater(0), 4) == 0.0527
    theirs = stats.permutation_test(
        (np.array(ZEA_MAYS, float),), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert theirs.pvalue == pytest.approx(2 * test.p_greater(0), rel=1e-12)
    interval = test.interval()
    assert interval.low < 0 < interval.high and interval.point == pytest.approx(314 / 15)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_that_of_newcombes_examples(successes: int, trials: int, low: float, high: float) -> None:
    """Newcombe (1998), Statistics in Medicine 17, table I, method 3."""
    ours = wilson(successes, trials)
    assert (round(ours.low, 4), round(ours.high, 4)) == (low, high)
    theirs = proportion_confint(successes, trials, alpha=0.05, method="wilson")
    assert (ours.low, ours.high) == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def test_welch_is_that_of_students_sleep() -> None:
    """As R prints it: t = 1.8608, 17.776 degrees of freedom, 95 percent from -0.2054832 to 3.3654832."""
    ours = welch(*SLEEP)
    assert ours is not None
    assert (ours.point, ours.low, ours.high) == pytest.approx((1.58, -0.2054832, 3.3654832), abs=5e-8)
    theirs = stats.ttest_ind(*SLEEP, equal_var=False).confidence_interval()
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


@pytest.mark.parametrize("sizes", [(2, 2), (3, 9), (10, 10), (40, 7)])
def test_welch_is_scipys(sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(sizes)
    one, other = random.normal(0, 1, sizes[0]), random.normal(1, 5, sizes[1])
    theirs, ours = stats.ttest_ind(one, other, equal_var=False).confidence_interval(), welch(one, other)
    assert ours is not None and (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-7)


def test_welch_without_spread_or_numbers() -> None:
    assert welch(np.array([2.0, 2, 2]), np.array([1.0, 1])) == Interval(1, 1, 1)
    assert welch(np.array([2.0]), np.array([1.0, 1])) is None
    assert welch(np.array([2.0, math.inf]), np.array([1.0, 1])) is None


@pytest.mark.parametrize("trials", [1, 10, 20, 40])
@pytest.mark.parametrize("limit", [0.0, 0.3, 0.4, 0.6, 1.0])
def test_a_shares_p_is_the_exact_binomial_tests(trials: int, limit: float) -> None:
    for successes in range(trials + 1):
        share = Share(successes, trials)
        greater, less = (stats.binomtest(successes, trials, limit, side).pvalue for side in ("greater", "less"))
        assert share.p_greater(limit) == pytest.approx(greater, rel=1e-9, abs=1e-300)
        assert share.p_less(limit) == pytest.approx(less, rel=1e-9, abs=1e-300)
    assert Share(trials, trials).p_greater(1.5) == 1 and Share(0, trials).p_less(-1) == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(deadline=None, derandomize=True, database=None, max_examples=20)
def test_holm_is_that_of_statsmodels(raw: list[float]) -> None:
    assert holm(raw) == pytest.approx(multipletests(raw, method="holm")[1], rel=1e-9, abs=1e-300)


def test_the_jackknife_is_that_of_efrons_law_schools() -> None:
    """Efron (1982), The Jackknife, the Bootstrap and Other Resampling Plans: standard error 0.142, bias -0.007."""
    found = pseudo_values(15, lambda members: float(np.corrcoef(LAW[:, members])[0, 1]))
    whole = float(np.corrcoef(LAW)[0, 1])
    assert round(whole, 3) == 0.776
    assert float(found.std(ddof=1)) / math.sqrt(15) == pytest.approx(0.142, abs=0.001)
    assert whole - float(found.mean()) == pytest.approx(-0.007, abs=0.001)


# Infinite differences, bounds, and what has no chance in it


def test_infinite_differences_of_both_signs_count_alike_in_any_order() -> None:
    """Like very large ones of one size, so that as many of both leave the rest to decide."""
    finite, far = [1.0, 2, 3, 4, 5, -6], 1e9
    values = [math.inf, -math.inf, *finite, math.inf, -math.inf]
    test, like = sign_flip(values), sign_flip([math.copysign(min(abs(v), far), v) for v in values])
    for order in (values[::-1], sorted(values)):
        assert np.array_equal(np.sort(sign_flip(order).subset_means), np.sort(test.subset_means))
    for limit in (-3.0, 0.0, 1.0, 10.0):
        assert test.p_greater(limit) == pytest.approx(like.p_greater(limit), abs=1e-12)
        assert test.p_less(limit) == pytest.approx(like.p_less(limit), abs=1e-12)
    assert not math.isnan(test.mean) and not math.isnan(test.interval().point)
    alike = sign_flip([math.inf, -math.inf] * 5)
    assert alike.p_greater(0) == alike.p_less(0) > 0.5 and alike.interval().low == -math.inf


def test_random_signs_of_infinite_differences_are_rarely_significant() -> None:
    random = np.random.default_rng(8)
    tests = [sign_flip(random.choice([-math.inf, math.inf, -1, 1, -2, 2], 10)) for _ in range(1500)]
    wrong = np.mean([2 * min(test.p_greater(0), test.p_less(0)) <= 0.05 for test in tests])
    assert 0.005 < wrong <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)


def test_bounds_speak_against_each_side_by_the_worse_of_them() -> None:
    low, high = sign_flip([1.0, 2, 3, 4, 5, 6, 7, 8]), sign_flip([math.inf, 2, 3, 4, 5, 6, 7, 8])
    test = Bounded(low, high)
    for limit in (0.5, 3.0, 7.5):
        assert (test.p_greater(limit), test.p_less(limit)) == (low.p_greater(limit), high.p_less(limit))
    assert test.interval() == Interval(4.5, low.interval().low, high.interval().high)
    assert Bounded(sign_flip([-math.inf] * 8), high).interval().point == math.inf


def test_an_exact_number_is_on_one_side_or_at_the_limit() -> None:
    assert [(Exact(2.0).p_greater(limit), Exact(2.0).p_less(limit)) for limit in (1, 2, 3)] == [(0, 1), (0, 0), (1, 0)]
    assert Exact(2.0).interval() == Interval(2, 2, 2)
