"""How do the figures look? One colour, marker and line per arm, seeds hollow, labels in place.

Text is drawn as outlines, so that an SVG looks the same wherever it is opened.
"""

import math
import os
import textwrap
from collections import namedtuple

import matplotlib as mpl
import numpy as np
import seaborn as sns

from dwt.analysis.stats import paired

ARMS = [
    "scratch", "normal", "very-weak", "extremely-weak", "strong", "decayed", "remapped",
    "remapped-hard", "weak-teacher", "very-weak-teacher", "extremely-weak-teacher",
]  # fmt: skip
COLOURS = ["#404040", *(sns.color_palette("colorblind").as_hex()[i] for i in (0, 1, 3, 4, 2, 9, 5))]
MARKERS = ["o", "s", "^", "v", "D", "P", "X", "*", "<", ">", "p"]  # 8 x 11: 88 before one repeats
LINES = ["-", "--", "-.", ":", (0, (3, 1, 1, 1, 1, 1))]
KINDS = COLOURS, MARKERS, LINES
Style = namedtuple("Style", ["color", "marker", "linestyle"])
PAPER = {"facecolor": "w", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}  # behind labels
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


def mean_and_seeds(axis, x, y, style, level, *, across=False):
    """Small hollow marks for seeds, one full mark for the mean, its t-interval as a bar."""
    values = x if across else y
    half = paired(values, 0 * values, level=level).high - values.mean()
    axis.scatter(x, y, s=12, marker=style.marker, facecolors="none", edgecolors=style.color,
                 linewidths=0.8, zorder=2)  # fmt: skip
    bar = {"xerr" if across else "yerr": None if math.isnan(half) else half}
    axis.errorbar(x.mean(), y.mean(), **bar, color=style.color, marker=style.marker, mec="w", ms=7,
                  elinewidth=1.4, zorder=3)  # fmt: skip


def label_ends(axis, x, ys, texts, colors, *, lines=1, ha="left"):
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
        axis.annotate(texts[i], (x, y), color=colors[i], annotation_clip=False, bbox=PAPER,
                      **beside(ha))  # fmt: skip


def mean_lines(axis, wide, looks, texts):
    """Seeds thin, mean thick, a text at the end of each; returns the means.

    Parameters
    ----------
    wide : DataFrame, [seeds x steps, arms]
    looks : dict of str to Style
        From `styles`.
    texts : sequence of str
        One for each arm.
    """
    means = wide.groupby("step").mean()
    for arm, look in ((arm, looks[arm]) for arm in wide):
        seeds = wide[arm].unstack("seed")  # [steps, seeds]
        axis.plot(seeds.index, seeds, color=look.color, lw=0.6, alpha=0.5)
        axis.plot(means[arm], color=look.color, ls=look.linestyle, marker=look.marker, mec="w",
                  mew=0.6, markevery=max(1, len(means) // 6))  # fmt: skip
    colors = [looks[arm].color for arm in wide]
    label_ends(axis, means.index[-1], means.iloc[-1], texts, colors)
    return means


def ink(color):
    """The colour dark enough for text on white."""
    return sns.set_hls_values(color, l=0.33)


def beside(ha):
    """Where a label stands from its mark."""
    offset = (9 if ha == "left" else -9, 0)
    return {"xytext": offset, "textcoords": "offset points", "ha": ha, "va": "center"}


def how_sure(seeds, level):
    """How sure a title is; `seeds` is a number, or one for each mark."""
    fewest, most = np.min(seeds), np.max(seeds)
    many = most if fewest == most else f"{fewest} to {most}"
    return f"({100 * level:g} % intervals, {many} seeds)" if most > 1 else "(one seed)"


def label_beyond(axis, x, y, text, *, above, level=0.95, **style):
    """Name a mean with its seeds beyond the end of its interval, where no mark is.

    Neighbours are told apart at opposite ends.
    """
    found = paired(y, 0 * y, level=level)
    end = found.mean if math.isnan(found.high) else found.high if above else found.low
    axis.annotate(
        text, (x.mean(), end), xytext=(0, 4 if above else -4), textcoords="offset points",
        ha="center", va="bottom" if above else "top", **style,
    )  # fmt: skip


def headline(axis, text):
    """A sentence as title, wrapped to the axis."""
    inches = axis.get_position().width * axis.figure.get_figwidth()
    axis.set_title(textwrap.fill(text, max(28, int(inches * 15))))
