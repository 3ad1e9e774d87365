"""What does each finding of the extended grid look like?

As `dwt.analysis.plots`: functions of tables that draw on the axes they are given, with titles computed from
the same numbers as the marks.
"""

import math

import numpy as np
import pandas as pd
import seaborn as sns

from dwt.analysis import teacher_gap as evidence
from dwt.analysis.extended_summaries import say_where_it_helps
from dwt.analysis.plot_style import beside, headline, how_sure, label_beyond, mean_and_seeds, styles
from dwt.analysis.stats import paired, signed
from dwt.analysis.summaries import side

LOSS = "held-out loss (nats per masked token)"
WEIGHTS = [f"weight {w}" for w in ("0", "1", "4", "4 to 1", "4 to 0")]  # silent, loud, falling
ROUTE_STYLES = dict(
    zip(evidence.ROUTES, styles(["scratch", "normal", "very-weak"]).values(), strict=True)
)


def squares(rows, axes, *, level=0.95):
    """Loss against the schedule of the soft weight, from either start, a panel a teacher.

    Parameters
    ----------
    rows : DataFrame
        From `dwt.analysis.teacher_gap.crossed`.
    """
    look = dict(zip(("random", "remapped"), styles(["normal", "remapped"]).values(), strict=True))
    for axis, (teacher, cells) in zip(axes, rows.groupby("teacher", sort=False), strict=True):
        order = [weight for weight in WEIGHTS if weight in {*cells["weight"]}]
        for start, style in look.items():
            wide = cells[cells["start"] == start].pivot(
                index="seed", columns="weight", values="heldout_loss"
            )[order]
            axis.plot(range(len(order)), wide.mean(), color=style.color, ls=style.linestyle)
            for x, weight in enumerate(order):
                mean_and_seeds(axis, pd.Series(float(x), wide.index), wide[weight], style, level)
            axis.annotate(start, (0, wide.mean().iloc[0]), (8, 9), textcoords="offset points",
                          color=style.color)  # fmt: skip
        best = cells.groupby(["weight", "start"])["heldout_loss"].mean().idxmin()
        axis.set_xticks(range(len(order)), [w[7:].replace(" to ", "→") for w in order])
        axis.set(xlabel="weight of the soft loss", xlim=(-0.4, len(order) - 0.6))
        headline(axis, f"{teacher}: lowest with {best[0]} from a {best[1]} start "
                       f"({cells['seed'].nunique()} seeds)")  # fmt: skip
    axes[0].set_ylabel(LOSS)


def gain_by_route(points, axis, *, level=0.95):
    """Gain of the soft loss against the teacher's gap, a marker for each route to it."""
    line, off = evidence.one_curve(points, level=level)
    xs = np.array([points["gap"].min(), points["gap"].max()])
    axis.axhline(0, color="0.4", lw=0.8)
    axis.plot(xs, line.intercept + line.slope.mean * xs, color="0.6", lw=1, zorder=1)
    told = points["arm"].nunique() >= evidence.LINE
    if told and xs[0] <= line.gap <= xs[1] and math.isfinite(line.low + line.high):
        axis.axvspan(line.low, line.high, color="0.92", zorder=0)
    for i, arm in enumerate(points.groupby("arm")["gap"].mean().sort_values().index):
        seeds = points[points["arm"] == arm]
        style = ROUTE_STYLES[seeds["route"].iloc[0]]
        mean_and_seeds(axis, seeds["gap"], seeds["gain"], style, level)
        label_beyond(axis, seeds["gap"], seeds["gain"], arm, above=i % 2 == 0, level=level,
                     color=style.color, fontsize=7)  # fmt: skip
    axis.margins(y=0.1)
    for route, style in ROUTE_STYLES.items():
        if (points["route"] == route).any():
            axis.plot([], [], style.marker, color=style.color, label=route)
    axis.legend(frameon=False, loc="lower left")
    axis.set(xlabel="teacher's loss − student's without it (nats)", ylabel="gain (nats)")
    apart = [route for route, d in off.items() if d.low > 0 or d.high < 0]
    said = f"; off the line: {', '.join(apart)}" if apart else "; no route is off the line"
    few = f"{points['arm'].nunique()} arms, too few to locate where the gain ends"
    helps = say_where_it_helps(line, points)
    headline(axis, helps[0].upper() + helps[1:] + said if told else few)


def gains(table, axis, *, against="alone", level=0.95):
    """A mean and interval a row, best first; `table` of `dwt.analysis.teacher_gap.gains`."""
    table = table.sort_values("mean", ascending=False, kind="stable")
    axis.axvline(0, color="0.4", lw=0.8)
    look = styles(table["arm"])
    for y, row in enumerate(table.itertuples()):
        style = look[row.arm]
        axis.plot([row.low, row.high], [y, y], color=style.color)
        axis.plot(row.mean, y, style.marker, color=style.color, mec="w", ms=7)
    axis.set_yticks(range(len(table)), table["arm"])
    axis.set_ylim(len(table) - 0.5, -0.5)
    axis.set_xlabel(f"gain over {against} (nats)")
    helps, harms = table[table["low"] > 0]["arm"], table[table["high"] < 0]["arm"]
    said = [f"{verb}: {', '.join(arms)}" for verb, arms in (("help", helps), ("harm", harms))
            if len(arms)]  # fmt: skip
    words = "; ".join(said).capitalize() or "None is told from no gain"
    headline(axis, f"{words} {how_sure(table['n'], level)}")


def poor_teachers(table, axes, *, level=0.95):
    """Gain over (soft weight, temperature), a panel a teacher.

    Parameters
    ----------
    table : DataFrame
        teacher, soft_weight, temperature, mean, low, high, n.
    """
    limit = table["mean"].abs().max()
    for axis, (teacher, of_teacher) in zip(axes, table.groupby("teacher", sort=False), strict=True):
        by = dict(index="temperature", columns="soft_weight")
        mean = of_teacher.pivot(**by, values="mean")
        low, high = (of_teacher.pivot(**by, values=name) for name in ("low", "high"))
        words = mean.map(signed) + "\n[" + low.map(signed) + ", " + high.map(signed) + "]"
        sns.heatmap(mean, annot=words, fmt="", cmap="vlag_r", center=0, vmin=-limit, vmax=limit,
                    cbar=False, ax=axis, annot_kws={"fontsize": 7})  # fmt: skip
        axis.set(xlabel="weight of the soft loss", ylabel="temperature")
        best = of_teacher.loc[of_teacher["mean"].idxmax()]
        helps = (of_teacher["low"] > 0).sum()
        headline(
            axis,
            f"{teacher}: best {signed(best['mean'])} at weight {best['soft_weight']:g}, "
            f"temperature {best['temperature']:g}; {helps} of {len(of_teacher)} settings help "
            f"{how_sure(of_teacher['n'], level)}",
        )


def at_equal_flops(compared, budgets, arms, axis, *, level=0.95):
    """Losses against operations: the student alone at its budgets, and each arm where it cost."""
    look = styles(["scratch", *arms])
    mean = budgets.groupby("arm")[["flops", "loss"]].mean().sort_values("flops")
    axis.plot(mean["flops"], mean["loss"], color=look["scratch"].color, zorder=1)
    for _, seeds in budgets.groupby("arm", sort=False):
        mean_and_seeds(axis, seeds["flops"], seeds["loss"], look["scratch"], level)
    axis.annotate("alone", (mean["flops"].iloc[-1], mean["loss"].iloc[-1]), **beside("left"))
    said = []
    known = compared[compared["arm"].isin(arms)].dropna()
    dearest = known.groupby("arm")["flops"].mean().sort_values(ascending=False).index
    for i, arm in enumerate(dearest):
        seeds = known[known["arm"] == arm]
        mean_and_seeds(axis, seeds["flops"], seeds["loss"], look[arm], level)
        label_beyond(axis, seeds["flops"], seeds["loss"], arm, above=i % 2 == 0, level=level,
                     color=look[arm].color)  # fmt: skip
    for arm in [arm for arm in arms if arm in dearest]:
        seeds = known[known["arm"] == arm]
        d = paired(seeds["difference"], 0 * seeds["difference"], level=level)
        said.append(f"{arm} {side(d, better='wins', worse='loses', unclear='undecided')} {d.brief}")
    axis.set_xscale("log")
    axis.margins(x=0.1, y=0.12)
    axis.set(xlabel="operations of training", ylabel=LOSS)
    headline(axis, f"At equal operations: {'; '.join(said)}")


def weights_over_training(curves, arms, axis):
    """The soft weight at each logged step, every seed: what an adaptive schedule decided."""
    look = styles(["normal", *arms])
    for arm in arms:
        for _, seed in curves[curves["arm"] == arm].dropna(subset=["soft_weight"]).groupby("seed"):
            axis.plot(seed["step"], seed["soft_weight"], color=look[arm].color,
                      ls=look[arm].linestyle, lw=1)  # fmt: skip
        axis.plot([], [], color=look[arm].color, ls=look[arm].linestyle, label=arm)
    axis.legend(frameon=False)
    axis.set(xlabel="step", ylabel="weight of the soft loss")


def gain_by_token(tokens, axis, *, level=0.95):
    """Gain by frequency band, apart where the teacher's first guess was right and where wrong.

    Parameters
    ----------
    tokens : DataFrame
        One arm of `dwt.analysis.token_gains.gains_by_token`.
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
    axis.legend(frameon=False)
    axis.set_xticks(range(len(bands)), bands)
    axis.set(xlabel="rank of the true token in the training text", ylabel="gain (nats)")
    arm, without = tokens["arm"].iloc[0], tokens["against"].iloc[0]
    by_side = {}
    for right, rows in tokens.groupby("teacher_right"):
        sums = (rows["gain"] * rows["tokens"]).groupby(rows["seed"]).sum()
        mean = sums / rows.groupby("seed")["tokens"].sum()
        by_side[right] = paired(mean, 0 * mean, level=level)
    headline(
        axis,
        f"{arm} over {without}: {by_side[True].brief} where the teacher is right, "
        f"{by_side[False].brief} where it is wrong {how_sure(by_side[True].n, level)}",
    )


def _first_rank(bands):
    return bands.str.partition("-")[0].astype(int)
