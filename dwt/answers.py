"""What do the tables say about each factor, in one sentence?

Every sentence is computed, reads right whichever way the numbers fall, and carries its interval;
where an interval covers zero it says that the direction is not clear, not that there is none.
"""

import math

import numpy as np

from dwt.findings import claims, crossings, gap_line, gaps, losses, soft_effects, square
from dwt.results import table
from dwt.stats import interval, paired, plain, signed, verdict

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
    rows = differences[differences["measure"] == measure]
    rows = rows[rows["against"] == rows["against"].iloc[0]]
    words = dict(better="better", worse="worse", unclear="undecided")
    parts = [
        f"`{row.arm}` not reached"
        if math.isnan(row.mean)
        else f"`{row.arm}` {side(row, **words)} ({signed(row.mean)})"
        for row in rows.itertuples()
    ]
    return f"By {measure}, against `{rows['against'].iloc[0]}`: {', '.join(parts)}."


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
