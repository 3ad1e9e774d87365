"""Bootstrap intervals of mean score differences over pre-training seeds and fine-tuning seeds.

Pre-training seeds are drawn with replacement and, within a drawn seed and task, its fine-tuning
seeds. Tasks are fixed: the claim is about these tasks, as a GLUE mean is.
"""

import dataclasses
import math

import numpy as np
import pandas as pd
from scipy import stats

from dwt.analysis.stats import Paired, paired

UNITS = ["seed", "task", "finetune_seed"]
UNIT = "seed {}, task {}, fine-tuning seed {}"


def hierarchical(scores: pd.DataFrame, reference: pd.DataFrame, *, level: float = 0.95) -> Paired:
    """Mean over tasks of the mean over seeds of `scores - reference`, with a bootstrap interval.

    Each is the scores of one arm: columns seed, finetune_seed (missing where nothing was
    fine-tuned), task, score, of one metric per task; paired by the first three. The result is
    `dwt.analysis.stats.paired` of the seeds' means over tasks, with the ends of `resampled`. A
    ValueError if a score is missing or duplicated, or the arms' seeds and tasks differ.
    """
    values, other = _column(scores, "scores"), _column(reference, "reference")
    if unpaired := {*values.index} ^ {*other.index}:
        raise ValueError(f"only one arm has {UNIT.format(*min(unpaired, key=str))}")
    lists = (values - other[values.index]).groupby(level=[0, 1]).agg(list)
    lists = lists.unstack("task")  # [seeds, tasks]
    if absent := [*lists.isna().stack().loc[lambda empty: empty].index]:
        raise ValueError("seed {} has no score of task {}, others have".format(*absent[0]))
    d = np.full((*lists.shape, max(map(len, lists.to_numpy().flat))), math.nan)
    for cell, trials in np.ndenumerate(lists.to_numpy()):
        d[cell][: len(trials)] = trials
    low, high = resampled(d, level=level)
    estimate = paired(np.nanmean(d, axis=-1).mean(axis=1), level=level)
    return dataclasses.replace(estimate, low=low, high=high)


def _column(table, name):
    """The scores of one arm by the units they are paired by."""
    table = table.assign(finetune_seed=table["finetune_seed"].astype(object).fillna("none"))
    column = table.set_index(UNITS)["score"].astype(float)
    for wrong, fault in ((column.isna(), "missing"), (column.index.duplicated(), "duplicated")):
        if wrong.any():
            raise ValueError(f"{name}: a score is {fault}: {UNIT.format(*column.index[wrong][0])}")
    return column


def resampled(d, *, level: float = 0.95, replicates: int = 5000, rng=0) -> tuple[float, float]:
    """Both ends of a bootstrap interval for the mean of paired differences.

    The replicates are corrected in two ways. Spread: they have (n - 1) / n of the variance between
    n seeds and count the variance within a seed twice (Davison and Hinkley 1997, section 3.8); they
    are scaled to the unbiased variance of the mean. Tail: percentiles are moved out by the ratio of
    Student's quantile to the normal one; Hesterberg (2015, Am. Stat. 69:371) takes more extreme
    percentiles instead, of which three seeds have none.

    Coverage of 95 % intervals in 2,000 simulations of normal effects, five tasks, two fine-tuning
    seeds, and 3, 6 or 10 seeds: 93.8 to 95.0 %; of plain percentiles 71 to 91, 85 to 94 and 88 to
    97 %. Of exponential effects: 88, 88 and 90 %, like a t-interval.

    `d` is [seeds, tasks, fine-tuning seeds]; a cell with fewer fine-tuning seeds has nan in place
    of the rest. Both ends are nan with one seed. A wrong shape or an empty cell is a ValueError.
    """
    d = np.asarray(d, float)
    if d.ndim != 3 or not d.size or np.isnan(d).all(axis=-1).any():
        raise ValueError(f"expected [seeds, tasks, fine-tuning seeds], no cell empty: {d.shape}")
    by_seed = np.nanmean(d, axis=-1).mean(axis=1)  # [seeds]
    n = len(by_seed)
    if n < 2:
        return math.nan, math.nan
    moved = _replicates(d, replicates, np.random.default_rng(rng)) - by_seed.mean()
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    scale = math.sqrt(by_seed.var(ddof=1) / n) / (moved.std() or 1.0)
    scale *= stats.t.ppf(tails[1], n - 1) / stats.norm.ppf(tails[1])
    return tuple((by_seed.mean() + scale * np.quantile(moved, tails)).tolist())


def _replicates(d, count, rng):
    """Means of `count` redrawn tables, [count]."""
    # scipy.stats.bootstrap draws along one axis; these draws are nested
    n, m, _ = d.shape
    d = np.take_along_axis(d, np.isnan(d).argsort(axis=-1, kind="stable"), axis=-1)  # nan last
    runs = (~np.isnan(d)).sum(axis=-1)  # [n, m]
    seed, task = rng.integers(n, size=(count, n, 1)), np.arange(m)
    have = runs[seed, task]  # [count, n, m]
    total = np.zeros(have.shape)
    for draw in range(d.shape[-1]):  # per fine-tuning seed: memory does not grow with them
        value = d[seed, task, (rng.random(have.shape) * have).astype(int)]
        total += np.where(draw < have, value, 0)
    return (total / have).mean(axis=(1, 2))
