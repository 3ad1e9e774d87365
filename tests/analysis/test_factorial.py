"""Independent references: contrasts written out, and data of known effects."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from dwt.analysis.factorial import effects, label, marginal

FACTORS = {"soft_weight": 1, "start": "random"}
TRUTH = {
    "soft weight 2": 0.1,
    "soft weight 4": -0.2,
    "remapped": 0.3,
    "soft weight 2 x remapped": 0.0,
    "soft weight 4 x remapped": -0.05,
}
AVERAGED = {"soft weight 2": 0.1, "soft weight 4": -0.225, "remapped": 0.3 - 0.05 / 3}


def design(rng=None, *, seeds=3, noise=0.0, drift=0.0):
    """Every seed with every cell; `drift` is how much the start's effect varies between seeds."""
    rng, rows = rng or np.random.default_rng(0), []
    for seed in range(seeds):
        block, own = 4 + rng.normal(), rng.normal(0, drift)
        for weight, start in itertools.product((4, 1, 2), ("remapped", "random")):
            names = [f"soft weight {weight}", start, f"soft weight {weight} x {start}"]
            loss = block + sum(TRUTH.get(name, 0) for name in names) + own * (start == "remapped")
            rows.append((seed, weight, start, loss + rng.normal(0, noise)))
    return pd.DataFrame(rows, columns=["seed", "soft_weight", "start", "heldout_loss"])


def test_without_noise_effects_are_the_contrasts_of_the_design():
    found = effects(design(), factors=FACTORS)
    assert [*found["term"]] == [*TRUTH]
    for column in ("effect", "low", "high"):
        assert [*found[column]] == pytest.approx([*TRUTH.values()], abs=1e-9)
    assert (found["n"] == 18).all() and found["detectable"].max() < 1e-9


def test_with_noise_effects_are_differences_and_differences_of_differences_of_cell_means():
    runs = design(noise=0.3)
    cell = runs.groupby(["soft_weight", "start"])["heldout_loss"].mean()
    found = effects(runs, factors=FACTORS).set_index("term")["effect"]
    assert found["soft weight 4"] == pytest.approx(cell[4, "random"] - cell[1, "random"])
    at_four, at_one = (cell[w, "remapped"] - cell[w, "random"] for w in (4, 1))
    assert found["remapped"] == pytest.approx(at_one)
    assert found["soft weight 4 x remapped"] == pytest.approx(at_four - at_one)


def test_for_two_levels_and_one_factor_the_interval_is_that_of_the_paired_t_test():
    runs = design(noise=0.3).query("soft_weight == 1")
    found = effects(runs, factors={"start": "random"}, level=0.9).iloc[0]
    by_start = runs.pivot(index="seed", columns="start", values="heldout_loss")
    test = stats.ttest_rel(by_start["remapped"], by_start["random"])
    assert (found["low"], found["high"]) == pytest.approx(test.confidence_interval(0.9))
    paired = marginal(runs, factors={"start": "random"}, level=0.9).iloc[0]
    assert (paired["low"], paired["high"]) == pytest.approx((found["low"], found["high"]))


def test_marginal_effects_average_over_the_other_factor():
    found = marginal(design(), factors=FACTORS).set_index("term")
    assert [*found.index] == [*AVERAGED]
    for column in ("effect", "low", "high"):
        assert [*found[column]] == pytest.approx([*AVERAGED.values()], abs=1e-9)
    assert (found["n"] == 3).all()


def test_a_marginal_interval_is_the_t_interval_of_the_seeds_own_contrasts():
    runs = design(noise=0.3, seeds=5)
    contrasts = []
    for _, own in runs.groupby("seed"):
        loss = own.set_index(["soft_weight", "start"])["heldout_loss"]
        contrasts.append(np.mean([loss[w, "remapped"] - loss[w, "random"] for w in (1, 2, 4)]))
    expected = stats.ttest_1samp(contrasts, 0).confidence_interval(0.8)
    found = marginal(runs, factors=FACTORS, level=0.8).set_index("term").loc["remapped"]
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))


def test_marginal_effects_of_a_balanced_design_are_those_of_the_fitted_model():
    runs = design(noise=0.5, seeds=4)
    fitted = effects(runs, factors=FACTORS).set_index("term")["effect"]
    found = marginal(runs, factors=FACTORS).set_index("term")["effect"]
    for weight in (2, 4):
        alone, both = fitted[f"soft weight {weight}"], fitted[f"soft weight {weight} x remapped"]
        assert found[f"soft weight {weight}"] == pytest.approx(alone + both / 2)
    both = fitted["soft weight 2 x remapped"] + fitted["soft weight 4 x remapped"]
    assert found["remapped"] == pytest.approx(fitted["remapped"] + both / 3)


def test_three_factors_have_all_interactions_of_two_and_none_of_three():
    runs = pd.concat([design(noise=0.1).assign(hard=hard) for hard in (False, True)])
    found = effects(runs, factors={**FACTORS, "hard": True})
    assert [term for term in found["term"] if "not hard" in term] == [
        "not hard", "soft weight 2 x not hard", "soft weight 4 x not hard", "remapped x not hard",
    ]  # fmt: skip
    assert len(found) == 2 + 1 + 1 + 2 + 2 + 1


def test_intervals_of_the_fitted_model_cover_the_true_effects():
    rng, truth = np.random.default_rng(1), np.array([*TRUTH.values()])
    inside = []
    for _ in range(300):
        found = effects(design(rng, noise=0.2), factors=FACTORS)
        inside.append((found["low"] < truth) & (truth < found["high"]))
    assert 0.93 <= np.mean(inside) <= 0.97


def covered(read, truth, *, simulations):
    """Share of intervals that hold the effect of remapping where it varies between seeds."""
    rng, inside = np.random.default_rng(2), 0
    for _ in range(simulations):
        found = read(design(rng, seeds=4, noise=0.1, drift=0.3), factors=FACTORS)
        row = found.set_index("term").loc["remapped"]
        inside += row["low"] < truth < row["high"]
    return inside / simulations


def test_an_effect_that_varies_between_seeds_is_covered_by_marginal_but_not_by_the_pooled_fit():
    assert 0.93 <= covered(marginal, AVERAGED["remapped"], simulations=1000) <= 0.97
    assert covered(effects, TRUTH["remapped"], simulations=150) < 0.9


def test_a_true_effect_of_the_detectable_size_is_found_four_times_in_five():
    rng, df = np.random.default_rng(3), 18 - 6 - 2
    row = effects(design(rng, noise=0.2), factors=FACTORS).iloc[0]
    error = (row["high"] - row["low"]) / 2 / stats.t.ppf(0.975, df)
    estimates = rng.normal(row["detectable"], error, 4000)
    errors = error * np.sqrt(rng.chisquare(df, 4000) / df)
    found = np.abs(estimates) > stats.t.ppf(0.975, df) * errors
    assert found.mean() == pytest.approx(0.8, abs=0.03)


def test_one_seed_has_effects_but_no_intervals():
    for read in (effects, marginal):
        found = read(design(seeds=1), factors=FACTORS)
        assert found["effect"].notna().all()
        assert found[["low", "high", "detectable"]].isna().all(axis=None)


@pytest.mark.parametrize("read", [effects, marginal])
def test_what_is_missing_is_named(read):
    runs = design()
    with pytest.raises(ValueError, match="no run has .*soft_weight 4, start remapped"):
        read(runs[(runs["soft_weight"] != 4) | (runs["start"] == "random")], factors=FACTORS)
    with pytest.raises(ValueError, match="no column 'start'"):
        read(runs.drop(columns="start"), factors=FACTORS)
    with pytest.raises(ValueError, match="heldout_loss is missing in row 3"):
        read(runs.assign(heldout_loss=runs["heldout_loss"].where(runs.index != 3)), factors=FACTORS)
    with pytest.raises(ValueError, match=r"start: reference 'cold' .*'random', 'remapped'"):
        read(runs, factors={"start": "cold"})
    with pytest.raises(ValueError, match="start: every run has 'random'"):
        read(runs[runs["start"] == "random"], factors=FACTORS)


def test_marginal_refuses_a_seed_with_a_cell_twice_or_not_at_all():
    runs = design()
    with pytest.raises(ValueError, match="no run has seed 0, soft_weight 4, start remapped"):
        marginal(runs.drop(index=0), factors=FACTORS)
    with pytest.raises(ValueError, match="more than one run has seed 0, soft_weight 4, start rem"):
        marginal(pd.concat([runs, runs.head(1)]), factors=FACTORS)


def test_the_fit_refuses_seeds_that_are_the_levels():
    runs = design(seeds=2)
    with pytest.raises(ValueError, match="confounded"):
        some = runs[(runs["seed"] == 0) == (runs["start"] == "random")]
        effects(some, factors={"start": "random"})


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("soft_weight", 4.0, "soft weight 4"),
        ("soft_weight", 0.25, "soft weight 0.25"),
        ("start", "remapped", "remapped"),
        ("remap", True, "remap"),
        ("remap", np.False_, "not remap"),
    ],
)
def test_a_level_is_named_as_it_is_read(column, value, said):
    assert label(column, value) == said
