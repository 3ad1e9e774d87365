"""One training step of a student, with or without a teacher."""

import copy
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch._functorch import config as functorch
from transformers import PreTrainedModel

from dwt.training import batches
from dwt.training.device import to_device
from dwt.training.loss import DWTLoss, linear_dwt_loss
from dwt.training.models import hidden_at, output_layer

# Compiled code stores what is costly to recompute in the backward pass, and recomputes the rest: at
# the paper's shape 1.55 GB instead of 2.46 GB for 64 sequences, in the same time.
ACTIVATION_BUDGET = 0.8


class DeviceBatch(NamedTuple):
    """`dwt.training.batches.Batch` on a device, and the teacher's hidden states if known."""

    input_ids: Tensor  # [B, L]
    positions: Tensor  # [B, M]
    targets: Tensor  # [B, M]
    teacher_hidden: Tensor | None = None  # [B * M, D_t]


class StepResult(NamedTuple):
    """Result of one step; tensors, to avoid a GPU sync."""

    loss: DWTLoss
    gradient_norm: Tensor


class Distiller:
    """A student, trained in place, its optimizer, and perhaps a teacher without gradients."""

    def __init__(
        self, student: PreTrainedModel, teacher: Any = None, *, train: Mapping[str, Any],
        device: torch.device,
    ) -> None:  # fmt: skip
        self.student, self.teacher, self.train, self.device = student, teacher, train, device
        student.to(device).train()  # type: ignore[arg-type]  # decorated without its types
        if teacher is not None:
            head = output_layer(teacher.to(device))
            if train["precision"] == "bf16":  # cast once: each cast reads and writes all of [V, D]
                head = copy.deepcopy(head)  # the embeddings keep the weight that is tied to them
                head.weight = torch.nn.Parameter(head.weight.bfloat16(), requires_grad=False)
            self._teacher_head = head
        self.compiled: set[str] = set()  # of "student" and "teacher"
        self._hidden = {"student": hidden_at, "teacher": hidden_at}
        decayed = [p for p in student.parameters() if p.ndim >= 2]
        others = [p for p in student.parameters() if p.ndim < 2]  # biases and norms
        groups: list[dict[str, Any]] = [dict(params=decayed), dict(params=others, weight_decay=0.0)]
        self.optimizer = torch.optim.AdamW(
            groups, lr=train["learning_rate"], betas=tuple(train["betas"]),
            weight_decay=train["weight_decay"], fused=True,
        )  # fmt: skip

    def compile(self, which: str, batch: DeviceBatch) -> None:
        """Compile the "student" or "teacher" for batches of this shape; a failure warns only."""
        self._hidden[which] = torch.compile(hidden_at, dynamic=False)
        try:
            with functorch.patch(activation_memory_budget=ACTIVATION_BUDGET):
                if which == "teacher":
                    self.teacher_hidden(batch)
                else:
                    part = self._micro_batches(batch)[0]._replace(teacher_hidden=None)
                    self._forward(part, {}, values=False, measure=False).total.backward()
            self.compiled.add(which)
        except Exception as error:  # whatever a missing or broken compiler raises
            self._hidden[which] = hidden_at
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(f"the {which} runs uncompiled: {reason}", stacklevel=2)
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def teacher_hidden(self, batch: DeviceBatch) -> Tensor:
        """The teacher's hidden states at the masked positions, `[B * M, D_t]`."""
        return torch.cat([self._read("teacher", part) for part in self._micro_batches(batch)])

    def step(
        self, batch: DeviceBatch, *, learning_rate: float, measure: bool = True, **weights: float
    ) -> StepResult:
        """One optimizer step: of the hard loss alone if `batch` has no `teacher_hidden`.

        `weights` are hard_weight, soft_weight and temperature of `dwt.training.loss.dwt_loss`. The
        losses are means over the global batch. Without `measure` they are not a number, and there
        is no effective weight (else that of the first micro-batch): the step is cheaper.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        parts = self._micro_batches(batch)
        losses: list[list[Any]] = []  # total, hard, soft of each micro-batch
        effective: tuple[Tensor | None, ...] = ()
        for part in parts:
            loss = self._forward(part, weights, values=measure, measure=measure and not losses)
            (loss.total / len(parts)).backward()
            losses.append([value.detach() / len(parts) for value in loss[:3]])
            effective = effective or loss[3:]
        means: list[Any] = [sum(values) for values in zip(*losses, strict=True)]
        norm = torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.train["clip"])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(DWTLoss(*means, *effective), norm)

    def _forward(self, part, weights, **options):
        teacher_head = None if part.teacher_hidden is None else self._teacher_head
        return linear_dwt_loss(
            self._read("student", part), output_layer(self.student), part.teacher_hidden,
            teacher_head, part.targets.flatten(), **weights, **options,
        )  # fmt: skip

    def _read(self, which: str, part: DeviceBatch) -> Tensor:
        """Input of the output layer of "student" or "teacher", `[B * M, D]`."""
        model = self.student if which == "student" else self.teacher
        # A last layer norm gives float32 under CUDA's autocast: cast, for a product in bfloat16.
        with autocast(self.train, self.device):
            hidden = self._hidden[which](model, part.input_ids, part.positions)
        return hidden.bfloat16() if self.train["precision"] == "bf16" else hidden

    def _micro_batches(self, batch: DeviceBatch) -> list[DeviceBatch]:
        """The micro-batches of gradient accumulation: rows i, i + n, i + 2 n, ..."""
        n, (ids, positions, targets, hidden) = self.train["accumulate"], batch
        states = [None] * n if hidden is None else hidden.chunk(n)
        return [DeviceBatch(ids[i::n], positions[i::n], targets[i::n], states[i]) for i in range(n)]


def batch_to_device(
    batch: batches.Batch, device: torch.device | str,
    teacher_hidden: np.ndarray | Tensor | None = None,
) -> DeviceBatch:  # fmt: skip
    """A batch on a device, with stored teacher states `[B * M, D_t]` if there are any."""
    ids, positions, targets = (to_device(np.ascontiguousarray(a), device) for a in batch)
    states = None if teacher_hidden is None else to_device(teacher_hidden, device)
    return DeviceBatch(ids, positions, targets, states)


def autocast(train: Mapping[str, Any], device: torch.device | str) -> torch.autocast:
    """bfloat16 autocast where `train.precision` asks for it; weights stay float32."""
    return torch.autocast(
        torch.device(device).type, dtype=torch.bfloat16, enabled=train["precision"] == "bf16"
    )
