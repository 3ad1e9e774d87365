"""What does each finding look like?

Every figure is a function of the tidy tables that draws on the axes it is given; titles are
computed from the same numbers as the marks, so a figure read alone says what was found and how
sure it is. Text is drawn as outlines, so that an SVG looks the same wherever it is opened.
"""

import math
import os
import textwrap
from collections import namedtuple

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns

from dwt import findings
from dwt.answers import say_break_even, side
from dwt.findings import losses
from dwt.stats import paired, signed, verdict

ARMS = [
    "scratch", "normal", "very-weak", "extremely-weak", "strong", "decayed", "remapped",
    "remapped-hard", "weak-teacher", "very-weak-teacher", "extremely-weak-teacher",
]  # fmt: skip
COLOURS = ["#404040", *(sns.color_palette("colorblind").as_hex()[i] for i in (0, 1, 3, 4, 2, 9, 5))]
MARKERS = ["o", "s", "^", "v", "D", "P", "X", "*", "<", ">", "p"]  # 8 x 11: 88 before one repeats
LINES = ["-", "--", "-.", ":", (0, (3, 1, 1, 1, 1, 1))]
KINDS = COLOURS, MARKERS, LINES
Style = namedtuple("Style", ["color", "marker", "linestyle"])
LOSS = "held-out loss (nats per masked token)"
PAPER = {"facecolor": "w", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}  # behind labels
VERDICTS = {"supported": ("C0", "o"), "contradicted": ("C3", "X"), "undecided": ("0.5", "D")}


RC = {
    "figure.dpi": 110, "figure.constrained_layout.use": True, "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlelocation": "left", "axes.titlesize": 9,
    "axes.linewidth": 0.8, "lines.linewidth": 1.6, "lines.markersize": 5.5, "font.size": 8,
    "axes.labelsize": 8, "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8,
    "figure.titlesize": 9,
}  # fmt: skip


def theme():
    """seaborn's colourblind-safe look at the study's sizes: 8 and 9 points, thin axes."""
    sns.set_theme(context="paper", style="ticks", palette="colorblind", rc=RC)


def styles(names) -> dict:
    """Colour, marker and line of each arm; arms unknown to `ARMS` get the next ones in order."""
    names = list(dict.fromkeys(names))
    order = [*ARMS, *(name for name in names if name not in ARMS)]
    return {name: Style(*(kind[order.index(name) % len(kind)] for kind in KINDS)) for name in names}


def save(figure, path):
    """Write an SVG that is whole or not there, the same bytes for the same figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with mpl.rc_context({"svg.hashsalt": "dwt", "svg.fonttype": "path"}):
        figure.savefig(part, format="svg", metadata={"Date": None, "Creator": None})
    os.replace(part, path)


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
        _mean_and_seeds(axis, seeds["gap"], seeds["gain"], look[seeds["arm"].iloc[0]], level)
    for i, (arm, seeds) in enumerate(points.groupby("arm", sort=False)):
        found = paired(seeds["gain"], 0 * seeds["gain"], level=level)
        above = i % 2 == 0  # neighbours' labels stand at opposite ends of their bars
        end = found.mean if math.isnan(found.high) else found.high if above else found.low
        axis.annotate(
            f"{arm}\n({layers[seeds['teacher'].iloc[0]]}-layer teacher)",
            (seeds["gap"].mean(), end), xytext=(0, 4 if above else -4),
            textcoords="offset points", ha="center", va="bottom" if above else "top",
            color=look[arm].color,
        )  # fmt: skip
    axis.margins(y=0.2)
    axis.set(xlabel="teacher's loss − student's alone (nats)", ylabel="gain over alone (nats)")
    _title(axis, say_break_even(line, points))


def loss_curves(runs, curves, arms, axis, *, level=0.95):
    """Held-out loss over training: the mean and every seed."""
    wide, loss = _by_step(curves, "heldout_loss"), losses(runs)[arms]
    _mean_curves(axis, wide[arms], curves)
    axis.set_ylabel(LOSS)
    best, second = loss.mean().sort_values().index[:2]
    d = paired(loss[best], loss[second], level=level)
    _title(axis, f"{best} ends lowest: {d.brief} against {second} {_sure(len(loss), level)}")


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
    _title(axis, f"Against {base}: {'; '.join(said)} {_sure(len(loss), level)}")


def effective_weight(curves, arms, axes):
    """Soft against hard gradient at the logits: their ratio, their cosine, over training."""
    names = {"gradient_ratio": "soft / hard gradient norm", "gradient_cosine": "cosine of the two"}
    for axis, (column, name), rest in zip(axes, names.items(), (1, 0), strict=True):
        wide = _by_step(curves, column).reindex(columns=arms).dropna(axis=1, how="all")
        axis.axhline(rest, color="0.4", lw=0.8)
        ends = _mean_curves(axis, wide, curves)
        axis.set_ylabel(name)
        moved = ", ".join(f"{arm} {y.iloc[0]:.2f} → {y.iloc[-1]:.2f}" for arm, y in ends.items())
        _title(axis, f"{name.capitalize()}, first → last step: {moved} (mean of seeds)")


def remapping_square(runs, arms, axis, *, level=0.95):
    """Factor iii: remapped or not, with the soft loss or without; dashed, had they just added."""
    loss, corner, look = losses(runs), findings.square(runs, arms), styles(runs["arm"])
    random, remapped, both = findings.soft_effects(runs, arms, level=level)
    hard = loss[corner[True, False]].mean()
    axis.plot([0, 1], [hard, hard + random.mean], "--", color="0.6", lw=1)
    axis.annotate("if additive", (1, hard + random.mean), **_beside("left"), color="0.4")
    for start, effect in ((False, random), (True, remapped)):
        pair = loss[[corner[start, False], corner[start, True]]]
        axis.plot([0, 1], pair.to_numpy().T, color="0.8", lw=0.8, zorder=1)
        axis.plot([0, 1], pair.mean(), color="0.3", zorder=1)
        axis.text(0.5, pair.mean().mean(), signed(effect.mean), ha="center", va="center",
                  bbox=PAPER)  # fmt: skip
        for x, arm in enumerate(pair):
            _mean_and_seeds(axis, pd.Series(float(x), pair.index), pair[arm], look[arm], level)
            beside = {"color": _ink(look[arm].color), **_beside("left" if x else "right")}
            axis.annotate(arm.replace("-", "-\n"), (x, pair[arm].mean()), **beside)
    axis.set(xticks=[0, 1], xticklabels=["hard loss\nalone", "with the\nsoft loss"], ylabel=LOSS)
    axis.set_xlim(-1.3, 1.9)
    verbs = dict(better="helps", worse="harms", unclear="does not clearly change")
    said = f"{side(random, **verbs)} a random start and {side(remapped, **verbs)} a remapped one"
    _title(axis, f"The soft loss {said}: interaction {both.brief} {_sure(len(loss), level)}")


def forest(claims, axis, *, level=0.95):
    """Every claim: the difference found, to the right where it goes the claim's way."""
    axis.axvline(0, color="0.4", lw=0.8)
    beside = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
    for y, row in enumerate(claims.itertuples()):
        way = -1 if row.expect == "lower" else 1
        color, marker = VERDICTS[row.verdict]
        axis.plot([way * row.low, way * row.high], [y, y], color=color)
        axis.plot(way * np.array(row.differences), [y] * row.n, "|", color=color, ms=9, mew=0.8)
        axis.plot(way * row.mean, y, marker, color=color, ms=7, mec="w")
        paper = textwrap.fill(f"paper: {row.paper}", 44)
        axis.annotate(row.verdict, (1.02, y), (0, 1), **beside, color=color, weight="bold")
        axis.annotate(paper, (1.02, y), (0, -2), **beside, va="top")
    names = [textwrap.fill(statement, 40) for statement in claims["statement"]]
    axis.set_yticks(range(len(names)), names)
    axis.set_xscale("symlog", linthresh=0.1, linscale=0.5)
    axis.margins(x=0.08)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel("← against the claim      nats, logarithmic beyond ±0.1      as claimed →")
    parts = ", ".join(f"{(claims['verdict'] == name).sum()} {name}" for name in VERDICTS)
    _title(axis, f"Of {len(claims)} claims: {parts} {_sure(claims['n'].max(), level)}")


def task_scores(scores, arms, figure, *, level=0.95):
    """Zero-shot and fine-tuned scores by task: every seed, against chance and random weights."""
    panels = scores.groupby(["task", "metric"], sort=False)
    rows = -(-len(panels) // 3)
    figure.set_figheight(0.4 + (0.7 + 0.22 * len(arms)) * rows)
    axes = figure.subplots(rows, min(3, len(panels)), sharey=True, squeeze=False).flat
    look, found = styles(scores.loc[scores["kind"] != "baseline", "arm"]), []
    for ((task, metric), table), axis in zip(panels, axes, strict=False):
        tuned = "fine-tuned" if table["finetune_seed"].notna().any() else "zero-shot"
        for name, score in (
            table[table["kind"] == "baseline"].groupby("arm")["score"].mean().items()
        ):
            right = name == "random"
            axis.axvline(score, color="0.5", lw=1, ls="--" if right else ":")
            axis.annotate(name, (score, 0.98), (2 if right else -2, 0), rotation=90, va="top",
                          xycoords=("data", "axes fraction"), textcoords="offset points",
                          ha="left" if right else "right", color="0.4")  # fmt: skip
        wide = table.pivot_table(index="seed", columns="arm", values="score")
        for y, arm in enumerate(arms):
            at = pd.Series(float(y), wide.index)
            _mean_and_seeds(axis, wide[arm], at, look[arm], level, across=True)
        against = (paired(wide[arm], wide[arms[0]], level=level) for arm in arms[1:])
        found += [verdict(d, "higher") for d in against]
        axis.margins(x=0.12)
        axis.set(title=f"{task} ({tuned})", xlabel=metric, ylim=(len(arms) - 0.5, -0.5))
        axis.set_yticks(range(len(arms)), arms)
    for axis in figure.axes[len(panels) :]:
        axis.set_visible(False)
    higher, lower, unclear = (found.count(name) for name in VERDICTS)
    said = f"higher in {higher} of {len(found)} scores, lower in {lower}, undecided in {unclear}"
    sure = _sure(scores["seed"].nunique(), level)
    figure.suptitle(f"Against {arms[0]}: {said} {sure}", x=0.01, ha="left")


def _mean_and_seeds(axis, x, y, style, level, *, across=False):
    """Small hollow marks for seeds, one full mark for the mean, its t-interval as a bar."""
    values = x if across else y
    half = paired(values, 0 * values, level=level).high - values.mean()
    axis.scatter(x, y, s=12, marker=style.marker, facecolors="none", edgecolors=style.color,
                 linewidths=0.8, zorder=2)  # fmt: skip
    bar = {"xerr" if across else "yerr": None if math.isnan(half) else half}
    axis.errorbar(x.mean(), y.mean(), **bar, color=style.color, marker=style.marker, mec="w", ms=7,
                  elinewidth=1.4, zorder=3)  # fmt: skip


def _by_step(curves, column):
    """[seeds x steps, arms], only where there is a value."""
    there = curves.dropna(subset=[column])
    return there.pivot(index=["seed", "step"], columns="arm", values=column)


def _mean_curves(axis, wide, curves):
    """Seeds thin, mean thick, name and soft weight at the end; returns the means."""
    looks, means, texts = styles(curves["arm"]), wide.groupby("step").mean(), []
    for arm, look in ((arm, looks[arm]) for arm in wide):
        seeds = wide[arm].unstack("seed")  # [steps, seeds]
        axis.plot(seeds.index, seeds, color=look.color, lw=0.6, alpha=0.5)
        axis.plot(means[arm], color=look.color, ls=look.linestyle, marker=look.marker, mec="w",
                  mew=0.6, markevery=max(1, len(means) // 6))  # fmt: skip
        weight = curves.loc[curves["arm"] == arm, "soft_weight"].dropna().iloc[[0, -1]].round(1)
        weights = " → ".join(dict.fromkeys(f"{w:g}" for w in weight if w))
        texts.append(f"{arm} ({weights})" if weights else arm)
    colors = [looks[arm].color for arm in wide]
    _labels(axis, means.index[-1], means.iloc[-1], texts, colors)
    axis.set_xlabel("step (labels: weight of the soft loss)")
    return means


def _labels(axis, x, ys, texts, colors, *, lines=1, ha="left"):
    """Labels beside x, pushed apart vertically where they would overlap."""
    low, high = axis.get_ylim()
    inches = axis.get_position().height * axis.figure.get_figheight()
    least = 0.19 * lines * (high - low) / inches
    order = np.argsort(ys.to_numpy())
    places = ys.to_numpy()[order]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + least)
    places -= (places - ys.to_numpy()[order]).mean()
    for i, y in zip(order, places, strict=True):
        axis.annotate(
            texts[i],
            (x, y),
            color=colors[i],
            annotation_clip=False,
            bbox=PAPER,
            **_beside(ha),
        )


def _ink(color):
    """The colour dark enough for text on white."""
    return sns.set_hls_values(color, l=0.33)


def _beside(ha):
    """Where a label stands from its mark."""
    offset = (9 if ha == "left" else -9, 0)
    return {"xytext": offset, "textcoords": "offset points", "ha": ha, "va": "center"}


def _sure(seeds, level):
    """How sure a title is."""
    return f"({100 * level:g} % intervals, {seeds} seeds)" if seeds > 1 else "(one seed)"


def _title(axis, text):
    """A sentence as title, wrapped to the axis."""
    inches = axis.get_position().width * axis.figure.get_figwidth()
    axis.set_title(textwrap.fill(text, max(28, int(inches * 15))))
