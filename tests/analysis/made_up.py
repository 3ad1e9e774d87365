"""A study whose losses are known in closed form, written as tables, and helpers for its figures."""

import json
import math

import matplotlib.collections
import numpy as np
import pandas as pd
from conftest import ROOT, made_up_scores

from dwt.analysis.tables import COLUMNS, save, settings_digest
from dwt.config.params import load_params, resolve

LAYERS_BEHIND = {4: 0.1, 2: 0.3, 1: 0.7}  # nats above the 6-layer model after as many steps
STEP_FLOPS = {6: 42e8, 4: 30e8, 2: 18e8, 1: 12e8}  # of one training step, by layers


def alone(budget, seed):
    """Held-out loss of the student without a teacher: linear in log FLOPs."""
    return 4.0 - 0.5 * math.log2(budget) + 0.1 * seed


def loss_of(params, name, seed, *, bump=0.0, sign=1):
    """A gain of 0.5 (0.4 - gap) from a random start, of 0.3 (0.1 - gap) from copied weights.

    `bump` is added to the gain of longer students; with `sign` -1 every gain is a loss.
    """
    noise = 0.001 * ((7 * seed + len(name)) % 5)
    models, arms = params.all_models, params.all_arms
    if name in models:
        behind = LAYERS_BEHIND.get(models[name].layers, 0.0)
        return alone(models[name].budget, seed) + behind + noise
    arm = arms[name]
    reached = alone(arm.budget, seed) - (0.6 if arm.remap else 0.0)
    if arm.soft_weight == 0 or arm.teacher not in models:
        return reached + noise
    gap = loss_of(params, arm.teacher, seed) - reached
    gain = 0.3 * (0.1 - gap) if arm.remap else 0.5 * (0.4 - gap)
    return reached - sign * gain - (bump if arm.budget > 1 else 0.0) + noise


def write_tables(params, *, grids=("study", "extended"), **how):
    """The tables of a scale, as `dwt.analysis.collect.collect` would write them."""
    folder = params.path("results", "tables")
    for grid in grids:
        runs, curves = [], []
        for name, seed in params.runs_of(grid):
            run, loss = resolve(name, seed, params), loss_of(params, name, seed, **how)
            steps, teaches = run.train["steps"], bool(run.teacher and run.soft_weight != 0)
            keys = dict(kind=run.kind, arm=name, seed=seed)
            teacher = params.all_models.get(run.teacher)
            own = STEP_FLOPS[run.layers]
            forward = STEP_FLOPS[teacher.layers] / 3 if teaches and teacher else 0
            runs.append(dict(
                keys, layers=run.layers, teacher=run.teacher, remap=run.remap, hard_weight=1.0,
                soft_weight=json.dumps(run.soft_weight), temperature=run.temperature,
                parameters=10, steps=steps, tokens=steps, student_flops=steps * own,
                teacher_flops=steps * forward, heldout_loss=loss, out_of_domain_loss=loss + 1,
                settings=settings_digest(params, name),
            ))  # fmt: skip
            at = np.arange(0, steps + 1, steps // 6)
            weight = np.where(at < 0.7 * steps, 1.0, 0.0) if teaches else 0.0
            curves.append(pd.DataFrame({"step": at}).assign(
                **keys, tokens=at, learning_rate=1e-3, hard=loss, soft=1.0, hard_weight=1.0,
                soft_weight=weight, gradient_norm=1.0,
                gradient_ratio=0.5 - 0.1 * at / steps if teaches else np.nan,
                gradient_cosine=0.3 if teaches else np.nan, student_flops=at * own,
                teacher_flops=at * forward, heldout_loss=loss + 3 * (1 - at / steps),
            ))  # fmt: skip
        prefix = "" if grid == "study" else "extended-"
        save(pd.DataFrame(runs), folder / f"{prefix}runs.csv")
        save(pd.concat(curves), folder / f"{prefix}curves.csv")
    scores = made_up_scores(params.names(), seeds=params.seeds).reindex(columns=COLUMNS["scores"])
    save(as_students(scores, params), folder / "scores.csv")


def as_students(scores, params):
    """Made-up scores with the kind that params.yaml gives each arm."""
    return scores.assign(kind=scores["kind"].where(~scores["arm"].isin(params.arms), "student"))


def study(folder, **how):
    """The parameters of a made-up study in `folder`."""
    params = load_params(ROOT / "params.yaml").model_copy(update={"root": folder})
    write_tables(params, **how)
    return params


def drawn_points(axis):
    """Every point of every scatter, [points, 2]."""
    scatters = axis.findobj(matplotlib.collections.PathCollection)
    return np.vstack([scatter.get_offsets() for scatter in scatters])


def words(axis):
    """The title of an axis, in one line."""
    return axis.get_title(loc="left").replace("\n", " ")


def numbers(axis):
    """The label of the horizontal axis and the numbers below it, in one line."""
    return axis.get_xlabel().replace("\n", " ").replace("\xa0", " ")
