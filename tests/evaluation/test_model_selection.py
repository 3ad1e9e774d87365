"""dwt/evaluation/model_selection.py: one setting per task counts, and models trained alone choose it."""

import itertools

import pandas as pd
import pytest

from dwt.evaluation.model_selection import at_the_end, chosen, chosen_settings

GRID = [(1e-5, 3), (1e-5, 5), (3e-5, 3)]
ALONE = {(1e-5, 3): 0.6, (1e-5, 5): 0.7, (3e-5, 3): 0.65}  # mean scores of models trained alone
TAUGHT = {(1e-5, 3): 0.6, (1e-5, 5): 0.5, (3e-5, 3): 0.9}


def made_up(task="cola", alone=ALONE, metrics=("matthews",)):
    """Two models alone, one student and a baseline, two seeds, at steps 50 and 100."""
    rows = []
    arms = {"scratch": "standalone", "weak-teacher": "standalone", "normal": "student"}
    for (arm, kind), step, seed, metric in itertools.product(
        arms.items(), (50, 100), (0, 1), metrics
    ):
        for rate, epochs in GRID:
            score = (alone if kind == "standalone" else TAUGHT)[rate, epochs]
            score += {"scratch": 0.1, "weak-teacher": -0.1}.get(arm, 0) + 0.01 * seed
            score += 0 if step == 100 else 10 * (rate == 3e-5)  # early weights must not choose
            rows.append((kind, arm, seed, step, rate, epochs, task, metric, score))
    for rate, epochs in GRID:
        rows.append(("baseline", "random", 0, 0, rate, epochs, task, metrics[0], 0.1))
    rows.append(("baseline", "majority", None, None, None, None, task, metrics[0], 0.0))
    rows.append(("student", "normal", 0, 100, None, None, "word-swap", "accuracy", 0.9))
    columns = ["kind", "arm", "seed", "step", "learning_rate", "epochs", "task", "metric", "score"]
    return pd.DataFrame(rows, columns=columns).astype({"step": "Int64", "epochs": "Int64"})


def test_models_trained_alone_choose_by_their_mean_whatever_students_score():
    (row,) = chosen_settings(made_up()).to_dict("records")
    assert (row["learning_rate"], row["epochs"], row["tried"]) == (1e-5, 5, 3)
    assert row["score"] == pytest.approx(0.7 + 0.005) and row["scores"] == 4


def test_each_task_chooses_for_itself_over_all_its_metrics():
    other = dict(zip(GRID, (0.8, 0.7, 0.6), strict=True))
    both = pd.concat([made_up(), made_up("mrpc", other, ("accuracy", "f1"))])
    best = chosen_settings(both).set_index("task")
    assert best["epochs"].to_dict() == {"cola": 5, "mrpc": 3}
    assert best.loc["mrpc", "scores"] == 8


def test_of_equals_the_one_tried_first():
    (row,) = chosen_settings(made_up(alone=dict.fromkeys(GRID, 0.5))).to_dict("records")
    assert (row["learning_rate"], row["epochs"]) == GRID[0]


def test_only_the_chosen_setting_and_what_was_not_fine_tuned_is_left():
    rows = made_up()
    left = chosen(rows)
    assert {*left["learning_rate"].dropna()} == {1e-5} and {*left["epochs"].dropna()} == {5}
    assert {*left["arm"]} == {"scratch", "weak-teacher", "normal", "random", "majority"}
    assert len(left) == 3 * 2 * 2 + 3  # arms, steps, seeds; random, majority, word-swap
    assert left.index.is_monotonic_increasing


def test_the_end_is_the_last_step_and_baselines_are_of_any():
    left = at_the_end(made_up())
    assert {*left.loc[left["kind"] != "baseline", "step"]} == {100}
    assert {"random", "majority"} < {*left["arm"]}


def test_a_table_without_fine_tuning_is_left_as_it_is():
    rows = made_up().query("task == 'word-swap'")
    assert chosen_settings(rows).empty
    pd.testing.assert_frame_equal(chosen(rows), rows)
