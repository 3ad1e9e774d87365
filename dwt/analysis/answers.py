"""Headline numbers: the four questions of the README, and the files that DVC's commands read."""

import json

from dwt.analysis.claims import claims
from dwt.analysis.comparisons import gain, gains
from dwt.analysis.compute import gains_at_equal_flops
from dwt.analysis.stats import VERDICTS, plain, short
from dwt.analysis.tables import by_step, losses, not_run, save, table
from dwt.analysis.teacher_gap import gap_line, gap_points
from dwt.analysis.wording import describe_gap, direction
from dwt.config.files import atomic_path
from dwt.config.schema import Params

SCHEDULES = ("4-to-1", "4-to-0", "1-to-0", "1-then-0", "adaptive")


def four_answers(params: Params) -> str:
    """Should it teach, how strongly, for how long, and copy its weights? As a Markdown list."""
    questions = {
        "Should it teach?": _should_it_teach(params),
        "How strongly?": _how_strongly(params),
        "For how long?": _for_how_long(params),
        "Copy its weights?": _copy_its_weights(params),
    }
    lines = [f"- **{question}** {answer}" for question, answer in questions.items()]
    level, steps = params.verdict.level, params.settings.train.steps
    note = (
        f"Gains in held-out loss (nats per masked token, positive where the loss is lower) after "
        f"{steps:,} steps at scale {params.scale}, mean of paired seeds with {level:.0%} interval."
    )
    return "\n".join([*lines, "", note, ""])


def _should_it_teach(params):
    arms = params.analyses["teacher-quality"]
    points = gap_points(params, arms)
    finding, bounds = describe_gap(gap_line(points, level=params.verdict.level), points)
    gap = plain(points.loc[points["arm"] == arms[1], "gap"].mean())
    text = f"{finding}{f' ({bounds})' if bounds else ''}: the teacher's loss minus that of the new "
    text += (
        f"model without it, after as many steps. `{arms[1]}`, with a teacher {gap} behind, gains "
    )
    text += short(_gain(params, arms[1], arms[0]))
    readings = gains_at_equal_flops(params)
    rows = readings[(readings["arm"] == arms[1]) & (readings["reading"] == "forward")]
    if rows.empty:
        return f"{text} at equal steps."
    words = "is worth its compute", "is not worth its compute", "is not clearly worth its compute"
    row = next(rows.itertuples())
    return f"{text} at equal steps; at equal FLOPs it {direction(row, words)} ({short(row)})."


def _how_strongly(params):
    words = "With weight 4, not 1", "With weight 1, not 4", "It makes no clear difference"
    d = _gain(params, "strong", "normal")
    return f"{direction(d, words)}: a weight of 4 gains {short(d)} over a weight of 1."


def _for_how_long(params):
    measured = [*gains(params, [*SCHEDULES], against="normal").itertuples()]
    best = max(measured, key=lambda row: row.mean)
    words = "Let the weight fall", "Keep the weight constant", "It is not clear"
    tried = f"the best of {len(measured)} schedules" if len(measured) > 1 else "the only schedule"
    text = f"{direction(best, words)}: `{best.arm}`, {tried} tried, gains {short(best)} over a "
    text += "constant weight of 1."
    if (longer := _gain(params, "normal-4x", "scratch-4x")) is not None:
        words = "helps", "hurts", "does not clearly help"
        text += f" At four times the steps a constant weight {direction(longer, words)} "
        text += f"({short(longer)})."
    return text


def _copy_its_weights(params):
    copied = _gain(params, "remapped-no-kd", "scratch")
    both = _gain(params, "remapped", "remapped-no-kd")
    words = "Yes", "No", "It is not clear"
    verbs = "helps", "hurts", "does not clearly change"
    return (
        f"{direction(copied, words)}: copied weights with the labels alone gain {short(copied)}; "
        f"the soft loss on top {direction(both, verbs)} ({short(both)})."
    )


def _gain(params, arm, against):
    """The gain of an arm over another; None where one of them was not run."""
    if not_run(params, [arm, against]):
        return None
    return gain(losses(table("runs", params)), arm, against, level=params.verdict.level)


def save_answers(params: Params) -> str:
    """Write questions.md, metrics.json, curves.csv and gains.csv of a scale's summary.

    The last three are what `dvc metrics` and `dvc plots` show. Returns the text of the first.
    """
    folder, judged = params.path("results", "summary"), claims(params)
    text, loss = four_answers(params), losses(table("runs", params))
    there = [name for name in params.names() if name in loss]
    students = [name for name in there if name in params.arms]
    measured = gains(params, students).rename(columns={"mean": "gain"})
    metrics = {
        "heldout_loss": {name: round(loss[name].mean(), 4) for name in there},
        "gain": {row.arm: round(row.gain, 4) for row in measured.itertuples()},
        "claims": {name: int((judged["verdict"] == name).sum()) for name in VERDICTS},
    }
    with atomic_path(folder / "metrics.json") as partial:
        partial.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    curves = by_step(table("curves", params), there).groupby("step").mean()
    curves = curves.reset_index().melt("step", var_name="arm", value_name="heldout_loss").dropna()
    save(curves[["arm", "step", "heldout_loss"]], folder / "curves.csv")
    save(measured[["arm", "gain", "low", "high", "n"]], folder / "gains.csv")
    with atomic_path(folder / "questions.md") as partial:
        partial.write_text(text, encoding="utf-8")
    return text
