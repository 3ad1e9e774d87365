"""The teacher's hidden states on the batches of one run, read from the cache or computed."""

import platform
import time
from statistics import median

import numpy as np
import torch
from torch import Tensor

from dwt.config.files import digest, file_digest
from dwt.config.params import Run
from dwt.training.batches import SHUFFLE, masked_per_sequence
from dwt.training.step import DeviceBatch, Distiller
from dwt.training.teacher_cache import TeacherCache
from dwt.training.teachers import teacher_digest

TIMED_PASSES = 5  # forward passes that are timed, to estimate the seconds that the cache saves


class TeacherStates:
    """Hidden states of a run's teacher, step by step, from the cache or else computed."""

    def __init__(self, run: Run, distiller: Distiller) -> None:
        self.run, self.distiller = run, distiller
        self.cache: TeacherCache | None = None
        self.compile_teacher = False
        self.seconds: list[float] = []

    def start(self, *, compile_teacher: bool) -> None:
        """Open the cache, if the run uses one; the teacher is compiled when it first runs."""
        self.compile_teacher = compile_teacher
        run, train, distiller = self.run, self.run.train, self.distiller
        if run.teacher_directory is None or run.cache["teacher"] == "off":
            return
        masked = masked_per_sequence(train["length"], train["mask_rate"])
        self.cache = TeacherCache(
            run.root / "build" / "cache",
            key=states_key(run, device=distiller.device, compiled=compile_teacher),
            steps=train["steps"],
            shape=(train["batch"] * masked, distiller.teacher.config.hidden_size),
            dtype=torch.bfloat16 if train["precision"] == "bf16" else torch.float32,
            limit_bytes=run.cache["limit_gb"] * 1e9,
        )

    def load(self, step: int) -> Tensor | None:
        """The stored states of a step, `[B * M, D_t]` on CPU, or None."""
        return None if self.cache is None else self.cache.get(step)

    def add_to(self, batch: DeviceBatch, step: int) -> DeviceBatch:
        """The batch with its `teacher_hidden`, computed and stored if it has none."""
        hidden = batch.teacher_hidden
        if hidden is None:
            hidden = self._compute(batch, step)
        if self.run.context == "shuffled":
            rng = np.random.default_rng([SHUFFLE, self.run.seed, step])
            order = torch.from_numpy(rng.permutation(len(hidden)))
            hidden = hidden[order.to(hidden.device)]
        return batch._replace(teacher_hidden=hidden)

    def _compute(self, batch: DeviceBatch, step: int) -> Tensor:
        if self.compile_teacher:
            self.compile_teacher = False
            self.distiller.compile("teacher", batch)
            if "teacher" not in self.distiller.compiled:
                self.start(compile_teacher=False)  # other rounding, other states
        timed = self.cache is not None and len(self.seconds) < TIMED_PASSES
        started = self._now() if timed else 0.0
        hidden = self.distiller.teacher_hidden(batch)
        if timed:
            self.seconds.append(self._now() - started)
        if self.cache is not None:
            self.cache.put(step, hidden, seconds=median(self.seconds))
        return hidden

    def _now(self) -> float:
        if self.distiller.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def states_key(run: Run, *, device: torch.device, compiled: bool) -> str:
    """Digest of all that decides, to the last bit, the teacher's hidden states at each step."""
    train, corpus = run.train, run.corpus_directory
    cuda = device.type == "cuda"
    return digest(
        {
            "teacher": teacher_digest(run),
            "text": file_digest(corpus / "train.npy"),
            "tokenizer": file_digest(corpus / "tokenizer.json"),
            "seed": run.seed,
            **{key: train[key] for key in ("batch", "length", "mask_rate", "accumulate")},
            "precision": train["precision"],
            "compiled": compiled,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if cuda else platform.processor(),
            "capability": torch.backends.cpu.get_cpu_capability(),
        }
    )
