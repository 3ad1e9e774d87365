"""How is one model pre-trained, alone or taught by a weaker one?

One run writes rows; notebooks read them. A killed run goes on from its last checkpoint and ends
with the same bytes as one that was never stopped.
"""

import json
import math
import os
import platform
import shutil
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dwt.batches import Vocabulary, batch_at, masked_per_sequence, sequences_in
from dwt.corpus import build_corpus, load_corpus
from dwt.loss import effective_weight, linear_dwt_loss, weight_at
from dwt.models import (
    build_model,
    count_parameters,
    forward_flops,
    hidden_at,
    output_layer,
)
from dwt.params import digest, resolve
from dwt.progress import Progress
from dwt.remap import remap
from dwt.teachers import load_teacher, teacher_directory, weights_digest

EVALUATION_SEED = 1_000_003  # held-out text is read and masked alike in every run of every seed

HISTORY = [
    "step", "tokens", "learning_rate", "hard", "soft", "hard_weight", "soft_weight",
    "gradient_norm", "gradient_ratio", "gradient_cosine", "student_flops", "teacher_flops",
    "heldout_loss",
]  # fmt: skip


class TrainingError(RuntimeError):
    """A run cannot start, or cannot go on."""


def pretrain(run, *, directory=None, device=None):
    """Train one run, or go on with it, or find it done.

    Parameters
    ----------
    run : dwt.params.Run
    directory : path-like, optional
        Where the finished run goes; by default `run.directory`. It receives a model that
        transformers' ``from_pretrained`` loads, ``history.csv`` (one row per logged step),
        ``run.json`` (settings, totals, final losses, versions) and ``timing.csv``.
    device : str, optional
        By default "cuda" where there is one, else "cpu".

    Returns
    -------
    dict
        The content of ``run.json``.

    Raises
    ------
    TrainingError
        Before any training: no corpus, no teacher, another vocabulary, too little text. During
        it: a loss that is not finite.
    """
    directory = Path(directory or run.directory)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    torch.set_num_threads(run.train["threads"])
    job = _Job(run, device)
    done = directory / "run.json"
    if done.is_file() and json.loads(done.read_text())["digest"] == job.digest:
        return json.loads(done.read_text())
    job.resume()
    job.train()
    return job.finish(directory)


def prepare(run, params):
    """Make what a run needs and does not find: its corpus, and its teacher of the same seed.

    The pipeline has made both before; this is for a notebook opened in a fresh clone.
    """
    if not (run.corpus_directory / "card.json").is_file():
        sources = params.settings.corpus.model_dump(exclude_none=True)
        build_corpus(sources, directory=run.corpus_directory, root=params.root)
    if run.teacher:
        pretrain(resolve(run.teacher, run.seed, params))


def vocabulary_of(corpus):
    """What `dwt.batches` needs to know of a corpus."""
    return Vocabulary(
        corpus.vocab_size, corpus.cls_id, corpus.sep_id, corpus.mask_id, tuple(corpus.special_ids)
    )


@torch.no_grad()
def masked_lm_loss(model, tokens, vocabulary, *, sequences, train, device="cpu"):
    """Mean hard loss on a fixed sample with fixed masks, nats per masked token.

    Parameters
    ----------
    model : PreTrainedModel
        Left in the mode it came in.
    tokens : array of int, [T]
    sequences : int
        How many to read; all there are when the stream holds fewer.
    train : dict
        The `train` section: batch, length, mask_rate, precision.
    """
    was_training = model.training
    model.eval()
    available = sequences_in(tokens, train["length"])
    batch = min(train["batch"], available)
    total = torch.zeros((), dtype=torch.float64, device=device)
    steps = max(1, min(sequences, available) // batch)
    for step in range(steps):
        ids, positions, targets = _to(
            batch_at(
                tokens, vocabulary, seed=EVALUATION_SEED, step=step, batch=batch,
                length=train["length"], mask_rate=train["mask_rate"],
            ), device,
        )  # fmt: skip
        with _precision(train, device):
            hidden = hidden_at(model, ids, positions)
            total += linear_dwt_loss(hidden, output_layer(model), None, None, targets).hard
    model.train(was_training)
    return total.item() / steps


def learning_rate_at(train, step):
    """Linear warm-up over the first `warmup` of the steps, then linear to 0."""
    rise = max(1, round(train["warmup"] * train["steps"]))
    part = min((step + 1) / rise, (train["steps"] - step) / max(1, train["steps"] - rise))
    return train["learning_rate"] * part


class _Job:
    """One run in progress: models, optimizer, rows so far."""

    def __init__(self, run, device):
        self.run, self.device, self.train_settings = run, device, run.train
        try:
            self.corpus = load_corpus(run.corpus_directory)
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"no usable corpus in data/{run.scale} ({error}); make it with `dvc repro corpus`"
            ) from error
        self.vocabulary = vocabulary_of(self.corpus)
        self.tokens = {
            name: self.corpus.tokens(name) for name in ("train", "heldout", "out-of-domain")
        }
        for name, tokens in self.tokens.items():
            need = run.train["batch"] if name == "train" else 1
            if sequences_in(tokens, run.train["length"]) < need:
                raise TrainingError(
                    f"data/{run.scale}/{name}.npy holds {len(tokens):,} tokens, fewer than "
                    f"{need} sequence(s) of {run.train['length']}; give scales.{run.scale}.corpus "
                    "more text, or lower train.batch or train.length (params.yaml)"
                )
        self.model = build_model(
            run.model, layers=run.layers, vocabulary=self.vocabulary,
            max_length=run.train["length"], pad=self.corpus.pad_id, seed=run.seed,
        )  # fmt: skip
        self.teacher = load_teacher(run).to(device) if run.teacher else None
        self.copied = None
        if run.remap:
            self.copied = remap(self.teacher, self.model, depth=run.remap)
        taught_by = weights_digest(teacher_directory(run)) if run.teacher else None
        self.digest = digest([run.settings(), self.corpus.card, taught_by])
        self.state = run.root / "build" / "resume" / self.digest
        self.model.to(device).train()
        decayed = [p for p in self.model.parameters() if p.ndim >= 2]
        others = [p for p in self.model.parameters() if p.ndim < 2]  # biases and norms
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": run.train["weight_decay"]},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=run.train["learning_rate"], betas=tuple(run.train["betas"]), fused=True,
        )  # fmt: skip
        self.step, self.rows, self.timing = 0, [], []
        shape = dict(
            batch=run.train["batch"], length=run.train["length"],
            masked=masked_per_sequence(run.train["length"], run.train["mask_rate"]),
        )  # fmt: skip
        # A training step costs three forward passes: itself, and two products back for each.
        self.student_step = 3 * forward_flops(self.model.config, **shape)
        self.teacher_step = forward_flops(self.teacher.config, **shape) if self.teacher else 0
        self.teacher_flops = 0

    def resume(self):
        """Take up the last checkpoint, if there is one."""
        file = self.state / "state.pt"
        if not file.is_file():
            return
        state = torch.load(file, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.teacher_flops = state["step"], state["teacher_flops"]
        self.rows, self.timing = state["rows"], state["timing"]

    def _checkpoint(self):
        """Write all that the next step depends on; the old file stays until the new is whole."""
        self.state.mkdir(parents=True, exist_ok=True)
        partial = self.state / "state.partial"
        with partial.open("wb") as file:
            torch.save(
                dict(
                    model=self.model.state_dict(), optimizer=self.optimizer.state_dict(),
                    step=self.step, teacher_flops=self.teacher_flops, rows=self.rows,
                    timing=self.timing,
                ), file,
            )  # fmt: skip
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.state / "state.pt")

    def train(self):
        """From the current step to the last."""
        train, run = self.train_settings, self.run
        kept = {round(share * train["steps"]) for share in train["keep"]}
        before = self.timing[-1]["seconds"] if self.timing else 0.0
        started = time.perf_counter()
        progress = Progress(f"{run.arm}, seed {run.seed}", train["steps"], start=self.step)
        if self.step == 0:
            start = self._loss_on("heldout", train["evaluate_sequences"])
            zero = dict.fromkeys(("step", "tokens", "student_flops", "teacher_flops"), 0)
            self.rows.append({**zero, "heldout_loss": start})
        while self.step < train["steps"]:
            logged = (self.step + 1) % train["log_every"] == 0 or self.step + 1 == train["steps"]
            row = self._one_step(log=logged)
            self.step += 1
            last = self.step == train["steps"]
            if logged:
                if self.step % train["evaluate_every"] == 0 or last:
                    row["heldout_loss"] = self._loss_on("heldout", train["evaluate_sequences"])
                self.rows.append(row)
                seconds = before + time.perf_counter() - started
                self.timing.append({"step": self.step, "seconds": round(seconds, 3)})
                progress.update(self.step, loss=row["hard"])
            if self.step in kept:
                self._keep()
            if self.step % train["checkpoint_every"] == 0 and not last:
                self._check_finite()
                self._checkpoint()
        progress.close()

    def _one_step(self, *, log):
        """One optimizer step; the row that describes it if it is to be logged."""
        run, train, model = self.run, self.train_settings, self.model
        lr = learning_rate_at(train, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        if run.model["dropout"]:
            torch.manual_seed(_dropout_seed(run.seed, self.step))
        soft_weight = weight_at(run.soft_weight, self.step / train["steps"])
        teacher = self.teacher if soft_weight else None  # a silent teacher costs nothing
        weights = dict(
            hard_weight=run.hard_weight, soft_weight=soft_weight, temperature=run.temperature
        )
        batch = batch_at(
            self.tokens["train"], self.vocabulary, seed=run.seed, step=self.step,
            batch=train["batch"], length=train["length"], mask_rate=train["mask_rate"],
        )  # fmt: skip
        parts = train["accumulate"]
        hard = soft = total = 0.0
        pull = (math.nan, math.nan)
        for part in range(parts):
            ids, positions, targets = _to([rows[part::parts] for rows in batch], self.device)
            with _precision(train, self.device):
                taught = None
                if teacher:
                    with torch.no_grad():
                        taught = hidden_at(teacher, ids, positions)
                hidden = hidden_at(model, ids, positions)
                head, teacher_head = output_layer(model), teacher and output_layer(teacher)
                loss = linear_dwt_loss(hidden, head, taught, teacher_head, targets, **weights)
                if log and teacher and part == 0:
                    logits = head(hidden.detach()), teacher_head(taught)
                    pull = effective_weight(*logits, targets, **weights)
            (loss.total / parts).backward()
            total, hard, soft = (
                old + new.detach() / parts
                for old, new in zip((total, hard, soft), loss, strict=True)
            )
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), train["clip"])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.teacher_flops += self.teacher_step if teacher else 0
        self.latest = self.step + 1, lr, {"loss": total, "gradient norm": norm}
        if not log:
            return None
        self._check_finite()
        done = self.step + 1
        return {
            "step": done,
            "tokens": done * train["batch"] * train["length"],
            "learning_rate": lr,
            "hard": hard.item(),
            "soft": soft.item() if teacher else math.nan,
            "hard_weight": run.hard_weight,
            "soft_weight": soft_weight,
            "gradient_norm": norm.item(),
            "gradient_ratio": pull[0],
            "gradient_cosine": pull[1],
            "student_flops": done * self.student_step,
            "teacher_flops": self.teacher_flops,
        }

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

    def _loss_on(self, split, sequences):
        return masked_lm_loss(
            self.model, self.tokens[split], self.vocabulary, sequences=sequences,
            train=self.train_settings, device=self.device,
        )  # fmt: skip

    def _keep(self):
        """A checkpoint that stays, to be fine-tuned later."""
        self.model.save_pretrained(self.state / "kept" / f"checkpoint-{self.step}")

    def finish(self, directory):
        """Write the finished run in one go, then drop what resuming needed."""
        run = self.run
        partial = directory.with_name(f"{directory.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        many = self.train_settings["final_sequences"]
        self.model.save_pretrained(partial)
        self.corpus.tokenizer().save_pretrained(partial)
        pd.DataFrame(self.rows, columns=HISTORY).to_csv(
            partial / "history.csv", index=False, float_format="%.9g"
        )
        pd.DataFrame(self.timing).to_csv(partial / "timing.csv", index=False)
        settings = run.settings()
        record = {
            "digest": self.digest,
            **settings,
            "parameters": count_parameters(self.model),
            "steps": self.step,
            "tokens": self.step * settings["train"]["batch"] * settings["train"]["length"],
            "student_flops": self.step * self.student_step,
            "teacher_flops": self.teacher_flops,
            "heldout_loss": self._loss_on("heldout", many),
            "out_of_domain_loss": self._loss_on("out-of-domain", many),
            "remapped": self.copied,
            "seconds": self.timing[-1]["seconds"],
            "device": torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu",
            "versions": {
                "python": platform.python_version(),
                **{name: metadata.version(name) for name in ("torch", "transformers", "numpy")},
            },
        }
        (partial / "run.json").write_text(json.dumps(record, indent=1))
        if (self.state / "kept").is_dir():
            for kept in (self.state / "kept").iterdir():
                shutil.copytree(kept, partial / kept.name)
        shutil.rmtree(directory, ignore_errors=True)
        os.replace(partial, directory)
        shutil.rmtree(self.state, ignore_errors=True)
        return record


def _to(arrays, device):
    ids, positions, targets = (
        torch.from_numpy(np.ascontiguousarray(a)).to(device, non_blocking=True) for a in arrays
    )
    return ids, positions, targets.flatten()


def _precision(train, device):
    return torch.autocast(device.type if isinstance(device, torch.device) else device,
                          dtype=torch.bfloat16, enabled=train["precision"] == "bf16")  # fmt: skip


def _dropout_seed(seed, step):
    """Dropout, too, is a function of (seed, step), so a resumed run draws the same."""
    return int(np.random.SeedSequence([2, seed, step]).generate_state(1)[0])
