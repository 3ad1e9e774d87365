"""Gaps, gains and the line through them are those that a made-up study was built from."""

import numpy as np
import pandas as pd
import pytest
from made_up import study

from dwt.analysis.tables import TablesError, save
from dwt.analysis.teacher_gap import CAUSES, gap_line, gap_points, gap_table


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    return study(tmp_path_factory.mktemp("study"))


@pytest.mark.parametrize(
    ("start", "zero", "slope"), [("random", 0.4, -0.5), ("remapped", 0.1, -0.3)]
)
def test_gap_gain_and_line_are_those_the_study_was_made_with(params, start, zero, slope):
    points = gap_points(params)
    points = points[points["start"] == start]
    assert {*points["cause"]} == {*CAUSES}
    np.testing.assert_allclose(points["gain"], slope * (points["gap"] - zero), atol=0.01)
    line = gap_line(points)
    assert line.zero.gap == pytest.approx(zero, abs=0.03)
    assert line.zero.slope.mean == pytest.approx(slope, abs=0.02)
    assert all(abs(d.mean) < 0.01 for d in line.residuals.values())


def test_a_route_that_is_off_the_line_is_reported(tmp_path):
    points = gap_points(study(tmp_path, bump=0.3))  # longer students gain 0.3 more
    line = gap_line(points[points["start"] == "random"])
    assert line.off["longer student"].low > 0
    assert line.residuals["smaller teacher"].mean < 0


def test_the_route_is_what_made_the_gap(params):
    points = gap_points(params).drop_duplicates("arm").set_index("arm")
    cause = points["cause"]
    assert cause["normal"] == cause["extremely-weak"] == "smaller teacher"
    assert cause["normal-half"] == cause["normal-quarter"] == "under-trained teacher"
    assert cause["normal-4x"] == "longer student"
    assert "shuffled-contexts" not in points.index and "strong" not in points.index


def test_arms_without_a_teacher_or_a_soft_loss_have_no_gap(params):
    points = gap_points(params, ["scratch", "normal", "remapped-no-kd", "unigram-teacher"])
    assert {*points["arm"]} == {"normal"} and {*points["layers"]} == {4}
    assert len(points) == len(params.seeds) + len(params.extended.seeds)


def test_an_arm_without_a_run_that_differs_in_the_soft_loss_only_has_no_gap(tmp_path):
    small = study(tmp_path, grids=["study"])
    file = small.path("results", "tables", "runs.csv")
    rows = pd.read_csv(file)
    save(rows.assign(steps=rows["steps"].mask(rows["arm"] == "remapped-no-kd", 7)), file)
    assert {*gap_points(small, ["normal", "remapped"])["arm"]} == {"normal"}


def test_arms_of_which_none_was_run_are_refused_by_name(params):
    with pytest.raises(TablesError, match="none of scratch, remapped-no-kd was run with a teacher"):
        gap_points(params, ["scratch", "remapped-no-kd"])


def test_two_arms_are_too_few_for_a_line(params):
    assert gap_line(gap_points(params, ["normal", "very-weak"])) is None


def test_the_line_has_the_seeds_that_every_arm_has(params):
    assert gap_line(gap_points(params, ["normal", "very-weak", "extremely-weak"])).zero.slope.n == 6
    points = gap_points(params)
    assert gap_line(points[points["start"] == "random"]).zero.slope.n == 3


def test_the_table_has_the_mean_gain_of_each_arm(params):
    points = gap_points(params)
    row = gap_table(points).set_index("arm").loc["normal-half"]
    assert row["mean"] == pytest.approx(points.query("arm == 'normal-half'")["gain"].mean())
    assert row["low"] < row["mean"] < row["high"]
