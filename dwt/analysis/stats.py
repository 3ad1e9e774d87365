"""Is a difference larger than the noise between seeds, and where does it change sign?

The seed is the unit everywhere: what varies is initialisation, batch order and masks (and, with
them, the teacher trained from the same seed); corpus, settings and teacher sizes are fixed.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.power import TTestPower


@dataclass(frozen=True)
class Paired:
    """A mean paired difference; `str()` of it is fit for a sentence."""

    mean: float
    low: float
    high: float
    n: int
    differences: tuple[float, ...]
    detectable: float  # smallest true mean found with 80 % power at this spread between pairs
    p: float  # two-sided, by flipping signs
    level: float

    def __str__(self):
        if math.isnan(self.mean):
            return "not measured"
        return f"{signed(self.mean)} ({interval(self.low, self.high, self.level, sign=True)})"

    @property
    def brief(self):
        """The same for a title, which says once of what coverage its intervals are."""
        if math.isnan(self.low):
            return signed(self.mean)
        return f"{signed(self.mean)} [{signed(self.low)}, {signed(self.high)}]"


@dataclass(frozen=True)
class BreakEven:
    """The gap at which a line fitted to gain against gap is zero."""

    gap: float
    low: float
    high: float
    slope: Paired
    intercept: float
    n: int


def paired(values, reference, *, level=0.95) -> Paired:
    """Mean of `values - reference`, pair by pair, with a t-interval.

    Parameters
    ----------
    values, reference : sequence of float, [n]
        Same order, one entry per seed; two Series must have the same index.
    level : float
        Coverage of the interval.

    Returns
    -------
    Paired
        With one pair `low`, `high` and `detectable` are nan and `p` is 1. A missing value makes
        all of it nan. `p` enumerates every sign flip up to 16 pairs, so its least value is 2/2^n.

    Raises
    ------
    ValueError
        If the two are empty, not of one length or not of the same seeds.
    """
    if isinstance(values, pd.Series) and isinstance(reference, pd.Series):
        if not values.index.equals(reference.index):
            raise ValueError(f"pairs differ: {[*values.index]} against {[*reference.index]}")
    values, reference = np.asarray(values, float), np.asarray(reference, float)
    if values.shape != reference.shape or values.ndim != 1 or not values.size:
        raise ValueError(f"expected two lists of one length, found {values.shape, reference.shape}")
    d = values - reference  # [n]
    n, half, least, p = len(d), math.nan, math.nan, 1.0
    if n > 1:
        error = d.std(ddof=1) / math.sqrt(n)
        half = stats.t.ppf((1 + level) / 2, n - 1) * error
        least = float(error * detectable(n - 1, level))
        p = _sign_flip(d)
    mean = d.mean()
    low, high = float(mean - half), float(mean + half)
    return Paired(float(mean), low, high, n, tuple(d.tolist()), least, p, level)


@cache
def detectable(df, level=0.95) -> float:
    """The true difference that a t-test finds four times in five, in its standard errors."""
    effect = TTestPower().solve_power(nobs=df + 1, alpha=1 - level, power=0.8)
    return float(effect) * math.sqrt(df + 1)


def _sign_flip(d):
    """Share of sign patterns with a mean as far from zero as the one seen."""
    if np.isnan(d).any():
        return math.nan
    test = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=2**16, rng=0
    )
    return float(test.pvalue)


def compare(losses, reference, *, level=0.95) -> pd.DataFrame:
    """Every column against the reference column, seed by seed.

    Parameters
    ----------
    losses : DataFrame, [seeds, arms]
    reference : str
        A column.

    Returns
    -------
    DataFrame
        One row per other column, in order: mean, low, high, n, detectable, p.
    """
    fields = ["mean", "low", "high", "n", "detectable", "p"]
    rows = {
        arm: paired(losses[arm], losses[reference], level=level)
        for arm in losses.columns.drop(reference)
    }
    table = pd.DataFrame([[getattr(d, f) for f in fields] for d in rows.values()], columns=fields)
    return table.set_index(pd.Index(rows, name="arm"))


def verdict(difference, expect) -> str:
    """What an interval says of a claim: "supported", "contradicted" or "undecided".

    Parameters
    ----------
    difference : Paired
        Anything with `low` and `high`; an interval that is not there decides nothing.
    expect : {"lower", "higher"}
        The side of zero the claim is on.
    """
    if expect not in ("lower", "higher"):
        raise ValueError(f"expect: {expect!r} is neither 'lower' nor 'higher'")
    below, above = difference.high < 0, difference.low > 0
    if not (below or above):
        return "undecided"
    return "supported" if below == (expect == "lower") else "contradicted"


def break_even(gap, gain, *, level=0.95) -> BreakEven:
    """Where the gain is zero, with Fieller's interval over seeds.

    One straight line is fitted per seed, `gain = a + b gap`. The estimate is the zero of the mean
    line; the interval holds every gap at which a t-interval of the seeds' fitted gains covers
    zero. It is unbounded (-inf, inf) when the slope itself is not told from zero, and nan with
    one seed. The teachers are taken as given: the interval does not cover another set of them,
    nor a bend of the line.

    Parameters
    ----------
    gap, gain : array, [seeds, teachers]

    Raises
    ------
    ValueError
        If shapes differ, or a seed has fewer than two different gaps.
    """
    gap, gain = np.asarray(gap, float), np.asarray(gain, float)
    if gap.shape != gain.shape or gap.ndim != 2 or gap.shape[1] < 2:
        raise ValueError(f"expected two [seeds, teachers >= 2], found {gap.shape, gain.shape}")
    fits = [stats.linregress(x, y) for x, y in zip(gap, gain, strict=True)]
    slopes = np.array([fit.slope for fit in fits])
    lines = np.array([[fit.intercept for fit in fits], slopes])  # [2, seeds]
    a, b = lines.mean(axis=1)
    n = len(fits)
    slope = paired(slopes, np.zeros(n), level=level)
    low = high = math.nan
    if n > 1:
        (aa, ab), (_, bb) = np.cov(lines) / n * stats.t.ppf((1 + level) / 2, n - 1) ** 2
        # the gaps x with (a + b x)^2 <= t^2 Var(a + b x): a quadratic in x
        square, linear, constant = b**2 - bb, a * b - ab, a**2 - aa
        low, high = -math.inf, math.inf
        if square > 0:
            root = math.sqrt(max(linear**2 - square * constant, 0.0))
            low, high = (-linear - root) / square, (-linear + root) / square
    zero = float(-a / b) if b else math.nan
    return BreakEven(zero, float(low), float(high), slope, float(a), n)


def interpolate(x, y, where) -> float:
    """A curve read at one place, straight between its points, nan outside of them.

    Parameters
    ----------
    x, y : array, [points]
        `x` rises; points without `y` are left out.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    there = ~np.isnan(y)
    if (np.diff(x[there]) <= 0).any():
        raise ValueError("x must rise from point to point")
    return float(np.interp(where, x[there], y[there], left=math.nan, right=math.nan))


def crossing(steps, first, second) -> float:
    """The last step at which `first - second` changes sign, nan if it never does.

    Straight between evaluations; points where either is missing, or both are equal (two arms
    that start from the same weights), are left out.
    """
    steps = np.asarray(steps, float)
    d = np.asarray(first, float) - np.asarray(second, float)
    told = ~np.isnan(d) & (d != 0)
    steps, d = steps[told], d[told]
    flips = np.flatnonzero(np.sign(d[1:]) != np.sign(d[:-1]))
    if not flips.size:
        return math.nan
    i = flips[-1]
    return float(steps[i] - d[i] * (steps[i + 1] - steps[i]) / (d[i + 1] - d[i]))


def signed(value) -> str:
    """A difference as read: three decimals, sign always, a real minus."""
    return f"{value:+.3f}".replace("-", "−")


def plain(value) -> str:
    """A gap as read: two decimals, never minus zero."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")


def interval(low, high, level=0.95, *, sign=False) -> str:
    """An interval in words."""
    if math.isnan(low):
        return "one seed, no interval"
    if math.isinf(low) or math.isinf(high):
        return "no bounded interval"
    show = signed if sign else plain
    return f"{100 * level:g} % interval {show(low)} to {show(high)}"
