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
from dwt.config.schema import Params, Schedule


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
    arm, gap = points["arm"].iloc[0], points.loc[points["arm"] == points["arm"].iloc[0], "gap"]
    d = _gain(params, arm, "scratch")
    words = "Yes, if it is close", "Not a teacher as far behind as these", "That is not clear"
    return (
        f"{direction(d, words)}: {finding[0].lower()}{finding[1:]}"
        f"{f' ({bounds})' if bounds else ''}, by a straight line through {teachers} teachers. "
        f"`{arm}`, whose teacher is {plain(gap.mean())} behind, gains {short(d)} at equal steps"
        f"{_at_equal_flops(params, arm, 'forward')}."
    )


def _at_equal_flops(params, arm, reading, *, over=""):
    rows = gains_at_equal_flops(params)
    rows = rows[(rows["arm"] == arm) & (rows["reading"] == reading)]
    parts = []
    for row in rows.itertuples():
        seeds = f", {row.n} seeds" if row.n > 1 else ""
        parts.append(f" and {short(row)}{over} at equal FLOPs ({READINGS[reading]}{seeds})")
    return "".join(parts)


def _how_strongly(params):
    if (d := _gain(params, "strong", "normal")) is None:
        return _not_run(params, ["strong", "normal"])
    strong, normal = (
        weight_label(resolve(arm, 0, params).soft_weight) for arm in ("strong", "normal")
    )
    words = "better than", "worse than", "not clearly different from"
    return f"{strong.capitalize()} is {direction(d, words)} {normal} (gain {short(d)})."


def _for_how_long(params):
    falling = [
        name for name, arm in params.all_arms.items()
        if isinstance(arm.soft_weight, Schedule) and arm.teacher == "weak-teacher"
        and not arm.remap and arm.budget == 1
    ]  # fmt: skip
    measured = [*gains(params, falling, against="normal").itertuples()]
    if not measured:
        return _not_run(params, [*falling, "normal"])
    better, worse = sum(row.low > 0 for row in measured), sum(row.high < 0 for row in measured)
    best = max(measured, key=lambda row: row.mean)
    text = (
        f"Of {len(measured)} soft weights that fall, {better} are clearly better than a constant "
        f"one and {worse} clearly worse. The best of these runs, `{best.arm}`, gains {short(best)} "
        f"over it{_at_equal_flops(params, best.arm, 'forward', over=' over no teacher')}; both are "
        "overestimates, since these runs chose it."
    )
    if len(measured) == 1:
        text = (
            f"One weight that falls was run: `{best.arm}` gains {short(best)} over a constant one."
        )
    return text + _with_more_steps(params, "normal", "A constant weight")


def _with_more_steps(params, arm, what):
    words = "helps", "hurts", "does not clearly help"
    if (d := _gain(params, f"{arm}-4x", "scratch-4x")) is None:
        return ""
    times = f"{params.all_arms[f'{arm}-4x'].budget:g} times the steps"
    return f" {what} {direction(d, words)} at {times} ({short(d)})."


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
        + _with_more_steps(params, "remapped-no-kd", "Copying")
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
