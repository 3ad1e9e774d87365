"""What does each factor of a crossed design do, alone and together with another?

Two readings of one table of runs, equal in their means where the design is balanced. `effects` fits
one model to all runs: a factor's effect is at the reference of the others, and one spread, pooled
over everything, serves every interval. `marginal` averages over the levels of the others, and an
interval comes from the seeds' own contrasts. Intervals differ most with few seeds, where pooling
makes them shorter, and where one effect varies more from seed to seed than another: there a pooled
interval is too short for the one and too long for the other, and `marginal` is the one to quote.
"""

import itertools
import math
import re
from numbers import Number

import numpy as np
import pandas as pd
from statsmodels.formula import api

from dwt.analysis.stats import detectable, paired


def effects(runs, *, factors, response="heldout_loss", level=0.95) -> pd.DataFrame:
    """Least squares of `response ~ (factors)^2 + C(seed)`, seeds as blocks.

    Parameters
    ----------
    runs : DataFrame
        A run a row: `seed`, the factors' columns and the response.
    factors : dict of str to level
        Column and reference level: ``{"soft_weight": 1, "start": "random"}``.
    response : str
        A column.
    level : float
        Coverage of the intervals.

    Returns
    -------
    DataFrame
        One row an effect, factors first, then pairs of them: `term` ("soft weight 4", "remapped",
        "soft weight 4 x remapped"), `effect`, `low`, `high`, `n` runs in the fit, `detectable`.
        A factor's effect is at the reference levels of the others, an interaction is by how much
        it is more at the other level. Ends are nan where no run is left to tell spread from.

    Raises
    ------
    ValueError
        If a column, a value, a reference level or a pair of levels is missing.
    """
    _check(runs, factors, response)
    _cross(runs, [*factors], r=2)
    names = [f"factor{i}" for i, _ in enumerate(factors)]
    table = pd.DataFrame({"response": runs[response].astype(float), "seed": runs["seed"]})
    for name, (column, reference) in zip(names, factors.items(), strict=True):
        labels = {value: label(column, value) for value in _levels(runs, column, reference)}
        table[name] = pd.Categorical(runs[column].map(labels), [*labels.values()])
    model = api.ols(f"response ~ ({' + '.join(names)})**2 + C(seed)", table)
    if np.linalg.matrix_rank(model.exog) < model.exog.shape[1]:
        raise ValueError("seeds and levels are confounded: too few seeds have more than one level")
    fit = model.fit()
    low = high = least = math.nan
    if fit.df_resid:
        low, high = fit.conf_int(1 - level).to_numpy().T
        least = fit.bse * detectable(fit.df_resid, level)
    terms = [" x ".join(re.findall(r"\[T\.(.*?)\]", term)) for term in fit.params.index]
    rows = {"term": terms, "effect": fit.params, "low": low, "high": high, "n": int(fit.nobs)}
    told = fit.params.index.str.startswith("factor")
    return pd.DataFrame(rows | {"detectable": least})[told].reset_index(drop=True)


def marginal(runs, *, factors, response="heldout_loss", level=0.95) -> pd.DataFrame:
    """Each level against its reference, averaged over the levels of the other factors.

    Parameters
    ----------
    runs, factors, response, level
        As for `effects`; every seed has each combination of levels once.

    Returns
    -------
    DataFrame
        `term`, `effect`, `low`, `high`, `n` seeds, `detectable` and `p`, as `dwt.analysis.stats.paired`
        has them from one contrast a seed.

    Raises
    ------
    ValueError
        If a column, value or reference level is missing, or a seed has a cell twice or not at all.
    """
    _check(runs, factors, response)
    _cross(runs, ["seed", *factors], r=len(factors) + 1)
    twice = runs.duplicated(["seed", *factors])
    if twice.any():
        raise ValueError(f"more than one run has {_words(runs[['seed', *factors]][twice].iloc[0])}")
    rows = []
    for column, reference in factors.items():
        means = runs.groupby(["seed", column])[response].mean().unstack()  # [seeds, levels]
        for value in _levels(runs, column, reference)[1:]:
            d = paired(means[value], means[reference], level=level)
            rows.append((label(column, value), d.mean, d.low, d.high, d.n, d.detectable, d.p))
    return pd.DataFrame(rows, columns=["term", "effect", "low", "high", "n", "detectable", "p"])


def label(column, value) -> str:
    """A level as read: "soft weight 4", but "remapped" where it says what it is itself."""
    column = column.replace("_", " ")
    if isinstance(value, bool | np.bool_):
        return column if value else f"not {column}"
    return f"{column} {value:g}" if isinstance(value, Number) else str(value)


def _levels(runs, column, reference):
    """The reference, then the others in order."""
    return [reference, *sorted(set(runs[column]) - {reference})]


def _check(runs, factors, response):
    """Raise if a column, a value or a reference level is missing."""
    for column in ("seed", *factors, response):
        if column not in runs:
            raise ValueError(f"no column {column!r}; there are {', '.join(map(str, runs))}")
        if runs[column].isna().any():
            raise ValueError(f"{column} is missing in row {runs.index[runs[column].isna()][0]}")
    for column, reference in factors.items():
        found = sorted(set(runs[column]))
        if reference not in found:
            raise ValueError(f"{column}: reference {reference!r} is not a level; choose of {found}")
        if len(found) < 2:
            raise ValueError(f"{column}: every run has {reference!r}, so it has no effect to show")


def _cross(runs, columns, *, r):
    """Raise at the first combination of `r` columns' levels that no run has."""
    for some in itertools.combinations(columns, min(r, len(columns))):
        there = set(runs[[*some]].itertuples(index=False, name=None))
        for cell in itertools.product(*(sorted(set(runs[column])) for column in some)):
            if cell not in there:
                raise ValueError(f"no run has {_words(dict(zip(some, cell, strict=True)))}")


def _words(cell):
    """A cell of the design, named."""
    return ", ".join(f"{column} {value}" for column, value in cell.items())
