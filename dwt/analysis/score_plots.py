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
from dwt.analysis.plot_style import caption, mean_lines, sample, seed_marks, set_finding, styles
from dwt.analysis.stats import VERDICTS, difference, short, verdict
from dwt.analysis.tables import with_rows
from dwt.analysis.wording import describe_order


def task_scores(scores: pd.DataFrame, arms, figure: Figure, *, level=0.95, note: str = "") -> None:
    """A panel per task: every seed, and guessing and random weights; BLiMP as one task.

    GLUE's tasks are the mean of their metrics; the title counts tasks, without GLUE's mean.
    """
    arms, look, verdicts = with_rows(scores, arms), styles(scores["arm"]), []
    height = 0.7 + 0.22 * len(arms)
    for axis, task, rows in _grid(figure, measures.panels(scores), 2, height, sharey=True):
        _baselines(axis, rows, place=0.98, vertical=True)
        wide = measures.by_seed(rows)
        for y, arm in enumerate(arms):
            seed_marks(axis, wide[arm], y, look[arm], level)
        if task != measures.GLUE_MEAN:
            against = (difference(wide, arm, arms[0], level=level) for arm in arms[1:])
            verdicts += [verdict(d, "higher") for d in against]
        axis.margins(x=0.12)
        how = "fine-tuned" if rows["tuned"].any() else "zero-shot"
        axis.set(title=f"{task} ({how})", xlabel=rows["metric"].iloc[0])
        axis.set_ylim(len(arms) - 0.5, -0.5)
        axis.set_yticks(range(len(arms)), arms)
    higher, lower, unclear = map(verdicts.count, VERDICTS)
    finding = f"Against {arms[0]}: higher in {higher} of {len(verdicts)} scores, lower in {lower}, "
    seeds = sample(scores["seed"].nunique(), level)
    figure.suptitle(f"{finding}undecided in {unclear} {seeds}", x=0.01, ha="left")
    caption(figure, note)


def by_size(
    scores: pd.DataFrame, runs: pd.DataFrame, figure: Figure, *, level=0.95, note: str = ""
) -> None:
    """Scores of the models trained alone by their layers; BLiMP's phenomena below."""
    panels = measures.main_measures(scores).groupby(["task", "metric"], sort=False)
    parts, layers, look = measures.phenomena(scores), sizes(runs, scores), styles(scores["arm"])
    figure.set_figheight(6.9 if len(parts) else 3)
    grid = figure.add_gridspec(2 if len(parts) else 1, 1)
    across = grid[0].subgridspec(1, len(panels))
    for i, ((task, metric), rows) in enumerate(panels):
        axis, wide = figure.add_subplot(across[i]), measures.by_seed(rows)
        _baselines(axis, rows, place=0.99, ha="right")
        axis.plot(layers, wide[[*layers.index]].mean(), color="0.6", lw=1, zorder=1)
        for arm, count in layers.items():
            seed_marks(axis, count, wide[arm], look[arm], level)
        axis.set_xticks([*layers])
        axis.margins(x=0.12, y=0.15)
        order, rank = describe_order(wide, layers).split(": ")
        axis.set_title(f"{task}: {order.lower()}\n{rank.replace(' (in', ',').rstrip(')')}")
        axis.set(xlabel="layers", ylabel=metric)
    if len(parts):
        _phenomena(parts, layers, look, figure.add_subplot(grid[1]), level)
    caption(figure, note)


def over_training(scores: pd.DataFrame, arms, tasks, figure: Figure, *, level=0.95) -> None:
    """`scores_by_step` of some tasks, as the paper's Figures 3 and 4: mean and seeds.

    A task has one panel for each of its metrics; the height of the figure is set.
    """
    arms, look = with_rows(scores, arms), styles(scores["arm"])
    for axis, task, rows in _grid(figure, scores[scores["task"].isin(tasks)], 2, 2.6):
        _baselines(axis, rows, place=0.01)
        by = dict(index=["seed", "step"], columns="arm", values="score")
        wide = rows[rows["kind"] != "baseline"].pivot_table(**by)[arms].astype(float)
        mean_lines(axis, wide, look, arms)
        last = wide.xs(wide.index.get_level_values("step").max(), level="step")
        axis.set(xlabel="step of pre-training", ylabel=rows["metric"].iloc[0])
        set_finding(axis, f"{measures.GLUE.get(task, task)}: {_who_ends_highest(last, level)}")


def _grid(figure, scores, columns, height, **how):
    """(axis, task, rows) of one panel per task and metric; sets the height of the figure."""
    panels = scores.groupby(["task", "metric"], sort=False)
    rows = -(-len(panels) // columns)
    figure.set_figheight(0.4 + height * rows)
    axes = figure.subplots(rows, min(columns, len(panels)), squeeze=False, **how).flat
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    for axis, ((task, _), of_task) in zip(axes, panels, strict=False):
        yield axis, task, of_task


def _who_ends_highest(last, level):
    """The arm of the highest mean, and its distance to the next; `last` is [seeds, arms]."""
    means = last.mean().sort_values(ascending=False, kind="stable")
    alike = [arm for arm in last if math.isclose(means[arm], means.iloc[0])]
    if len(alike) == len(means):
        return "all end alike"
    if len(alike) > 1:
        return f"{' and '.join(alike)} end highest and alike"
    best, second = means.index[:2]
    d = difference(last, best, second, level=level)
    return f"{best} ends highest, {short(d)} against {second} {sample(len(last), level)}"


def _baselines(axis, rows, *, place, ha="left", vertical=False):
    """Chance, majority and random weights as lines across the scores, each with its name.

    Of two, the higher has its name above its line (or right of it) and the other below, so that
    names of close lines lie apart.
    """
    means = rows[rows["kind"] == "baseline"].groupby("arm")["score"].mean()
    for name, score in means.items():
        line = {"color": "0.5", "lw": 1, "ls": "--" if name == "random" else ":"}
        text, higher = {"textcoords": "offset points", "color": "0.4"}, name == means.idxmax()
        if vertical:
            axis.axvline(score, **line)
            axis.annotate(name, (score, place), (2 if higher else -2, 0), rotation=90, va="top",
                          xycoords=("data", "axes fraction"), ha="left" if higher else "right",
                          **text)  # fmt: skip
        else:
            axis.axhline(score, **line)
            axis.annotate(name, (place, score), (0, 2 if higher else -2), ha=ha, **text,
                          xycoords=("axes fraction", "data"), va="bottom" if higher else "top",
                          )  # fmt: skip


def _phenomena(parts, layers, look, axis, level):
    """Each of BLiMP's phenomena: one column, one mark per model."""
    names = [*parts["task"].unique()]
    axis.axhline(0.5, color="0.5", lw=1, ls=":")
    axis.annotate("chance", (1, 0.5), (2, 0), xycoords=("axes fraction", "data"), va="center",
                  textcoords="offset points", color="0.4")  # fmt: skip
    for x, name in enumerate(names):
        rows = parts[parts["task"] == name]
        random = rows.loc[(rows["kind"] == "baseline") & (rows["arm"] == "random"), "score"].mean()
        wide = measures.by_seed(rows)
        axis.plot([x - 0.4, x + 0.4], [random, random], color="0.5", lw=1, ls="--")
        for arm, place in zip(layers.index, np.linspace(-0.3, 0.3, len(layers)), strict=True):
            seed_marks(axis, x + place, wide[arm], look[arm], level)
    for arm, count in layers.items():
        name = f"{count} layer{'s' if count > 1 else ''}"
        axis.plot([], [], look[arm].marker, color=look[arm].color, label=name)
    axis.legend(frameon=False, ncols=len(layers), loc="lower left", bbox_to_anchor=(0, 1))
    texts = [textwrap.fill(name, 14) for name in names]
    axis.set_xticks(range(len(names)), texts, rotation=60, ha="right", rotation_mode="anchor")
    axis.set(ylabel="minimal-pair accuracy", xlim=(-0.6, len(names) - 0.4))
    axis.set_xlabel("BLiMP's phenomena (dashed: random weights)")
