"""FLOPs of the arms, their losses at equal FLOPs, and how soon they reach a given loss."""

import math

import numpy as np
import pandas as pd

from dwt.analysis.stats import as_table, crossing, interpolate, paired
from dwt.analysis.tables import by_step, table
from dwt.config.params import resolve
from dwt.config.schema import Params
from dwt.data.vocabulary import vocabulary_size
from dwt.training.batches import masked_per_sequence

READINGS = {
    "forward": "teacher's forward passes counted",
    "training": "teacher's training counted too",
    "cached": "teacher's states read from a warm cache",
}


def no_teacher_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The student's shape without a teacher, at every budget: arm, steps, seed, flops, loss."""
    layers = runs.loc[runs["arm"] == "scratch", "layers"].iloc[0]
    rows = runs[(runs["kind"] == "standalone") & (runs["layers"] == layers)]
    columns = {"student_flops": "flops", "heldout_loss": "loss"}
    return rows[["arm", "steps", "seed", *columns]].rename(columns=columns)


def training_flops(params: Params, runs: pd.DataFrame, reading: str) -> pd.Series:
    """Training FLOPs of each (arm, seed), by one of `READINGS`."""
    total = runs.set_index(["arm", "seed"])
    flops = total["student_flops"] + 0.0
    if reading == "cached":
        share = {arm: _cached_share(params, runs, arm) for arm in total.index.unique("arm")}
        return flops + total["teacher_flops"] * total.index.map(lambda key: share[key[0]])
    flops += total["teacher_flops"]
    if reading == "training":
        for (arm, seed), teacher in total["teacher"].items():
            if (teacher, seed) in total.index:
                flops[arm, seed] += total.loc[(teacher, seed), "student_flops"]
    return flops


def _cached_share(params, runs, arm):
    """The share of a teacher's forward pass that cached states leave: its output layer."""
    student = resolve(arm, params.seeds[0], params)
    if student.teacher_directory is None:
        return 1.0
    teacher, train = runs[runs["arm"] == student.teacher].iloc[0], student.train
    forward = teacher["student_flops"] / teacher["steps"] / 3  # the backward pass is two of them
    masked = train["batch"] * masked_per_sequence(train["length"], train["mask_rate"])
    return 2 * masked * student.model["width"] * vocabulary_size(params) / forward


def at_equal_flops(params: Params, runs: pd.DataFrame, reading: str) -> pd.DataFrame:
    """Each student against the same shape without a teacher, trained for as many FLOPs.

    The rival's loss is interpolated between its budgets, each with a whole learning rate schedule,
    linearly over log FLOPs; nan beyond the largest budget. Columns arm, seed, flops, loss, rival,
    difference (loss - rival).
    """
    budgets = no_teacher_runs(runs).sort_values("flops")
    flops, rows = training_flops(params, runs, reading), []
    for run in runs[runs["kind"] == "student"].itertuples():
        rivals = budgets[budgets["seed"] == run.seed]
        cost = flops[run.arm, run.seed]
        rival = interpolate(np.log(rivals["flops"]), rivals["loss"], math.log(cost))
        rows.append([run.arm, run.seed, cost, run.heldout_loss, rival, run.heldout_loss - rival])
    return pd.DataFrame(rows, columns=["arm", "seed", "flops", "loss", "rival", "difference"])


def gains_at_equal_flops(params: Params) -> pd.DataFrame:
    """The gain over the rival of `at_equal_flops` by all `READINGS`, for arms of the usual budget.

    Columns arm, reading, mean, low, high, n, detectable, p, estimate (the same as text).
    """
    runs, usual, measured = table("runs", params), _of_usual_budget(params), {}
    for reading in READINGS:
        compared = at_equal_flops(params, runs, reading).dropna()
        for arm, rows in compared[compared["arm"].isin(usual)].groupby("arm", sort=False):
            measured[arm, reading] = -paired(rows["difference"], level=params.verdict.level)
    rows = as_table(measured.items(), "arm", "reading")
    return rows.assign(estimate=[str(estimate) for estimate in measured.values()])


def _of_usual_budget(params):
    return [name for name, arm in params.all_arms.items() if arm.budget == 1]


def steps_to_reach(curves: pd.DataFrame, arm: str, *, against: str = "scratch") -> pd.Series:
    """Per seed, the share of `against`'s steps after which `arm` has its final held-out loss.

    The first such place, linear between evaluations; nan where there is none.
    """
    shares = {}
    for seed, until, end in _until_reached(curves, arm, against):
        step = crossing(until.index, until, np.full(len(until), end.iloc[0] + 1e-12))
        shares[seed] = step / end.index[0]
    return pd.Series(shares, dtype=float).rename_axis("seed")


def overtaking(curves: pd.DataFrame, arm: str, teacher: str) -> pd.Series:
    """Per seed, the first evaluated step at which a student is no worse than its teacher ends."""
    reached = _until_reached(curves, arm, teacher)
    steps = {seed: max(until.index, default=math.nan) for seed, until, _ in reached}
    return pd.Series(steps, dtype=float).rename_axis("seed")


def _until_reached(curves, arm, against):
    """Per seed of both, `arm`'s curve until it is as low as `against` ends, and that end.

    Held-out losses by step; the curve is empty where it never gets there.
    """
    for seed, both in by_step(curves, [arm, against]).groupby("seed"):
        curve, other = (both[name].droplevel("seed").dropna() for name in (arm, against))
        if len(curve) and len(other):
            below = np.flatnonzero(curve <= other.iloc[-1])
            yield seed, curve.iloc[: below[0] + 1 if below.size else 0], other.tail(1)


def time_to_loss(params: Params) -> pd.DataFrame:
    """`steps_to_reach` of every arm of the usual budget.

    Columns arm, share (of the steps; mean over seeds, nan unless all reach it), low, high, reached,
    seeds.
    """
    curves, rows = table("curves", params), []
    for arm in _of_usual_budget(params):
        if (curves["arm"] == arm).any():
            shares = steps_to_reach(curves, arm)
            mean = paired(shares, level=params.verdict.level)
            rows.append([arm, mean.mean, mean.low, mean.high, shares.notna().sum(), mean.n])
    return pd.DataFrame(rows, columns=["arm", "share", "low", "high", "reached", "seeds"])


def adaptive_arms(params: Params) -> list[str]:
    """Arms whose soft weight follows the gap."""
    arms = params.all_arms.items()
    return [name for name, arm in arms if getattr(arm.soft_weight, "shape", "") == "adaptive"]


def overtaking_steps(params: Params) -> pd.DataFrame:
    """`overtaking` of every student of the weak teacher: arm, then a column per seed."""
    curves, rows = table("curves", params), {}
    for name, arm in params.all_arms.items():
        teaches = arm.teacher == "weak-teacher" and arm.soft_weight != 0 and arm.context is None
        if teaches and (curves["arm"] == name).any():
            rows[name] = overtaking(curves, name, arm.teacher)
    return pd.DataFrame(rows).T.rename_axis("arm").rename(columns="seed {}".format).reset_index()
