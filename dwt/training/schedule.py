"""Soft-loss weight and learning rate at a point of training.

A new shape of the weight is a branch of `weight_at` and a name in `dwt.config.schema.Schedule`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def weight_at(spec: float | Mapping[str, Any], progress: float, gap: float = 1.0) -> float:
    """Soft-loss weight at a point of training.

    Parameters
    ----------
    spec : float or mapping
        A constant, or ``{"from": 4, "to": 1, "shape": "linear", "until": 1.0}``: moves from
        ``from`` at progress 0 to ``to`` at progress ``until`` and stays there. ``shape`` is
        linear, cosine, exponential (geometric), step (jumps at ``until``), or adaptive: from
        ``from`` to ``to`` as ``gap`` falls from 1 to 0, whatever the progress.
    progress : float
        Fraction of the run that is done, in [0, 1].
    gap : float
        Remaining share of the gap between student and teacher; see `gap_left`.

    Raises
    ------
    ValueError
        If progress is outside [0, 1], the shape is unknown, or ``from`` or ``to`` is missing.
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be in [0, 1], found {progress}")
    if not isinstance(spec, Mapping):
        return float(spec)
    if missing := [key for key in ("from", "to") if key not in spec]:
        raise ValueError(f"a schedule needs 'from' and 'to'; '{missing[0]}' is missing in {spec}")
    start, end, shape = spec["from"], spec["to"], spec.get("shape", "linear")
    if shape == "adaptive":
        return end + (start - end) * gap
    part = min(progress / spec.get("until", 1.0), 1.0)
    if shape == "linear":
        return start + (end - start) * part
    if shape == "cosine":
        return end + (start - end) * (1 + math.cos(math.pi * part)) / 2
    if shape == "exponential":
        return start * (end / start) ** part
    if shape == "step":
        return float(end if part == 1 else start)
    raise ValueError(
        f"unknown schedule shape '{shape}'; choose linear, cosine, exponential, step or adaptive"
    )


def gap_left(student: Sequence[float], teacher: float) -> float:
    """Share of the initial gap in held-out loss that remains, in [0, 1]; it never rises.

    The losses of the student are in order, the first one before training.
    """
    first = student[0] - teacher
    return min(max(0.0, loss - teacher) / first for loss in student) if first > 0 else 0.0


def learning_rate_at(train: Mapping[str, Any], step: int) -> float:
    """Linear warm-up over the first `warmup` of the steps, then linear decay to 0."""
    rise = max(1, round(train["warmup"] * train["steps"]))
    part = min((step + 1) / rise, (train["steps"] - step) / max(1, train["steps"] - rise))
    return train["learning_rate"] * part
