"""Each GLUE task counts once, baselines keep their rows, order by size is as the numbers say."""

import numpy as np
import pandas as pd
import pytest
from conftest import made_up_scores

from dwt.analysis import score_means as measures
from dwt.analysis.wording import describe_order

LAYERS = pd.Series({"weak": 1, "strong": 6})


def mean_of(rows, arm):
    return rows.loc[rows["arm"] == arm, "score"].mean()


def test_the_glue_mean_counts_each_task_once_whatever_its_metrics():
    scores = made_up_scores(("strong",), seeds=(0,), glue={
        "cola": {"matthews": 0.2}, "mrpc": {"accuracy": 0.7, "f1": 0.8},
        "mnli": {"accuracy (matched)": 0.5, "accuracy (mismatched)": 0.6},
    })  # fmt: skip
    measured = measures.glue_mean(scores)
    assert mean_of(measured, "strong") == pytest.approx((0.2 + 0.75 + 0.55) / 3)
    assert {*measured["metric"]} == {"3 of 9 tasks"}


def test_fine_tuning_seeds_are_averaged_before_tasks():
    scores = made_up_scores(("strong",), seeds=(0,), glue={"cola": {"matthews": 0.2}})
    again = scores[scores["task"] == "cola"].assign(finetune_seed=1, score=0.4)
    more = made_up_scores(("strong",), seeds=(0,), glue={"rte": {"accuracy": 0.6}})
    measured = measures.glue_mean(pd.concat([scores, again, more], ignore_index=True))
    assert mean_of(measured, "strong") == pytest.approx((0.3 + 0.6) / 2)


def test_a_task_that_one_model_lacks_is_in_nobodys_mean():
    glue = {"cola": {"matthews": 0.2}, "rte": {"accuracy": 0.6}}
    scores = made_up_scores(("weak", "strong"), glue=glue)
    short = scores[~((scores["arm"] == "weak") & (scores["task"] == "rte"))]
    measured = measures.glue_mean(short)
    assert mean_of(measured, "strong") == pytest.approx(0.2)
    assert {*measured["metric"]} == {"1 of 9 tasks"}


def test_baselines_have_a_glue_mean_of_their_own():
    glue = {"cola": {"matthews": 0.2}, "rte": {"accuracy": 0.6}}
    measured = measures.glue_mean(made_up_scores(("weak",), seeds=(0, 1), glue=glue))
    assert {*measured["arm"]} == {"weak", "majority", "random"}
    assert measured.loc[measured["arm"] == "majority", "seed"].isna().all()
    assert mean_of(measured, "majority") == pytest.approx(0.1)


def test_without_glue_nothing_is_added():
    scores = made_up_scores(("weak",))
    pd.testing.assert_frame_equal(measures.measures(scores), scores)


def test_every_score_stays_in_the_tables_and_panels_leave_out_the_phenomena():
    scores = made_up_scores(
        ("weak",), glue={"mrpc": {"accuracy": 0.7, "f1": 0.8}}, phenomena=("binding", "ellipsis")
    )
    tables, shown = measures.measures(scores), measures.panels(scores)
    assert {"BLiMP, binding", "mrpc", "GLUE mean"} <= {*tables["task"]}
    assert {*shown["task"]} == {"word-swap", "agreement", "BLiMP", "MRPC", "GLUE mean"}
    assert (shown.drop_duplicates(["task", "metric"])["task"] == "MRPC").sum() == 1
    assert {*measures.phenomena(scores)["task"]} == {"binding", "ellipsis"}


def test_the_pairs_mean_leaves_out_blimp():
    scores = made_up_scores(("weak",), phenomena=("binding",))
    swap = scores["task"] == "word-swap"
    scores.loc[swap & (scores["arm"] == "weak"), "score"] = 0.9
    measured = measures.pairs_mean(scores)
    assert mean_of(measured, "weak") == pytest.approx((0.9 + 0.7) / 2)
    assert mean_of(measured, "chance") == 0.5


@pytest.mark.parametrize(
    ("weak", "strong", "said"),
    [
        ([0.5, 0.5], [0.6, 0.7], "Ordered by size: 1 < 6 layers (in 2 of 2 seeds)"),
        ([0.5, 0.65], [0.8, 0.6], "Ordered by size: 1 < 6 layers (in 1 of 2 seeds)"),
        ([0.7, 0.7], [0.6, 0.6], "Not ordered by size: 6 < 1 layers (in 0 of 2 seeds)"),
    ],
)
def test_the_order_is_that_of_the_means(weak, strong, said):
    scores = pd.DataFrame({"weak": weak, "strong": strong})
    assert describe_order(scores, LAYERS) == said


def test_equal_scores_are_not_an_order():
    scores = pd.DataFrame({"weak": [0.5], "strong": [0.5]})
    assert describe_order(scores, LAYERS).startswith("Not ordered")


def test_two_models_of_one_size_may_stand_either_way():
    layers = pd.Series({"a": 4, "b": 4, "c": 6})
    scores = pd.DataFrame(np.array([[0.6, 0.5, 0.7]]), columns=[*"abc"])
    assert describe_order(scores, layers).startswith("Ordered")


def test_the_note_names_the_part_of_a_benchmark_that_was_used():
    scores = made_up_scores(("strong",), glue={"cola": {"matthews": 0.2}})
    assert "SST-2" in measures.note(scores)  # left out
    blimp = scores.assign(task="BLiMP", metric="minimal-pair accuracy", examples=1200)
    assert measures.note(blimp) == "BLiMP: 1,200 of its 67,000 minimal pairs."
    assert measures.note(scores[scores["task"] == "none"]) == ""
