"""Independent references: contrasts written out by hand, data of known effects, and t-tests."""

import itertools

import numpy as np
import pandas as pd
import pytest
from made_up import study
from scipy import stats

from dwt.analysis.factorial import effects, factorial_table, interaction, two_by_two, weight_label
from dwt.analysis.tables import TablesError, table

ARMS = ["scratch", "normal", "remapped", "remapped-no-kd"]
GAIN = {"weight 1": 0.1, "weight 4": -0.2, "remapped": 0.3, "weight 1 x remapped": -0.05}


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    return study(tmp_path_factory.mktemp("study"))


def design(*, seeds=3, noise=0.0, rng=None):
    """Every cell of every seed, with the gains `GAIN`."""
    rng, rows = rng or np.random.default_rng(0), []
    for seed in range(seeds):
        block = 4 + rng.normal()
        for weight, start in itertools.product(("weight 4", "weight 0", "weight 1"),
                                               ("remapped", "random")):  # fmt: skip
            names = [weight, start, f"{weight} x {start}"]
            loss = block - sum(GAIN.get(name, 0) for name in names) + rng.normal(0, noise)
            rows.append(("teacher", weight, start, seed, loss))
    return pd.DataFrame(rows, columns=["teacher", "weight", "start", "seed", "heldout_loss"])


def test_without_noise_every_effect_is_found_exactly():
    measured = effects(design()).set_index("term")["mean"].to_dict()
    assert measured == pytest.approx({
        "weight 1": 0.1 - 0.05 / 2, "weight 4": -0.2, "remapped": 0.3 - 0.05 / 3,
        "weight 1 x remapped": -0.05, "weight 4 x remapped": 0,
        "weight 1 (random)": 0.1, "weight 4 (random)": -0.2, "remapped (weight 0)": 0.3,
    })  # fmt: skip


def test_each_interval_is_that_of_a_t_test_of_the_seeds_contrasts():
    rows = design(seeds=5, noise=0.1)
    loss = rows.pivot(index="seed", columns=["weight", "start"], values="heldout_loss")
    both = loss["weight 0", "remapped"] - loss["weight 4", "remapped"]
    contrast = both - (loss["weight 0", "random"] - loss["weight 4", "random"])
    low, high = stats.ttest_1samp(contrast, 0).confidence_interval(0.9)
    row = effects(rows, level=0.9).set_index("term").loc["weight 4 x remapped"]
    assert (row["low"], row["high"], row["n"]) == pytest.approx((low, high, 5))


def test_a_missing_cell_costs_its_seed_only_where_the_cell_is_needed():
    rows = design(seeds=4, noise=0.1)
    lacking = (rows["seed"] == 3) & (rows["weight"] == "weight 4") & (rows["start"] == "remapped")
    n = effects(rows[~lacking]).set_index("term")["n"]
    assert n["weight 1 x remapped"] == 4
    assert n["weight 4 x remapped"] == n["weight 1"] == n["remapped"] == 3


def test_the_interaction_is_by_how_much_one_gain_exceeds_the_other():
    loss = pd.DataFrame({"a": [1.0, 1.1], "b": [2.0, 2.1], "c": [3.0, 3.3], "d": [3.5, 3.8]})
    measured = interaction(loss, *"abcd")  # (b - a) - (d - c)
    assert measured.differences == pytest.approx((0.5, 0.5))


def test_the_two_by_two_has_the_gains_from_both_starts(params):
    measured = two_by_two(table("runs", params), ARMS)
    assert measured.corners == {(False, False): "scratch", (False, True): "normal",
                             (True, True): "remapped", (True, False): "remapped-no-kd"}  # fmt: skip
    assert measured.random.mean == pytest.approx(0.5 * (0.4 - 0.1), abs=0.005)
    assert measured.remapped.mean == pytest.approx(0.3 * (0.1 - 0.7), abs=0.005)
    assert measured.interaction.mean == pytest.approx(measured.remapped.mean - measured.random.mean)
    assert measured.interaction.n == 6


def test_the_two_by_two_and_the_factorial_give_one_number_for_one_interaction(params):
    rows = effects(factorial_table(params))
    weak = rows[rows["teacher"] == "weak-teacher"].set_index("term").loc["weight 1 x remapped"]
    measured = two_by_two(table("runs", params), ARMS).interaction
    assert [weak[key] for key in ("mean", "low", "high", "n")] == pytest.approx(
        [measured.mean, measured.low, measured.high, measured.n]
    )


def test_a_two_by_two_with_a_missing_corner_is_refused(params):
    with pytest.raises(TablesError, match="four arms.*found scratch, normal, remapped "):
        two_by_two(table("runs", params), ARMS[:3])


def test_the_factorial_holds_every_cell_once_a_seed(params):
    rows = factorial_table(params)
    size = rows.groupby(["teacher", "start"])["weight"].nunique()
    assert size["weak-teacher"].tolist() == [5, 5]
    assert size["very-weak-teacher"].tolist() == size["extremely-weak-teacher"].tolist() == [3, 3]
    assert not rows.duplicated(["teacher", "weight", "start", "seed"]).any()
    no_kd = rows[(rows["weight"] == "weight 0") & (rows["start"] == "random")]
    assert {*no_kd["arm"]} == {"scratch"} and no_kd["seed"].nunique() == 6


def test_a_teacher_from_whose_weights_no_student_starts_is_not_in_the_factorial(params):
    analyses = dict(params.analyses)
    analyses["factorial"] = [a for a in analyses["factorial"] if "very-weak-remapped" not in a]
    rows = factorial_table(params.model_copy(update={"analyses": analyses}))
    assert {*rows["teacher"]} == {"weak-teacher", "extremely-weak-teacher"}


@pytest.mark.parametrize(
    ("weight", "label"), [(0.25, "weight 0.25"), ({"from": 4.0, "to": 1.0}, "weight 4 to 1")]
)
def test_weights_are_labelled_by_their_numbers(weight, label):
    assert weight_label(weight) == label
