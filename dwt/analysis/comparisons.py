"""Losses and scores of arms, compared seed by seed over the seeds that both arms have.

Losses are in nats per masked token. A gain is positive when it helps (lower loss); the columns of a
table of differences are `arm - against` in the unit of the measure.
"""

import numpy as np
import pandas as pd

from dwt.analysis import score_means
from dwt.analysis.compute import at_equal_flops
from dwt.analysis.stats import Paired, as_table, crossing, difference, paired
from dwt.analysis.tables import by_step, losses, table
from dwt.config.schema import Params

AT_EQUAL_FLOPS = {
    "forward": "held-out loss at equal FLOPs",
    "training": "held-out loss at equal FLOPs, teacher's training included",
}


def losses_at(curves: pd.DataFrame, fraction: float) -> tuple[pd.DataFrame, int]:
    """`losses` at the first evaluation at or after a fraction of the steps, and its step."""
    evaluated = curves.dropna(subset=["heldout_loss"])
    steps = np.sort(evaluated["step"].unique())
    step = int(steps[steps >= fraction * steps[-1] * (1 - 1e-9)][0])
    return losses(evaluated[evaluated["step"] == step]), step


def gain(loss: pd.DataFrame, arm: str, against: str = "scratch", *, level: float = 0.95) -> Paired:
    """How much lower the loss of `arm` is than that of `against`; `loss` is [seeds, arms]."""
    return difference(loss, against, arm, level=level)


def gains(params: Params, arms: list[str], *, against: str = "scratch") -> pd.DataFrame:
    """`gain` in held-out loss of each arm with a run: arm, mean, low, high, n, detectable, p."""
    loss, level = losses(table("runs", params)), params.verdict.level
    there = [arm for arm in arms if {arm, against} <= {*loss}]
    return as_table([((arm,), gain(loss, arm, against, level=level)) for arm in there], "arm")


def poor_teachers(params: Params) -> pd.DataFrame:
    """`gains` over (teacher, soft_weight, temperature) for the teachers of that analysis."""
    names = params.analyses["poor-teachers"]
    poor = {params.all_arms[name].teacher for name in names}
    usual = [name for name, arm in params.arms.items() if arm.teacher in poor and not arm.remap]
    measured = gains(params, [*usual, *names])
    for key in ("teacher", "soft_weight", "temperature"):
        measured[key] = [getattr(params.all_arms[arm], key) for arm in measured["arm"]]
    return measured.sort_values(["teacher", "temperature", "soft_weight"], ignore_index=True)


def sizes(runs: pd.DataFrame, scores: pd.DataFrame) -> pd.Series:
    """Number of layers of each scored stand-alone model, in ascending order."""
    scored = runs["arm"].isin(scores["arm"])
    alone = runs[scored & (runs["kind"] == "standalone")].drop_duplicates("arm")
    return alone.set_index("arm")["layers"].sort_values(kind="stable")


def crossings(curves: pd.DataFrame, arm: str, against: str) -> list[float]:
    """Per seed, the last step at which two arms' held-out curves cross, nan if they do not."""
    wide = by_step(curves, [arm, against]).dropna().reset_index("step")
    return [crossing(c["step"], c[arm], c[against]) for _, c in wide.groupby("seed")]


def differences(params: Params, analysis: str) -> pd.DataFrame:
    """Every measure of a factor: its arms against the first one, then against the second.

    Losses, every score (higher is better) and the GLUE mean, of the arms that have the measure. At
    equal FLOPs the baseline is the student without a teacher, trained for longer, whichever arms
    are compared otherwise. Columns measure, against, arm, mean, low, high, n, detectable, p.
    """
    runs, arms, level = table("runs", params), params.analyses[analysis], params.verdict.level
    wides = {
        "held-out loss": losses(runs),
        "out-of-domain loss": losses(runs, "out_of_domain_loss"),
    }
    scores = score_means.measures(table("scores", params))
    for (task, metric), rows in scores.groupby(["task", "metric"], sort=False):
        wides[f"{task} ({metric})"] = score_means.by_seed(rows)
    measured = [
        ((measure, against, arm), difference(wide, arm, against, level=level))
        for measure, wide in wides.items()
        for i, against in enumerate(arms[:2])
        for arm in arms[i + 1 :]
        if {arm, against} <= {*wide}
    ]
    for reading, measure in AT_EQUAL_FLOPS.items():
        compared = at_equal_flops(params, runs, reading).dropna()
        for arm, rows in compared[compared["arm"].isin(arms)].groupby("arm", sort=False):
            key = measure, "scratch", arm
            measured.append((key, paired(rows["difference"], level=level)))
    return as_table(measured, "measure", "against", "arm")
