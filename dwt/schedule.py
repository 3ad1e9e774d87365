"""How strongly does the teacher speak at this point of training?"""

import math


def weight_at(spec, progress):
    """Soft-loss weight at a point of training.

    Parameters
    ----------
    spec : float or dict
        A constant, or ``{"from": 4, "to": 1, "shape": "linear", "until": 1.0}``: moves from
        ``from`` at progress 0 to ``to`` at progress ``until`` and stays there. ``shape`` is
        linear, cosine, exponential (geometric) or step (jumps at ``until``).
    progress : float
        Fraction of the run that is done, in [0, 1].

    Raises
    ------
    ValueError
        If progress is outside [0, 1] or the shape is unknown.
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be in [0, 1], found {progress}")
    if not isinstance(spec, dict):
        return float(spec)
    start, end, shape = spec["from"], spec["to"], spec.get("shape", "linear")
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
        f"unknown schedule shape '{shape}'; choose linear, cosine, exponential or step"
    )
