"""How strongly does the teacher speak at this point of training?"""

import math


def weight_at(spec, progress, gap=1.0):
    """Soft-loss weight at a point of training.

    Parameters
    ----------
    spec : float or dict
        A constant, or ``{"from": 4, "to": 1, "shape": "linear", "until": 1.0}``: moves from
        ``from`` at progress 0 to ``to`` at progress ``until`` and stays there. ``shape`` is
        linear, cosine, exponential (geometric), step (jumps at ``until``), or adaptive: from
        ``from`` to ``to`` as ``gap`` falls from 1 to 0, whatever the progress.
    progress : float
        Fraction of the run that is done, in [0, 1].
    gap : float
        Share that is left of the gap between student and teacher; see `gap_left`.

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


def gap_left(student, teacher):
    """Share of the first gap between student and teacher that is left, in [0, 1].

    It never rises: a student that has overtaken its teacher is not taught by it again, however
    its next evaluation comes out.

    Parameters
    ----------
    student : sequence of float
        Its held-out losses so far, in order; the first is that of the student as it starts.
    teacher : float
        The teacher's loss on the same text with the same masks.
    """
    first = student[0] - teacher
    return min(max(0.0, loss - teacher) / first for loss in student) if first > 0 else 0.0
