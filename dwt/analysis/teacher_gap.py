"""The gain of the soft loss against how far the teacher is behind the student without it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dwt.analysis.stats import BreakEven, Paired, as_table, break_even, paired
from dwt.analysis.tables import TablesError, table
from dwt.config.schema import Params

CAUSES = "smaller teacher", "under-trained teacher", "longer student"
FEWEST_ARMS = 3  # for a fitted line


@dataclass(frozen=True)
class GapLine:
    """The line through the arms of `gap_points`, fitted per seed."""

    zero: BreakEven
    residuals: dict[str, Paired]  # per cause, over its arms; an interval at zero: on the line

    @property
    def off(self) -> dict[str, Paired]:
        """The causes whose residual is not zero."""
        return {cause: d for cause, d in self.residuals.items() if d.low > 0 or d.high < 0}


def gap_points(params: Params, arms: list[str] | None = None) -> pd.DataFrame:
    """Gap and gain of each student and seed that has a trained teacher.

    Only with a counterpart: the same start and steps without the soft loss.

    By default of the study and of the arms of the analysis "gap" that have a constant soft weight
    of 1. Columns arm, seed, teacher, layers (of the teacher), start (random or remapped), cause
    (one of `CAUSES`), gap (the teacher's loss minus the student's without the soft loss, from the
    same start in as many steps), gain (the loss without the soft loss minus the loss with it).
    """
    usual = [name for name in (*params.arms, *params.analyses.get("gap", []))
             if name in params.all_arms and params.all_arms[name].soft_weight == 1]  # fmt: skip
    runs = table("runs", params)
    models = runs[runs["kind"] == "standalone"].set_index(["arm", "seed"])
    shape, usual_steps = (models.loc["scratch", key].iloc[0] for key in ("layers", "steps"))
    random = models[models["layers"] == shape].reset_index().set_index(["steps", "seed"])
    no_kd = runs[runs["remap"].notna() & (runs["soft_weight"] == "0.0")]
    remapped = no_kd.set_index(["teacher", "steps", "seed"])
    rows = []
    for run in runs[runs["arm"].isin(usual if arms is None else arms)].itertuples():
        if (run.teacher, run.seed) not in models.index or run.soft_weight == "0.0":
            continue
        copied, teacher = isinstance(run.remap, str), models.loc[(run.teacher, run.seed)]
        where = (run.teacher, run.steps, run.seed) if copied else (run.steps, run.seed)
        same_start = remapped if copied else random
        if where not in same_start.index:
            continue
        without = same_start.loc[where, "heldout_loss"]
        cause = 2 if run.steps > usual_steps else int(teacher["steps"] < usual_steps)
        rows.append({
            "arm": run.arm, "seed": run.seed, "teacher": run.teacher, "layers": teacher["layers"],
            "start": "remapped" if copied else "random", "cause": CAUSES[cause],
            "gap": teacher["heldout_loss"] - without, "gain": without - run.heldout_loss,
        })  # fmt: skip
    if not rows:
        raise TablesError(f"none of {', '.join(arms or usual)} was run with a teacher (analyses)")
    return pd.DataFrame(rows)


def gap_line(points: pd.DataFrame, *, level: float = 0.95) -> GapLine | None:
    """The line through `gap_points` of one start over the seeds of all arms; None for few arms."""
    wide = points.pivot(index="seed", columns="arm", values=["gap", "gain"]).dropna()
    gap, gain = wide["gap"], wide["gain"]
    if gap.shape[1] < FEWEST_ARMS:
        return None
    pairs = zip(gap.values, gain.values, strict=True)
    residual = gain - np.array([np.polyval(np.polyfit(x, y, 1), x) for x, y in pairs])
    cause = points.groupby("arm")["cause"].first()
    off = {name: paired(residual.loc[:, cause == name].mean(axis=1), level=level)
           for name in CAUSES if name in {*cause}}  # fmt: skip
    return GapLine(break_even(gap, gain, level=level), off)


def gap_table(points: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Mean gap and gain of each arm of `gap_points`, the gain with its interval."""
    measured = []
    for arm, seeds in points.groupby("arm", sort=False):
        key = arm, *seeds.iloc[0][["start", "cause", "teacher"]], seeds["gap"].mean()
        measured.append((key, paired(seeds["gain"], level=level)))
    return as_table(measured, "arm", "start", "cause", "teacher", "gap")
