"""Figures over training: held-out losses, gains, gradients and weights of the soft loss."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dwt.analysis.comparisons import crossings, gain
from dwt.analysis.plot_style import LOSS, mean_lines, sample, set_finding, styles
from dwt.analysis.stats import short
from dwt.analysis.tables import by_step, losses, with_rows
from dwt.analysis.wording import SIDES, direction

STEP = "step (labels: weight of the soft loss)"


def loss_curves(runs: pd.DataFrame, curves: pd.DataFrame, arms, axis: Axes, *, level=0.95) -> None:
    """Held-out loss over training: the mean and every seed of the arms that were run."""
    arms = with_rows(runs, arms)
    loss = losses(runs)[arms]
    _mean_curves(axis, by_step(curves, arms), curves)
    axis.set_ylabel(LOSS)
    best, second = loss.mean().sort_values().index[:2]
    d = gain(loss, best, second, level=level)
    numbers = f"gain over {second} {short(d)} {sample(d.n, level)}"
    set_finding(axis, f"{best} ends lowest, before {second}", numbers, label=STEP)


def gain_curves(runs: pd.DataFrame, curves: pd.DataFrame, arms, axis: Axes, *, level=0.95) -> None:
    """Gain of the arms after the second over it, with a tick where a seed's curves cross."""
    _, base, *others = with_rows(runs, arms, 3)
    wide, loss, look = by_step(curves, [base, *others]), losses(runs), styles(curves["arm"])
    axis.axhline(0, color="0.4", lw=0.8)
    _mean_curves(axis, -wide[others].sub(wide[base], axis=0), curves)
    axis.set_ylabel(f"gain over {base} (nats)")
    gains = {arm: gain(loss, arm, base, level=level) for arm in others}
    ends = {}
    for arm, d in gains.items():
        steps = crossings(curves, arm, base)
        axis.plot(steps, np.zeros(len(steps)), "|", color=look[arm].color, ms=14, mew=1.5)
        ends.setdefault(direction(d, SIDES), []).append(arm)
    parts = ", ".join(f"{' and '.join(group)} {word}" for word, group in ends.items())
    numbers = "; ".join(f"{arm}\xa0{short(d)}" for arm, d in gains.items())
    seeds = sample([d.n for d in gains.values()], level)
    set_finding(axis, f"At the end, against {base}: {parts}", f"{numbers} {seeds}", label=STEP)


def effective_weight(curves: pd.DataFrame, arms, axes) -> None:
    """Soft against hard gradient at the logits over training: their ratio and their cosine."""
    names = {
        "gradient_ratio": "soft / hard gradient norm",
        "gradient_cosine": "cosine of soft and hard gradient",
    }
    for axis, (column, name), rest in zip(axes, names.items(), (1, 0), strict=True):
        axis.axhline(rest, color="0.4", lw=0.8)
        means = _mean_curves(axis, by_step(curves, arms, column), curves)
        axis.set_ylabel(name)
        ends = {arm: means[arm].dropna().iloc[[0, -1]] for arm in means}
        fall = sum(last < first for first, last in ends.values())
        moved = ", ".join(f"{arm} {first:.2f} → {last:.2f}" for arm, (first, last) in ends.items())
        finding = f"{name.capitalize()} falls over training in {fall} of {len(ends)} arms"
        numbers = f"first → last step, mean of seeds: {moved}".replace("-0", "−0")
        set_finding(axis, finding, numbers, label=STEP)


def weights_over_training(curves: pd.DataFrame, arms, axis: Axes) -> None:
    """The soft weight at each logged step of every seed, as an adaptive schedule set it."""
    arms = [arm for arm in arms if (curves["arm"] == arm).any()]
    if not arms:
        axis.set_axis_off()
        return
    look = styles(["normal", *arms])
    for arm in arms:
        seeds = by_step(curves, [arm], "soft_weight")[arm].unstack("seed")
        axis.plot(seeds.index, seeds, color=look[arm].color, ls=look[arm].linestyle, lw=1)
        axis.plot([], [], color=look[arm].color, ls=look[arm].linestyle, label=arm)
    axis.legend(frameon=False)
    axis.set_ylabel("weight of the soft loss")
    last = curves.loc[curves["arm"].isin(arms) & (curves["soft_weight"] > 0), "step"].max()
    set_finding(axis, f"Adaptive weights are 0 after step {last} at the latest", label="step")


def _mean_curves(axis, wide, curves):
    """As `dwt.analysis.plot_style.mean_lines`, with the soft weight beside the name."""
    texts = []
    for arm in wide:
        weight = curves.loc[curves["arm"] == arm, "soft_weight"].dropna().iloc[[0, -1]].round(1)
        weights = " → ".join(dict.fromkeys(f"{w:g}" for w in weight if w))
        texts.append(f"{arm} ({weights})" if weights else arm)
    return mean_lines(axis, wide, styles(curves["arm"]), texts)
