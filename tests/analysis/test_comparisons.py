"""Gains and differences over the seeds that both arms have."""

import pandas as pd
import pytest
from made_up import study

from dwt.analysis import comparisons
from dwt.analysis.tables import table


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    return study(tmp_path_factory.mktemp("study"))


def test_gains_use_every_seed_that_both_arms_have_and_are_positive_when_they_help(params):
    measured = comparisons.gains(params, ["normal", "same-size-teacher"]).set_index("arm")
    assert measured["n"].to_list() == [6, 3]
    assert measured.loc["normal", "mean"] == pytest.approx(0.5 * (0.4 - 0.1), abs=0.005)
    assert measured.loc["normal", "p"] == pytest.approx(2 / 2**6)


def test_losses_along_the_run_are_those_of_the_first_evaluation_at_or_after_the_fraction(params):
    curves = table("curves", params)
    early, step = comparisons.losses_at(curves[curves["arm"].isin(["scratch", "normal"])], 0.4)
    assert step == 300 and early.loc[0, "scratch"] == pytest.approx(
        4.0 + 3 * 0.5, abs=0.01
    )  # step 300 of 600


def test_curves_of_parallel_lines_do_not_cross(params):
    steps = comparisons.crossings(table("curves", params), "strong", "normal")
    assert len(steps) == 6 and pd.isna(steps).all()


def test_differences_hold_every_measure_against_the_first_two_arms(params):
    measured = comparisons.differences(params, "teacher-quality")
    losses = measured[measured["measure"] == "held-out loss"]
    assert losses[["against", "arm"]].values.tolist() == [
        ["scratch", "normal"], ["scratch", "very-weak"], ["scratch", "extremely-weak"],
        ["normal", "very-weak"], ["normal", "extremely-weak"],
    ]  # fmt: skip
    assert losses["mean"].iloc[0] == pytest.approx(-0.15, abs=0.005)
    assert {*losses["n"]} == {6}
    word_swap = measured[measured["measure"] == "word-swap (minimal-pair accuracy)"]
    assert {*word_swap["n"]} == {3} and word_swap["mean"].to_numpy() == pytest.approx(0)
    flops = measured[measured["measure"].str.contains("equal FLOPs")]
    assert {*flops["against"]} == {"scratch"} and "normal" in {*flops["arm"]}


def test_without_longer_runs_there_is_nothing_at_equal_flops(tmp_path):
    measured = comparisons.differences(study(tmp_path, grids=["study"]), "teacher-quality")
    assert not measured["measure"].str.contains("FLOPs").any()


def test_poor_teachers_have_a_full_grid_of_weights_and_temperatures(params):
    measured = comparisons.poor_teachers(params)
    for _, rows in measured.groupby("teacher"):
        grid = {*zip(rows["soft_weight"], rows["temperature"], strict=True)}
        assert grid == {(w, t) for w in (0.25, 0.5, 1.0) for t in (1, 2, 4)}


def test_sizes_are_of_the_models_that_have_scores(params):
    layers = comparisons.sizes(table("runs", params), table("scores", params))
    assert layers.to_dict() == {"extremely-weak-teacher": 1, "very-weak-teacher": 2,
                                "weak-teacher": 4, "scratch": 6}  # fmt: skip
