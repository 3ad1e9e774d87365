"""Figures of gains: against the teacher's gap, by setting, at equal FLOPs, by kind of token."""

import math

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from dwt.analysis.plot_style import (
    LOSS,
    beside,
    named_marks,
    sample,
    seed_marks,
    set_finding,
    styles,
)
from dwt.analysis.stats import paired, short
from dwt.analysis.summaries import gains_by_side
from dwt.analysis.teacher_gap import CAUSES, gap_line
from dwt.analysis.wording import SIDES, describe_gap, direction

CAUSE_STYLES = dict(zip(CAUSES, styles(["scratch", "normal", "very-weak"]).values(), strict=True))


def gain_against_gap(points: pd.DataFrame, axis: Axes, *, level=0.95) -> None:
    """Gain of the soft loss against the teacher's gap, with the fitted line and its zero.

    `points` are those of `gap_points` from one start. With several causes to the gap, the marker
    tells the cause; else the arm.
    """
    line, about = gap_line(points, level=level), points.drop_duplicates("arm").set_index("arm")
    causes = [*about["cause"].unique()]
    several = len(causes) > 1
    look = about["cause"].map(CAUSE_STYLES) if several else styles(points["arm"])
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
    axis.set_ylabel("gain (nats)")
    finding, numbers = describe_gap(line, points)
    if several:
        for cause in causes:
            style = CAUSE_STYLES[cause]
            axis.plot([], [], style.marker, color=style.color, label=cause)
        axis.legend(frameon=False, loc="best")
        if line is not None:
            finding += f"; off the line: {', '.join(line.off) or 'no cause'}"
    else:
        layers = ", ".join(map(str, about["layers"]))
        numbers = "; ".join(filter(None, [numbers, f"teachers of {layers} layers"]))
    set_finding(axis, finding, numbers, label="gap: teacher's loss − student's without it (nats)")
    named_marks(axis, points, "gap", "gain", look, level)


def gain_bars(table: pd.DataFrame, axis: Axes, *, against: str = "no teacher", level=0.95) -> None:
    """A mean and interval per row of `dwt.analysis.comparisons.gains`, best first."""
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
        ", ".join(arms) if 0 < len(arms) < 3 else f"{len(arms)} of {len(table)} arms"
        for arms in (table["arm"][table["low"] > 0], table["arm"][table["high"] < 0])
    )
    set_finding(axis, f"Clearly better than {against}: {better}; clearly worse: {worse}",
             label=f"gain over {against}, nats {sample(table['n'], level)}")  # fmt: skip


def setting_grid(table: pd.DataFrame, axes, *, level=0.95) -> None:
    """`poor_teachers`: gain over (soft weight, temperature), a panel per teacher."""
    limit = table["mean"].abs().max()
    for axis, (teacher, rows) in zip(axes, table.groupby("teacher", sort=False), strict=True):
        rows = rows.assign(text=[short(row).replace(" ", "\n", 1) for row in rows.itertuples()])
        mean, text = (
            rows.pivot(index="temperature", columns="soft_weight", values=name)
            for name in ("mean", "text")
        )
        sns.heatmap(mean, annot=text, fmt="", cmap="vlag_r", center=0, vmin=-limit, vmax=limit,
                    cbar=False, ax=axis, annot_kws={"fontsize": 8})  # fmt: skip
        axis.set_ylabel("temperature")
        best = rows.loc[rows["mean"].idxmax()]
        set_finding(
            axis,
            f"{teacher}: best at weight {best['soft_weight']:g}, temperature "
            f"{best['temperature']:g}; {(rows['low'] > 0).sum()} of {len(rows)} settings clearly "
            "help",
            label=f"weight of the soft loss {sample(rows['n'], level)}",
        )


def loss_against_flops(compared, budgets, arms, axis: Axes, *, level=0.95) -> None:
    """Losses against training FLOPs: the student without a teacher as a line, arms as marks.

    `compared` and `budgets` are tables of `compute.at_equal_flops` and `compute.no_teacher_runs`.
    """
    look = styles(["scratch", *arms])
    mean = budgets.groupby("arm")[["flops", "loss"]].mean().sort_values("flops")
    axis.plot(mean["flops"], mean["loss"], color=look["scratch"].color, zorder=1)
    for _, seeds in budgets.groupby("arm", sort=False):
        seed_marks(axis, seeds["flops"], seeds["loss"], look["scratch"], level)
    axis.annotate("no teacher", (mean["flops"].iloc[-1], mean["loss"].iloc[-1]), **beside("left"))
    known = compared[compared["arm"].isin(arms)].dropna()
    axis.set_xscale("log")
    by_arm = dict(list(known.groupby("arm")["difference"]))
    gains = {arm: paired(-by_arm[arm], level=level) for arm in arms if arm in by_arm}
    sides = {word: [a for a, d in gains.items() if direction(d, SIDES) == word] for word in SIDES}
    words = "; ".join(f"{word}: {' and '.join(a) if len(a) < 3 else f'{len(a)} arms'}"
                      for word, a in sides.items() if a)  # fmt: skip
    numbers = "; ".join(f"{arm}\xa0{short(d)}" for arm, d in gains.items())
    seeds = sample([d.n for d in gains.values()], level)
    axis.set_ylabel(LOSS)
    finding = f"Against no teacher at equal FLOPs, {words}"
    set_finding(axis, finding, f"gains: {numbers} {seeds}", label="training FLOPs")
    named_marks(axis, known, "flops", "loss", look, level)


def gain_by_token(tokens: pd.DataFrame, axis: Axes, *, level=0.95) -> None:
    """`token_losses` of one arm: gain by frequency, where the teacher's guess is right or wrong."""
    tokens = tokens.assign(gain=tokens["loss_without"] - tokens["loss"])
    first_rank = tokens["band"].str.partition("-")[0].astype(int)
    bands = [*tokens["band"][first_rank.sort_values(kind="stable").index].unique()]
    axis.axhline(0, color="0.4", lw=0.8)
    for right, arm, shift in ((True, "normal", -0.12), (False, "strong", 0.12)):
        style = styles([arm])[arm]
        for x, band in enumerate(bands):
            shown = (tokens["band"] == band) & (tokens["teacher_right"] == right)
            seed_marks(axis, x + shift, tokens.loc[shown, "gain"], style, level)
        words = "teacher right" if right else "teacher wrong"
        axis.plot([], [], style.marker, color=style.color, label=words)
    axis.legend(frameon=False, loc="lower left")
    axis.set_xticks(range(len(bands)), bands)
    arm, without = tokens["arm"].iloc[0], tokens["against"].iloc[0]
    axis.set_ylabel(f"gain over {without} (nats)")
    (right, _), (wrong, _) = (gains_by_side(tokens, level=level)[side] for side in (True, False))
    where = "right" if right.mean > wrong.mean else "wrong"
    better = f"{arm} gains more where its teacher is {where}"
    if max(right.mean, wrong.mean) <= 0:
        better = f"{arm} gains on neither side; it loses less where its teacher is {where}"
    numbers = f"right: {short(right)}; wrong: {short(wrong)} {sample(right.n, level)}"
    set_finding(axis, better, numbers,
             label="rank of the true token in the training text")  # fmt: skip
