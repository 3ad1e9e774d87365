"""Teachers of student runs: finished models, or predictions that read no context.

``python -m dwt.training.teachers study`` writes a digest of each student's teacher, on which its
stage depends, so that a changed teacher retrains its own students only.
"""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dwt.config.files import file_digest
from dwt.config.params import ParamsError, Run, load_params, resolve
from dwt.config.schema import CONTEXT_FREE, Params
from dwt.data.corpus import Corpus
from dwt.data.vocabulary import Vocabulary
from dwt.training.models import load_model


class TeacherError(ValueError):
    """A teacher is not trained yet, or cannot teach this student."""


class ContextFreeTeacher(nn.Module):
    """A teacher that predicts the same distribution at every position, at next to no cost.

    "unigram": frequencies of the training text [T], one added to every count; special tokens, which
    are never masked, have a count of 1. "uniform": all tokens alike, so that with a_h = 1 the soft
    loss is label smoothing, up to a constant and the scale 1 + a_s, with ``e = a_s / (1 + a_s)``
    spread over all tokens (Szegedy et al. 2016, section 7). Hidden states are 1 everywhere.
    """

    def __init__(self, name: str, tokens: np.ndarray, vocabulary: Vocabulary) -> None:
        super().__init__()
        counts = np.ones(vocabulary.size)
        if name == "unigram":
            counts += np.bincount(tokens, minlength=vocabulary.size)
            counts[list(vocabulary.special)] = 1
        logits = np.log(counts / counts.sum())
        self.output = nn.Linear(1, len(counts), bias=False)
        self.output.weight = nn.Parameter(torch.tensor(logits, dtype=torch.float32)[:, None])
        self.config = SimpleNamespace(hidden_size=1, num_hidden_layers=0, vocab_size=len(counts))
        self.eval().requires_grad_(False)

    def base_model(self, input_ids: Tensor, attention_mask: Tensor | None) -> SimpleNamespace:
        """Hidden states of 1, `[B, L, 1]`."""
        ones = torch.ones(*input_ids.shape, 1, device=input_ids.device)
        return SimpleNamespace(last_hidden_state=ones)

    def get_output_embeddings(self) -> nn.Linear:
        """The output layer."""
        return self.output


def teacher_directory(run: Run) -> Path:
    """Folder of the finished model that teaches a run; TeacherError if it is not there."""
    directory = run.teacher_directory
    if directory is None or not (directory / "model.safetensors").is_file():
        raise TeacherError(
            f"arms.{run.arm}.teacher: '{run.teacher}' of seed {run.seed} is not trained yet; "
            f"train it: `papermill notebooks/02-pretrain.ipynb out.ipynb -r arm {run.teacher} "
            f"-p seed {run.seed}`"
        )
    return directory


def teacher_digest(run: Run) -> str | None:
    """SHA-256 of the weights of a run's teacher; None without a trained teacher."""
    if run.teacher_directory is None:
        return None
    return file_digest(teacher_directory(run) / "model.safetensors")


def load_teacher(run: Run, corpus: Corpus) -> PreTrainedModel | ContextFreeTeacher:
    """The teacher of a run, without gradients; TeacherError if it is missing or does not fit."""
    if run.teacher in CONTEXT_FREE:
        return ContextFreeTeacher(run.teacher, corpus.tokens("train"), corpus.vocabulary)
    directory = teacher_directory(run)
    theirs, ours = (
        json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        for folder in (directory, run.corpus_directory)
    )
    if theirs != ours:
        raise TeacherError(
            f"arms.{run.arm}.teacher: '{run.teacher}' has another vocabulary ({len(theirs)} tokens)"
            f" than data/{run.scale} ({len(ours)}); teacher and student must share one: train the "
            "teacher on this corpus, or build the corpus with the teacher's vocabulary "
            f"(scales.{run.scale}.corpus.vocabulary.file in params.yaml)"
        )
    return load_model(directory).eval().requires_grad_(False)


def write_teachers(params: Params, grid: str) -> None:
    """Write teacher and digest of each student run of a grid; TeacherError for an untrained one."""
    shutil.rmtree(params.path("build", "teachers", grid), ignore_errors=True)
    for run in (resolve(arm, seed, params) for arm, seed in params.runs_of(grid)):
        if run.teacher is not None:
            write_teacher(run)


def write_teacher(run: Run) -> None:
    """Write build/<scale>/teachers/<grid>/<arm>-<seed>.json, a dependency of the run's stage."""
    text = json.dumps({"teacher": run.teacher, "weights": teacher_digest(run)}) + "\n"
    folder = run.root / "build" / run.scale / "teachers" / run.grid
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{run.arm}-{run.seed}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        write_teachers(load_params(), *sys.argv[1:])
    except (ParamsError, TeacherError) as error:
        sys.exit(str(error))
