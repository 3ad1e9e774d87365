"""Figures of curves, gains, factors and claims: every seed is drawn, titles follow the numbers."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from made_up import drawn_points, numbers, study, words

from dwt.analysis import compute, curve_plots, factor_plots, gain_plots, plot_style
from dwt.analysis.claims import claims
from dwt.analysis.comparisons import crossings, gains, poor_teachers
from dwt.analysis.factorial import factorial_table
from dwt.analysis.tables import TablesError, table
from dwt.analysis.teacher_gap import gap_points

TEACHERS = ["scratch", "normal", "very-weak", "extremely-weak"]
TWO_BY_TWO = ["scratch", "normal", "remapped", "remapped-no-kd"]


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    return study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """The study of three seeds with every gain turned into a loss."""
    return study(tmp_path_factory.mktemp("mirrored"), grids=["study"], sign=-1)


@pytest.fixture
def axis():
    plot_style.theme()
    figure, axis = plt.subplots()
    yield axis
    figure.draw_without_rendering()
    assert min(text.get_fontsize() for text in figure.findobj(plt.Text)) >= 8
    plt.close("all")


@pytest.fixture
def axes():
    plot_style.theme()
    figure, axes = plt.subplots(1, 3, figsize=(8.6, 4.1))
    yield axes
    figure.draw_without_rendering()
    plt.close("all")


def test_the_gap_figure_draws_every_seed_where_it_lies(params, axis):
    points = gap_points(params, TEACHERS)
    gain_plots.gain_against_gap(points, axis)
    drawn = drawn_points(axis)
    for row in points.itertuples():
        assert np.abs(drawn - [row.gap, row.gain]).max(axis=1).min() < 1e-9
    assert words(axis) == "Teachers help up to a gap of 0.40 nats"
    assert "95 % interval 0." in numbers(axis) and "6 seeds" in numbers(axis)
    assert "teachers of 4, 2, 1 layers" in numbers(axis)


def test_the_gap_title_turns_with_the_data(mirrored, axis):
    gain_plots.gain_against_gap(gap_points(mirrored, TEACHERS), axis)
    assert words(axis) == "Teachers help from a gap of 0.40 nats"


def test_the_routes_to_a_gap_have_a_marker_each(params, axis):
    points = gap_points(params)
    gain_plots.gain_against_gap(points[points["start"] == "random"], axis)
    assert "off the line: no cause" in words(axis)
    legend = {text.get_text() for text in axis.get_legend().get_texts()}
    assert legend == {"smaller teacher", "under-trained teacher", "longer student"}


def test_one_seed_is_drawn_and_named_as_one(params, axis):
    points = gap_points(params, TEACHERS)
    gain_plots.gain_against_gap(points[points["seed"] == 0], axis)
    assert "one seed, no interval" in numbers(axis)


def test_the_two_by_two_helps_and_hurts_as_the_numbers_do(params, mirrored, axes):
    for axis, of in zip(axes, (params, mirrored), strict=False):
        factor_plots.remapping_by_soft_loss(table("runs", of), TWO_BY_TWO, axis)
    assert words(axes[0]) == "The soft loss helps a random start, hurts a remapped one"
    assert words(axes[1]) == "The soft loss hurts a random start, helps a remapped one"


def test_the_lead_is_a_gain_with_a_tick_where_curves_cross(params, axis):
    runs, curves = table("runs", params), table("curves", params)
    late = (curves["arm"] == "very-weak") & (curves["step"] < 300)
    curves.loc[late, "heldout_loss"] -= 0.5
    curve_plots.gain_curves(runs, curves, ["scratch", "normal", "very-weak"], axis)
    assert words(axis) == "At the end, against normal: very-weak worse"
    ticks = [line for line in axis.lines if line.get_marker() == "|"]
    measured = crossings(curves, "very-weak", "normal")
    assert not np.isnan(measured).any() and sorted(ticks[0].get_xdata()) == sorted(measured)
    assert axis.get_ylabel() == "gain over normal (nats)"


def test_the_best_arm_is_named_with_its_distance_to_the_next(params, axis):
    curve_plots.loss_curves(table("runs", params), table("curves", params), TEACHERS, axis)
    assert words(axis) == "normal ends lowest, before very-weak"
    assert "gain over very-weak +0.1" in numbers(axis)


def test_curves_of_several_budgets_are_drawn_whole(params, axis):
    arms = ["scratch", "normal"]  # other arms of the tables have other steps
    curve_plots.loss_curves(table("runs", params), table("curves", params), arms, axis)
    assert not any(np.isnan(line.get_ydata().astype(float)).any() for line in axis.lines)


def test_the_effective_weight_leaves_out_arms_without_a_soft_loss(params, axes):
    curve_plots.effective_weight(table("curves", params), TEACHERS, axes[:2])
    assert "normal 0.50 → 0.40" in numbers(axes[0]) and "scratch" not in numbers(axes[0])
    assert words(axes[0]).endswith("falls over training in 3 of 3 arms")
    assert words(axes[1]).endswith("falls over training in 0 of 3 arms")


def test_an_arm_that_was_not_run_is_left_out_of_the_curves(mirrored, axes):
    runs, curves, arms = table("runs", mirrored), table("curves", mirrored), [*TEACHERS, "adaptive"]
    curve_plots.loss_curves(runs, curves, arms, axes[0])
    curve_plots.gain_curves(runs, curves, arms, axes[1])
    assert words(axes[1]) == "At the end, against normal: very-weak and extremely-weak better"
    curve_plots.effective_weight(curves, arms, axes[1:])


def test_a_figure_whose_arms_were_not_run_is_refused_with_their_names(mirrored, axis):
    runs, curves = table("runs", mirrored), table("curves", mirrored)
    with pytest.raises(TablesError, match="at least 3 arms are needed.*not run: adaptive, 4-to-0"):
        curve_plots.gain_curves(runs, curves, ["scratch", "normal", "adaptive", "4-to-0"], axis)
    with pytest.raises(TablesError, match="needs four arms.*found scratch, normal, remapped "):
        arms = ["scratch", "normal", "remapped", "remapped-4x"]
        factor_plots.remapping_by_soft_loss(runs, arms, axis)


def test_a_setting_with_one_seed_has_no_interval(params, axes):
    one = poor_teachers(params).assign(n=1, low=np.nan, high=np.nan)
    gain_plots.setting_grid(one, axes[:2])
    texts = [text.get_text() for text in axes[0].texts]
    assert len(texts) == 9 and all(len(text) == 6 and text[0] in "+−" for text in texts)


def test_gains_are_rows_with_those_that_help_first(params, axis):
    gain_plots.gain_bars(gains(params, ["extremely-weak", "normal"]), axis)
    assert [text.get_text() for text in axis.get_yticklabels()] == ["normal", "extremely-weak"]
    assert words(axis) == "Clearly better than no teacher: normal; clearly worse: extremely-weak"


def test_the_grid_of_settings_names_the_best_one(params, axes):
    measured = poor_teachers(params)
    gain_plots.setting_grid(measured, axes[:2])
    best = measured[measured["teacher"] == "extremely-weak-teacher"]
    best = best.loc[best["mean"].idxmax()]
    setting = f"weight {best['soft_weight']:g}, temperature {best['temperature']:g}"
    assert words(axes[0]).startswith(f"extremely-weak-teacher: best at {setting}")


def test_losses_against_flops_say_who_is_better_at_equal_cost(params, axis):
    runs = table("runs", params)
    compared = compute.at_equal_flops(params, runs, "forward")
    arms = ["normal", "remapped-no-kd"]
    gain_plots.loss_against_flops(compared, compute.no_teacher_runs(runs), arms, axis)
    assert words(axis).endswith("better: remapped-no-kd; undecided: normal")
    assert "remapped-no-kd +0.6" in numbers(axis)


def test_weights_over_training_are_drawn_for_every_seed(params, axis):
    curve_plots.weights_over_training(table("curves", params), ["adaptive", "adaptive-4x"], axis)
    assert len(axis.lines) == 2 * len(params.seeds) + 2
    assert words(axis) == "Adaptive weights are 0 after step 1600 at the latest"


def tokens():
    rows = [
        dict(arm="normal", against="scratch", seed=seed, band=band, teacher_right=right,
             tokens=100 if right else 300, loss=3.0 + 0.01 * seed,
             loss_without=3.4 + 0.001 * seed if right else 2.9)
        for seed in (0, 1, 2) for band in ("1-16", "17-64", "65-2048") for right in (True, False)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_gains_by_token_are_apart_where_the_teacher_is_right(axis):
    gain_plots.gain_by_token(tokens(), axis)
    assert words(axis) == "normal gains more where its teacher is right"
    assert "right: +0.391" in numbers(axis) and "wrong: −0.110" in numbers(axis)


def test_the_factorial_has_a_panel_per_teacher_and_names_the_lowest_cell(params, axes):
    factor_plots.factorial_panels(factorial_table(params), axes)
    assert words(axes[0]) == "weak-teacher: lowest with weight 0 from a remapped start"
    assert [text.get_text() for text in axes[0].get_xticklabels()] == ["0", "1", "4", "4→1", "4→0"]


def test_every_claim_is_a_row_on_the_side_it_claims(params, axis):
    measured = claims(params)
    factor_plots.forest(measured, axis)
    marks = [line for line in axis.lines if line.get_marker() in ("o", "X", "D")]
    for mark, row in zip(marks, measured.itertuples(), strict=True):
        side = {"supported": 1, "contradicted": -1}.get(row.verdict)
        assert side is None or np.sign(mark.get_xdata()[0]) == side


def test_scales_are_one_row_each_with_the_panels_of_the_summary(params, mirrored):
    plot_style.theme()
    figure = plt.figure(figsize=(8.6, 4))
    factor_plots.scales({"small": params, "large": mirrored}, figure)
    assert len(figure.axes) == 6
    for axis, name in zip(figure.axes[::3], ("small", "large"), strict=True):
        assert name in {text.get_text() for text in axis.texts}
    assert "up to a gap" in words(figure.axes[0]) and "from a gap" in words(figure.axes[3])
    figure.draw_without_rendering()
    assert max(axis.get_title(loc="left").count("\n") for axis in figure.axes) <= 1
    plt.close(figure)


def test_a_figure_without_scales_says_why_it_is_empty():
    figure = plt.figure()
    factor_plots.scales({}, figure)
    assert [text.get_text() for text in figure.texts] == [factor_plots.NO_SCALE]
    plt.close(figure)
