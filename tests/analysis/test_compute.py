"""FLOPs, baselines of equal cost and times are those that a made-up study was built from."""

import numpy as np
import pytest
from conftest import ROOT
from made_up import STEP_FLOPS, alone, study

from dwt.analysis import compute
from dwt.analysis.tables import table
from dwt.config.params import load_params
from dwt.data.vocabulary import Vocabulary
from dwt.training.models import build_model, forward_flops

OUTPUT = 2 * 16 * 38 * 64 * 2048  # FLOPs: 38 masked positions of 128, width 64, vocabulary 2,048


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    return study(tmp_path_factory.mktemp("study"))


@pytest.mark.parametrize(
    ("reading", "teacher"),
    [("forward", STEP_FLOPS[4] / 3), ("cached", OUTPUT), ("training", STEP_FLOPS[4] * 4 / 3)],
)
def test_the_rival_is_the_student_without_a_teacher_trained_for_as_many_flops(
    params, reading, teacher
):
    """Its loss is linear in log FLOPs here, so interpolation is exact."""
    measured = compute.at_equal_flops(params, table("runs", params), reading)
    row = measured.set_index(["arm", "seed"]).loc[("normal", 1)]
    baseline = alone((STEP_FLOPS[6] + teacher) / STEP_FLOPS[6], 1)
    assert row["baseline"] == pytest.approx(baseline, abs=0.006)
    assert row["difference"] == pytest.approx(row["loss"] - row["baseline"])


def test_an_arm_that_costs_more_than_the_longest_rival_is_not_compared(params):
    measured = compute.at_equal_flops(params, table("runs", params), "forward")
    assert measured.loc[measured["arm"] == "normal-4x", "baseline"].isna().all()
    assert measured.loc[measured["arm"] == "adaptive", "baseline"].notna().all()


def test_without_longer_runs_only_arms_without_a_teacher_have_a_rival(tmp_path):
    small = study(tmp_path, grids=["study"])
    measured = compute.at_equal_flops(small, table("runs", small), "forward").dropna()
    assert {*measured["arm"]} == {"remapped-no-kd"}
    assert measured["baseline"].to_numpy() == pytest.approx(
        [alone(1, s) for s in (0, 1, 2)], abs=0.006
    )


def test_a_counted_teacher_has_nothing_to_cache(params):
    assert compute._cached_share(params, table("runs", params), "unigram-teacher") == 1


def test_a_third_of_a_training_step_is_a_forward_pass_in_the_committed_tables():
    params = load_params(ROOT / "params.yaml").model_copy(update={"scale": "laptop"})
    runs, shape = table("runs", params), params.settings.model.model_dump()
    vocabulary = Vocabulary(2048, 2, 3, 4, (0, 1, 2, 3, 4))
    teacher = build_model(shape, layers=4, vocabulary=vocabulary, max_length=128)
    row = runs[runs["arm"] == "weak-teacher"].iloc[0]
    expected = forward_flops(teacher.config, batch=16, length=128, masked=38)
    assert row["student_flops"] / row["steps"] / 3 == expected


def test_time_to_a_loss_is_read_from_the_curve(params):
    """Curves fall by 3 nats on a line, so an arm that ends d lower is there at 1 - d / 3."""
    curves, runs = table("curves", params), table("runs", params)
    loss = runs.pivot(index="seed", columns="arm", values="heldout_loss")
    shares = compute.reached(curves, "normal", "scratch")["share"]
    ahead = (loss["scratch"] - loss["normal"])[shares.index]
    np.testing.assert_allclose(shares, 1 - ahead / 3, atol=1e-4)
    assert compute.reached(curves, "extremely-weak", "scratch")["share"].isna().all()
    times = compute.time_to_loss(params).set_index("arm")
    assert times.loc["normal", "reached"] == 6 and times.loc["extremely-weak", "reached"] == 0


def test_a_student_overtakes_at_the_first_evaluation_below_its_teachers_last(params):
    steps = compute.reached(table("curves", params), "normal", "weak-teacher")["step"]
    assert steps.tolist() == [600.0] * 6  # 0.25 nats are less than one evaluation's fall
    measured = compute.overtaking_steps(params).set_index("arm")
    assert "shuffled-contexts" not in measured.index and "remapped-no-kd" not in measured.index
    assert measured.loc["normal-4x", "seed 0"] == 2000


def test_gains_at_equal_flops_are_positive_where_the_arm_is_better(params):
    measured = compute.gains_at_equal_flops(params).set_index(["arm", "reading"])
    cost = (STEP_FLOPS[6] + STEP_FLOPS[4] / 3) / STEP_FLOPS[6]
    expected = 0.5 * (0.4 - 0.1) - 0.5 * np.log2(cost)
    assert measured.loc[("normal", "forward"), "mean"] == pytest.approx(expected, abs=0.006)
    assert "normal-2x" not in measured.index.unique("arm")
