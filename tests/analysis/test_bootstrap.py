"""Independent references: t-tests, exact enumeration of draws, and data of known effects."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dwt.analysis.bootstrap import hierarchical, resampled
from dwt.analysis.stats import paired

EFFECT = 0.3


def simulate(rng, n, *, spread=(1, 1, 1, 1), m=5, runs=2):
    """Differences in score [seeds, tasks, fine-tuning seeds] whose mean is EFFECT.

    `spread` is that of seeds, tasks, seeds by tasks, and fine-tuning seeds.
    """
    seed, task, both, run = spread
    d = EFFECT + rng.normal(0, seed, (n, 1, 1)) + np.linspace(-task, task, m).reshape(1, m, 1)
    return d + rng.normal(0, both, (n, m, 1)) + rng.normal(0, run, (n, m, runs))


def covered(n, *, spread, simulations=2000):
    """Share of simulations whose 95 % interval holds the effect."""
    rng, inside = np.random.default_rng(n), 0
    for _ in range(simulations):
        low, high = resampled(simulate(rng, n, spread=spread), replicates=400, rng=rng)
        inside += low <= EFFECT <= high
    return inside / simulations


def tables(d, zero_shot=()):
    """The two arms' tables of scores; `zero_shot` tasks are scored without fine-tuning."""
    cells = itertools.product(*map(range, d.shape))
    rows = [(s, f, f"task{t}", d[s, t, f]) for s, t, f in cells if t not in zero_shot or not f]
    arm = pd.DataFrame(rows, columns=["seed", "finetune_seed", "task", "score"])
    alone = arm["task"].isin([f"task{t}" for t in zero_shot])
    arm["finetune_seed"] = arm["finetune_seed"].astype("Int64").mask(alone)
    base = np.random.default_rng(9).normal(0.7, 0.1, len(arm))
    reference = arm.assign(score=base).sample(frac=1, random_state=0)  # order does not pair
    return arm.assign(score=arm["score"] + base), reference


@pytest.mark.parametrize("n", [3, 6, 10])
def test_the_95_percent_interval_covers_the_true_effect_in_93_to_97_percent_of_2000_simulations(n):
    assert 0.93 <= covered(n, spread=(1, 1, 1, 1)) <= 0.97


@pytest.mark.parametrize("n", [3, 6, 10])
def test_fine_tuning_noise_is_not_counted_twice(n):
    assert 0.93 <= covered(n, spread=(0.1, 1, 0.1, 1)) <= 0.97


@pytest.mark.parametrize("n", [3, 6])
def test_its_spread_is_that_of_the_seeds_t_interval(n):
    d = simulate(np.random.default_rng(n), n)
    low, high = resampled(d, replicates=40_000, level=0.8)
    expected = stats.ttest_1samp(d.mean(axis=(1, 2)), 0).confidence_interval(0.8)
    assert high - low == pytest.approx(expected.high - expected.low, rel=0.1)


def test_its_percentiles_are_those_of_all_possible_draws():
    each = np.array([0.0, 1.0, 5.0])
    means = [np.mean(draw) for draw in itertools.product(each, repeat=3)]
    moved = np.quantile(means, [0.1, 0.9]) - 2.0
    widen = each.std(ddof=1) / math.sqrt(3) / np.std(means)
    widen *= stats.t.ppf(0.9, 2) / stats.norm.ppf(0.9)
    measured = resampled(each[:, None, None], level=0.8, replicates=40_000)
    assert measured == pytest.approx(2.0 + widen * moved, rel=0.02)


def test_the_mean_weighs_each_task_once_however_often_it_was_fine_tuned():
    d = simulate(np.random.default_rng(0), 4, m=3, runs=5)
    measured = hierarchical(*tables(d, zero_shot=[0]))
    expected = np.mean([d[:, 0, 0].mean(), d[:, 1].mean(), d[:, 2].mean()])
    assert measured.mean == pytest.approx(expected)
    assert measured.n == 4 and measured.low < expected < measured.high


def test_a_table_gives_the_interval_of_its_differences_and_the_same_one_again():
    d = simulate(np.random.default_rng(1), 5)
    first, second = hierarchical(*tables(d)), hierarchical(*tables(d))
    assert first == second
    assert (first.low, first.high) == pytest.approx(resampled(d))


def test_the_detectable_effect_and_p_are_of_the_seeds_means():
    d = simulate(np.random.default_rng(2), 5)
    measured, expected = hierarchical(*tables(d)), paired(d.mean(axis=(1, 2)))
    assert (measured.detectable, measured.p) == pytest.approx((expected.detectable, expected.p))
    assert measured.differences == pytest.approx(expected.differences)


def test_equal_arms_differ_by_zero_without_doubt():
    _, reference = tables(simulate(np.random.default_rng(4), 3))
    d = hierarchical(reference, reference)
    assert (d.mean, d.low, d.high, d.detectable) == (0, 0, 0, 0)


def test_one_seed_has_no_interval_and_one_task_has_one():
    one_seed = hierarchical(*tables(simulate(np.random.default_rng(5), 1)))
    assert math.isnan(one_seed.low) and math.isnan(one_seed.detectable)
    assert not math.isnan(hierarchical(*tables(simulate(np.random.default_rng(5), 3, m=1))).low)


def test_rows_that_do_not_pair_are_refused_by_name():
    arm, reference = tables(simulate(np.random.default_rng(6), 3))
    lacking = arm[(arm["seed"] != 2) | (arm["task"] != "task1")]
    with pytest.raises(ValueError, match="only one arm has seed 2, task task1, fine-tuning seed 0"):
        hierarchical(lacking, reference)
    with pytest.raises(ValueError, match="seed 2 has no score of task task1"):
        hierarchical(lacking, reference.loc[lacking.index])
    with pytest.raises(ValueError, match="reference: a score is duplicated: seed 0, task task0"):
        hierarchical(arm, pd.concat([reference, arm.head(1)]))
    with pytest.raises(ValueError, match="scores: a score is missing: seed 0, task task0"):
        hierarchical(arm.assign(score=arm["score"].where(arm.index > 0)), reference)


def test_an_empty_cell_or_a_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="no cell empty"):
        resampled([[[1.0], [math.nan]]])
    with pytest.raises(ValueError, match="fine-tuning seeds"):
        resampled([1.0, 2.0])
