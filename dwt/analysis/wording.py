"""Sentences about gains, gaps, scores and claims, which read right whichever way the numbers fall.

A gain is positive when it helps. An interval that covers zero leaves the direction open.
"""

import math

import numpy as np
import pandas as pd

from dwt.analysis.claims import VERDICTS
from dwt.analysis.comparisons import AT_EQUAL_FLOPS, sizes
from dwt.analysis.score_means import BLIMP, GLUE_MEAN, by_seed, headlines
from dwt.analysis.stats import interval, plain, signed, verdict
from dwt.analysis.teacher_gap import GapLine

WORDS = {"better": "better than", "worse": "worse than", "unclear": "not clearly different from"}
VERBS = {"better": "helps", "worse": "hurts", "unclear": "neither clearly helps nor hurts"}


def direction(gain, *, better: str, worse: str, unclear: str) -> str:
    """The word for a gain whose interval is above, below or around zero."""
    words = {"supported": better, "contradicted": worse, "undecided": unclear}
    return words[verdict(gain, "higher")]


def short(row) -> str:
    """Mean and interval of a row of a table of gains."""
    return f"{signed(row.mean)} [{signed(row.low)}, {signed(row.high)}]"


def listed(names) -> str:
    """Names in backticks, with commas."""
    return ", ".join(f"`{name}`" for name in names)


def describe_gap(line: GapLine | None, points: pd.DataFrame) -> tuple[str, str]:
    """The break-even gap, or that every gap tried is too large; then its interval, or ""."""
    mean = points.groupby("arm")[["gap", "gain"]].mean()
    if (mean["gain"] <= 0).all():
        low, high = mean["gap"].min(), mean["gap"].max()
        return f"Teachers help at none of the gaps tried, {plain(low)} to {plain(high)} nats", ""
    if line is None:
        return f"{len(mean)} arms are too few to locate where teachers stop helping", ""
    zero = line.zero
    if math.isinf(zero.low):
        return "These seeds do not locate a gap at which teachers stop helping", ""
    bounds = interval(zero.low, zero.high, zero.slope.level)
    inside = points["gap"].min() <= zero.gap <= points["gap"].max()
    bounds += f", {zero.n} seeds" if zero.n > 1 else ""
    bounds += "" if inside else ", outside the gaps tried"
    side = "up to" if zero.slope.mean < 0 else "from"
    return f"Teachers help {side} a gap of {plain(zero.gap)} nats", bounds


def describe_crossing(steps: list[float]) -> str:
    """The steps, one per seed, at which two curves last cross."""
    there = [step for step in steps if not math.isnan(step)]
    if not there:
        return "and their curves do not cross"
    among = "" if len(there) == len(steps) else f", in {len(there)} of {len(steps)} seeds"
    low, middle, high = np.quantile(there, [0, 0.5, 1])
    spread = f" ({low:.0f} to {high:.0f})" if len(there) > 1 else ""
    return f"and their curves last cross at step {middle:.0f}{spread}{among}"


def describe_losses(differences: pd.DataFrame, measure: str) -> str:
    """The gains by one loss of `dwt.analysis.comparisons.differences`."""
    rows = differences[differences["measure"] == measure]
    flipped = rows.assign(mean=-rows["mean"], low=-rows["high"], high=-rows["low"])
    return _describe_measure(flipped, measure)


def describe_equal_flops(differences: pd.DataFrame, arms: list[str]) -> str:
    """The gains at equal FLOPs, by both readings, and the arms that have no rival; Markdown."""
    lines = []
    for measure in AT_EQUAL_FLOPS.values():
        compared = {*differences.loc[differences["measure"] == measure, "arm"]}
        if compared:
            lines.append(describe_losses(differences, measure))
        if rest := [arm for arm in arms[1:] if arm not in compared]:
            lines.append(
                f"By {measure}: no run without a teacher at this scale costs as much as "
                f"{listed(rest)}."
            )
    return "\n\n".join(lines)


def describe_scores(differences: pd.DataFrame) -> str:
    """GLUE mean and BLiMP, or that they were not scored; Markdown."""
    named = differences["measure"].str.startswith((f"{GLUE_MEAN} (", f"{BLIMP} ("))
    if not named.any():
        return (
            "GLUE and BLiMP are not scored at this scale: its measures are losses and the tasks "
            "made from its own text."
        )
    by_measure = differences[named].groupby("measure", sort=False)
    return "\n\n".join(_describe_measure(rows, measure) for measure, rows in by_measure)


def _describe_measure(rows, measure):
    rows = rows[rows["against"] == rows["against"].iloc[0]]
    words = {"better": "better", "worse": "worse", "unclear": "undecided"}
    parts = [f"`{row.arm}` {direction(row, **words)} ({short(row)})" for row in rows.itertuples()]
    return f"By {measure}, against `{rows['against'].iloc[0]}`: {', '.join(parts)}."


def describe_order(scores: pd.DataFrame, layers: pd.Series) -> str:
    """Whether the larger of any two models has the higher score, by the means and by seed.

    Parameters
    ----------
    scores : DataFrame, [seeds, arms]
    layers : Series
        Layers of each arm.
    """
    scores = scores[[*layers.index]].dropna()
    steps = [(a, b) for a in layers.index for b in layers.index if layers[a] < layers[b]]
    means = scores.mean().sort_values(kind="stable")
    ordered = all(means[a] < means[b] for a, b in steps)
    seeds = sum(all(row[a] < row[b] for a, b in steps) for _, row in scores.iterrows())
    rank = " < ".join(str(layers[arm]) for arm in means.index)
    return (
        f"{'Ordered' if ordered else 'Not ordered'} by size: {rank} layers "
        f"(in {seeds} of {len(scores)} seeds)"
    )


def describe_orders(scores: pd.DataFrame, runs: pd.DataFrame) -> str:
    """`describe_order` of every headline measure, as a Markdown list."""
    shown, layers = headlines(scores).groupby(["task", "metric"], sort=False), sizes(runs, scores)
    return "\n".join(
        f"- {task}, {metric}: {describe_order(by_seed(rows), layers).lower()}."
        for (task, metric), rows in shown
    )


def count_verdicts(claims: pd.DataFrame) -> str:
    """The number of claims with each verdict."""
    return ", ".join(f"{(claims['verdict'] == name).sum()} {name}" for name in VERDICTS)


def claims_table(claims: pd.DataFrame) -> str:
    """One row per claim, as a Markdown table: the paper's finding, the gain here, the verdict."""
    rows = [
        f"| {c.statement} | {c.paper} | `{c.arm}` over `{c.against}` | {signed(-c.mean)} "
        f"[{signed(-c.high)}, {signed(-c.low)}] | {c.n} | {c.verdict} |"
        for c in claims.itertuples()
    ]
    head = "| claim | the paper | arms | gain here (nats per masked token) | seeds | verdict |"
    return "\n".join([head, "|---" * 6 + "|", *rows])
