"""Pre-training of one model; an interrupted run resumes and ends with the same bytes."""

import math
import time
from pathlib import Path
from typing import Any

import torch

from dwt.config.files import digest
from dwt.config.params import Run
from dwt.data.corpus import SPLITS, open_corpus
from dwt.data.progress import Progress
from dwt.training import checkpoint
from dwt.training.batches import batch_at, dropout_seed, masked_per_sequence
from dwt.training.device import prefetch, set_threads, should_compile
from dwt.training.models import build_model, count_parameters, forward_flops
from dwt.training.remapping import remap
from dwt.training.schedule import gap_left, learning_rate_at, weight_at
from dwt.training.step import DeviceBatch, Distiller, batch_to_device
from dwt.training.teacher_states import TeacherStates
from dwt.training.teachers import load_teacher, teacher_digest
from dwt.training.validation import masked_lm_loss

RESUMED = ("step", "teacher_flops", "rows", "timing")  # of a run, with its model and optimizer


def pretrain(
    run: Run, *, directory: str | Path | None = None, device: str | None = None
) -> dict[str, Any]:
    """Train one run, resume it, or find it finished; returns the content of its ``run.json``.

    Parameters
    ----------
    run : Run
    directory : path-like, optional
        By default `run.directory`. It receives a model for transformers' ``from_pretrained``,
        ``history.csv`` (one row per logged step), ``run.json`` (settings, totals, final losses,
        versions, use of the teacher cache) and ``timing.csv``.
    device : str, optional
        By default "cuda" where there is one, else "cpu".

    Raises
    ------
    CorpusError, TeacherError
        Before training: no corpus or teacher, another vocabulary, too little text.
    TrainingError
        Before training: no such device, or `directory` cannot be written. Later: the loss or the
        gradient norm is not finite.
    TypeError
        If `run` is not a `Run`.
    """
    if not isinstance(run, Run):
        raise TypeError(f"expected a Run, found {run!r}; pass `resolve({run!r}, seed)`")
    if device is not None and torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise checkpoint.TrainingError(
            f"device {device!r}: this PyTorch finds no CUDA device; choose 'cpu'"
        )
    directory = Path(directory or run.directory)
    set_threads(run.train["threads"])
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    trainer = _Trainer(run, torch.device(device))
    if record := checkpoint.load_finished_run(directory, trainer.digest):
        return record
    checkpoint.check_writable(directory)
    trainer.resume()
    trainer.train()
    return trainer.finish(directory)


class _Trainer:
    """One run in progress: models, optimizer, rows so far."""

    def __init__(self, run, device):
        self.run, self.device = run, device
        train, self.corpus = run.train, open_corpus(run)
        self.tokens = {split: self.corpus.tokens(split) for split in SPLITS}
        student = build_model(
            run.model, layers=run.layers, vocabulary=self.corpus.vocabulary,
            max_length=train["length"], seed=run.seed,
        )  # fmt: skip
        teacher: Any = load_teacher(run, self.corpus) if run.teacher else None
        self.copied = remap(teacher, student, depth=run.remap) if run.remap else None
        self.digest = digest([run.settings(), self.corpus.card, teacher_digest(run)])
        self.state = run.root / "build" / "resume" / self.digest
        self.distiller = Distiller(student, teacher, train=train, device=device)
        self.teacher_states = TeacherStates(run, self.distiller)
        self.step, self.rows, self.timing, self.teacher_flops = 0, [], [], 0
        self.gap, self.teacher_loss = 1.0, None  # of an adaptive weight: `gap_left`, held-out loss
        masked = masked_per_sequence(train["length"], train["mask_rate"])
        shape = dict(batch=train["batch"], length=train["length"], masked=masked)
        # A training step costs three forward passes: itself, and two products back for each.
        self.student_step = 3 * forward_flops(student.config, **shape)
        self.teacher_step = forward_flops(teacher.config, **shape) if teacher else 0

    def resume(self):
        """Load the last checkpoint, if there is one."""
        if (state := checkpoint.load_state(self.state, self.device)) is None:
            return
        self.distiller.student.load_state_dict(state["model"])
        self.distiller.optimizer.load_state_dict(state["optimizer"])
        for name in RESUMED:
            setattr(self, name, state[name])

    def _checkpoint(self):
        """Save everything that the next step depends on."""
        state = {name: getattr(self, name) for name in RESUMED}
        state["model"] = self.distiller.student.state_dict()
        state["optimizer"] = self.distiller.optimizer.state_dict()
        checkpoint.save_state(self.state, state)

    def _compile(self):
        """Compile the student now and the teacher at its first forward pass, where that pays."""
        torch.compiler.reset()  # drops what an earlier run in this process compiled
        setting, steps = self.run.train["compile"], self.run.train["steps"]
        student, teacher = (
            should_compile(setting, flops=each * steps, device=self.device.type)
            for each in (self.student_step, self.teacher_step)
        )
        if student:
            self.distiller.compile("student", self._draw(0))
        self.teacher_states.start(compile_teacher=teacher)

    def train(self):
        """Train from the current step to the last."""
        train, run = self.run.train, self.run
        self._compile()
        steps_to_keep = {round(share * train["steps"]) for share in train["keep"]}
        before = self.timing[-1]["seconds"] if self.timing else 0.0
        started = time.perf_counter()
        progress = Progress(f"{run.arm}, seed {run.seed}", train["steps"], start=self.step)
        if self.step == 0:
            start = self._loss_on("heldout", train["evaluate_sequences"])
            zero = dict.fromkeys(("step", "tokens", "student_flops", "teacher_flops"), 0)
            self.rows.append({**zero, "heldout_loss": start})
        self._update_gap()
        for step, batch in prefetch(self._draw, self.step, train["steps"]):
            last = step + 1 == train["steps"]
            logged = (step + 1) % train["log_every"] == 0 or last
            row = self._train_step(step, batch, log=logged)
            self.step = step + 1
            if row is not None:
                if self.step % train["evaluate_every"] == 0 or last:
                    row["heldout_loss"] = self._loss_on("heldout", train["evaluate_sequences"])
                self.rows.append(row)
                self._update_gap()
                seconds = before + time.perf_counter() - started
                self.timing.append({"step": self.step, "seconds": round(seconds, 3)})
                progress.update(self.step, loss=row["hard"])
            if self.step in steps_to_keep:  # for fine-tuning later
                folder = self.state / "checkpoints" / f"checkpoint-{self.step}"
                self.distiller.student.save_pretrained(folder)
            if self.step % train["checkpoint_every"] == 0 and not last:
                self._check_finite()
                self._checkpoint()
        progress.close()

    def _soft_weight(self, step):
        """a_s of Eq. 3 at this step; 0 without a teacher."""
        if self.run.teacher is None:
            return 0.0
        return weight_at(self.run.soft_weight, step / self.run.train["steps"], self.gap)

    def _draw(self, step: int) -> DeviceBatch:
        """The batch of a step on the device, with the teacher's states if they are stored."""
        train = self.run.train
        batch = batch_at(
            self.tokens["train"], self.corpus.vocabulary, seed=self.run.seed, step=step,
            batch=train["batch"], length=train["length"], mask_rate=train["mask_rate"],
        )  # fmt: skip
        states = self.teacher_states.load(step) if self._soft_weight(step) else None
        return batch_to_device(batch, self.device, states)

    def _update_gap(self):
        """Recompute `gap`, on which an adaptive soft weight depends."""
        spec, sequences = self.run.soft_weight, self.run.train["evaluate_sequences"]
        if not (isinstance(spec, dict) and spec["shape"] == "adaptive"):
            return
        if self.teacher_loss is None:
            self.teacher_loss = self._loss_on("heldout", sequences, model=self.distiller.teacher)
        losses = [row["heldout_loss"] for row in self.rows if "heldout_loss" in row]
        self.gap = gap_left(losses, self.teacher_loss)

    def _train_step(self, step: int, batch: DeviceBatch, *, log: bool) -> dict[str, Any] | None:
        """One optimizer step; its row of history.csv if it is logged."""
        run, train = self.run, self.run.train
        lr, soft_weight = learning_rate_at(train, step), self._soft_weight(step)
        if run.model["dropout"]:
            torch.manual_seed(dropout_seed(run.seed, step))
        if soft_weight:
            self.teacher_flops += self.teacher_step
            batch = self.teacher_states.add_to(batch, step)
        else:
            batch = batch._replace(teacher_hidden=None)
        loss, norm = self.distiller.step(
            batch, learning_rate=lr, measure=log, hard_weight=run.hard_weight,
            soft_weight=soft_weight, temperature=run.temperature,
        )  # fmt: skip
        done = step + 1
        self.latest = done, lr, ({"loss": loss.total} if log else {}) | {"gradient norm": norm}
        if not log:
            return None
        self._check_finite()
        return {
            "step": done, "tokens": done * train["batch"] * train["length"], "learning_rate": lr,
            "hard": loss.hard.item(), "soft": loss.soft.item() if soft_weight else math.nan,
            "hard_weight": run.hard_weight, "soft_weight": soft_weight,
            "gradient_norm": norm.item(),
            "gradient_ratio": math.nan if loss.ratio is None else loss.ratio.item(),
            "gradient_cosine": math.nan if loss.cosine is None else loss.cosine.item(),
            "student_flops": done * self.student_step, "teacher_flops": self.teacher_flops,
        }  # fmt: skip

    def _check_finite(self):
        """Raise on a NaN or infinity; at rows and checkpoints only, to avoid GPU syncs."""
        step, lr, values = self.latest
        if wrong := [f"{k} is {v.item()}" for k, v in values.items() if not v.isfinite()]:
            state = self.state / "state.pt"
            good = f"the last checkpoint is {state}" if state.is_file() else "no checkpoint yet"
            raise checkpoint.TrainingError(
                f"{self.run.arm}, seed {self.run.seed}: the {wrong[0]} by step {step}, learning "
                f"rate {lr:.3g}; {good}. Lower train.learning_rate or train.clip (params.yaml)"
            )

    def _loss_on(self, split: str, sequences: int, model: Any = None) -> float:
        return masked_lm_loss(
            model or self.distiller.student, self.tokens[split], self.corpus.vocabulary,
            sequences=sequences, train=self.run.train, device=self.device,
        )  # fmt: skip

    def finish(self, directory: Path) -> dict[str, Any]:
        """Write the finished run, then delete the state it resumed from."""
        train, cache, student = self.run.train, self.teacher_states.cache, self.distiller.student
        record = {
            "digest": self.digest, **self.run.settings(), "parameters": count_parameters(student),
            "steps": self.step, "tokens": self.step * train["batch"] * train["length"],
            "student_flops": self.step * self.student_step, "teacher_flops": self.teacher_flops,
            "heldout_loss": self._loss_on("heldout", train["final_sequences"]),
            "out_of_domain_loss": self._loss_on("out-of-domain", train["final_sequences"]),
            "remapped": self.copied, "seconds": self.timing[-1]["seconds"],
            "compiled": sorted(self.distiller.compiled),
            "teacher_cache": cache and cache.report(),
            "device": torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu",
        }  # fmt: skip
        return checkpoint.save_run(
            directory, record, model=student, tokenizer=self.corpus.tokenizer(),
            rows=self.rows, timing=self.timing, state=self.state,
        )  # fmt: skip
