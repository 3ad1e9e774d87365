"""Sentences about gains, gaps, scores and claims, which read right whichever way the numbers fall.

A gain is positive when it helps. An interval that covers zero leaves the direction open.
"""

import math

import numpy as np
import pandas as pd

from dwt.analysis.comparisons import AT_EQUAL_FLOPS, sizes
from dwt.analysis.score_means import BLIMP, GLUE_MEAN, by_seed, main_measures
from dwt.analysis.stats import VERDICTS, flipped, interval, plain, short, verdict
from dwt.analysis.teacher_gap import GapLine

# What a gain above, below and around zero is called.
THAN = "better than", "worse than", "not clearly different from"
VERBS = "helps", "hurts", "neither clearly helps nor hurts"
SIDES = "better", "worse", "undecided"


def direction(gain, words: tuple[str, str, str]) -> str:
    """The word for a gain whose interval is above, below or around zero."""
    return dict(zip(VERDICTS, words, strict=True))[verdict(gain, "higher")]


def listed(names) -> str:
    """Names in backticks, with commas."""
    return ", ".join(f"`{name}`" for name in names)


def markdown_table(head, rows) -> str:
    """Cells as a Markdown table."""
    first, *rest = (f"| {' | '.join(map(str, cells))} |" for cells in (head, *rows))
    return "\n".join([first, "|---" * len(head) + "|", *rest])


def describe_gap(line: GapLine | None, points: pd.DataFrame) -> tuple[str, str]:
    """The break-even gap, or that every gap tried is too large; then its interval, or ""."""
    mean = points.groupby("arm")[["gap", "gain"]].mean()
    if (mean["gain"] <= 0).all():
        low, high = mean["gap"].min(), mean["gap"].max()
        return f"Teachers help at none of the gaps tried, {plain(low)} to {plain(high)} nats", ""
    if line is None:
        return f"Too few arms ({len(mean)}) to locate where teachers stop helping", ""
    zero = line.zero
    if math.isinf(zero.low):
        return "These seeds do not locate a gap at which teachers stop helping", ""
    bounds = interval(zero.low, zero.high, zero.slope.level)
    inside = points["gap"].min() <= zero.gap <= points["gap"].max()
    bounds += f", {zero.slope.n} seeds" if zero.slope.n > 1 else ""
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


def describe_robustness(differences: pd.DataFrame, arms: list[str]) -> str:
    """The gains on other text, at equal FLOPs, and by GLUE mean and BLiMP; Markdown."""
    parts = {
        "Other text": describe_losses(differences, "out-of-domain loss"),
        "Equal compute": describe_equal_flops(differences, arms),
        "Scores": describe_scores(differences),
    }
    return "\n\n".join(f"**{name}.** {text}" for name, text in parts.items())


def describe_losses(differences: pd.DataFrame, measure: str) -> str:
    """The gains by one loss of `dwt.analysis.comparisons.differences`."""
    return _describe_measure(flipped(differences[differences["measure"] == measure]), measure)


def describe_equal_flops(differences: pd.DataFrame, arms: list[str]) -> str:
    """The gains at equal FLOPs, by both readings, and the arms that have no baseline; Markdown."""
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
    against = rows["against"].iloc[0]
    rows = rows[rows["against"] == against].itertuples()
    parts = [f"`{row.arm}` {direction(row, SIDES)} ({short(row)})" for row in rows]
    return f"By {measure}, against `{against}`: {', '.join(parts)}."


def describe_order(scores: pd.DataFrame, layers: pd.Series) -> str:
    """Whether the larger of any two models has the higher score, by the means and by seed.

    `scores` are [seeds, arms], `layers` those of each arm.
    """
    scores = scores[[*layers.index]].dropna()
    steps = [(a, b) for a in layers.index for b in layers.index if layers[a] < layers[b]]
    means = scores.mean().sort_values(kind="stable")
    ordered, *seeds = (
        all(row[a] < row[b] for a, b in steps) for row in (means, *scores.to_dict("records"))
    )
    rank = " < ".join(str(layers[arm]) for arm in means.index)
    return (
        f"{'Ordered' if ordered else 'Not ordered'} by size: {rank} layers "
        f"(in {sum(seeds)} of {len(seeds)} seeds)"
    )


def describe_orders(scores: pd.DataFrame, runs: pd.DataFrame) -> str:
    """`describe_order` of every main measure, as a Markdown list."""
    shown, layers = (
        main_measures(scores).groupby(["task", "metric"], sort=False),
        sizes(runs, scores),
    )
    return "\n".join(
        f"- {task}, {metric}: {describe_order(by_seed(rows), layers).lower()}."
        for (task, metric), rows in shown
    )


def count_verdicts(claims: pd.DataFrame) -> str:
    """The number of claims with each verdict."""
    return ", ".join(f"{(claims['verdict'] == name).sum()} {name}" for name in VERDICTS)


def claims_table(claims: pd.DataFrame) -> str:
    """One row per claim, as a Markdown table: the paper's finding, the gain here, the verdict."""
    head = "claim|the paper|arms|gain here (nats per masked token)|seeds|verdict".split("|")
    rows = [
        [c.statement, c.paper, f"`{c.arm}` over `{c.against}`", short(c), c.n, c.verdict]
        for c in flipped(claims).itertuples()
    ]
    return markdown_table(head, rows)
