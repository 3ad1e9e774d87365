"""The look of the figures: one colour, marker and line per arm, hollow seeds, direct labels.

Text is drawn as outlines, so that an SVG looks the same wherever it is opened.
"""

import math
import textwrap
from collections import namedtuple
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dwt.analysis.stats import paired
from dwt.config.files import atomic_path

ARMS = [
    "scratch", "normal", "very-weak", "extremely-weak", "strong", "4-to-1", "remapped",
    "remapped-no-kd", "weak-teacher", "very-weak-teacher", "extremely-weak-teacher", "4-to-0",
    "1-to-0", "adaptive", "1-then-0", "adaptive-4x", "same-size-teacher", "label-smoothing",
    "unigram-teacher", "shuffled-contexts",
]  # fmt: skip
COLOURS = ["#404040", *(sns.color_palette("colorblind").as_hex()[i] for i in (0, 1, 3, 4, 2, 9, 5))]
MARKERS = ["o", "s", "^", "v", "D", "P", "X", "h", "<", ">", "p"]  # 8 x 11: 88 before one repeats
LINES = ["-", "--", "-.", ":", (0, (3, 1, 1, 1, 1, 1))]
KINDS = COLOURS, MARKERS, LINES
Style = namedtuple("Style", ["color", "marker", "linestyle"])
LABEL_BOX = {"facecolor": "w", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}  # white box
RC = {
    "figure.dpi": 110, "figure.constrained_layout.use": True, "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlelocation": "left", "axes.titlesize": 9,
    "axes.linewidth": 0.8, "lines.linewidth": 1.6, "lines.markersize": 5.5, "font.size": 8,
    "axes.labelsize": 8, "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8,
    "figure.titlesize": 9,
}  # fmt: skip
LOSS = "held-out loss (nats per masked token)"


def theme() -> None:
    """seaborn's colourblind-safe theme at the study's sizes: 8 and 9 points, thin axes."""
    sns.set_theme(context="paper", style="ticks", palette="colorblind", rc=RC)


def styles(names) -> dict[str, Style]:
    """Colour, marker and line of each arm; arms that `ARMS` lacks get the next ones in order."""
    names = list(dict.fromkeys(names))
    order = [*ARMS, *(name for name in names if name not in ARMS)]
    return {name: Style(*(kind[order.index(name) % len(kind)] for kind in KINDS)) for name in names}


def save(figure: Figure, path: Path) -> None:
    """Write an SVG atomically, with the same bytes for the same figure."""
    with (
        atomic_path(path) as partial,
        mpl.rc_context({"svg.hashsalt": "dwt", "svg.fonttype": "path"}),
    ):
        figure.savefig(partial, format="svg", metadata={"Date": None, "Creator": None})


def seed_marks(axis: Axes, x, y, style: Style, level: float) -> None:
    """Small hollow marks for seeds, one full mark for the mean, its t-interval as a bar.

    `x` or `y` may be one place for all seeds; the bar is along the other, by default along `y`.
    """
    across = np.isscalar(y)
    seeds = pd.DataFrame({"x": x, "y": y}).astype(float)
    mean, values = seeds.mean(), seeds["x" if across else "y"]
    half = paired(values, level=level).high - values.mean()
    axis.scatter(seeds["x"], seeds["y"], s=12, marker=style.marker, facecolors="none",
                 edgecolors=style.color, linewidths=0.8, zorder=2)  # fmt: skip
    bar = {"xerr" if across else "yerr": None if math.isnan(half) else half}
    axis.errorbar(mean["x"], mean["y"], **bar, color=style.color, marker=style.marker, mec="w",
                  ms=7, elinewidth=1.4, zorder=3)  # fmt: skip


def named_marks(axis: Axes, rows: pd.DataFrame, x, y, looks, level, *, ascending=True) -> None:
    """`seed_marks` of two columns for each arm, in the order of its mean `x`.

    Names stand above and below by turns, beyond the end of the interval, where no mark is.
    """
    order = rows.groupby("arm")[x].mean().sort_values(ascending=ascending).index
    for i, arm in enumerate(order):
        seeds, above = rows[rows["arm"] == arm], i % 2 == 0
        seed_marks(axis, seeds[x], seeds[y], looks[arm], level)
        estimate = paired(seeds[y], level=level)
        end = estimate.high if above else estimate.low
        axis.annotate(
            arm, (seeds[x].mean(), estimate.mean if math.isnan(end) else end),
            xytext=(0, 4 if above else -4), textcoords="offset points", ha="center",
            va="bottom" if above else "top", bbox=LABEL_BOX, color=looks[arm].color,
        )  # fmt: skip


def mean_lines(axis: Axes, wide: pd.DataFrame, looks: dict[str, Style], texts) -> pd.DataFrame:
    """Thin lines for seeds, a thick one for the mean of `wide`, [seeds x steps, arms]; the means.

    The text of each arm stands at the end of its line, moved where two would overlap.
    """
    means = wide.groupby("step").mean()
    for arm in wide:
        look, seeds = looks[arm], wide[arm].unstack("seed")  # [steps, seeds]
        axis.plot(seeds.index, seeds, color=look.color, lw=0.6, alpha=0.5)
        axis.plot(means[arm], color=look.color, ls=look.linestyle, marker=look.marker, mec="w",
                  mew=0.6, markevery=max(1, len(means) // 6))  # fmt: skip
    low, high = axis.get_ylim()
    inches = axis.get_position().height * axis.figure.get_figheight()
    ends = means.ffill().iloc[-1].to_numpy()
    order = np.argsort(ends)
    places = ends[order]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + 0.19 * (high - low) / inches)
    places -= (places - ends[order]).mean()
    for i, y in zip(order, places, strict=True):
        axis.annotate(texts[i], (means.index[-1], y), color=looks[wide.columns[i]].color,
                      annotation_clip=False, bbox=LABEL_BOX, **beside("left"))  # fmt: skip
    return means


def beside(ha: str) -> dict:
    """Where a label stands from its mark."""
    place = {"xytext": (9 if ha == "left" else -9, 0), "textcoords": "offset points"}
    return place | {"ha": ha, "va": "center"}


def sample(seeds, level: float) -> str:
    """Coverage and number of seeds for a caption; `seeds` is a number, or one for each mark."""
    fewest, most = np.min(seeds), np.max(seeds)
    many = most if fewest == most else f"{fewest} to {most}"
    return f"({100 * level:g} % intervals, {many} seeds)" if most > 1 else "(one seed)"


def _wrapped(axis, text, letters=15):
    inches = axis.get_position().width * axis.figure.get_figwidth()
    return textwrap.fill(text, max(28, int(inches * letters)))


def headline(axis: Axes, finding: str, numbers: str = "", *, label: str = "") -> None:
    """A finding as the title; the axis label, and below it the numbers of the finding."""
    axis.set_title(_wrapped(axis, finding))
    for breaks in (" [", ", −", ", +"):  # an interval stays on one line
        numbers = numbers.replace(breaks, breaks.replace(" ", "\xa0"))
    if lines := [line for line in (label, numbers and _wrapped(axis, numbers, 17)) if line]:
        axis.set_xlabel("\n".join(lines))


def caption(figure: Figure, text: str) -> None:
    """What a reader of the figure alone must know, below it."""
    if text:
        width = int(figure.get_figwidth() * 15)
        figure.supxlabel(textwrap.fill(text, width), x=0.01, ha="left", fontsize=8, color="0.3")
