"""Headline numbers: the four questions of the README, and the files that DVC's commands read."""

import json

from dwt.analysis.claims import claims
from dwt.analysis.comparisons import gain, gains
from dwt.analysis.compute import READINGS, gains_at_equal_flops
from dwt.analysis.factorial import weight_label
from dwt.analysis.stats import VERDICTS, plain, short
from dwt.analysis.summaries import is_run, spread
from dwt.analysis.tables import by_step, losses, not_run, save, table
from dwt.analysis.teacher_gap import gap_line, gap_points
from dwt.analysis.wording import describe_gap, direction, listed
from dwt.config.files import atomic_path
from dwt.config.params import resolve
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
    note = (
        "Gains in held-out loss (nats per masked token, positive where the loss is lower) after "
        f"{params.settings.train.steps:,} steps at scale {params.scale}, unless stated; "
        f"{spread(params)}."
    )
    return "\n".join([*lines, "", note, ""])


def _should_it_teach(params):
    arms = params.analyses["teacher-quality"]
    if not is_run(params, "teacher-quality"):
        return _not_run(params, arms)
    points = gap_points(params, arms)
    teachers = points["teacher"].nunique()
    finding, bounds = describe_gap(gap_line(points, level=params.verdict.level), points)
    text = f"{finding}{f' ({bounds})' if bounds else ''}, by a straight line through {teachers} "
    text += "teachers."
    for arm, rows in points.groupby("arm", sort=False):
        d = _gain(params, arm, arms[0])
        text += f" `{arm}`, whose teacher is {plain(rows['gap'].mean())} behind, gains {short(d)}"
        text += f" at equal steps{_at_equal_flops(params, arm, 'forward')}."
        break
    return text


def _at_equal_flops(params, arm, reading):
    rows = gains_at_equal_flops(params)
    rows = rows[(rows["arm"] == arm) & (rows["reading"] == reading)]
    return "".join(f" and {short(row)} at equal FLOPs ({READINGS[reading]})"
                   for row in rows.itertuples())  # fmt: skip


def _how_strongly(params):
    if (d := _gain(params, "strong", "normal")) is None:
        return _not_run(params, ["strong", "normal"])
    strong, normal = (
        weight_label(resolve(arm, 0, params).soft_weight) for arm in ("strong", "normal")
    )
    words = f"With {strong}, not {normal}", f"With {normal}, not {strong}", "That is not clear"
    return f"{direction(d, words)}: {strong} gains {short(d)} over {normal}."


def _for_how_long(params):
    measured = [*gains(params, [*SCHEDULES], against="normal").itertuples()]
    if not measured:
        return _not_run(params, [*SCHEDULES, "normal"])
    better, worse = sum(row.low > 0 for row in measured), sum(row.high < 0 for row in measured)
    best = max(measured, key=lambda row: row.mean)
    text = (
        f"Of {len(measured)} soft weights that fall, {better} are clearly better than a constant "
        f"one and {worse} clearly worse. The best of these runs, `{best.arm}`, gains {short(best)}"
        ", an overestimate since they chose it."
    )
    if len(measured) == 1:
        text = (
            f"One weight that falls was run: `{best.arm}` gains {short(best)} over a constant one."
        )
    return text + _at_four_times_the_steps(params, "normal", "A constant weight")


def _at_four_times_the_steps(params, arm, what):
    words = "helps", "hurts", "does not clearly help"
    d = _gain(params, f"{arm}-4x", "scratch-4x")
    return (
        "" if d is None else f" {what} {direction(d, words)} at four times the steps ({short(d)})."
    )


def _copy_its_weights(params):
    copied = _gain(params, "remapped-no-kd", "scratch")
    both = _gain(params, "remapped", "remapped-no-kd")
    if copied is None or both is None:
        return _not_run(params, ["remapped-no-kd", "remapped", "scratch"])
    words = "Yes", "No", "That is not clear"
    verbs = "helps", "hurts", "does not clearly change the loss"
    counted = _at_equal_flops(params, "remapped-no-kd", "training")
    return (
        f"{direction(copied, words)}: with the hard loss only, copied weights gain {short(copied)}"
        f"{counted}; the soft loss on top {direction(both, verbs)} ({short(both)})."
        + _at_four_times_the_steps(params, "remapped-no-kd", "Copying")
    )


def _not_run(params, arms):
    return f"Not run at scale {params.scale}: {listed(not_run(params, arms))}."


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
