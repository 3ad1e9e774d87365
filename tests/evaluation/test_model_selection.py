"""dwt/evaluation/model_selection.py: models trained alone select one setting per task."""

import itertools

import pandas as pd
import pytest

from dwt.evaluation.model_selection import final_rows, select_settings, selected_rows

GRID = [(1e-5, 3), (1e-5, 5), (3e-5, 3)]
ALONE = {(1e-5, 3): 0.6, (1e-5, 5): 0.7, (3e-5, 3): 0.65}  # mean scores of models trained alone
STUDENT = {(1e-5, 3): 0.6, (1e-5, 5): 0.5, (3e-5, 3): 0.9}


def made_up(task="cola", alone=ALONE, metrics=("matthews",)):
    """Two models alone, one student and a baseline, two seeds, at steps 50 and 100."""
    rows = []
    arms = {"scratch": "standalone", "weak-teacher": "standalone", "normal": "student"}
    for (arm, kind), step, seed, metric in itertools.product(
        arms.items(), (50, 100), (0, 1), metrics
    ):
        for rate, epochs in GRID:
            score = (alone if kind == "standalone" else STUDENT)[rate, epochs]
            score += {"scratch": 0.1, "weak-teacher": -0.1}.get(arm, 0) + 0.01 * seed
            score += 0 if step == 100 else 10 * (rate == 3e-5)  # early weights must not decide
            rows.append((kind, arm, seed, step, rate, epochs, task, metric, score))
    for rate, epochs in GRID:
        rows.append(("baseline", "random", 0, 0, rate, epochs, task, metrics[0], 0.1))
    rows.append(("baseline", "majority", None, None, None, None, task, metrics[0], 0.0))
    rows.append(("student", "normal", 0, 100, None, None, "word-swap", "accuracy", 0.9))
    columns = ["kind", "arm", "seed", "step", "learning_rate", "epochs", "task", "metric", "score"]
    return pd.DataFrame(rows, columns=columns).astype({"step": "Int64", "epochs": "Int64"})


def test_the_mean_of_models_trained_alone_selects_whatever_students_score():
    (row,) = select_settings(made_up()).to_dict("records")
    assert (row["learning_rate"], row["epochs"], row["tried"]) == (1e-5, 5, 3)
    assert row["score"] == pytest.approx(0.7 + 0.005) and row["scores"] == 4


def test_each_task_selects_by_the_mean_of_its_metrics():
    other = dict(zip(GRID, (0.8, 0.7, 0.6), strict=True))
    both = pd.concat([made_up(), made_up("mrpc", other, ("accuracy", "f1"))])
    best = select_settings(both).set_index("task")
    assert best["epochs"].to_dict() == {"cola": 5, "mrpc": 3}
    assert best.loc["mrpc", "scores"] == 8


def test_the_first_tried_setting_wins_a_tie():
    (row,) = select_settings(made_up(alone=dict.fromkeys(GRID, 0.5))).to_dict("records")
    assert (row["learning_rate"], row["epochs"]) == GRID[0]


def test_rows_of_the_selected_setting_and_without_fine_tuning_are_left():
    rows = made_up()
    left = selected_rows(rows)
    assert {*left["learning_rate"].dropna()} == {1e-5} and {*left["epochs"].dropna()} == {5}
    assert {*left["arm"]} == {"scratch", "weak-teacher", "normal", "random", "majority"}
    assert len(left) == 3 * 2 * 2 + 3  # arms, steps, seeds; random, majority, word-swap
    assert left.index.is_monotonic_increasing


def test_final_rows_are_those_of_the_last_step_and_baselines():
    left = final_rows(made_up())
    assert {*left.loc[left["kind"] != "baseline", "step"]} == {100}
    assert {"random", "majority"} < {*left["arm"]}


def test_a_table_without_fine_tuning_is_unchanged():
    rows = made_up().query("task == 'word-swap'")
    assert select_settings(rows).empty
    pd.testing.assert_frame_equal(selected_rows(rows), rows)
