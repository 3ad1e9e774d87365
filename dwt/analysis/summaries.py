"""What do the tables say about each factor, in one sentence?

Every sentence is computed, reads right whichever way the numbers fall, and carries its interval;
where an interval covers zero it says that the direction is not clear, not that there is none.
"""

import math

import numpy as np

from dwt.analysis.comparisons import (
    claims,
    crossings,
    gap_line,
    gaps,
    losses,
    sizes,
    soft_effects,
    square,
)
from dwt.analysis.score_means import BLIMP, GLUE_MEAN, by_seed, headlines
from dwt.analysis.stats import interval, paired, plain, signed, verdict
from dwt.analysis.tables import table

NEITHER = "neither clearly ahead of nor behind"


def side(difference, *, better, worse, unclear) -> str:
    """The word for a difference in loss whose interval is below, above or around zero."""
    words = {"supported": better, "contradicted": worse, "undecided": unclear}
    return words[verdict(difference, "lower")]


def say_break_even(line, points) -> str:
    """The break-even gap in a sentence, whichever way the line falls."""
    if math.isinf(line.low):
        return "These seeds do not locate a gap at which the teacher stops helping"
    while_ = "while it is less than" if line.slope.mean < 0 else "once it is more than"
    gap = f"{plain(line.gap)} nats"
    bounds = interval(line.low, line.high, line.slope.level)
    inside = points["gap"].min() <= line.gap <= points["gap"].max()
    note = f", {line.n} seeds" if line.n > 1 else ""
    note += "" if inside else ", outside the gaps tried"
    return f"A teacher helps {while_} {gap} behind the student alone ({bounds}{note})"


def say_crossing(steps) -> str:
    """Where two curves last cross, over seeds."""
    there = [step for step in steps if not math.isnan(step)]
    if not there:
        return "never crossing it"
    among = "" if len(there) == len(steps) else f", in {len(there)} of {len(steps)} seeds"
    low, middle, high = np.quantile(there, [0, 0.5, 1])
    spread = f" ({low:.0f} to {high:.0f})" if len(there) > 1 else ""
    return f"last crossing it at step {middle:.0f}{spread}{among}"


def say_losses(differences, measure) -> str:
    """One measure of `findings.differences`, a loss, in a sentence."""
    return _say_measure(differences, measure, "lower")


def say_scores(differences) -> str:
    """GLUE mean and BLiMP of `findings.differences`, or that they were not scored; Markdown."""
    named = differences["measure"].str.startswith((f"{GLUE_MEAN} (", f"{BLIMP} ("))
    if not named.any():
        return (
            "GLUE and BLiMP are not scored at this scale: its measures are losses and the tasks "
            "made from its own text."
        )
    found = differences.loc[named, "measure"].unique()
    return "\n\n".join(_say_measure(differences, measure, "higher") for measure in found)


def _say_measure(differences, measure, better):
    rows = differences[differences["measure"] == measure]
    rows = rows[rows["against"] == rows["against"].iloc[0]]
    words = {"supported": "better", "contradicted": "worse", "undecided": "undecided"}
    parts = [
        f"`{row.arm}` not reached"
        if math.isnan(row.mean)
        else f"`{row.arm}` {words[verdict(row, better)]} ({signed(row.mean)})"
        for row in rows.itertuples()
    ]
    return f"By {measure}, against `{rows['against'].iloc[0]}`: {', '.join(parts)}."


def say_order(scores, layers) -> str:
    """Whether the larger of any two models has the higher score, by the means and by seed.

    Parameters
    ----------
    scores : DataFrame, [seeds, arms]
    layers : Series
        Layers of each arm.
    """
    steps = [(a, b) for a in layers.index for b in layers.index if layers[a] < layers[b]]
    means = scores[[*layers.index]].mean().sort_values(kind="stable")
    ordered = all(means[a] < means[b] for a, b in steps)
    seeds = sum(all(row[a] < row[b] for a, b in steps) for _, row in scores.iterrows())
    rank = " < ".join(str(layers[arm]) for arm in means.index)
    return (
        f"{'Ordered' if ordered else 'Not ordered'} by size: {rank} layers "
        f"(in {seeds} of {len(scores)} seeds)"
    )


def say_orders(scores, runs) -> str:
    """`say_order` of every headline measure, as a Markdown list."""
    shown = headlines(scores).groupby(["task", "metric"], sort=False)
    return "\n".join(
        f"- {task}, {metric}: {say_order(by_seed(rows), sizes(runs)).lower()}."
        for (task, metric), rows in shown
    )


def say_size(params) -> str:
    """The paper's budget and that of a scale's student, in a sentence."""
    student = table("runs", params).query("arm == 'scratch'").iloc[0]
    return (
        "The paper's student has 67M parameters and reads 30M sentences twenty times; here it has "
        f"{_count(student['parameters'])} parameters and reads {_count(student['tokens'])} tokens. "
        "A budget is part of every claim."
    )


def _count(number):
    """A large number as read: 0.35M, 105M, 16.2G."""
    scale, letter = (1e9, "G") if number >= 1e9 else (1e6, "M")
    return f"{number / scale:.3g}{letter}"


def answer(factor, params) -> str:
    """The factor's question, answered in one sentence with intervals."""
    runs, curves = table("runs", params), table("curves", params)
    return _ANSWERS[factor](params.factors[factor], runs, curves, params.verdict.level)


def _teacher_quality(arms, runs, curves, level):
    loss, points = losses(runs), gaps(runs, arms)
    gap = points.groupby("arm")["gap"].mean()
    parts = [
        f"`{arm}` (gap {plain(gap[arm])}) gains {paired(loss[arms[0]], loss[arm], level=level)}"
        for arm in arms[1:]
    ]
    return f"{say_break_even(gap_line(runs, arms, level=level), points)}: {'; '.join(parts)}."


def _loss_weight(arms, runs, curves, level):
    loss, base = losses(runs), arms[1]
    parts = []
    for arm in arms[2:]:
        d = paired(loss[arm], loss[base], level=level)
        ends = side(d, better="ahead of", worse="behind", unclear=NEITHER)
        across = say_crossing(crossings(curves, arm, base))
        parts.append(f"`{arm}` ends {ends} `{base}`, {d}, {across}")
    return "; ".join(parts) + "."


def _parameter_remapping(arms, runs, curves, level):
    loss, corner = losses(runs), square(runs, arms)
    random, remapped, interaction = soft_effects(runs, arms, level=level)
    verbs = dict(better="helps", worse="harms", unclear="neither clearly helps nor harms")
    start = paired(loss[corner[True, True]], loss[corner[False, True]], level=level)
    ends = side(start, better="ahead of", worse="behind", unclear=NEITHER)
    return (
        f"The soft loss {side(random, **verbs)} a randomly initialised student, {random}, and "
        f"{side(remapped, **verbs)} a remapped one, {remapped}: interaction {interaction}; under "
        f"it, remapping ends {ends} random initialisation, {start}."
    )


_ANSWERS = {
    "teacher-quality": _teacher_quality,
    "loss-weight": _loss_weight,
    "parameter-remapping": _parameter_remapping,
}


def say_claims(claimed) -> str:
    """One line a claim, as Markdown: verdict, the paper's finding, ours."""
    return "\n".join(
        f"1. **{c.verdict}**: {c.statement}. Paper: {c.paper}. "
        f"Here: `{c.arm}` − `{c.against}` at step {c.step}: {c.found}."
        for c in claimed.itertuples()
    )


def study_answer(params) -> str:
    """The whole study in one sentence a factor, as Markdown."""
    train, found = params.settings.train, claims(params)["verdict"]
    said = [f"- {factor.replace('-', ' ')}: {answer(factor, params)}" for factor in params.factors]
    counts = ", ".join(
        f"{(found == v).sum()} {v}" for v in ("supported", "contradicted", "undecided")
    )
    head = (
        f"After {train.steps} steps of {train.batch} x {train.length} tokens (scale "
        f"{params.scale}, seeds {', '.join(map(str, params.seeds))}; held-out loss in nats per "
        "masked token):"
    )
    return "\n".join([head, "", *said, f"- {len(found)} claims: {counts}, at this scale.", ""])
