"""FLOPs of the arms, their losses at equal FLOPs, and how soon they reach a given loss."""

import math

import numpy as np
import pandas as pd

from dwt.analysis.stats import as_table, crossing, interval, paired, signed
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
        teachers = [total["teacher"], total.index.get_level_values("seed")]
        trained = total["student_flops"].reindex(pd.MultiIndex.from_arrays(teachers))
        flops += trained.fillna(0).to_numpy()
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

    The baseline's loss is interpolated between its budgets, each with a complete learning rate
    schedule, linearly over log FLOPs; nan beyond the largest budget. Columns arm, seed, flops,
    loss, baseline, difference (loss - baseline).
    """
    budgets = no_teacher_runs(runs).sort_values("flops")
    flops, rows = training_flops(params, runs, reading), []
    for run in runs[runs["kind"] == "student"].itertuples():
        baselines = budgets[budgets["seed"] == run.seed]
        cost = flops[run.arm, run.seed]
        known = np.log(baselines["flops"]), baselines["loss"]
        baseline = np.interp(math.log(cost), *known, left=math.nan, right=math.nan)
        rows.append(
            [run.arm, run.seed, cost, run.heldout_loss, baseline, run.heldout_loss - baseline]
        )
    return pd.DataFrame(rows, columns=["arm", "seed", "flops", "loss", "baseline", "difference"])


def gains_at_equal_flops(params: Params) -> pd.DataFrame:
    """The gain over the baseline of `at_equal_flops` by all `READINGS`, for arms of budget 1.

    Columns arm, reading, mean, low, high, n, detectable, p, estimate (the same as text).
    """
    runs, usual, measured = table("runs", params), _of_usual_budget(params), {}
    for reading in READINGS:
        compared = at_equal_flops(params, runs, reading).dropna()
        for arm, rows in compared[compared["arm"].isin(usual)].groupby("arm", sort=False):
            measured[arm, reading] = paired(-rows["difference"], level=params.verdict.level)
    texts = [f"{signed(d.mean)} ({interval(d.low, d.high, d.level, sign=True)})"
             for d in measured.values()]  # fmt: skip
    return as_table(measured.items(), "arm", "reading").assign(estimate=texts)


def _of_usual_budget(params):
    return [name for name, arm in params.all_arms.items() if arm.budget == 1]


def reached(curves: pd.DataFrame, arm: str, against: str) -> pd.DataFrame:
    """By seed, when the held-out loss of `arm` is as low as that of `against` ends; nan if never.

    Columns step (of the first such evaluation), share (of all steps; linear between evaluations).
    """
    rows = {}
    for seed, both in by_step(curves, [arm, against]).groupby("seed"):
        curve, other = (both[name].droplevel("seed").dropna() for name in (arm, against))
        if len(curve) and len(other):
            end, below = other.iloc[-1], np.flatnonzero(curve <= other.iloc[-1])
            until = curve.iloc[: below[0] + 1 if below.size else 0]
            share = crossing(until.index, until, end + 1e-12) / other.index[-1]
            rows[seed] = {"step": max(until.index, default=math.nan), "share": share}
    return pd.DataFrame.from_dict(rows, orient="index", dtype=float).rename_axis("seed")


def time_to_loss(params: Params) -> pd.DataFrame:
    """How soon each arm of the usual budget reaches the final loss of `scratch`.

    Columns arm, share (of the steps; nan unless all seeds do), low, high, reached (seeds), seeds.
    """
    curves, rows = table("curves", params), []
    for arm in _of_usual_budget(params):
        if (curves["arm"] == arm).any():
            shares = reached(curves, arm, "scratch")["share"]
            mean = paired(shares, level=params.verdict.level)
            rows.append([arm, mean.mean, mean.low, mean.high, shares.notna().sum(), mean.n])
    return pd.DataFrame(rows, columns=["arm", "share", "low", "high", "reached", "seeds"])


def adaptive_arms(params: Params) -> list[str]:
    """Arms whose soft weight follows the gap."""
    arms = params.all_arms.items()
    return [name for name, arm in arms if getattr(arm.soft_weight, "shape", "") == "adaptive"]


def overtaking_steps(params: Params) -> pd.DataFrame:
    """The first step at which a student of the weak teacher is as good as that: a column a seed."""
    curves, rows = table("curves", params), {}
    for name, arm in params.all_arms.items():
        teaches = arm.teacher == "weak-teacher" and arm.soft_weight != 0 and arm.context is None
        if teaches and (curves["arm"] == name).any():
            rows[name] = reached(curves, name, arm.teacher)["step"]
    return pd.DataFrame(rows).T.rename_axis("arm").rename(columns="seed {}".format).reset_index()
