"""Figures over training: held-out losses, gains, gradients and weights of the soft loss."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from dwt.analysis.comparisons import by_step, crossings, gain, losses
from dwt.analysis.plot_style import LOSS, headline, mean_lines, sample, styles
from dwt.analysis.wording import direction

STEP = "step (labels: weight of the soft loss)"


def loss_curves(runs: pd.DataFrame, curves: pd.DataFrame, arms, axis: Axes, *, level=0.95) -> None:
    """Held-out loss over training: the mean and every seed."""
    loss = losses(runs)[arms]
    _mean_curves(axis, by_step(curves, arms), curves)
    axis.set_ylabel(LOSS)
    best, second = loss.mean().sort_values().index[:2]
    d = gain(loss, best, second, level=level)
    numbers = f"gain over {second} {d.brief} {sample(d.n, level)}"
    headline(axis, f"{best} ends lowest, before {second}", numbers, label=STEP)


def lead(runs: pd.DataFrame, curves: pd.DataFrame, arms, axis: Axes, *, level=0.95) -> None:
    """Gain of each arm over `arms[1]` over training, with a tick where a seed's curves cross."""
    wide, loss, base, ends, numbers = by_step(curves, arms), losses(runs), arms[1], {}, []
    axis.axhline(0, color="0.4", lw=0.8)
    _mean_curves(axis, -wide[arms[2:]].sub(wide[base], axis=0), curves)
    words = {"better": "better", "worse": "worse", "unclear": "undecided"}
    for arm in arms[2:]:
        steps, look = crossings(curves, arm, base), styles(curves["arm"])[arm]
        axis.plot(steps, np.zeros(len(steps)), "|", color=look.color, ms=14, mew=1.5)
        d = gain(loss, arm, base, level=level)
        ends.setdefault(direction(d, **words), []).append(arm)
        numbers.append(f"{arm}\xa0{d.brief}")
    axis.set_ylabel(f"gain over {base} (nats)")
    numbers = f"at the end {'; '.join(numbers)} {sample(d.n, level)}"
    parts = [f"{' and '.join(group)} {word}" for word, group in ends.items()]
    headline(axis, f"Against {base}: {', '.join(parts)}", numbers, label=STEP)


def effective_weight(curves: pd.DataFrame, arms, axes) -> None:
    """Soft against hard gradient at the logits over training: their ratio and their cosine."""
    names = {"gradient_ratio": "soft / hard gradient norm", "gradient_cosine": "cosine of the two"}
    for axis, (column, name), rest in zip(axes, names.items(), (1, 0), strict=True):
        axis.axhline(rest, color="0.4", lw=0.8)
        means = _mean_curves(axis, by_step(curves, arms, column), curves)
        axis.set_ylabel(name)
        ends = {arm: means[arm].dropna().iloc[[0, -1]] for arm in means}
        fall = sum(last < first for first, last in ends.values())
        moved = ", ".join(f"{arm} {first:.2f} → {last:.2f}" for arm, (first, last) in ends.items())
        finding = f"{name.capitalize()} falls over training in {fall} of {len(ends)} arms"
        numbers = f"first → last step, mean of seeds: {moved}".replace("-0", "−0")
        headline(axis, finding, numbers, label=STEP)


def weights_over_training(curves: pd.DataFrame, arms, axis: Axes) -> None:
    """The soft weight at each logged step of every seed, as an adaptive schedule set it."""
    look = styles(["normal", *arms])
    for arm in arms:
        for _, seed in curves[curves["arm"] == arm].dropna(subset=["soft_weight"]).groupby("seed"):
            axis.plot(seed["step"], seed["soft_weight"], color=look[arm].color,
                      ls=look[arm].linestyle, lw=1)  # fmt: skip
        axis.plot([], [], color=look[arm].color, ls=look[arm].linestyle, label=arm)
    axis.legend(frameon=False)
    axis.set_ylabel("weight of the soft loss")
    last = curves.loc[curves["arm"].isin(arms) & (curves["soft_weight"] > 0), "step"].max()
    headline(axis, f"Adaptive weights are 0 after step {last} at the latest", label="step")


def _mean_curves(axis, wide, curves):
    """As `dwt.analysis.plot_style.mean_lines`, with the soft weight beside the name."""
    texts = []
    for arm in wide:
        weight = curves.loc[curves["arm"] == arm, "soft_weight"].dropna().iloc[[0, -1]].round(1)
        weights = " → ".join(dict.fromkeys(f"{w:g}" for w in weight if w))
        texts.append(f"{arm} ({weights})" if weights else arm)
    return mean_lines(axis, wide, styles(curves["arm"]), texts)
