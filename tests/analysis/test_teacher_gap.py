"""The extended grid: its numbers are those that a made-up study was built from."""

import itertools
import math
import re

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from dwt.analysis import compute as spent
from dwt.analysis import extended_plots as evidence_plots
from dwt.analysis import extended_summaries as evidence_answers
from dwt.analysis import plots
from dwt.analysis import teacher_gap as evidence
from dwt.analysis.tables import TablesError, extended, save
from dwt.config.params import load_params, resolve

LAYERS_BEHIND = {4: 0.1, 2: 0.3, 1: 0.7}  # nats behind the student alone after as many steps
COST = {"student": 600, "teacher": 150}  # operations a step


def alone(budget, seed):
    return 4.0 - 0.5 * math.log2(budget) + 0.1 * seed


def loss_of(params, name, seed, *, bump=0.0):
    """Closed forms: a gain of 0.5 (0.4 - gap) at random, of 0.3 (0.1 - gap) from copied weights."""
    noise = 0.001 * ((7 * seed + len(name)) % 5)
    models, arms = params.all_models, params.all_arms
    if name in models:
        behind = LAYERS_BEHIND.get(models[name].layers, 0.0)
        return alone(models[name].budget, seed) + behind + noise
    arm = arms[name]
    reached = alone(arm.budget, seed) - (0.6 if arm.remap else 0.0)
    if arm.soft_weight == 0 or arm.teacher not in models:
        return reached + noise
    gap = loss_of(params, arm.teacher, seed) - reached
    gain = 0.3 * (0.1 - gap) if arm.remap else 0.5 * (0.4 - gap)
    return reached - gain - (bump if arm.budget > 1 else 0.0) + noise


def write_tables(params, **how):
    for grid in ("study", "evidence"):
        runs, curves = [], []
        for name, seed in params.runs_of(grid):
            run, loss = resolve(name, seed, params), loss_of(params, name, seed, **how)
            steps, taught = run.train["steps"], bool(run.teacher and run.soft_weight != 0)
            keys = dict(kind=run.kind, arm=name, seed=seed)
            spent_ = dict(student_flops=steps * COST["student"],
                          teacher_flops=steps * COST["teacher"] * taught)  # fmt: skip
            weight = run.soft_weight if isinstance(run.soft_weight, float) else "{}"
            runs.append(dict(keys, layers=run.layers, teacher=run.teacher, soft_weight=weight,
                             hard_weight=1.0, temperature=run.temperature, remap=run.remap,
                             parameters=10, steps=steps, tokens=steps, heldout_loss=loss,
                             out_of_domain_loss=loss + 1, **spent_))  # fmt: skip
            at = np.arange(0, steps + 1, steps // 6)
            curves.append(pd.DataFrame({"step": at}).assign(
                **keys, tokens=at, learning_rate=1e-3, hard=loss, soft=1.0, hard_weight=1.0,
                soft_weight=1.0 if taught else 0.0, gradient_norm=1.0, gradient_ratio=0.5,
                gradient_cosine=0.3, student_flops=at * 600, teacher_flops=at * 150,
                heldout_loss=loss + 3 * (1 - at / steps),
            ))  # fmt: skip
        folder = params.path("results", *([] if grid == "study" else [grid]))
        save(pd.DataFrame(runs), folder / "runs.csv")
        save(pd.concat(curves), folder / "curves.csv")


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    declared = load_params(ROOT / "params.yaml")
    study = declared.model_copy(update={"root": tmp_path_factory.mktemp("study")})
    write_tables(study)
    return study


@pytest.mark.parametrize(
    ("start", "zero", "slope"), [("random", 0.4, -0.5), ("remapped", 0.1, -0.3)]
)
def test_the_gap_and_the_gain_are_those_the_study_was_made_with(params, start, zero, slope):
    points = evidence.gap_points(params)
    points = points[points["start"] == start]
    assert {*points["route"]} == {*evidence.ROUTES}
    np.testing.assert_allclose(points["gain"], slope * (points["gap"] - zero), atol=0.01)
    line, off = evidence.one_curve(points)
    assert line.gap == pytest.approx(zero, abs=0.03)
    assert line.slope.mean == pytest.approx(slope, abs=0.02)
    assert all(abs(d.mean) < 0.01 for d in off.values())


def test_a_route_that_is_off_the_line_is_seen(params, tmp_path):
    other = params.model_copy(update={"root": tmp_path})
    write_tables(other, bump=0.3)  # a longer student gains 0.3 more than its gap says
    points = evidence.gap_points(other)
    _, off = evidence.one_curve(points[points["start"] == "random"])
    assert off["longer student"].low > 0
    assert off["smaller teacher"].mean < 0
    assert "off that line: " in evidence_answers.say_gap(other)


def test_routes_are_told_by_what_made_the_gap(params):
    points = evidence.gap_points(params).drop_duplicates("arm").set_index("arm")
    route = points["route"]
    assert route["normal"] == route["extremely-weak"] == "smaller teacher"
    assert route["normal-half"] == route["normal-quarter"] == "less trained teacher"
    assert route["normal-4x"] == "longer student"
    assert "shuffled" not in points.index and "strong" not in points.index


def test_the_factorial_holds_every_cell_once_a_seed(params):
    rows = evidence.crossed(params)
    size = rows.groupby(["teacher", "start"])["weight"].nunique()
    assert size["weak-teacher"].tolist() == [5, 5]
    assert size["very-weak-teacher"].tolist() == [3, 3]
    assert size["extremely-weak-teacher"].tolist() == [3, 3]
    assert not rows.duplicated(["teacher", "weight", "start", "seed"]).any()
    silent = rows[(rows["weight"] == "weight 0") & (rows["start"] == "random")]
    assert {*silent["arm"]} == {"scratch"}


def test_a_teacher_from_whose_weights_no_student_starts_has_nothing_to_cross(params):
    analyses = dict(params.evidence.analyses)
    analyses["factorial"] = [a for a in analyses["factorial"] if "very-weak-remapped" not in a]
    less = params.evidence.model_copy(update={"analyses": analyses})
    rows = evidence.crossed(params.model_copy(update={"evidence": less}))
    assert {*rows["teacher"]} == {"weak-teacher", "extremely-weak-teacher"}


def test_a_rival_of_equal_operations_is_read_from_the_budgets_of_the_student_alone(params):
    """Its loss is linear in the logarithm of operations here, so the reading is exact."""
    runs = extended("runs", params)
    for reading, share in (("forward", 1.0), ("cached", spent._cached_share(params, "normal"))):
        found = spent.at_equal_flops(params, runs, reading).set_index(["arm", "seed"])
        cost = COST["student"] + share * COST["teacher"]
        rival = alone(cost / COST["student"], 1)
        assert found.loc[("normal", 1), "rival"] == pytest.approx(rival, abs=0.006)
        own = found.loc[("normal", 1), "loss"] - rival
        assert found.loc[("normal", 1), "difference"] == pytest.approx(own, abs=0.006)
    trained = spent.at_equal_flops(params, runs, "training").set_index(["arm", "seed"])
    twice = (2 * COST["student"] + COST["teacher"]) / COST["student"]  # the teacher cost as much
    assert trained.loc[("normal", 1), "rival"] == pytest.approx(alone(twice, 1), abs=0.006)


def test_what_costs_more_than_the_longest_rival_is_not_compared(params):
    found = spent.at_equal_flops(params, extended("runs", params), "forward")
    assert found.loc[found["arm"] == "normal-4x", "rival"].isna().all()
    assert found.loc[found["arm"] == "adaptive", "rival"].notna().all()


def test_a_stored_teacher_costs_its_output_layer_only(params):
    """One layer's output product is a larger share of it than four layers'."""
    shares = [spent._cached_share(params, arm) for arm in ("normal", "very-weak", "extremely-weak")]
    assert 0 < shares[0] < shares[1] < shares[2] < 1
    assert spent._cached_share(params, "frequencies") == 1


def test_how_soon_an_arm_is_as_good_is_read_from_its_curve(params):
    """Curves fall straight by 3 nats, so an arm that ends d lower is there at 1 - d / 3."""
    curves, runs = extended("curves", params), extended("runs", params)
    loss = runs.pivot(index="seed", columns="arm", values="heldout_loss")
    shares = spent.steps_to_reach(curves, "normal")
    ahead = (loss["scratch"] - loss["normal"])[shares.index]
    np.testing.assert_allclose(shares, 1 - ahead / 3, atol=1e-4)
    assert spent.steps_to_reach(curves, "extremely-weak").isna().all()


def test_a_student_overtakes_at_the_first_evaluation_below_its_teachers_last(params):
    steps = spent.overtaking(extended("curves", params), "normal", "weak-teacher")
    assert steps.tolist() == [600.0] * len(steps)  # 0.25 nats are less than one evaluation's fall
    table = spent.stopping(params).set_index("arm")
    assert "shuffled" not in table.index and "remapped-hard" not in table.index
    assert table.loc["normal-4x", "seed 0"] == 2000


def test_gains_use_every_seed_that_both_arms_have(params):
    table = evidence.gains(params, ["normal", "shuffled"]).set_index("arm")
    assert table.loc["normal", "n"] == len(params.seeds) + len(params.evidence.seeds)
    assert table.loc["shuffled", "n"] == len(params.seeds)
    assert table.loc["normal", "p"] == pytest.approx(2 / 2**6)


def test_the_ledger_has_a_row_a_claim_with_interval_and_figure(params):
    ledger = evidence.ledger(params)
    assert [*ledger["claim"]] == [*params.claims, *params.evidence.claims]
    assert len(ledger) >= 12
    assert ledger[["low", "high"]].notna().all(axis=None)
    assert {*ledger["verdict"]} <= {"supported", "contradicted", "undecided"}
    by_claim = ledger.set_index("claim")
    assert by_claim.loc["weak-helps", "n"] == 6
    assert by_claim.loc["weak-helps", "verdict"] == "supported"
    assert by_claim.loc["copied-weights-outlast-the-budget", "verdict"] == "supported"
    assert by_claim.loc["worth-its-compute", "figure"] == "evidence/compute.svg"
    assert by_claim.loc["weak-helps", "figure"] == "teacher-quality.svg"


def test_where_every_gap_tried_is_too_large_no_gap_is_named_at_which_a_teacher_helps(params):
    points = evidence.gap_points(params)
    points = points[points["start"] == "random"].assign(gain=lambda rows: -0.1 - rows["gap"])
    line, _ = evidence.one_curve(points)
    said = evidence_answers.say_where_it_helps(line, points)
    gaps = r"−?\d\.\d\d to \d\.\d\d nats"
    assert re.fullmatch(rf"a teacher helps at none of the gaps tried, {gaps}", said)


def test_poor_teachers_fill_a_square_of_weights_and_temperatures_each(params):
    table = evidence.poor_teachers(params)
    for _, rows in table.groupby("teacher"):
        found = {*zip(rows["soft_weight"], rows["temperature"], strict=True)}
        assert found == {*itertools.product((0.25, 0.5, 1.0), (1, 2, 4))}
        assert {*rows["n"]} == {3}  # the study's own arms have more: cells share their seeds


def test_a_run_that_is_missing_is_named_with_the_command_that_makes_it(params, tmp_path):
    other = params.model_copy(update={"root": tmp_path})
    write_tables(other)
    (other.path("results", "evidence") / "runs.csv").unlink()
    with pytest.raises(TablesError, match=r"evidence/runs\.csv is missing; run make evidence"):
        extended("runs", other)


def tokens():
    rows = [
        dict(arm="normal", against="scratch", seed=seed, band=band, teacher_right=right,
             tokens=100 if right else 300, loss=3.0 + 0.01 * seed,
             loss_without=3.4 + 0.001 * seed if right else 2.9)
        for seed in (0, 1, 2) for band in ("1-16", "17-64", "65-2048") for right in (True, False)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_where_a_teacher_is_right_and_wrong_is_weighed_by_tokens():
    said = evidence_answers.say_why(tokens())
    assert "+0.391" in said and "(25 % of tokens)" in said
    assert "−0.110" in said and "(75 % of tokens)" in said


FIGURES = ["route", "squares", "gains", "poor", "flops", "weights", "tokens"]


@pytest.mark.parametrize("figure", FIGURES)
def test_every_figure_is_drawn_and_says_what_it_shows(params, figure):
    plots.theme()
    canvas, axes = plt.subplots(1, 3)
    runs, curves = extended("runs", params), extended("curves", params)
    if figure == "route":
        points = evidence.gap_points(params)
        evidence_plots.gain_by_route(points[points["start"] == "random"], axes[0])
        assert "A teacher helps while it is less than 0.4" in flat(axes[0])
        assert "no route is off the line" in flat(axes[0])
    elif figure == "squares":
        evidence_plots.squares(evidence.crossed(params), axes)
        assert "lowest with weight" in flat(axes[1])
    elif figure == "gains":
        evidence_plots.gains(evidence.gains(params, ["normal", "extremely-weak"]), axes[0])
        assert "Help: normal; harm: extremely-weak" in flat(axes[0])
    elif figure == "poor":
        evidence_plots.poor_teachers(evidence.poor_teachers(params), axes[:2])
        assert "best" in flat(axes[0])
    elif figure == "flops":
        compared = spent.at_equal_flops(params, runs, "forward")
        evidence_plots.at_equal_flops(compared, spent.alone(runs), ["normal"], axes[0])
        assert flat(axes[0]).startswith("At equal operations: normal")
    elif figure == "weights":
        evidence_plots.weights_over_training(curves, spent.adaptive_arms(params), axes[0])
        assert len(axes[0].lines) > 4
    else:
        evidence_plots.gain_by_token(tokens(), axes[0])
        assert "normal over scratch: +0.391" in flat(axes[0])
    canvas.canvas.draw()
    plt.close(canvas)


def flat(axis):
    return axis.get_title(loc="left").replace("\n", " ")


def test_the_whole_answer_is_said(params):
    answer = evidence_answers.evidence_answer(params)
    assert "nan" not in answer
    assert f"{len(params.claims) + len(params.evidence.claims)} claims" in answer
