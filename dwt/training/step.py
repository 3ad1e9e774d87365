"""What is one training step of a student and its teacher?"""

import copy
import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch._functorch import config as functorch

from dwt.training.device import to_device
from dwt.training.loss import DWTLoss, linear_dwt_loss
from dwt.training.models import hidden_at, output_layer

# Compiled code keeps what is dear to compute again for the backward pass, not what is cheap: at the
# paper's shape 1.55 GB instead of 2.46 GB for 64 sequences, in the same time.
ACTIVATIONS = 0.8


class Batch(NamedTuple):
    """`dwt.training.batches.Batch` on a device, and what the teacher said there if that is known."""

    input_ids: torch.Tensor  # [B, L]
    positions: torch.Tensor  # [B, M]
    targets: torch.Tensor  # [B, M]
    taught: torch.Tensor | None = None  # [B * M, D_t]


class Step(NamedTuple):
    """What one step gave; tensors, so that nobody waits for the device."""

    loss: DWTLoss
    gradient_norm: torch.Tensor


class Engine:
    """A student, its optimizer, and perhaps a teacher.

    Parameters
    ----------
    student : PreTrainedModel
        Trained in place.
    teacher : PreTrainedModel or None
        In evaluation mode and without gradients.
    train : dict
        The `train` section: learning_rate, betas, weight_decay, clip, accumulate, precision.
    device : torch.device
    """

    def __init__(self, student, teacher=None, *, train, device):
        self.student, self.teacher, self.train, self.device = student, teacher, train, device
        student.to(device).train()
        if teacher is not None:
            self._teacher_head = self._frozen_head(teacher.to(device))
        self.compiled = set()  # of "student" and "teacher"
        self._hidden = {"student": hidden_at, "teacher": hidden_at}
        decayed = [p for p in student.parameters() if p.ndim >= 2]
        others = [p for p in student.parameters() if p.ndim < 2]  # biases and norms
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": train["weight_decay"]},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=train["learning_rate"], betas=tuple(train["betas"]), fused=True,
        )  # fmt: skip

    def compile(self, which, batch):
        """Compile the forward pass of "student" or "teacher", for batches of this one's shape.

        Where that fails, a warning says why and the model runs as it was.
        """
        self._hidden[which] = torch.compile(hidden_at, dynamic=False)
        try:
            with functorch.patch(activation_memory_budget=ACTIVATIONS):
                if which == "teacher":
                    self.teach(batch)
                else:
                    part = self._parts(batch)[0]._replace(taught=None)
                    self._forward(part, {}, values=False, measure=False).total.backward()
            self.compiled.add(which)
        except Exception as error:  # whatever a missing or broken compiler raises
            self._hidden[which] = hidden_at
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(f"the {which} runs uncompiled: {reason}", stacklevel=2)
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def teach(self, batch):
        """The teacher's hidden states at the masked positions, `[B * M, D_t]`."""
        return torch.cat([self._read("teacher", part) for part in self._parts(batch)])

    def step(self, batch, *, learning_rate, measure=True, **weights):
        """One optimizer step.

        Parameters
        ----------
        batch : Batch
            Its `taught` is None where no teacher speaks.
        learning_rate : float
        measure : bool
            Whether to return losses and the effective weight (of the first micro-batch). Without,
            the losses are not a number, and the step is cheaper.
        **weights
            hard_weight, soft_weight and temperature, as in `dwt.training.loss.dwt_loss`.

        Returns
        -------
        Step
            Losses are means over the global batch.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        parts = self._parts(batch)
        total = hard = soft = 0.0
        pull = ()
        for i, part in enumerate(parts):
            loss = self._forward(part, weights, values=measure, measure=measure and i == 0)
            (loss.total / len(parts)).backward()
            total, hard, soft = (
                old + new.detach() / len(parts)
                for old, new in zip((total, hard, soft), loss[:3], strict=True)
            )
            pull = pull or loss[3:]
        norm = torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.train["clip"])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return Step(DWTLoss(total, hard, soft, *pull), norm)

    def _forward(self, part, weights, **wanted):
        head, taught = output_layer(self.student), part.taught
        teacher_head = None if taught is None else self._teacher_head
        hidden = self._read("student", part)
        targets = part.targets.flatten()
        return linear_dwt_loss(hidden, head, taught, teacher_head, targets, **weights, **wanted)

    def _frozen_head(self, teacher):
        """The teacher's output layer, its weight in the precision of the products.

        Cast in each step, [V, D] would be read and written for nothing.
        """
        head = output_layer(teacher)
        if self.train["precision"] == "bf16":
            head = copy.deepcopy(head)  # a tied one stays as it is in the embeddings
            head.weight = torch.nn.Parameter(head.weight.bfloat16(), requires_grad=False)
        return head

    def _read(self, which, part):
        """What the output layer of "student" or "teacher" reads, `[B * M, D]`.

        In bfloat16 where that is the precision: a last layer norm gives float32 under CUDA's
        autocast, and the product with the vocabulary would be taken in it.
        """
        model = self.student if which == "student" else self.teacher
        with precision(self.train, self.device):
            hidden = self._hidden[which](model, part.input_ids, part.positions)
        return hidden.bfloat16() if self.train["precision"] == "bf16" else hidden

    def _parts(self, batch):
        """The micro-batches of gradient accumulation: rows i, i + parts, ..."""
        many = self.train["accumulate"]
        taught = [None] * many if batch.taught is None else batch.taught.chunk(many)
        return [Batch(*(rows[i::many] for rows in batch[:3]), taught[i]) for i in range(many)]


def on_device(batch, device, taught=None):
    """`dwt.training.batches.Batch`, and stored teacher states if there are any, as a `Batch`."""
    arrays = [to_device(np.ascontiguousarray(a), device) for a in batch]
    return Batch(*arrays, None if taught is None else to_device(taught, device))


def precision(train, device):
    """bfloat16 autocast where `train.precision` asks for it; weights stay float32."""
    return torch.autocast(
        torch.device(device).type, dtype=torch.bfloat16, enabled=train["precision"] == "bf16"
    )


def learning_rate_at(train, step):
    """Linear warm-up over the first `warmup` of the steps, then linear to 0."""
    rise = max(1, round(train["warmup"] * train["steps"]))
    part = min((step + 1) / rise, (train["steps"] - step) / max(1, train["steps"] - rise))
    return train["learning_rate"] * part
