"""What did an arm cost, and how soon was it as good as the student alone?"""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd

from dwt.analysis.stats import crossing, interpolate, paired
from dwt.analysis.tables import extended
from dwt.config.params import resolve
from dwt.data.vocabulary import vocabulary_size
from dwt.training.batches import masked_per_sequence
from dwt.training.models import forward_flops

READINGS = {
    "forward": "teacher's forward passes counted",
    "training": "its training counted too",
    "cached": "its states read from a warm cache",
}


def alone(runs) -> pd.DataFrame:
    """The student's shape trained alone, at every budget: steps, seed, flops, loss."""
    layers = runs.loc[runs["arm"] == "scratch", "layers"].iloc[0]
    rows = runs[(runs["kind"] == "standalone") & (runs["layers"] == layers)]
    columns = {"student_flops": "flops", "heldout_loss": "loss"}
    return rows[["arm", "steps", "seed", *columns]].rename(columns=columns)


def flops_spent(params, runs, reading) -> pd.Series:
    """Operations of each (arm, seed), by one of `READINGS`."""
    total = runs.set_index(["arm", "seed"])
    spent = total["student_flops"] + 0.0
    if reading == "cached":
        share = {arm: _cached_share(params, arm) for arm in total.index.unique("arm")}
        return spent + total["teacher_flops"] * total.index.map(lambda key: share[key[0]])
    spent += total["teacher_flops"]
    if reading == "training":
        for (arm, seed), teacher in total["teacher"].items():
            if (teacher, seed) in total.index:
                spent[arm, seed] += total.loc[(teacher, seed), "student_flops"]
    return spent


def _cached_share(params, arm):
    """Share of a teacher's forward pass, its last product, that is left when states are stored."""
    run = resolve(arm, params.seeds[0], params)
    if run.teacher_directory is None:
        return 1.0
    shape, train = run.model, run.train
    config = SimpleNamespace(
        model_type=shape["family"], hidden_size=shape["width"], vocab_size=vocabulary_size(params),
        num_hidden_layers=params.all_models[run.teacher].layers,
        intermediate_size=shape["intermediate"], hidden_dim=shape["intermediate"],
    )  # fmt: skip
    masked = masked_per_sequence(train["length"], train["mask_rate"])
    whole = forward_flops(config, batch=train["batch"], length=train["length"], masked=masked)
    return 2 * train["batch"] * masked * config.hidden_size * config.vocab_size / whole


def at_equal_flops(params, runs, reading) -> pd.DataFrame:
    """Each arm against the student alone that was trained until it had cost as much.

    The rival's loss is read between budgets, each with its own fully decayed schedule, straight
    over the logarithm of operations; nan beyond the largest of them.

    Returns
    -------
    DataFrame
        arm, seed, flops, loss, rival, difference (below zero: the arm is better).
    """
    budgets = alone(runs).sort_values("flops")
    spent, rows = flops_spent(params, runs, reading), []
    for run in runs[runs["kind"] == "student"].itertuples():
        rivals = budgets[budgets["seed"] == run.seed]
        cost = spent[run.arm, run.seed]
        rival = interpolate(np.log(rivals["flops"]), rivals["loss"], math.log(cost))
        rows.append([run.arm, run.seed, cost, run.heldout_loss, rival, run.heldout_loss - rival])
    return pd.DataFrame(rows, columns=["arm", "seed", "flops", "loss", "rival", "difference"])


def steps_to_reach(curves, arm, *, against="scratch") -> pd.Series:
    """Per seed, the share of `against`'s steps after which `arm` has its final held-out loss.

    The first time that the curve is there, straight between evaluations; nan where it never is.
    """
    wide = _evaluated(curves)
    found = {}
    for seed in wide[arm].dropna().index.unique("seed"):
        curve, final = (wide[name].xs(seed, level="seed").dropna() for name in (arm, against))
        below = np.flatnonzero(curve <= final.iloc[-1])
        until = curve.iloc[: below[0] + 1] if below.size else curve.iloc[:0]
        step = crossing(until.index, until, np.full(len(until), final.iloc[-1] + 1e-12))
        found[seed] = step / final.index[-1]
    return pd.Series(found, dtype=float).rename_axis("seed")


def overtaking(curves, arm, teacher) -> pd.Series:
    """Per seed, the first evaluated step at which a student is no worse than its teacher ends."""
    wide = _evaluated(curves)
    found = {}
    for seed in wide[arm].dropna().index.unique("seed"):
        curve = wide[arm].xs(seed, level="seed").dropna()
        there = curve.index[curve <= wide[teacher].xs(seed, level="seed").dropna().iloc[-1]]
        found[seed] = float(there[0]) if len(there) else math.nan
    return pd.Series(found, dtype=float).rename_axis("seed")


def _evaluated(curves):
    """Held-out losses, [seeds x steps, arms]."""
    there = curves.dropna(subset=["heldout_loss"])
    return there.pivot(index=["seed", "step"], columns="arm", values="heldout_loss")


def readings(params, *, level=0.95) -> pd.DataFrame:
    """`at_equal_flops` of the study's arms by all `READINGS`, over seeds.

    Returns
    -------
    DataFrame
        arm, reading, mean, low, high, n, found (the same in words).
    """
    runs, rows = extended("runs", params), []
    for reading in READINGS:
        compared = at_equal_flops(params, runs, reading).dropna()
        for arm in _one_budget(params, compared["arm"].unique()):
            d = compared.loc[compared["arm"] == arm, "difference"]
            found = paired(d, 0 * d, level=level)
            rows.append([arm, reading, found.mean, found.low, found.high, found.n, str(found)])
    columns = ["arm", "reading", "mean", "low", "high", "n", "found"]
    return pd.DataFrame(rows, columns=columns)


def _one_budget(params, arms):
    return [arm for arm in arms if params.all_arms[arm].budget == 1]


def sooner(params, *, level=0.95) -> pd.DataFrame:
    """`steps_to_reach` of every arm of one budget, over seeds.

    Returns
    -------
    DataFrame
        arm, share (of the steps; mean over seeds, nan unless all reach it), low, high, reached,
        seeds.
    """
    curves, rows = extended("curves", params), []
    for arm in _one_budget(params, params.all_arms):
        shares = steps_to_reach(curves, arm)
        found = paired(shares, 0 * shares, level=level)
        there = shares.notna().sum()
        rows.append([arm, found.mean, found.low, found.high, there, len(shares)])
    return pd.DataFrame(rows, columns=["arm", "share", "low", "high", "reached", "seeds"])


def adaptive_arms(params) -> list[str]:
    """Arms whose soft weight follows the gap."""
    arms = params.all_arms.items()
    return [name for name, arm in arms if getattr(arm.soft_weight, "shape", "") == "adaptive"]


def stopping(params) -> pd.DataFrame:
    """The overtaking step of every arm that hears the weak teacher, seed by seed.

    Returns
    -------
    DataFrame
        arm, then a column a seed: the step, missing where the teacher is not overtaken.
    """
    curves, rows = extended("curves", params), {}
    for name, arm in params.all_arms.items():
        if arm.teacher == "weak-teacher" and arm.soft_weight != 0 and arm.context is None:
            rows[name] = overtaking(curves, name, arm.teacher)
    return pd.DataFrame(rows).T.rename_axis("arm").rename(columns="seed {}".format).reset_index()
