"""A fine-tuning task and its metrics."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef


@dataclass(frozen=True)
class Task:
    """A fine-tuning task.

    Attributes
    ----------
    name : str
    metrics : tuple of str
        Keys of `METRICS`.
    labels : tuple of str
        Name of label k. Empty for a regression task.
    train : DataFrame
        Columns text, pair (the second text, or None), label.
    validation : dict of str to DataFrame
        Validation sets by name; a task's only one is called "".
    at_mask : bool
        True if every text holds one [MASK] and the label is that token's, not the whole text's.
    """

    name: str
    metrics: tuple[str, ...]
    labels: tuple[str, ...]
    train: pd.DataFrame
    validation: dict[str, pd.DataFrame]
    at_mask: bool = False


def _correlation(test: Callable) -> Callable:
    """The statistic of a SciPy test, 0 where either side is constant (SciPy gives NaN)."""

    def score(truth, predicted):
        return test(truth, predicted).statistic if np.ptp(predicted) and np.ptp(truth) else 0.0

    return score


METRICS = {  # of (truth, predicted), as GLUE defines them
    "accuracy": accuracy_score,
    "matthews": matthews_corrcoef,
    "f1": f1_score,  # of label 1
    "pearson": _correlation(pearsonr),
    "spearman": _correlation(spearmanr),
}


def score_predictions(
    task: Task, predictions: dict[str, np.ndarray]
) -> dict[str, tuple[float, int]]:
    """Score and number of examples of every metric of a task on every validation set.

    Parameters
    ----------
    task : Task
    predictions : dict of str to array
        Predicted labels, or numbers for a regression task, by validation set. [N]

    Returns
    -------
    dict of str to (float, int)
        By metric, with the validation set's name in brackets if it has one.
    """
    return {
        f"{metric} ({name})" if name else metric: (
            float(METRICS[metric](rows.label.to_numpy(), predictions[name])), len(rows)
        )
        for name, rows in task.validation.items()
        for metric in task.metrics
    }  # fmt: skip
