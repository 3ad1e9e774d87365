"""Paired differences over seeds, with intervals, and the places where a curve changes sign.

The seed is the unit everywhere: initialisation, batch order and masks vary (and, with them, the
teacher of the same seed); corpus, settings and teacher sizes are fixed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.power import TTestPower

ROW = [
    "mean",
    "low",
    "high",
    "n",
    "detectable",
    "p",
]  # columns of every table of paired differences
VERDICTS = "supported", "contradicted", "undecided"


@dataclass(frozen=True)
class Paired:
    """A mean paired difference."""

    mean: float
    low: float
    high: float
    n: int
    differences: tuple[float, ...]
    detectable: float  # true mean that n such pairs detect with 80 % power
    p: float  # two-sided sign-flip test
    level: float


@dataclass(frozen=True)
class BreakEven:
    """The gap at which a line fitted to gain against gap is zero."""

    gap: float
    low: float
    high: float
    slope: Paired
    intercept: float


def paired(differences: Sequence, *, level: float = 0.95) -> Paired:
    """Mean of paired differences, one per seed, with a t-interval.

    With one pair `low`, `high` and `detectable` are nan and `p` is 1. A missing value makes all of
    it nan. `p` enumerates every sign flip up to 16 pairs, so its least value is 2/2^n. A ValueError
    if there is no pair.
    """
    d = np.asarray(differences, float)  # [n]
    if d.ndim != 1 or not d.size:
        raise ValueError(f"expected one difference per seed, found shape {d.shape}")
    n, mean = len(d), float(d.mean())
    half, least, p = math.nan, math.nan, math.nan if math.isnan(mean) else 1.0
    if n > 1:
        error = d.std(ddof=1) / math.sqrt(n)
        half = stats.t.ppf((1 + level) / 2, n - 1) * error
        least = float(error * detectable(n - 1, level))
        if not math.isnan(mean):
            how = {"permutation_type": "samples", "n_resamples": 2**16, "rng": 0}
            p = float(stats.permutation_test((d,), np.mean, **how).pvalue)
    low, high = float(mean - half), float(mean + half)
    return Paired(mean, low, high, n, tuple(d.tolist()), least, p, level)


@cache
def detectable(df: int, level: float = 0.95) -> float:
    """The true difference that a t-test detects with 80 % power, in standard errors."""
    effect = TTestPower().solve_power(nobs=df + 1, alpha=1 - level, power=0.8)
    return float(effect) * math.sqrt(df + 1)


def difference(table: pd.DataFrame, arm: str, against: str, *, level: float = 0.95) -> Paired:
    """`table[arm] - table[against]` over the seeds that both have; `table` is [seeds, arms]."""
    pair = table[[arm, against]].dropna()
    return paired(pair[arm] - pair[against], level=level)


def as_table(estimates, *names: str) -> pd.DataFrame:
    """One row for each (key, `Paired`): the values of the key under `names`, then `ROW`."""
    rows = [[*key, *(getattr(estimate, name) for name in ROW)] for key, estimate in estimates]
    return pd.DataFrame(rows, columns=[*names, *ROW])


def flipped(rows: pd.DataFrame) -> pd.DataFrame:
    """Differences of losses as gains: `rows` with mean, low and high of the opposite sign."""
    return rows.assign(mean=-rows["mean"], low=-rows["high"], high=-rows["low"])


def verdict(difference, expect: str) -> str:
    """One of `VERDICTS`: whether the interval is on the expected side of zero, lower or higher.

    `difference` is anything with `low` and `high`; a missing interval is undecided.
    """
    side = "lower" if difference.high < 0 else "higher" if difference.low > 0 else None
    if side is None:
        return "undecided"
    return "supported" if side == expect else "contradicted"


def break_even(gap, gain, *, level: float = 0.95) -> BreakEven:
    """Where the gain is zero, with Fieller's interval over seeds; both are [seeds, teachers].

    One straight line is fitted per seed, `gain = a + b gap`. The estimate is the zero of the mean
    line; the interval holds every gap at which a t-interval of the seeds' fitted gains covers
    zero. It is unbounded (-inf, inf) when the interval of the slope covers zero, and nan with one
    seed. The teachers are fixed: the interval does not cover another set of them, nor a curve. A
    ValueError if shapes differ, or a seed has fewer than two different gaps.
    """
    gap, gain = np.asarray(gap, float), np.asarray(gain, float)
    if gap.shape != gain.shape or gap.ndim != 2 or gap.shape[1] < 2:
        raise ValueError(f"expected two [seeds, teachers >= 2], found {gap.shape, gain.shape}")
    fits = [stats.linregress(x, y) for x, y in zip(gap, gain, strict=True)]
    lines = np.array([[fit.intercept for fit in fits], [fit.slope for fit in fits]])  # [2, seeds]
    (a, b), n, slope = lines.mean(axis=1), len(fits), paired(lines[1], level=level)
    low = high = math.nan
    if n > 1:
        (aa, ab), (_, bb) = np.cov(lines) / n * stats.t.ppf((1 + level) / 2, n - 1) ** 2
        # Fieller: the interval holds every x with (a + b x)^2 <= t^2 Var(a + b x)
        square, linear, constant = b**2 - bb, a * b - ab, a**2 - aa
        low, high = -math.inf, math.inf
        if square > 0:
            root = math.sqrt(max(linear**2 - square * constant, 0.0))
            low, high = (-linear - root) / square, (-linear + root) / square
    zero = float(-a / b) if b else math.nan
    return BreakEven(zero, float(low), float(high), slope, float(a))


def crossing(steps, first, second) -> float:
    """The last step at which `first - second` changes sign, nan if it never does.

    Linear between evaluations; points where either is missing, or both are equal (two arms with
    the same initial weights), are left out.
    """
    steps = np.asarray(steps, float)
    d = np.asarray(first, float) - np.asarray(second, float)
    differ = ~np.isnan(d) & (d != 0)
    steps, d = steps[differ], d[differ]
    flips = np.flatnonzero(np.sign(d[1:]) != np.sign(d[:-1]))
    if not flips.size:
        return math.nan
    i = flips[-1]
    return float(steps[i] - d[i] * (steps[i + 1] - steps[i]) / (d[i + 1] - d[i]))


def signed(value: float) -> str:
    """A difference as text: three decimals, always a sign, a typographic minus."""
    return f"{value:+.3f}".replace("-", "−")


def short(row) -> str:
    """Mean and interval, if there is one, of anything with `mean`, `low` and `high`."""
    if math.isnan(row.low):
        return signed(row.mean)
    return f"{signed(row.mean)} [{signed(row.low)}, {signed(row.high)}]"


def plain(value: float) -> str:
    """A gap as text: two decimals, never minus zero."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")


def interval(low: float, high: float, level: float = 0.95, *, sign: bool = False) -> str:
    """An interval as text."""
    if math.isnan(low):
        return "one seed, no interval"
    if math.isinf(low) or math.isinf(high):
        return "no bounded interval"
    show = signed if sign else plain
    return f"{100 * level:g} % interval {show(low)} to {show(high)}"
