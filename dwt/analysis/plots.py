"""What does each finding look like?

Every figure is a function of the tidy tables that draws on the axes it is given; titles are
computed from the same numbers as the marks, so a figure read alone says what was found and how
sure it is. What they have in common is in `dwt.analysis.plot_style`.
"""

import math
import textwrap

import numpy as np
import pandas as pd

from dwt.analysis import comparisons as findings
from dwt.analysis.comparisons import losses
from dwt.analysis.plot_style import (
    PAPER,
    beside,
    headline,
    how_sure,
    ink,
    label_beyond,
    mean_and_seeds,
    mean_lines,
    styles,
)
from dwt.analysis.plot_style import save as save  # the notebooks take both from here
from dwt.analysis.plot_style import theme as theme
from dwt.analysis.stats import paired, signed
from dwt.analysis.summaries import say_break_even, side
from dwt.analysis.tables import table

LOSS = "held-out loss (nats per masked token)"
NOTHING = "No scale that `compare` names (params.yaml) has results of the declared arms."
VERDICTS = {"supported": ("C0", "o"), "contradicted": ("C3", "X"), "undecided": ("0.5", "D")}


def gain_against_gap(runs, arms, axis, *, level=0.95):
    """Factor i: what a student gains against how far its teacher is behind, with break-even."""
    points, line = findings.gaps(runs, arms), findings.gap_line(runs, arms, level=level)
    look, layers = styles(runs["arm"]), runs.set_index("arm")["layers"].to_dict()
    xs = np.array([min(0.0, points["gap"].min()), points["gap"].max()])
    axis.axhline(0, color="0.4", lw=0.8)
    axis.plot(xs, line.intercept + line.slope.mean * xs, color="0.6", lw=1, zorder=1)
    axis.set_xlim(*(xs + np.array([-0.12, 0.12]) * np.ptp(xs)))
    if xs[0] <= line.gap <= xs[1] and not math.isinf(line.low):
        if not math.isnan(line.low):
            axis.axvspan(line.low, line.high, color="0.92", zorder=0)
        axis.axvline(line.gap, color="0.4", lw=1, ls="--", zorder=1)
    for _, seeds in points.groupby("arm", sort=False):
        mean_and_seeds(axis, seeds["gap"], seeds["gain"], look[seeds["arm"].iloc[0]], level)
    for i, (arm, seeds) in enumerate(points.groupby("arm", sort=False)):
        label = f"{arm}\n({layers[seeds['teacher'].iloc[0]]}-layer teacher)"
        label_beyond(axis, seeds["gap"], seeds["gain"], label, above=i % 2 == 0, level=level,
                     color=look[arm].color)  # fmt: skip
    axis.margins(y=0.2)
    axis.set(xlabel="teacher's loss − student's alone (nats)", ylabel="gain over alone (nats)")
    headline(axis, say_break_even(line, points))


def loss_curves(runs, curves, arms, axis, *, level=0.95):
    """Held-out loss over training: the mean and every seed."""
    wide, loss = _by_step(curves, "heldout_loss"), losses(runs)[arms]
    _mean_curves(axis, wide[arms], curves)
    axis.set_ylabel(LOSS)
    best, second = loss.mean().sort_values().index[:2]
    d = paired(loss[best], loss[second], level=level)
    headline(axis, f"{best} ends lowest: {d.brief} against {second} {how_sure(len(loss), level)}")


def lead(runs, curves, arms, axis, *, level=0.95):
    """Factor ii: held-out loss of each arm minus that of `arms[1]`, with where they cross."""
    wide, loss, base, said = _by_step(curves, "heldout_loss"), losses(runs), arms[1], []
    axis.axhline(0, color="0.4", lw=0.8)
    _mean_curves(axis, wide[arms[2:]].sub(wide[base], axis=0), curves)
    for arm in arms[2:]:
        steps, look = findings.crossings(curves, arm, base), styles(curves["arm"])[arm]
        axis.plot(steps, np.zeros(len(steps)), "|", color=look.color, ms=14, mew=1.5)
        d = paired(loss[arm], loss[base], level=level)
        ends = side(d, better="ahead", worse="behind", unclear="neither ahead nor behind")
        said.append(f"{arm} ends {ends}, {d.brief}")
    axis.set_ylabel(f"loss − that of {base} (nats)")
    headline(axis, f"Against {base}: {'; '.join(said)} {how_sure(len(loss), level)}")


def effective_weight(curves, arms, axes):
    """Soft against hard gradient at the logits: their ratio, their cosine, over training."""
    names = {"gradient_ratio": "soft / hard gradient norm", "gradient_cosine": "cosine of the two"}
    for axis, (column, name), rest in zip(axes, names.items(), (1, 0), strict=True):
        wide = _by_step(curves, column).reindex(columns=arms).dropna(axis=1, how="all")
        axis.axhline(rest, color="0.4", lw=0.8)
        ends = _mean_curves(axis, wide, curves)
        axis.set_ylabel(name)
        moved = ", ".join(f"{arm} {y.iloc[0]:.2f} → {y.iloc[-1]:.2f}" for arm, y in ends.items())
        headline(axis, f"{name.capitalize()}, first → last step: {moved} (mean of seeds)")


def remapping_square(runs, arms, axis, *, level=0.95):
    """Factor iii: remapped or not, with the soft loss or without; dashed, had they just added."""
    loss, corner, look = losses(runs), findings.square(runs, arms), styles(runs["arm"])
    random, remapped, both = findings.soft_effects(runs, arms, level=level)
    hard = loss[corner[True, False]].mean()
    axis.plot([0, 1], [hard, hard + random.mean], "--", color="0.6", lw=1)
    axis.annotate("if additive", (1, hard + random.mean), **beside("left"), color="0.4")
    for start, effect in ((False, random), (True, remapped)):
        pair = loss[[corner[start, False], corner[start, True]]]
        axis.plot([0, 1], pair.to_numpy().T, color="0.8", lw=0.8, zorder=1)
        axis.plot([0, 1], pair.mean(), color="0.3", zorder=1)
        axis.text(0.5, pair.mean().mean(), signed(effect.mean), ha="center", va="center",
                  bbox=PAPER)  # fmt: skip
        for x, arm in enumerate(pair):
            mean_and_seeds(axis, pd.Series(float(x), pair.index), pair[arm], look[arm], level)
            where = {"color": ink(look[arm].color), **beside("left" if x else "right")}
            axis.annotate(arm.replace("-", "-\n"), (x, pair[arm].mean()), **where)
    axis.set(xticks=[0, 1], xticklabels=["hard loss\nalone", "with the\nsoft loss"], ylabel=LOSS)
    axis.set_xlim(-1.3, 1.9)
    verbs = dict(better="helps", worse="harms", unclear="does not clearly change")
    said = f"{side(random, **verbs)} a random start and {side(remapped, **verbs)} a remapped one"
    headline(axis, f"The soft loss {said}: interaction {both.brief} {how_sure(len(loss), level)}")


def forest(claims, axis, *, level=0.95):
    """Every claim: the difference found, to the right where it goes the claim's way."""
    axis.axvline(0, color="0.4", lw=0.8)
    where = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    for y, row in enumerate(claims.itertuples()):
        way = -1 if row.expect == "lower" else 1
        color, marker = VERDICTS[row.verdict]
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
    parts = ", ".join(f"{(claims['verdict'] == name).sum()} {name}" for name in VERDICTS)
    headline(axis, f"Of {len(claims)} claims: {parts} {how_sure(claims['n'], level)}")


def three_factors(runs, curves, factors, axes, *, level=0.95):
    """Each factor in one panel: gain against gap, lead over training, remapping square."""
    gain_against_gap(runs, factors["teacher-quality"], axes[0], level=level)
    lead(runs, curves, factors["loss-weight"], axes[1], level=level)
    remapping_square(runs, factors["parameter-remapping"], axes[2], level=level)


def scales(studies, figure):
    """`three_factors` of several scales, one row each, its name at the left.

    Parameters
    ----------
    studies : dict of str to dwt.config.schema.Params
        By scale, from `dwt.analysis.cross_scale.finished`.
    """
    if not studies:
        figure.text(0.5, 0.5, NOTHING, ha="center")
        return
    figure.set_figheight(4.1 * len(studies))
    rows = figure.subplots(len(studies), 3, squeeze=False)
    for axes, (name, params) in zip(rows, studies.items(), strict=True):
        runs, curves = table("runs", params), table("curves", params)
        three_factors(runs, curves, params.factors, axes, level=params.verdict.level)
        where = {"ha": "right", "va": "center", "rotation": 90, "weight": "bold"}
        axes[0].annotate(name, (0, 0.5), (-46, 0), "axes fraction", "offset points", **where)


def _by_step(curves, column):
    """[seeds x steps, arms], only where there is a value."""
    there = curves.dropna(subset=[column])
    return there.pivot(index=["seed", "step"], columns="arm", values=column)


def _mean_curves(axis, wide, curves):
    """As `dwt.analysis.plot_style.mean_lines`, with the soft weight beside the name."""
    texts = []
    for arm in wide:
        weight = curves.loc[curves["arm"] == arm, "soft_weight"].dropna().iloc[[0, -1]].round(1)
        weights = " → ".join(dict.fromkeys(f"{w:g}" for w in weight if w))
        texts.append(f"{arm} ({weights})" if weights else arm)
    means = mean_lines(axis, wide, styles(curves["arm"]), texts)
    axis.set_xlabel("step (labels: weight of the soft loss)")
    return means
