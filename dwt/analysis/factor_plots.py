"""Figures of the factors together and of the claims: 2 x 2, factorial, claims, scales."""

import textwrap

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dwt.analysis.claims import NO_SCALE
from dwt.analysis.curve_plots import gain_curves
from dwt.analysis.factorial import two_by_two
from dwt.analysis.gain_plots import gain_against_gap
from dwt.analysis.plot_style import LABEL_BOX, LOSS, beside, sample, seed_marks, set_finding, styles
from dwt.analysis.stats import VERDICTS, short, signed
from dwt.analysis.summaries import FACTORS, is_run
from dwt.analysis.tables import losses, missing_runs, table
from dwt.analysis.teacher_gap import gap_points
from dwt.analysis.wording import count_verdicts, direction
from dwt.config.schema import Params

VERDICT_STYLES = dict(zip(VERDICTS, (("C0", "o"), ("C3", "X"), ("0.5", "D")), strict=True))
WEIGHTS = [f"weight {w}" for w in ("0", "1", "4", "4 to 1", "4 to 0")]


def remapping_by_soft_loss(runs: pd.DataFrame, arms, axis: Axes, *, level=0.95) -> None:
    """Held-out loss with and without the soft loss, of random and remapped students.

    The dashed line is where remapped students would be if the two effects were additive.
    """
    loss, result, look = losses(runs), two_by_two(runs, arms, level=level), styles(runs["arm"])
    corner, loss = result.corners, loss[arms].dropna()
    hard = loss[corner[True, False]].mean()
    axis.plot([0, 1], [hard, hard - result.random.mean], "--", color="0.6", lw=1)
    axis.annotate("if additive", (1, hard - result.random.mean), **beside("left"), color="0.4")
    for start, effect in ((False, result.random), (True, result.remapped)):
        pair = loss[[corner[start, False], corner[start, True]]]
        axis.plot([0, 1], pair.to_numpy().T, color="0.8", lw=0.8, zorder=1)
        axis.plot([0, 1], pair.mean(), color="0.3", zorder=1)
        axis.text(0.5, pair.mean().mean(), signed(effect.mean), ha="center", va="center",
                  bbox=LABEL_BOX)  # fmt: skip
        for x, arm in enumerate(pair):
            seed_marks(axis, x, pair[arm], look[arm], level)
            dark = sns.set_hls_values(look[arm].color, l=0.33)
            axis.annotate(textwrap.fill(arm, 9), (x, pair[arm].mean()), color=dark,
                          **beside("left" if x else "right"))  # fmt: skip
    axis.set(xticks=[0, 1], xticklabels=["hard loss\nonly", "with the\nsoft loss"], ylabel=LOSS)
    axis.set_xlim(-1.7, 1.9)
    verbs = "helps", "hurts", "does not clearly change"
    set_finding(
        axis,
        f"The soft loss {direction(result.random, verbs)} a random start, "
        f"{direction(result.remapped, verbs)} a remapped one",
        f"at the lines: gain of the soft loss; interaction {short(result.interaction)} "
        f"{sample(result.interaction.n, level)}",
    )


def factorial_panels(rows: pd.DataFrame, axes, *, level=0.95) -> None:
    """`factorial_table`: loss against the schedule of the soft weight, a panel per teacher."""
    look = dict(zip(("random", "remapped"), styles(["normal", "remapped"]).values(), strict=True))
    for axis, (teacher, cells) in zip(axes, rows.groupby("teacher", sort=False), strict=True):
        order = [weight for weight in WEIGHTS if weight in {*cells["weight"]}]
        for start, style in look.items():
            of_start = cells[cells["start"] == start]
            wide = of_start.pivot(index="seed", columns="weight", values="heldout_loss")
            wide = wide.reindex(columns=order)
            axis.plot(range(len(order)), wide.mean(), color=style.color, ls=style.linestyle)
            for x, weight in enumerate(order):
                seed_marks(axis, x, wide[weight].dropna(), style, level)
            beyond = 9 if start == "random" else -14
            axis.annotate(start, (0, wide.mean().iloc[0]), (8, beyond), color=style.color,
                          textcoords="offset points")  # fmt: skip
        best = cells.groupby(["weight", "start"])["heldout_loss"].mean().idxmin()
        axis.set_xticks(range(len(order)), [w[7:].replace(" to ", "→") for w in order])
        axis.set_xlim(-0.4, len(order) - 0.6)
        axis.margins(y=0.1)
        counts = cells.groupby("arm")["seed"].nunique()
        set_finding(axis, f"{teacher}: lowest with {best[0]} from a {best[1]} start",
                 label=f"weight of the soft loss {sample(counts, level)}")  # fmt: skip
    axes[0].set_ylabel(LOSS)


def forest(claims: pd.DataFrame, axis: Axes, *, level=0.95) -> None:
    """Every claim: its difference, to the right where it has the claimed sign."""
    axis.axvline(0, color="0.4", lw=0.8)
    where = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    for y, row in enumerate(claims.itertuples()):
        way = -1 if row.expect == "lower" else 1
        color, marker = VERDICT_STYLES[row.verdict]
        axis.plot([way * row.low, way * row.high], [y, y], color=color)
        axis.plot(way * np.array(row.differences), [y] * row.n, "|", color=color, ms=9, mew=0.8)
        axis.plot(way * row.mean, y, marker, color=color, ms=7, mec="w")
        paper = textwrap.fill(f"paper: {row.paper}", 44)
        axis.annotate(row.verdict, (1.02, y), (0, 1), **where, color=color, weight="bold")
        axis.annotate(paper, (1.02, y), (0, -2), **where, va="top")
    names = [textwrap.fill(statement, 40) for statement in claims["statement"]]
    axis.set_yticks(range(len(names)), names)
    axis.set_xscale("symlog", linthresh=0.1, linscale=0.5)
    axis.margins(x=0.08)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel("← against the claim      nats, logarithmic beyond ±0.1      as claimed →")
    seeds = sample(claims["n"], level)
    set_finding(axis, f"Of {len(claims)} claims: {count_verdicts(claims)} {seeds}")


def draw_factor(params: Params, factor: str, axis: Axes) -> None:
    """The figure of one factor: gain against gap, gain over training, or remapping by soft loss."""
    runs, arms, level = table("runs", params), params.analyses[factor], params.verdict.level
    if not is_run(params, factor):
        axis.set_axis_off()
        axis.text(0, 1, textwrap.fill(f"Not run: {missing_runs(params, arms)}", 30), va="top")
    elif factor == "teacher-quality":
        gain_against_gap(gap_points(params, arms), axis, level=level)
    elif factor == "loss-weight":
        gain_curves(runs, table("curves", params), arms, axis, level=level)
    else:
        remapping_by_soft_loss(runs, arms, axis, level=level)


def scales(studies: dict[str, Params], figure: Figure) -> None:
    """The three factors of the scales of `claims.finished`, a row each, its name at the left."""
    if not studies:
        figure.text(0.5, 0.5, NO_SCALE, ha="center")
        return
    figure.set_figheight(4.1 * len(studies))
    rows = figure.subplots(len(studies), 3, squeeze=False)
    for axes, (name, params) in zip(rows, studies.items(), strict=True):
        for factor, axis in zip(FACTORS, axes, strict=True):
            draw_factor(params, factor, axis)
        where = {"ha": "right", "va": "center", "rotation": 90, "weight": "bold"}
        axes[0].annotate(name, (0, 0.5), (-46, 0), "axes fraction", "offset points", **where)
