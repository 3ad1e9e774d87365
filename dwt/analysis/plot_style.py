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
from matplotlib.transforms import Bbox

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
    "figure.dpi": 144, "figure.constrained_layout.use": True, "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlelocation": "left", "axes.titlesize": 9,
    "axes.linewidth": 0.8, "lines.linewidth": 1.6, "lines.markersize": 5.5, "font.size": 8,
    "axes.labelsize": 8, "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8,
    "figure.titlesize": 9,
}  # fmt: skip
LOSS = "held-out loss (nats; lower is better)"
COLUMN = (4.4, 3.4)  # inches: a figure with one panel, legible on a phone


def theme() -> None:
    """seaborn's colourblind-safe theme at the study's sizes: 8 and 9 points, thin axes."""
    mpl.rcdefaults()  # a person's matplotlibrc does not decide figures
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


def named_marks(axis: Axes, rows: pd.DataFrame, x, y, looks, level) -> None:
    """`seed_marks` of two columns for each arm, with its name where it covers least.

    Call it last: titles and labels of axes change what fits where.
    """
    ends = {}  # arm -> its mean and the ends of its interval
    for arm, seeds in rows.groupby("arm"):
        seed_marks(axis, seeds[x], seeds[y], looks[arm], level)
        mean = paired(seeds[y], level=level)
        low, high = np.nan_to_num([mean.low, mean.high], nan=mean.mean)
        ends[arm] = [(seeds[x].mean(), value) for value in (mean.mean, low, high)]
    axis.margins(x=0.12, y=0.2)
    axis.figure.canvas.draw()
    to_pixels = axis.transData.transform
    taken = [(Bbox(to_pixels(of_arm[1:])).padded(3), 2) for of_arm in ends.values()]
    taken += [(Bbox([dot, dot]).padded(4), 1) for dot in to_pixels(rows[[x, y]].to_numpy(float))]
    taken += [(line.get_window_extent().padded(1), 1) for line in axis.lines
              if len({*line.get_ydata()}) == 1 and len(line.get_ydata()) == 2]  # fmt: skip
    if legend := axis.get_legend():
        taken.append((legend.get_window_extent(), 5))
    for arm, (mean, low, high) in ends.items():
        places = [(high, (0, 4), "center", "bottom"), (low, (0, -4), "center", "top")]
        places += [(at, (side * 6, 0), "left" if side > 0 else "right", "center")
                   for at in (mean, high, low) for side in (1, -1)]  # fmt: skip
        look = {"color": looks[arm].color, "textcoords": "offset points"}
        names = [axis.annotate(arm, at, offset, ha=ha, va=va, **look)
                 for at, offset, ha, va in places]  # fmt: skip
        costs = []
        for box in (name.get_window_extent() for name in names):
            outside = not (axis.bbox.containsx(box.x0) and axis.bbox.containsx(box.x1))
            costs.append(5 * outside + sum(cost for other, cost in taken if box.overlaps(other)))
        best = names.pop(costs.index(min(costs)))
        taken.append((best.get_window_extent(), 5))
        for name in names:
            name.remove()


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
    return textwrap.fill(text, max(28, int(inches * letters)), break_on_hyphens=False)


def set_finding(axis: Axes, finding: str, numbers: str = "", *, label: str = "") -> None:
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
