"""What does a student of a weak teacher minimise?

L = a_h H(q, p) + a_s S(p_teacher, p_student)                     (Lee et al. 2023, Eq. 3)
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F


class DWTLoss(NamedTuple):
    """`total` is weighted, `hard` and `soft` are not; all scalars, nats per masked token."""

    total: torch.Tensor
    hard: torch.Tensor
    soft: torch.Tensor


def dwt_loss(
    student_logits, teacher_logits, targets, *, hard_weight=1.0, soft_weight=1.0, temperature=1.0
):
    """The objective of distillation from a weak teacher, over masked positions.

    Parameters
    ----------
    student_logits : Tensor, [N, V]
        At the N masked positions.
    teacher_logits : Tensor, [N, V], or None
        None means no teacher: the soft loss is 0.
    targets : Tensor of int64, [N]
        The true tokens.
    hard_weight, soft_weight : float
        a_h and a_s of Eq. 3.
    temperature : float
        tau of Eq. 2, above 0.

    Returns
    -------
    DWTLoss
        Means over N in float32 (float64 for float64 logits), whatever the type of the logits.
        ``soft = tau^2 KL(teacher || student)`` of the softened distributions: exactly Eq. 2 at
        tau = 1; the tau^2 keeps its gradient's size as tau changes (Hinton et al. 2015).

    Raises
    ------
    ValueError
        If the shapes differ, a weight is negative or the temperature is not above 0.
    """
    _check(hard_weight, soft_weight, temperature)
    if student_logits.ndim != 2 or targets.shape != student_logits.shape[:1]:
        raise ValueError(
            f"expected logits [N, V] and targets [N], found {tuple(student_logits.shape)} "
            f"and {tuple(targets.shape)}"
        )
    student = _float(student_logits)
    hard = F.cross_entropy(student, targets)
    if teacher_logits is None:
        return DWTLoss(hard_weight * hard, hard, torch.zeros_like(hard))
    if teacher_logits.shape != student_logits.shape:
        raise ValueError(
            f"student and teacher logits differ in shape: {tuple(student_logits.shape)} and "
            f"{tuple(teacher_logits.shape)}; they must share one vocabulary"
        )
    soft = temperature**2 * F.kl_div(
        F.log_softmax(student / temperature, dim=-1),
        F.log_softmax(_float(teacher_logits) / temperature, dim=-1),
        log_target=True,
        reduction="batchmean",
    )
    return DWTLoss(hard_weight * hard + soft_weight * soft, hard, soft)


class _LinearDWT(torch.autograd.Function):
    """The objective from hidden states, with its gradients made in the forward pass."""

    @staticmethod
    def forward(ctx, hidden, weight, bias, teacher, targets, settings):
        hard_weight, soft_weight, tau, chunk_size = settings
        n = len(targets)
        real = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        head, hard, soft = weight.to(hidden.dtype), 0.0, hidden.new_zeros((), dtype=real)
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=real)
        d_bias = None if bias is None else torch.zeros_like(bias, dtype=real)
        for start in range(0, n, chunk_size):
            part = slice(start, start + chunk_size)
            logits = F.linear(hidden[part], head).to(real)  # [C, V]
            if bias is not None:
                logits += bias.to(real)
            log_p = logits.log_softmax(-1)
            rows = torch.arange(len(log_p), device=log_p.device)
            hard = hard - log_p[rows, targets[part]].sum()
            grad = log_p.exp().mul_(hard_weight / n)  # dL/dlogits, built up in place
            grad[rows, targets[part]] -= hard_weight / n
            if teacher is not None:
                t_hidden, t_weight, t_bias = (None if t is None else t.detach() for t in teacher)
                t_logits = F.linear(t_hidden[part], t_weight.to(t_hidden.dtype)).to(real)
                if t_bias is not None:
                    t_logits += t_bias.to(real)
                log_p = log_p if tau == 1 else (logits / tau).log_softmax(-1)
                log_q = (t_logits / tau).log_softmax(-1)
                q = log_q.exp()
                soft = soft + tau**2 * torch.dot(q.flatten(), (log_q - log_p).flatten())
                grad.add_(log_p.exp_().sub_(q), alpha=soft_weight * tau / n)
            grad = grad.to(hidden.dtype)
            torch.mm(grad, head, out=d_hidden[part])
            d_weight += grad.T @ hidden[part]
            if bias is not None:
                d_bias += grad.sum(0)
        ctx.save_for_backward(d_hidden, d_weight.to(weight.dtype), d_bias)
        hard, soft = hard / n, soft / n
        ctx.mark_non_differentiable(hard, soft)
        return hard_weight * hard + soft_weight * soft, hard, soft

    @staticmethod
    def backward(ctx, d_total, *_):
        return *(None if d is None else d * d_total for d in ctx.saved_tensors), None, None, None


def linear_dwt_loss(
    student_hidden,
    student_head,
    teacher_hidden,
    teacher_head,
    targets,
    *,
    hard_weight=1.0,
    soft_weight=1.0,
    temperature=1.0,
    chunk_size=1024,
):
    """`dwt_loss` from hidden states, without holding all logits at once.

    Output layer, both losses and their gradients are computed chunk by chunk in the forward
    pass, so that nothing larger than [chunk_size, V] exists and the backward pass is a scaling.

    Parameters
    ----------
    student_hidden : Tensor, [N, D]
        What the student's output layer reads; see `dwt.models.hidden_at`.
    student_head : torch.nn.Linear
        Weight [V, D], bias [V] or None.
    teacher_hidden, teacher_head : Tensor [N, D_t] and torch.nn.Linear, or None and None
        The widths D and D_t may differ, the vocabulary may not. No gradient flows to them.
    targets : Tensor of int64, [N]
    hard_weight, soft_weight, temperature : float
        As in `dwt_loss`.
    chunk_size : int
        Rows of logits held at a time.

    Returns
    -------
    DWTLoss
        Only ``total`` has a gradient.

    Raises
    ------
    ValueError
        As `dwt_loss`.
    """
    _check(hard_weight, soft_weight, temperature)
    teacher = None
    if teacher_hidden is not None:
        if len(teacher_head.weight) != len(student_head.weight):
            raise ValueError(
                f"student and teacher have {len(student_head.weight)} and "
                f"{len(teacher_head.weight)} tokens; they must share one vocabulary"
            )
        teacher = (teacher_hidden, teacher_head.weight, teacher_head.bias)
    settings = (hard_weight, soft_weight, temperature, chunk_size)
    return DWTLoss(
        *_LinearDWT.apply(
            student_hidden, student_head.weight, student_head.bias, teacher, targets, settings
        )
    )


@torch.no_grad()
def effective_weight(
    student_logits, teacher_logits, targets, *, hard_weight=1.0, soft_weight=1.0, temperature=1.0
):
    """How strongly the soft loss really pulls: its gradient at the logits against the hard one's.

    "1 versus 4" means nothing across codebases (temperature, reductions differ); this does.

    Returns
    -------
    ratio, cosine : float
        ``|a_s dS/dz| / |a_h dH/dz|`` (inf where a_h is 0) and the cosine between the two,
        over all N x V logits together.
    """
    student, teacher = _float(student_logits), _float(teacher_logits)
    hard = student.softmax(-1)
    hard[torch.arange(len(targets), device=targets.device), targets] -= 1  # dH/dz x N
    soft = temperature * ((student / temperature).softmax(-1) - (teacher / temperature).softmax(-1))
    hard_norm, soft_norm = hard.norm().item(), soft.norm().item()
    scale = hard_weight * hard_norm
    ratio = soft_weight * soft_norm / scale if scale else math.inf
    product = hard_norm * soft_norm
    return ratio, (hard * soft).sum().item() / product if product else math.nan


def _check(hard_weight, soft_weight, temperature):
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, found {temperature}")
    if hard_weight < 0 or soft_weight < 0:
        raise ValueError(f"weights must be at least 0, found {hard_weight=}, {soft_weight=}")


def _float(logits):
    return logits if logits.dtype == torch.float64 else logits.float()


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
