"""The objective of distillation from a weak teacher.

L = a_h H(q, p) + a_s S(p_teacher, p_student)                     (Lee et al. 2023, Eq. 3)

Training uses `linear_dwt_loss`, with gradients of its own: change it together with `dwt_loss`.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class DWTLoss(NamedTuple):
    """`total` is weighted, `hard` and `soft` are not; all scalars, nats per masked token.

    `ratio` and `cosine` are the effective weight, where it was measured: the norm of the weighted
    soft gradient at the logits over that of the weighted hard one, and the cosine between them.
    """

    total: Tensor
    hard: Tensor
    soft: Tensor
    ratio: Tensor | None = None
    cosine: Tensor | None = None


def dwt_loss(
    student_logits: Tensor, teacher_logits: Tensor | None, targets: Tensor, *,
    hard_weight: float = 1.0, soft_weight: float = 1.0, temperature: float = 1.0,
) -> DWTLoss:  # fmt: skip
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
        log_target=True, reduction="batchmean",
    )  # fmt: skip
    return DWTLoss(hard_weight * hard + soft_weight * soft, hard, soft)


class _LinearDWT(torch.autograd.Function):
    """The objective from hidden states, with its gradients computed in the forward pass."""

    @staticmethod
    def forward(ctx, hidden, weight, bias, teacher, targets, settings):
        hard_weight, soft_weight, tau, chunk_size, values, measure = settings
        n, real = len(targets), _float(hidden[:0]).dtype
        # dL/dlogits = a_h (p - y) + a_s tau (p_tau - q) = scale (eta (p - y) + kappa (p_tau - q)),
        # with eta + kappa = 1; the scale is applied to the small products afterwards.
        if teacher is None:
            soft_weight = 0.0
        scale = hard_weight + soft_weight * tau
        eta, kappa = (w / scale if scale else 0.0 for w in (hard_weight, soft_weight * tau))
        head = weight.to(hidden.dtype)
        hard, soft, hh, ss, hs = hidden.new_zeros(5, dtype=real).unbind()
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=real)
        d_bias = None if bias is None else torch.zeros_like(bias, dtype=real)
        # All chunks share memory: on a CPU, allocating it costs as much as computing in it.
        size = (min(n, chunk_size), len(weight))
        needed = 2 + (teacher is not None) + (tau != 1)
        buffers = [hidden.new_empty(size, dtype=real) for _ in range(needed)]
        for start in range(0, n, chunk_size):
            part = slice(start, start + chunk_size)
            y = targets[part]
            rows = torch.arange(len(y), device=y.device)
            z, p, *others = (b[: len(y)] for b in buffers)  # [C, V]; z: first the teacher's
            p_tau = others.pop() if tau != 1 else p
            if teacher is not None:
                q = others.pop()
                _softmax_of(teacher[0][part], teacher[1], teacher[2], tau, logits=z, out=q)
                if values:
                    soft = soft + (_dot(q, z) - _log_sum(z, q).sum())  # sum of q log q
            _softmax_of(hidden[part], head, bias, 1, logits=z, out=p)
            if values:
                hard = hard + (_log_sum(z, p) - z[rows, y]).sum()
            if teacher is not None:
                if tau != 1:
                    torch.softmax(z.div_(tau), -1, out=p_tau)
                if values:
                    soft = soft - (_dot(q, z) - _log_sum(z, p_tau).sum())  # sum of q log p
                if measure:
                    pull = torch.sub(p_tau, q, out=z)
                    hh = hh + _dot(p, p) - (2 * p[rows, y] - 1).sum()  # |p - y|^2
                    ss = ss + _dot(pull, pull)
                    hs = hs + _dot(p, pull) - pull[rows, y].sum()
                if tau == 1:
                    p.sub_(q, alpha=kappa)
                else:
                    p.mul_(eta).add_(p_tau.sub_(q), alpha=kappa)
            p[rows, y] -= eta
            if bias is not None:
                d_bias += p.sum(0)
            grad = p.to(hidden.dtype)
            torch.mm(grad, head, out=d_hidden[part])
            if grad.dtype == real:
                d_weight.addmm_(grad.T, hidden[part])
            else:
                d_weight += grad.T @ hidden[part]
        each = scale / n
        d_hidden.mul_(each)
        d_weight = d_weight.mul_(each).to(weight.dtype)
        d_bias = None if d_bias is None else d_bias.mul_(each).to(bias.dtype)
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        hard, soft = (x / n if values else x + math.nan for x in (hard, soft * tau**2))
        ratio = soft_weight * tau * ss.sqrt() / (hard_weight * hh.sqrt())  # inf where a_h is 0
        cosine = hs / (hh * ss).sqrt()
        ctx.mark_non_differentiable(hard, soft, ratio, cosine)
        return hard_weight * hard + soft_weight * soft, hard, soft, ratio, cosine

    @staticmethod
    @once_differentiable
    def backward(ctx, d_total, *_):
        # In place, as [V, D] is large; a second backward pass is then refused by autograd.
        grads = [None if d is None else d.mul_(d_total) for d in ctx.saved_tensors]
        return *grads, None, None, None


def _softmax_of(hidden, weight, bias, tau, *, logits, out):
    """softmax((W h + b) / tau) into `out`, logits over tau into `logits`; both [C, V]."""
    if hidden.dtype == logits.dtype:
        torch.mm(hidden, weight.T, out=logits)
    else:
        logits.copy_(hidden @ weight.T)
    if bias is not None:
        logits.add_(bias)
    if tau != 1:
        logits.div_(tau)
    torch.softmax(logits, -1, out=out)


def _dot(a, b):
    return torch.dot(a.flatten(), b.flatten())


def _log_sum(logits, p):
    """Log of the softmax's denominator, [C]; the largest p is at least 1/V, so its log is safe."""
    return logits.amax(-1) - p.amax(-1).log()


def linear_dwt_loss(
    student_hidden: Tensor, student_head: nn.Linear, teacher_hidden: Tensor | None,
    teacher_head: nn.Linear | None, targets: Tensor, *, hard_weight: float = 1.0,
    soft_weight: float = 1.0, temperature: float = 1.0, chunk_size: int | None = None,
    values: bool = True, measure: bool = False,
) -> DWTLoss:  # fmt: skip
    """`dwt_loss` from hidden states, without holding all logits at once.

    Output layer, both losses and their gradients are computed chunk by chunk in the forward
    pass, so that nothing larger than [chunk_size, V] exists and the backward pass is a scaling.
    Only ``total`` has a gradient. Raises as `dwt_loss` does.

    Parameters
    ----------
    student_hidden : Tensor, [N, D]
        Input of the student's output layer; see `dwt.training.models.hidden_at`.
    student_head : torch.nn.Linear
        Weight [V, D], bias [V] or None.
    teacher_hidden, teacher_head : Tensor [N, D_t] and torch.nn.Linear, or None and None
        The widths D and D_t may differ, the vocabulary may not. No gradient flows to them.
    targets : Tensor of int64, [N]
    hard_weight, soft_weight, temperature : float
        As in `dwt_loss`.
    chunk_size : int, optional
        Rows of logits held at a time. Each chunk reads and writes a gradient of [V, D], so by
        default D rows, but 128 to 512; 2,048 on CUDA, where small products are slow.
    values : bool
        False returns NaN for the losses and saves six passes over the logits; the gradients are
        the same. For steps that are not logged.
    measure : bool
        Whether to return the effective weight as well: three more passes over the logits.
    """
    _check(hard_weight, soft_weight, temperature)
    if (teacher_hidden is None) != (teacher_head is None):
        raise ValueError("give teacher_hidden and teacher_head, or neither")
    teacher = None
    if teacher_hidden is not None and teacher_head is not None:
        if len(teacher_head.weight) != len(student_head.weight):
            raise ValueError(
                f"student and teacher have {len(student_head.weight)} and "
                f"{len(teacher_head.weight)} tokens; they must share one vocabulary"
            )
        parts = teacher_hidden, teacher_head.weight, teacher_head.bias
        teacher = [None if x is None else x.detach() for x in parts]
        teacher[1] = teacher[1].to(teacher_hidden.dtype)
    measure = measure and teacher is not None
    default = 2048 if student_hidden.is_cuda else min(512, max(128, student_hidden.shape[1]))
    chunk_size = chunk_size or default
    settings = (hard_weight, soft_weight, temperature, chunk_size, values, measure)
    loss = _LinearDWT.apply(
        student_hidden, student_head.weight, student_head.bias, teacher, targets, settings
    )
    return DWTLoss(*loss) if measure else DWTLoss(*loss[:3])


def _check(hard_weight, soft_weight, temperature):
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, found {temperature}")
    if hard_weight < 0 or soft_weight < 0:
        raise ValueError(f"weights must be at least 0, found {hard_weight=}, {soft_weight=}")


def _float(logits):
    return logits if logits.dtype == torch.float64 else logits.float()
