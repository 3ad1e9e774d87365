"""Figures of zero-shot and fine-tuned scores, beside guessing and random weights.

`note` is printed below a figure, for what its reader must know, such as tasks left out.
"""

import math
import textwrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dwt.analysis import score_means as measures
from dwt.analysis.comparisons import sizes
from dwt.analysis.plot_style import caption, headline, mean_and_seeds, mean_lines, sample, styles
from dwt.analysis.stats import difference, verdict
from dwt.analysis.wording import describe_order


def task_scores(
    scores: pd.DataFrame, arms, figure: Figure, *, level: float = 0.95, note: str = ""
) -> None:
    """Zero-shot and fine-tuned scores by task: every seed, against guessing and random weights.

    GLUE's tasks are one panel each, the mean of their metrics, and their mean another; BLiMP's
    phenomena are in the tables. The title counts tasks, without GLUE's mean.
    """
    shown = measures.panels(scores)
    panels = shown.groupby(["task", "metric"], sort=False)
    rows = -(-len(panels) // 3)
    figure.set_figheight(0.4 + (0.7 + 0.22 * len(arms)) * rows)
    axes = figure.subplots(rows, min(3, len(panels)), sharey=True, squeeze=False).flat
    look, verdicts = styles(scores.loc[scores["kind"] != "baseline", "arm"]), []
    for ((task, metric), table), axis in zip(panels, axes, strict=False):
        for name, score, line, right in _baseline_lines(table):
            axis.axvline(score, color="0.5", lw=1, ls=line)
            axis.annotate(name, (score, 0.98), (2 if right else -2, 0), rotation=90, va="top",
                          xycoords=("data", "axes fraction"), textcoords="offset points",
                          ha="left" if right else "right", color="0.4")  # fmt: skip
        wide = measures.by_seed(table)
        for y, arm in enumerate(arms):
            at = pd.Series(float(y), wide.index)
            mean_and_seeds(axis, wide[arm], at, look[arm], level, across=True)
        against = (difference(wide, arm, arms[0], level=level) for arm in arms[1:])
        if task != measures.GLUE_MEAN:
            verdicts += [verdict(d, "higher") for d in against]
        axis.margins(x=0.12)
        axis.set(title=_task(task, table), xlabel=metric, ylim=(len(arms) - 0.5, -0.5))
        axis.set_yticks(range(len(arms)), arms)
    for axis in figure.axes[len(panels) :]:
        axis.set_visible(False)
    higher, lower, unclear = map(verdicts.count, ("supported", "contradicted", "undecided"))
    counts = (
        f"higher in {higher} of {len(verdicts)} scores, lower in {lower}, undecided in {unclear}"
    )
    seeds = sample(scores["seed"].nunique(), level)
    figure.suptitle(f"Against {arms[0]}: {counts} {seeds}", x=0.01, ha="left")
    caption(figure, note)


def by_size(
    scores: pd.DataFrame, runs: pd.DataFrame, figure: Figure, *, level: float = 0.95, note: str = ""
) -> None:
    """Scores of the models trained alone by their layers; BLiMP's phenomena below."""
    panels = measures.headlines(scores).groupby(["task", "metric"], sort=False)
    parts, layers = measures.phenomena(scores), sizes(runs, scores)
    look = styles(scores.loc[scores["kind"] != "baseline", "arm"])
    figure.set_figheight(6.9 if len(parts) else 3)
    grid = figure.add_gridspec(2 if len(parts) else 1, 1)
    across = grid[0].subgridspec(1, len(panels))
    for i, ((task, metric), rows) in enumerate(panels):
        axis, wide = figure.add_subplot(across[i]), measures.by_seed(rows)
        _against_layers(wide, _baseline_lines(rows), layers, look, axis, level)
        order, rank = describe_order(wide, layers).split(": ")
        axis.set_title(f"{task}: {order.lower()}\n{rank.replace(' (in', ',').rstrip(')')}")
        axis.set(xlabel="layers", ylabel=metric)
    if len(parts):
        _phenomena(parts, layers, look, figure.add_subplot(grid[1]), level)
    caption(figure, note)


def over_training(
    scores: pd.DataFrame, arms, tasks, figure: Figure, *, level: float = 0.95
) -> None:
    """Scores along pre-training, as the paper's Figures 3 and 4: mean and seeds.

    Parameters
    ----------
    scores : DataFrame
        From `dwt.analysis.tables.scores_by_step`.
    arms, tasks : sequence of str
        A task has one panel for each of its metrics.
    figure : matplotlib figure
        Its height is set.
    """
    panels = scores[scores["task"].isin(tasks)].groupby(["task", "metric"], sort=False)
    rows = -(-len(panels) // 2)
    figure.set_figheight(0.4 + 2.6 * rows)
    axes = figure.subplots(rows, min(2, len(panels)), squeeze=False).flat
    look = styles(scores.loc[scores["kind"] != "baseline", "arm"])
    for ((task, metric), of_task), axis in zip(panels, axes, strict=False):
        _across(axis, _baseline_lines(of_task), place=0.01, ha="left")
        by = dict(index=["seed", "step"], columns="arm", values="score")
        wide = of_task[of_task["kind"] != "baseline"].pivot_table(**by)[arms].astype(float)
        mean_lines(axis, wide, look, arms)
        last = wide.xs(wide.index.get_level_values("step").max(), level="step")
        axis.set(xlabel="step of pre-training", ylabel=metric)
        headline(axis, f"{measures.GLUE.get(task, task)}: {_who_ends_highest(last, level)}")
    for axis in figure.axes[len(panels) :]:
        axis.set_visible(False)


def _who_ends_highest(last, level):
    """The arm of the highest mean, and its distance to the next; `last` is [seeds, arms]."""
    means = last.mean().sort_values(ascending=False, kind="stable")
    alike = [arm for arm in last if math.isclose(means[arm], means.iloc[0])]
    if len(means) > 1 and len(alike) == len(means):
        return "all end alike"
    if len(alike) > 1:
        return f"{' and '.join(alike)} end highest and alike"
    best, *others = means.index
    if not others:
        return f"{best} ends highest"
    d = difference(last, best, others[0], level=level)
    return f"{best} ends highest, {d.brief} against {others[0]} {sample(len(last), level)}"


def _against_layers(wide, baselines, layers, look, axis, level):
    """Every seed and the means of the models trained alone; baselines as horizontal lines."""
    _across(axis, baselines, place=0.99, ha="right")
    axis.plot(layers, wide[[*layers.index]].mean(), color="0.6", lw=1, zorder=1)
    for arm, count in layers.items():
        mean_and_seeds(axis, pd.Series(float(count), wide.index), wide[arm], look[arm], level)
    axis.set_xticks([*layers])
    axis.margins(x=0.12, y=0.15)


def _across(axis, baselines, *, place, ha):
    """Baselines as horizontal lines, each with its name at one end."""
    for name, score, line, above in baselines:
        axis.axhline(score, color="0.5", lw=1, ls=line)
        axis.annotate(name, (place, score), (0, 2 if above else -2), va=("top", "bottom")[above],
                      xycoords=("axes fraction", "data"), textcoords="offset points",
                      ha=ha, color="0.4")  # fmt: skip


def _phenomena(parts, layers, look, axis, level):
    """Each of BLiMP's phenomena: one column, one mark per model."""
    names = [*parts["task"].unique()]
    axis.axhline(0.5, color="0.5", lw=1, ls=":")
    axis.annotate("chance", (1, 0.5), (2, 0), xycoords=("axes fraction", "data"), va="center",
                  textcoords="offset points", color="0.4")  # fmt: skip
    for x, name in enumerate(names):
        rows = parts[parts["task"] == name]
        wide, random = measures.by_seed(rows), _baselines(rows).get("random", np.nan)
        axis.plot([x - 0.4, x + 0.4], [random, random], color="0.5", lw=1, ls="--")
        for arm, place in zip(layers.index, np.linspace(-0.3, 0.3, len(layers)), strict=True):
            at = pd.Series(x + place, wide.index)
            mean_and_seeds(axis, at, wide[arm], look[arm], level)
    for arm, count in layers.items():
        name = f"{count} layer{'s' if count > 1 else ''}"
        axis.plot([], [], look[arm].marker, color=look[arm].color, label=name)
    axis.legend(frameon=False, ncols=len(layers), loc="lower left", bbox_to_anchor=(0, 1))
    texts = [textwrap.fill(name, 14) for name in names]
    axis.set_xticks(range(len(names)), texts, rotation=60, ha="right", rotation_mode="anchor")
    axis.set(ylabel="minimal-pair accuracy", xlim=(-0.6, len(names) - 0.4))
    axis.set_xlabel("BLiMP's phenomena (dashed: random weights)")


def _baselines(rows):
    """Mean score of each baseline: chance, majority, random weights."""
    return rows[rows["kind"] == "baseline"].groupby("arm")["score"].mean()


def _baseline_lines(rows):
    """Name, score and line of each baseline, and whether its name is on the line's upper side.

    Of two, the higher has it there and the other below, so that names of close lines lie apart.
    """
    means = _baselines(rows)
    highest = means.idxmax() if len(means) else None
    return [
        (name, score, "--" if name == "random" else ":", name == highest)
        for name, score in means.items()
    ]


def _task(task, rows):
    """A task and how it is scored, for a title."""
    return f"{task} ({'fine-tuned' if rows['tuned'].any() else 'zero-shot'})"
