"""What does a student read at step k, and what did its teacher say there?"""

import time
from statistics import median

import numpy as np
import torch

from dwt.data.corpus import SPLITS, load_corpus
from dwt.training.batches import batch_at, masked_per_sequence, sequences_in
from dwt.training.schedule import weight_at
from dwt.training.step import on_device
from dwt.training.teacher_cache import TeacherCache
from dwt.training.teachers import states_key

SHUFFLE = 3  # a random stream of its own: 0 and 1 are of `dwt.training.batches`, 2 of `dwt.training.train`
TIMED = 5  # passes of the teacher that are timed, to tell what the cache saves


class TrainingError(RuntimeError):
    """A run cannot start, or cannot go on."""


def open_corpus(run):
    """The corpus of a run.

    Raises
    ------
    TrainingError
        If there is none, or a split holds too little for the run.
    """
    try:
        corpus = load_corpus(run.corpus_directory)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"no usable corpus in data/{run.scale} ({error}); make it with `dvc repro corpus`"
        ) from error
    length = run.train["length"]
    for split in SPLITS:
        tokens, need = corpus.tokens(split), run.train["batch"] if split == "train" else 1
        if sequences_in(tokens, length) < need:
            raise TrainingError(
                f"data/{run.scale}/{split}.npy holds {len(tokens):,} tokens, fewer than "
                f"{need} sequence(s) of {length}; give scales.{run.scale}.corpus more text, or "
                "lower train.batch or train.length (params.yaml)"
            )
    return corpus


class Lessons:
    """The batches of one run, each with the teacher's states where a teacher speaks.

    Parameters
    ----------
    run : dwt.config.params.Run
    corpus : dwt.data.corpus.Corpus
    engine : dwt.training.step.Engine
        Its teacher is asked where the cache has nothing.
    """

    def __init__(self, run, corpus, engine):
        self.run, self.engine = run, engine
        self.tokens, self.vocabulary = corpus.tokens("train"), corpus.vocabulary
        self.cache, self.seconds, self.compile_teacher = None, [], False
        self.gap = 1.0  # share that is left of the gap to the teacher; set by who evaluates

    def start(self, *, compile_teacher):
        """Read and store the teacher's states from here on.

        Parameters
        ----------
        compile_teacher : bool
            Whether to compile the teacher, once it is asked: a full cache never asks it.
        """
        self.compile_teacher = compile_teacher
        if self.run.teacher_directory is not None and self.run.cache["teacher"] == "auto":
            self._open_cache(compiled=compile_teacher)

    def _open_cache(self, *, compiled):
        run, train, engine = self.run, self.run.train, self.engine
        masked = masked_per_sequence(train["length"], train["mask_rate"])
        self.cache = TeacherCache(
            run.root / "build" / "cache",
            key=states_key(run, device=engine.device, compiled=compiled),
            steps=train["steps"],
            shape=(train["batch"] * masked, engine.teacher.config.hidden_size),
            dtype=torch.bfloat16 if train["precision"] == "bf16" else torch.float32,
            limit_bytes=run.cache["limit_gb"] * 1e9,
        )

    def soft_weight(self, step):
        """a_s of Eq. 3 at this step; 0 without a teacher."""
        if self.engine.teacher is None:
            return 0.0
        return weight_at(self.run.soft_weight, step / self.run.train["steps"], self.gap)

    def draw(self, step):
        """The batch on the device, with the teacher's states if they are stored."""
        train = self.run.train
        batch = batch_at(
            self.tokens, self.vocabulary, seed=self.run.seed, step=step, batch=train["batch"],
            length=train["length"], mask_rate=train["mask_rate"],
        )  # fmt: skip
        speaks = self.cache is not None and self.soft_weight(step)
        return on_device(batch, self.engine.device, self.cache.get(step) if speaks else None)

    def teach(self, step, batch):
        """The batch with what the teacher says in it, `[B * M, D_t]`."""
        if batch.taught is None:
            batch = self._ask(step, batch)
        if self.run.context == "shuffled":  # each place gets what was said of another one
            draw = np.random.default_rng([SHUFFLE, self.run.seed, step])
            order = torch.from_numpy(draw.permutation(len(batch.taught)))
            batch = batch._replace(taught=batch.taught[order.to(batch.taught.device)])
        return batch

    def _ask(self, step, batch):
        """The batch with the teacher's states in it, computed now and stored."""
        if self.compile_teacher:
            self.compile_teacher = False
            self.engine.compile("teacher", batch)
            if self.cache is not None and "teacher" not in self.engine.compiled:
                self._open_cache(compiled=False)  # other rounding, other states
        timed = self.cache is not None and len(self.seconds) < TIMED
        started = self._now() if timed else None
        taught = self.engine.teach(batch)
        if timed:
            self.seconds.append(self._now() - started)
        if self.cache is not None:
            self.cache.put(step, taught, seconds=median(self.seconds))
        return batch._replace(taught=taught)

    def _now(self):
        if self.engine.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()
