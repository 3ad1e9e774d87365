"""Figures of gains: against the teacher's gap, by setting, at equal FLOPs, by kind of token."""

import math

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from dwt.analysis.plot_style import (
    LOSS,
    beside,
    headline,
    label_beyond,
    mean_and_seeds,
    sample,
    styles,
)
from dwt.analysis.stats import paired, signed
from dwt.analysis.summaries import gains_by_side
from dwt.analysis.teacher_gap import ROUTES, gap_line
from dwt.analysis.wording import describe_gap, direction

ROUTE_STYLES = dict(zip(ROUTES, styles(["scratch", "normal", "very-weak"]).values(), strict=True))


def gain_against_gap(points: pd.DataFrame, axis: Axes, *, level: float = 0.95) -> None:
    """Gain of the soft loss against the teacher's gap, with the fitted line and its zero.

    Parameters
    ----------
    points : DataFrame
        From `dwt.analysis.teacher_gap.gap_points`, of one start. With several routes to the gap,
        the marker tells the route; else the arm.
    """
    line, routes = gap_line(points, level=level), [*points["route"].unique()]
    several = len(routes) > 1
    look = ROUTE_STYLES if several else styles(points["arm"])
    xs = np.array([points["gap"].min(), points["gap"].max()])
    axis.axhline(0, color="0.4", lw=0.8)
    axis.set_xlim(*(xs + np.array([-0.2, 0.2]) * np.ptp(xs)))
    if line is not None:
        zero = line.zero
        axis.plot(xs, zero.intercept + zero.slope.mean * xs, color="0.6", lw=1, zorder=1)
        if xs[0] <= zero.gap <= xs[1] and not math.isinf(zero.low):
            if not math.isnan(zero.low):
                axis.axvspan(zero.low, zero.high, color="0.92", zorder=0)
            axis.axvline(zero.gap, color="0.4", lw=1, ls="--", zorder=1)
    for i, arm in enumerate(points.groupby("arm")["gap"].mean().sort_values().index):
        seeds = points[points["arm"] == arm]
        style = look[seeds["route"].iloc[0] if several else arm]
        mean_and_seeds(axis, seeds["gap"], seeds["gain"], style, level)
        label_beyond(axis, seeds["gap"], seeds["gain"], arm, above=i % 2 == 0, level=level,
                     color=style.color)  # fmt: skip
    axis.margins(y=0.2)
    if several:
        for route in routes:
            axis.plot([], [], look[route].marker, color=look[route].color, label=route)
        axis.legend(frameon=False, loc="lower left")
    axis.set_ylabel("gain (nats)")
    finding, numbers = describe_gap(line, points)
    if several and line is not None:
        finding += f"; routes off the line: {', '.join(line.off) or 'none'}"
    if not several:
        layers = ", ".join(map(str, points.drop_duplicates("arm")["layers"]))
        numbers = "; ".join(filter(None, [numbers, f"teachers of {layers} layers"]))
    headline(axis, finding, numbers, label="gap: teacher's loss − student's without it (nats)")


def gain_bars(
    table: pd.DataFrame, axis: Axes, *, against: str = "no teacher", level: float = 0.95
) -> None:
    """A mean and interval per row, best first.

    Parameters
    ----------
    table : DataFrame
        From `dwt.analysis.comparisons.gains`.
    """
    table = table.sort_values("mean", ascending=False, kind="stable")
    axis.axvline(0, color="0.4", lw=0.8)
    look = styles(table["arm"])
    for y, row in enumerate(table.itertuples()):
        style = look[row.arm]
        axis.plot([row.low, row.high], [y, y], color=style.color)
        axis.plot(row.mean, y, style.marker, color=style.color, mec="w", ms=7)
    axis.set_yticks(range(len(table)), table["arm"])
    axis.set_ylim(len(table) - 0.5, -0.5)
    better, worse = (
        ", ".join(arms) if 0 < len(arms) < 4 else f"{len(arms)} of {len(table)} arms"
        for arms in (table["arm"][table["low"] > 0], table["arm"][table["high"] < 0])
    )
    headline(axis, f"Clearly better than {against}: {better}; clearly worse: {worse}",
             label=f"gain over {against}, nats {sample(table['n'], level)}")  # fmt: skip


def setting_grid(table: pd.DataFrame, axes, *, level: float = 0.95) -> None:
    """Gain over (soft weight, temperature), a panel per teacher.

    Parameters
    ----------
    table : DataFrame
        From `dwt.analysis.comparisons.poor_teachers`.
    """
    limit = table["mean"].abs().max()
    for axis, (teacher, of_teacher) in zip(axes, table.groupby("teacher", sort=False), strict=True):
        by = dict(index="temperature", columns="soft_weight")
        mean = of_teacher.pivot(**by, values="mean")
        low, high = (of_teacher.pivot(**by, values=name) for name in ("low", "high"))
        words = mean.map(signed) + "\n[" + low.map(signed) + ", " + high.map(signed) + "]"
        sns.heatmap(mean, annot=words, fmt="", cmap="vlag_r", center=0, vmin=-limit, vmax=limit,
                    cbar=False, ax=axis, annot_kws={"fontsize": 8})  # fmt: skip
        axis.set_ylabel("temperature")
        best = of_teacher.loc[of_teacher["mean"].idxmax()]
        better = (of_teacher["low"] > 0).sum()
        headline(
            axis,
            f"{teacher}: best at weight {best['soft_weight']:g}, temperature "
            f"{best['temperature']:g}; {better} of {len(of_teacher)} settings clearly help",
            label=f"weight of the soft loss {sample(of_teacher['n'], level)}",
        )


def loss_against_flops(
    compared: pd.DataFrame, budgets: pd.DataFrame, arms, axis: Axes, *, level: float = 0.95
) -> None:
    """Losses against training FLOPs: the student without a teacher as a line, arms as marks.

    Parameters
    ----------
    compared, budgets : DataFrame
        From `dwt.analysis.compute.at_equal_flops` and `no_teacher_runs`.
    """
    look = styles(["scratch", *arms])
    mean = budgets.groupby("arm")[["flops", "loss"]].mean().sort_values("flops")
    axis.plot(mean["flops"], mean["loss"], color=look["scratch"].color, zorder=1)
    for _, seeds in budgets.groupby("arm", sort=False):
        mean_and_seeds(axis, seeds["flops"], seeds["loss"], look["scratch"], level)
    axis.annotate("no teacher", (mean["flops"].iloc[-1], mean["loss"].iloc[-1]), **beside("left"))
    known = compared[compared["arm"].isin(arms)].dropna()
    by_arm = dict(list(known.groupby("arm", sort=False)))
    costliest = sorted(by_arm, key=lambda arm: -by_arm[arm]["flops"].mean())
    for i, arm in enumerate(costliest):
        seeds = by_arm[arm]
        mean_and_seeds(axis, seeds["flops"], seeds["loss"], look[arm], level)
        label_beyond(axis, seeds["flops"], seeds["loss"], arm, above=i % 2 == 0, level=level,
                     color=look[arm].color)  # fmt: skip
    parts, numbers = [], []
    for arm in [arm for arm in arms if arm in by_arm]:
        d = -paired(by_arm[arm]["difference"], level=level)
        words = direction(d, better="better", worse="worse", unclear="undecided")
        parts.append(f"{arm} {words}")
        numbers.append(f"{arm}\xa0{d.brief}")
    axis.set_xscale("log")
    axis.margins(x=0.1, y=0.12)
    axis.set_ylabel(LOSS)
    counts = sample([len(by_arm[arm]) for arm in by_arm], level)
    headline(axis, f"Against no teacher at equal FLOPs: {', '.join(parts)}",
             f"gains: {'; '.join(numbers)} {counts}", label="training FLOPs")  # fmt: skip


def gain_by_token(tokens: pd.DataFrame, axis: Axes, *, level: float = 0.95) -> None:
    """Gain by frequency band, apart where the teacher's first guess is right and where wrong.

    Parameters
    ----------
    tokens : DataFrame
        One arm of `dwt.analysis.tables.token_losses`.
    """
    tokens = tokens.assign(gain=tokens["loss_without"] - tokens["loss"])
    bands = [*dict.fromkeys(tokens.sort_values("band", key=_first_rank)["band"])]
    axis.axhline(0, color="0.4", lw=0.8)
    for right, style, shift in ((True, styles(["normal"])["normal"], -0.12),
                                (False, styles(["strong"])["strong"], 0.12)):  # fmt: skip
        for x, band in enumerate(bands):
            of_band = tokens["band"] == band
            seeds = tokens[of_band & (tokens["teacher_right"] == right)].set_index("seed")["gain"]
            mean_and_seeds(axis, pd.Series(x + shift, seeds.index), seeds, style, level)
        words = "teacher right" if right else "teacher wrong"
        axis.plot([], [], style.marker, color=style.color, label=words)
    axis.legend(frameon=False, loc="lower left")
    axis.set_xticks(range(len(bands)), bands)
    arm, without = tokens["arm"].iloc[0], tokens["against"].iloc[0]
    axis.set_ylabel(f"gain over {without} (nats)")
    (right, _), (wrong, _) = (gains_by_side(tokens, level=level)[side] for side in (True, False))
    where = "right" if right.mean > wrong.mean else "wrong"
    numbers = f"right: {right.brief}; wrong: {wrong.brief} {sample(right.n, level)}"
    headline(axis, f"{arm} gains more where its teacher is {where}", numbers,
             label="rank of the true token in the training text")  # fmt: skip


def _first_rank(bands):
    return bands.str.partition("-")[0].astype(int)
