"""How is one model pre-trained, alone or taught by a weaker one?

A killed run goes on from its last checkpoint and ends with the same bytes as one never stopped.
"""

import math
import time
from pathlib import Path

import numpy as np
import torch

from dwt.config.files import digest
from dwt.config.params import resolve
from dwt.data.corpus import SPLITS, build_corpus
from dwt.data.progress import Progress
from dwt.training.batches import masked_per_sequence
from dwt.training.checkpoint import load_finished_run, load_state, save_run, save_state
from dwt.training.device import ahead, set_threads, should_compile
from dwt.training.lessons import Lessons, TrainingError, open_corpus
from dwt.training.models import build_model, count_parameters, forward_flops
from dwt.training.remapping import remap
from dwt.training.schedule import gap_left
from dwt.training.step import Engine, learning_rate_at
from dwt.training.teachers import load_teacher, teacher_directory, weights_digest
from dwt.training.validation import masked_lm_loss


def pretrain(run, *, directory=None, device=None):
    """Train one run, or go on with it, or find it done.

    Parameters
    ----------
    run : dwt.config.params.Run
    directory : path-like, optional
        By default `run.directory`. It receives a model for transformers' ``from_pretrained``,
        ``history.csv`` (one row per logged step), ``run.json`` (settings, totals, final losses,
        versions, use of the teacher cache) and ``timing.csv``.
    device : str, optional
        By default "cuda" where there is one, else "cpu".

    Returns
    -------
    dict
        The content of ``run.json``.

    Raises
    ------
    TrainingError
        At once: no corpus or teacher, another vocabulary, little text. Later: loss not finite.
    """
    directory = Path(directory or run.directory)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    set_threads(run.train["threads"])
    job = _Job(run, device)
    if record := load_finished_run(directory, job.digest):
        return record
    job.resume()
    job.train()
    return job.finish(directory)


def prepare(run, params):
    """Make the corpus and the teacher of a run where missing: for a notebook of a fresh clone."""
    if not (run.corpus_directory / "card.json").is_file():
        sources = params.settings.corpus.model_dump(exclude_none=True)
        build_corpus(
            sources, directory=run.corpus_directory, root=params.root,
            length=run.train["length"], name=f"params.yaml: scales.{run.scale}.corpus",
        )  # fmt: skip
    if run.teacher_directory is not None:
        pretrain(resolve(run.teacher, run.seed, params))


class _Job:
    """One run in progress: models, optimizer, rows so far."""

    def __init__(self, run, device):
        self.run, self.device, self.train_settings = run, device, run.train
        train, self.corpus = run.train, open_corpus(run)
        self.tokens = {split: self.corpus.tokens(split) for split in SPLITS}
        student = build_model(
            run.model, layers=run.layers, vocabulary=self.corpus.vocabulary,
            max_length=train["length"], pad=self.corpus.pad_id, seed=run.seed,
        )  # fmt: skip
        teacher = load_teacher(run, self.corpus) if run.teacher else None
        self.copied = remap(teacher, student, depth=run.remap) if run.remap else None
        taught_by = weights_digest(teacher_directory(run)) if run.teacher_directory else None
        self.digest = digest([run.settings(), self.corpus.card, taught_by])
        self.state = run.root / "build" / "resume" / self.digest
        self.engine = Engine(student, teacher, train=train, device=device)
        self.lessons = Lessons(run, self.corpus, self.engine)
        self.step, self.rows, self.timing, self.teacher_flops = 0, [], [], 0
        self.teacher_loss = None  # on held-out text, where an adaptive weight needs it
        masked = masked_per_sequence(train["length"], train["mask_rate"])
        shape = dict(batch=train["batch"], length=train["length"], masked=masked)
        # A training step costs three forward passes: itself, and two products back for each.
        self.student_step = 3 * forward_flops(student.config, **shape)
        self.teacher_step = forward_flops(teacher.config, **shape) if teacher else 0

    def resume(self):
        """Take up the last checkpoint, if there is one."""
        if (state := load_state(self.state, self.device)) is None:
            return
        self.engine.student.load_state_dict(state["model"])
        self.engine.optimizer.load_state_dict(state["optimizer"])
        self.step, self.teacher_flops = state["step"], state["teacher_flops"]
        self.rows, self.timing = state["rows"], state["timing"]

    def _checkpoint(self):
        """Write all that the next step depends on."""
        state = dict(
            model=self.engine.student.state_dict(), optimizer=self.engine.optimizer.state_dict(),
            step=self.step, teacher_flops=self.teacher_flops, rows=self.rows, timing=self.timing,
        )  # fmt: skip
        save_state(self.state, state)

    def _compile(self):
        """Compile the student now and the teacher when it is first asked, where that pays."""
        torch.compiler.reset()  # what an earlier run in this process compiled is of no use
        setting, steps = self.train_settings["compile"], self.train_settings["steps"]
        student, teacher = (
            should_compile(setting, flops=each * steps, device=self.device.type)
            for each in (self.student_step, self.teacher_step)
        )
        if student:
            self.engine.compile("student", self.lessons.draw(0))
        self.lessons.start(compile_teacher=teacher)

    def train(self):
        """From the current step to the last."""
        train, run = self.train_settings, self.run
        self._compile()
        kept = {round(share * train["steps"]) for share in train["keep"]}
        before = self.timing[-1]["seconds"] if self.timing else 0.0
        started = time.perf_counter()
        progress = Progress(f"{run.arm}, seed {run.seed}", train["steps"], start=self.step)
        if self.step == 0:
            start = self._loss_on("heldout", train["evaluate_sequences"])
            zero = dict.fromkeys(("step", "tokens", "student_flops", "teacher_flops"), 0)
            self.rows.append({**zero, "heldout_loss": start})
        self._watch_the_gap()
        for step, batch in ahead(self.lessons.draw, self.step, train["steps"]):
            last = step + 1 == train["steps"]
            logged = (step + 1) % train["log_every"] == 0 or last
            row = self._one_step(step, batch, log=logged)
            self.step = step + 1
            if logged:
                if self.step % train["evaluate_every"] == 0 or last:
                    row["heldout_loss"] = self._loss_on("heldout", train["evaluate_sequences"])
                self.rows.append(row)
                self._watch_the_gap()
                seconds = before + time.perf_counter() - started
                self.timing.append({"step": self.step, "seconds": round(seconds, 3)})
                progress.update(self.step, loss=row["hard"])
            if self.step in kept:  # a checkpoint that stays, to be fine-tuned later
                self.engine.student.save_pretrained(self.state / "kept" / f"checkpoint-{self.step}")
            if self.step % train["checkpoint_every"] == 0 and not last:
                self._check_finite()
                self._checkpoint()
        progress.close()

    def _watch_the_gap(self):
        """Tell an adaptive soft weight how far the student still is behind its teacher."""
        spec, sequences = self.run.soft_weight, self.train_settings["evaluate_sequences"]
        if not (isinstance(spec, dict) and spec["shape"] == "adaptive"):
            return
        if self.teacher_loss is None:
            self.teacher_loss = self._loss_on("heldout", sequences, model=self.engine.teacher)
        seen = [row["heldout_loss"] for row in self.rows if "heldout_loss" in row]
        self.lessons.gap = gap_left(seen, self.teacher_loss)

    def _one_step(self, step, batch, *, log):
        """One optimizer step; the row that describes it if it is to be logged."""
        run, train, engine = self.run, self.train_settings, self.engine
        lr, soft_weight = learning_rate_at(train, step), self.lessons.soft_weight(step)
        if run.model["dropout"]:
            torch.manual_seed(_dropout_seed(run.seed, step))
        if soft_weight:  # a silent teacher costs nothing
            self.teacher_flops += self.teacher_step
            batch = self.lessons.teach(step, batch)
        else:
            batch = batch._replace(taught=None)
        loss, norm = engine.step(
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
        """Looked at when a row or a checkpoint is written: the device need not wait each step."""
        step, lr, values = self.latest
        for name, value in values.items():
            if math.isfinite(value.item()):
                continue
            state = self.state / "state.pt"
            good = (
                f"the last good checkpoint is {state}" if state.is_file() else "no checkpoint yet"
            )
            raise TrainingError(
                f"{self.run.arm}, seed {self.run.seed}: the {name} is {value.item()} by step "
                f"{step}, learning rate {lr:.3g}; {good}. Lower train.learning_rate or "
                "train.clip (params.yaml)"
            )

    def _loss_on(self, split, sequences, model=None):
        return masked_lm_loss(
            model or self.engine.student, self.tokens[split], self.corpus.vocabulary,
            sequences=sequences, train=self.train_settings, device=self.device,
        )  # fmt: skip

    def finish(self, directory):
        """Write the finished run in one go, then drop what resuming needed."""
        train, cache = self.train_settings, self.lessons.cache
        many = train["final_sequences"]
        record = {
            "digest": self.digest, **self.run.settings(),
            "parameters": count_parameters(self.engine.student),
            "steps": self.step, "tokens": self.step * train["batch"] * train["length"],
            "student_flops": self.step * self.student_step, "teacher_flops": self.teacher_flops,
            "heldout_loss": self._loss_on("heldout", many),
            "out_of_domain_loss": self._loss_on("out-of-domain", many),
            "remapped": self.copied, "seconds": self.timing[-1]["seconds"],
            "compiled": sorted(self.engine.compiled),
            "teacher_cache": cache and cache.report()._asdict(),
            "device": torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu",
        }  # fmt: skip
        return save_run(
            directory, record, model=self.engine.student, tokenizer=self.corpus.tokenizer(),
            rows=self.rows, timing=self.timing, state=self.state,
        )  # fmt: skip


def _dropout_seed(seed, step):
    """Dropout, too, is a function of (seed, step), so a resumed run draws the same."""
    return int(np.random.SeedSequence([2, seed, step]).generate_state(1)[0])
