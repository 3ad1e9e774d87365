"""The answer to each analysis and to the whole study, computed from the tables; as Markdown."""

import math

import pandas as pd

from dwt.analysis import compute, factorial, wording
from dwt.analysis.claims import claims, claims_not_run
from dwt.analysis.comparisons import crossings, gain, gains, poor_teachers
from dwt.analysis.stats import paired, plain, short
from dwt.analysis.tables import losses, missing_runs, not_run, table, token_losses
from dwt.analysis.teacher_gap import gap_line, gap_points
from dwt.analysis.wording import THAN, VERBS, direction, listed
from dwt.config.files import atomic_path
from dwt.config.schema import Params

FACTORS = "teacher-quality", "loss-weight", "parameter-remapping"


def describe(params: Params, analysis: str) -> str:
    """The answer of an analysis (a key of `analyses`) from the runs there are; what is missing."""
    answer = _answer(params, analysis)
    if not is_run(params, analysis):
        return f"{answer}\n"
    note = "Gains in nats per masked token, positive where the loss is lower; "
    return f"{answer}\n\n{note}{spread(params)}.\n"


def spread(params: Params) -> str:
    """What the brackets behind an estimate are: "95 % intervals", or that one seed has none."""
    several = table("runs", params)["seed"].nunique() > 1
    return f"{100 * params.verdict.level:g} % intervals" if several else "one seed, no interval"


def _answer(params, analysis):
    arms = params.analyses[analysis]
    if analysis not in _ANSWERS:
        return f"See the notebook `{analysis}`."
    if is_run(params, analysis):
        missing = missing_runs(params, arms)
        note = f" Not trained yet with these settings: {missing}." if missing else ""
        return f"{_ANSWERS[analysis](params)}{note}"
    what = listed(not_run(params, arms)) or "the losses by token (tables/tokens.csv)"
    command = "study" if analysis in FACTORS else "extended"
    return f"Not run at scale {params.scale}: {what}. `make {command}` runs them."


def is_run(params: Params, analysis: str) -> bool:
    """Whether enough of the arms that an analysis compares have runs to compare any."""
    if analysis == "token-gains":
        return not token_losses(params).empty
    arms = params.analyses[analysis]
    there = [arm for arm in arms if arm not in not_run(params, arms)]
    needed = {"teacher-quality": arms[:1], "loss-weight": arms[:2], "parameter-remapping": arms[:3]}
    return {*needed.get(analysis, [])} <= {*there} and len(there) > len(needed.get(analysis, []))


def save_answer(params: Params, name: str, text: str) -> str:
    """Write results/<scale>/<name>/answer.md and return the text."""
    with atomic_path(params.path("results", name, "answer.md")) as partial:
        partial.write_text(text, encoding="utf-8")
    return text


def describe_study(params: Params) -> str:
    """One sentence per factor, and the number of claims with each verdict."""
    train, judged, rest = params.settings.train, claims(params), claims_not_run(params)
    head = (
        f"After {train.steps} steps of {train.batch} x {train.length} tokens (scale "
        f"{params.scale}); gains in held-out loss, nats per masked token, positive where the loss "
        f"is lower; means over seeds, {spread(params)}:"
    )
    factors = [f"- {name.replace('-', ' ')}: {_answer(params, name)}" for name in FACTORS]
    counts = f"- {len(judged)} claims: {wording.count_verdicts(judged)}, at this scale."
    counts += f" {len(rest)} more were not run." if rest else ""
    return "\n".join([head, "", *factors, counts, ""])


def describe_size(params: Params) -> str:
    """The paper's budget beside that of a scale's student."""
    student = table("runs", params).query("arm == 'scratch'").iloc[0]
    parameters, tokens = (f"{student[key] / 1e6:.3g}M" for key in ("parameters", "tokens"))
    return (
        "The paper's student has 67M parameters and reads 30M sentences twenty times; here it has "
        f"{parameters} parameters and reads {tokens} tokens. A budget is part of every claim."
    )


def _teacher_quality(params):
    arms = params.analyses["teacher-quality"]
    points = gap_points(params, arms)
    gap, measured = points.groupby("arm")["gap"].mean(), gains(params, arms[1:], against=arms[0])
    behind = {arm: f" (gap {plain(value)})" for arm, value in gap.items()}
    parts = [f"`{row.arm}`{behind.get(row.arm, '')} gains {short(row)}"
             for row in measured.itertuples()]  # fmt: skip
    sentence = _gap_sentence(gap_line(points, level=params.verdict.level), points)
    return (
        f"{sentence}; the gap is the teacher's loss minus that of the student without a teacher: "
        f"{'; '.join(parts)}."
    )


def _loss_weight(params):
    arms, curves = params.analyses["loss-weight"], table("curves", params)
    base, measured = arms[1], gains(params, arms[2:], against=arms[1])
    parts = [
        f"`{row.arm}` ends {direction(row, THAN)} `{base}` (gain {short(row)}), "
        f"{wording.describe_crossing(crossings(curves, row.arm, base))}"
        for row in measured.itertuples()
    ]
    return "; ".join(parts) + "."


def _parameter_remapping(params):
    arms, level = params.analyses["parameter-remapping"], params.verdict.level
    measured = factorial.two_by_two(table("runs", params), arms, level=level)
    return (
        f"The soft loss {direction(measured.random, VERBS)} a randomly initialised student (gain "
        f"{short(measured.random)}) and {direction(measured.remapped, VERBS)} a remapped one "
        f"({short(measured.remapped)}), an interaction of {short(measured.interaction)}; with it, "
        f"remapping ends {direction(measured.start, THAN)} random initialisation "
        f"({short(measured.start)})."
    )


def _gap_sentence(line, points):
    finding, bounds = wording.describe_gap(line, points)
    return f"{finding} ({bounds})" if bounds else finding


def _gap(params):
    points, lines = gap_points(params), []
    for start, rows in points.groupby("start"):
        line, mean = gap_line(rows, level=params.verdict.level), rows.groupby("arm")["gain"].mean()
        parts = [_gap_sentence(line, rows), f"{(mean > 0).sum()} of {len(mean)} arms gain"]
        if line is not None:
            fits = "; ".join(f"{cause} {short(d)}" for cause, d in line.off.items())
            parts.append(f"slope {short(line.zero.slope)} nats of gain per nat of gap")
            parts.append(
                f"off that line: {fits}" if fits else "no cause of the gap is clearly off that line"
            )
        weights = "copied" if start == "remapped" else "random"
        lines.append(f"- from {weights} weights: {'; '.join(parts)}.")
    return "\n".join(lines)


def _factorial(params):
    rows = factorial.effects(factorial.factorial_table(params), level=params.verdict.level)
    weak = rows[rows["teacher"] == "weak-teacher"]
    joint, simple = (weak["term"].str.contains(sign, regex=False) for sign in (" x ", "("))
    main, both = (
        "; ".join(f"{row.term} {_with_seeds(row)}" for row in part.itertuples())
        for part in (weak[~joint & ~simple], weak[joint])
    )
    return (
        "With the weak teacher, gains averaged over the other factor, against no soft loss and a "
        f"random start: {main}. Interactions: {both}."
    )


def _controls(params):
    measured = gains(params, ["normal", *params.analyses["controls"]])
    parts = [f"`{row.arm}` {_with_seeds(row)}" for row in measured.itertuples()]
    return f"Gains over the student without a teacher: {', '.join(parts)}."


def _with_seeds(row):
    return f"{short(row)} ({row.n} seed{'s' if row.n > 1 else ''})"


def _poor_teachers(params):
    measured, loss, lines = poor_teachers(params), losses(table("runs", params)), []
    for teacher, rows in measured.groupby("teacher", sort=False):
        usual = next(iter(rows.query("soft_weight == 1 and temperature == 1").itertuples()), None)
        if usual is None:
            continue
        best = max(rows.itertuples(), key=lambda row: row.mean)
        more = gain(loss, best.arm, usual.arm, level=params.verdict.level)
        seeds = " to ".join(map(str, sorted({rows["n"].min(), rows["n"].max()})))
        helpful = listed(rows.loc[rows["low"] > 0, "arm"]) or "none"
        lines.append(
            f"- `{teacher}` with weight 1 and temperature 1: `{usual.arm}` {_with_seeds(usual)}. "
            f"Best of {len(rows)} settings: `{best.arm}` {_with_seeds(best)}, weight "
            f"{best.soft_weight:g}, temperature {best.temperature:g}; over the usual setting "
            f"{short(more)}. Clearly helpful: {helpful}; seeds per setting: {seeds}."
        )
    return "\n".join(lines)


def _compute(params):
    measured, lines = compute.gains_at_equal_flops(params), []
    for arm in ("normal", "adaptive", "remapped-no-kd"):
        rows = [*measured[measured["arm"] == arm].itertuples()]
        if not rows:
            continue
        of_arm = ", ".join(f"{short(row)} ({compute.READINGS[row.reading]})" for row in rows)
        words = direction(rows[0], THAN)
        lines.append(f"- At equal training FLOPs `{arm}` is {words} no teacher: gain {of_arm}.")
    times = compute.time_to_loss(params).set_index("arm")
    timed = [a for a in ("normal", "strong", "adaptive", "remapped-no-kd") if a in times.index]
    for arm in timed:
        row = times.loc[arm]
        bounds = f" ({row['low']:.2f} to {row['high']:.2f})" if row["seeds"] > 1 else ""
        when = f"after {row['share']:.2f} of its steps{bounds}"
        if math.isnan(row["share"]):
            when = f"in {row['reached']:.0f} of {row['seeds']:.0f} seeds only"
        lines.append(f"- `{arm}` reaches the final loss of the student without a teacher {when}.")
    return "\n".join(lines)


def _stopping(params):
    loss, lines = losses(table("runs", params)), []
    baselines = ("adaptive", "normal"), ("adaptive", "1-to-0"), ("adaptive-4x", "scratch-4x")
    for arm, against in baselines:
        if not {arm, against} <= {*loss}:
            continue
        d = gain(loss, arm, against, level=params.verdict.level)
        lines.append(f"- `{arm}` ends {direction(d, THAN)} `{against}`: gain {short(d)}.")
    return "\n".join(lines)


def gains_by_side(tokens: pd.DataFrame, *, level: float = 0.95) -> dict:
    """Gain (`Paired`) and share of tokens where the teacher's guess is right (True) and wrong."""
    sides, everything = {}, tokens["tokens"].sum()
    for right, rows in tokens.groupby("teacher_right"):
        total = (rows["loss_without"] - rows["loss"]) * rows["tokens"]
        count = rows.groupby("seed")["tokens"].sum()
        mean = total.groupby(rows["seed"]).sum() / count
        sides[bool(right)] = paired(mean, level=level), count.sum() / everything
    return sides


def _token_gains(params):
    lines = []
    for arm, rows in token_losses(params).groupby("arm", sort=False):
        sides = gains_by_side(rows, level=params.verdict.level)
        right, wrong = (
            f"{short(gain)} where the teacher is {word} ({100 * share:.0f} % of tokens)"
            for (gain, share), word in ((sides[True], "right"), (sides[False], "wrong"))
        )
        lines.append(f"- `{arm}` over `{rows['against'].iloc[0]}`: {right}; {wrong}.")
    return "\n".join(lines)


_ANSWERS = {
    "teacher-quality": _teacher_quality, "loss-weight": _loss_weight,
    "parameter-remapping": _parameter_remapping, "gap": _gap, "factorial": _factorial,
    "controls": _controls, "poor-teachers": _poor_teachers, "compute": _compute,
    "stopping": _stopping, "token-gains": _token_gains,
}  # fmt: skip
