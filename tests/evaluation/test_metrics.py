"""dwt/evaluation/metrics.py: metrics are their closed forms, scored on every validation set."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from dwt.evaluation.metrics import METRICS, Task, score_predictions

LABELS, PREDICTED = np.array([0, 1, 1, 0, 1, 1, 0, 1]), np.array([0, 1, 0, 1, 1, 1, 0, 0])
TP, FP, FN, TN = 3, 1, 2, 2  # of label 1


def test_classification_metrics_are_their_closed_forms():
    across = math.sqrt((TP + FP) * (TP + FN) * (TN + FP) * (TN + FN))
    assert METRICS["accuracy"](LABELS, PREDICTED) == (TP + TN) / 8
    assert METRICS["f1"](LABELS, PREDICTED) == pytest.approx(2 * TP / (2 * TP + FP + FN))
    assert METRICS["matthews"](LABELS, PREDICTED) == pytest.approx((TP * TN - FP * FN) / across)


def test_f1_is_that_of_label_1():
    assert METRICS["f1"](LABELS, PREDICTED) != pytest.approx(
        METRICS["f1"](1 - LABELS, 1 - PREDICTED)
    )


def test_regression_metrics_are_pearson_and_spearman_with_ties():
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 6, 50).astype(float), rng.normal(size=50)
    assert METRICS["pearson"](truth, predicted) == pytest.approx(
        np.corrcoef(truth, predicted)[0, 1]
    )
    ranks = [scipy.stats.rankdata(values) for values in (truth, predicted)]
    assert METRICS["spearman"](truth, predicted) == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_a_constant_prediction_scores_0():
    assert METRICS["pearson"](LABELS, np.ones(8)) == METRICS["spearman"](LABELS, np.ones(8)) == 0.0
    assert METRICS["matthews"](LABELS, np.ones(8)) == 0.0


def test_every_metric_of_every_validation_set_is_scored_on_its_own_rows():
    frames = {
        "matched": pd.DataFrame({"label": LABELS}),
        "mismatched": pd.DataFrame({"label": [1]}),
    }
    task = Task("two", ("accuracy", "f1"), ("no", "yes"), None, frames)
    scores = score_predictions(task, {"matched": PREDICTED, "mismatched": np.array([1])})
    assert scores["accuracy (matched)"] == (5 / 8, 8)
    assert scores["accuracy (mismatched)"] == scores["f1 (mismatched)"] == (1.0, 1)
    assert len(scores) == 4
