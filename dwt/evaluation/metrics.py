"""A fine-tuning task and its metrics."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef


@dataclass(frozen=True)
class Task:
    """A fine-tuning task."""

    name: str
    metrics: tuple[str, ...]  # keys of `METRICS`
    labels: tuple[str, ...]  # name of label k; empty for a regression task
    train: pd.DataFrame  # columns text, pair (the second text, or None), label
    validation: dict[str, pd.DataFrame]  # by name; a task's only validation set is called ""
    at_mask: bool = False  # every text holds one [MASK], and the label is that token's


def _correlation(test, truth, predicted):
    """The statistic of a SciPy test, 0 where either side is constant (SciPy gives NaN)."""
    return test(truth, predicted).statistic if np.ptp(predicted) and np.ptp(truth) else 0.0


METRICS = {  # of (truth, predicted), as GLUE defines them
    "accuracy": accuracy_score,
    "matthews": matthews_corrcoef,
    "f1": f1_score,  # of label 1
    "pearson": partial(_correlation, pearsonr),
    "spearman": partial(_correlation, spearmanr),
}
Scores = dict[str, tuple[float, int]]  # score and number of examples, by metric, task or class


def score_predictions(task: Task, predictions: dict[str, np.ndarray]) -> Scores:
    """Score every metric on every validation set: ``accuracy``, or ``accuracy (matched)``.

    `predictions` are labels, or numbers for a regression task, by validation set [N].
    """
    scores = {}
    for name, rows in task.validation.items():
        truth = rows.label.to_numpy()
        for metric in task.metrics:
            score = float(METRICS[metric](truth, predictions[name]))
            scores[f"{metric} ({name})" if name else metric] = score, len(rows)
    return scores
