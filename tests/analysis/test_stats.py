"""Independent references: closed forms, scipy's own tests, and data simulated from known truths."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from dwt.analysis.stats import (
    as_table,
    break_even,
    crossing,
    difference,
    flipped,
    interval,
    paired,
    verdict,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_equal_arms_differ_by_zero_and_nothing_is_decided():
    d = paired([0.0, 0.0, 0.0])
    assert (d.mean, d.low, d.high, d.detectable, d.p) == (0, 0, 0, 0, 1)
    assert verdict(d, "lower") == verdict(d, "higher") == "undecided"


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 10])
def test_the_interval_is_the_one_of_scipys_paired_t_test(n, level):
    a, b = rng(n).normal(size=(2, n))
    expected = scipy_stats.ttest_rel(a, b).confidence_interval(level)
    d = paired(a - b, level=level)
    assert (d.low, d.high) == pytest.approx((expected.low, expected.high))
    assert d.mean == pytest.approx(np.mean(a - b))
    assert d.differences == pytest.approx(tuple(a - b))


def test_sign_flip_p_counts_every_pattern_of_signs():
    d = rng(3).normal(0.4, 1, size=7)
    means = [abs(np.mean(d * signs)) for signs in itertools.product([-1, 1], repeat=7)]
    expected = np.mean(np.array(means) >= abs(d.mean()) - 1e-12)
    assert paired(d).p == pytest.approx(expected)


@pytest.mark.parametrize("n", range(2, 9))
def test_sign_flip_p_is_that_of_exact_enumeration_and_not_below_two_in_two_to_the_n(n):
    signs = np.array([*itertools.product([-1, 1], repeat=n)])
    for effect in (0, 0.5, 5):
        for d in rng(n).normal(effect, 1, size=(5, n)):
            expected = np.mean(np.abs(signs @ d) >= abs(d.sum()) - 1e-12)
            assert paired(d).p == pytest.approx(expected)
            assert expected >= 2 / 2**n


def test_without_an_effect_sign_flip_p_is_at_most_alpha_no_more_often_than_alpha():
    n = 6
    size = np.abs(rng(11).normal(size=n))
    p = [paired(size * signs).p for signs in itertools.product([-1, 1], repeat=n)]
    for alpha in (2 / 2**n, 0.05, 0.1, 0.25, 0.5, 1.0):  # every sign pattern is as likely
        assert np.mean(np.array(p) <= alpha + 1e-12) <= alpha


def test_three_seeds_cannot_have_a_p_below_a_quarter():
    assert paired([1.0, 1.1, 1.2]).p == 2 / 2**3


def test_one_seed_has_a_mean_but_no_interval_and_is_undecided():
    d = paired([-1.0])
    assert d.mean == -1 and math.isnan(d.low) and math.isnan(d.high) and d.p == 1
    assert verdict(d, "lower") == "undecided"
    assert interval(d.low, d.high) == "one seed, no interval"


def test_a_missing_value_makes_the_difference_missing_not_zero():
    d = paired([-1.0, np.nan])
    assert math.isnan(d.mean) and math.isnan(d.p) and verdict(d, "lower") == "undecided"


@pytest.mark.parametrize("values", [[], [[1, 2]]])
def test_what_is_not_one_difference_per_seed_is_refused(values):
    with pytest.raises(ValueError, match="one difference per seed"):
        paired(values)


@pytest.mark.parametrize("n", [3, 6, 10])
def test_the_detectable_effect_is_found_four_times_in_five(n):
    generator, sigma = rng(1), 0.3
    effect = paired(generator.normal(size=n))
    effect = effect.detectable / np.std(effect.differences, ddof=1) * sigma
    draws = generator.normal(effect, sigma, size=(4000, n))
    measured = scipy_stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05
    assert measured.mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("n", [3, 6, 10])
def test_the_95_percent_interval_covers_the_true_effect_in_93_to_97_percent_of_2000_simulations(n):
    draws = rng(n).normal(0.1, 0.5, size=(2000, n))
    inside = [d.low < 0.1 < d.high for d in (paired(row) for row in draws)]
    assert 0.93 <= np.mean(inside) <= 0.97


@pytest.mark.parametrize(
    ("values", "expect", "said"),
    [
        ([-1.0, -1.1, -0.9], "lower", "supported"),
        ([-1.0, -1.1, -0.9], "higher", "contradicted"),
        ([1.0, 1.1, 0.9], "higher", "supported"),
        ([1.0, 1.1, 0.9], "lower", "contradicted"),
        ([-1.0, 1.0, 0.5], "lower", "undecided"),
        ([-1.0, 1.0, 0.5], "higher", "undecided"),
    ],
)
def test_verdict_follows_the_side_of_the_whole_interval(values, expect, said):
    assert verdict(paired(values), expect) == said


def test_a_difference_is_over_the_seeds_that_both_arms_have():
    losses = pd.DataFrame({"a": [1.0, 2, 4], "b": [2.0, np.nan, 6]}, index=[0, 1, 5])
    assert difference(losses, "b", "a").differences == (1, 2)


def test_a_table_of_differences_has_one_row_a_key_in_order():
    losses = pd.DataFrame({"b": [1.0, 2], "a": [2.0, 4], "c": [0.0, 0]})
    table = as_table([(("x", arm), difference(losses, arm, "a")) for arm in "bc"], "of", "arm")
    assert table[["of", "arm", "mean"]].values.tolist() == [["x", "b", -1.5], ["x", "c", -3]]
    assert flipped(table)["mean"].to_list() == [1.5, 3]


def test_break_even_of_exact_lines_is_their_zero():
    gap = np.array([[0.1, 0.2, 0.6], [0.0, 0.3, 0.5]])
    measured = break_even(gap, 0.2 - 0.5 * gap)
    assert (measured.gap, measured.low, measured.high) == pytest.approx((0.4, 0.4, 0.4))
    assert measured.slope.mean == pytest.approx(-0.5)


def test_break_even_interval_ends_where_a_t_test_of_the_fitted_gains_ends():
    generator = rng(4)
    gap = np.array([0.05, 0.1, 0.6]) + generator.normal(0, 0.01, (4, 3))
    gain = 0.18 - 0.5 * gap + generator.normal(0, 0.02, (4, 3))
    measured = break_even(gap, gain)
    lines = [np.polyfit(x, y, 1) for x, y in zip(gap, gain, strict=True)]
    for end in (measured.low, measured.high):
        fitted = [np.polyval(line, end) for line in lines]
        assert scipy_stats.ttest_1samp(fitted, 0).pvalue == pytest.approx(0.05)
    assert measured.low < measured.gap < measured.high


def test_break_even_interval_covers_the_truth_as_often_as_it_says():
    generator, inside = rng(5), []
    for _ in range(1000):
        gap = np.array([0.05, 0.1, 0.6]) + generator.normal(0, 0.01, (3, 3))
        gain = 0.2 - 0.5 * gap + generator.normal(0, 0.03, (3, 3))
        measured = break_even(gap, gain)
        inside.append(measured.low <= 0.4 <= measured.high)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.025)


def test_break_even_is_unbounded_when_the_gain_does_not_depend_on_the_gap():
    gap = np.array([[0.0, 0.5, 1.0]] * 3)
    gain = np.array([[0.1, 0.0, 0.11], [0.1, 0.2, 0.09], [0.1, 0.15, 0.1]])
    measured = break_even(gap, gain)
    assert (measured.low, measured.high) == (-math.inf, math.inf)
    assert "no bounded interval" in interval(measured.low, measured.high)


def test_break_even_of_one_seed_has_no_interval():
    measured = break_even([[0.0, 1.0]], [[1.0, -1.0]])
    assert measured.gap == pytest.approx(0.5) and math.isnan(measured.low)


def test_break_even_needs_two_different_gaps():
    with pytest.raises(ValueError, match="teachers >= 2"):
        break_even([[0.1], [0.2]], [[1], [2]])
    with pytest.raises(ValueError, match="identical"):
        break_even([[0.1, 0.1]], [[1, 2]])


def test_curves_cross_where_two_straight_lines_meet():
    steps = np.array([0, 10, 20, 30])
    assert crossing(steps, 0.1 * steps, 2.5 - 0.0 * steps) == pytest.approx(25)


def test_the_last_of_several_crossings_counts():
    assert crossing([0, 1, 2, 3], [1, -1, 1, 1], [0, 0, 0, 0]) == pytest.approx(1.5)


def test_curves_that_only_touch_or_start_equal_do_not_cross():
    assert math.isnan(crossing([0, 1, 2], [0, 1, 1], [0, 0, 0]))
    assert math.isnan(crossing([0, 1, 2], [1, 0, 1], [0, 0, 0]))
    assert math.isnan(crossing([0, 1], [np.nan, 1], [0, 0]))
