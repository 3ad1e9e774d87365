"""Atomic checkpoints and run outputs."""

import json
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dwt.config.files import atomic_path

HISTORY = [
    "step", "tokens", "learning_rate", "hard", "soft", "hard_weight", "soft_weight",
    "gradient_norm", "gradient_ratio", "gradient_cosine", "student_flops", "teacher_flops",
    "heldout_loss",
]  # fmt: skip


class TrainingError(RuntimeError):
    """A run cannot go on."""


def check_writable(directory: Path) -> None:
    """TrainingError if a run could not be written to a folder when it is finished."""
    try:
        if directory.exists() and not directory.is_dir():
            raise NotADirectoryError("it is a file")
        if directory.is_dir() and any(directory.iterdir()):  # a finished run replaces the folder
            if not (directory / "run.json").is_file():
                raise FileExistsError("it holds files that are not of a run")
        directory.parent.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=directory.parent).close()
    except OSError as error:
        raise TrainingError(f"the run cannot be written to {directory} ({error})") from error


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Write folder/state.pt atomically; it is on the disk before it replaces the previous one."""
    with atomic_path(folder / "state.pt") as partial, partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def load_state(folder: Path, device: torch.device | str) -> dict[str, Any] | None:
    """The state that `save_state` wrote last, or None."""
    file = folder / "state.pt"
    return torch.load(file, map_location=device, weights_only=True) if file.is_file() else None


def save_run(
    directory: Path, record: dict[str, Any], *, model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase, rows: list[dict[str, Any]], timing: list[dict[str, Any]],
    state: Path,
) -> dict[str, Any]:  # fmt: skip
    """Write a finished run, replacing an older one, and return the content of run.json.

    `rows` are for history.csv, which does not depend on interruptions, `timing` for timing.csv.
    The ``checkpoints/`` in `state`, the folder of `save_state`, move into the run; it is deleted.
    """
    versions = {name: metadata.version(name) for name in ("torch", "transformers", "numpy")}
    record = record | {
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **versions},
    }
    partial = directory.with_name(f"{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    model.save_pretrained(partial)
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.save_pretrained(partial)
    history = pd.DataFrame(rows, columns=HISTORY)
    history.to_csv(partial / "history.csv", index=False, float_format="%.9g")
    pd.DataFrame(timing).to_csv(partial / "timing.csv", index=False)
    (partial / "run.json").write_text(json.dumps(record, indent=1))
    if (state / "checkpoints").is_dir():
        shutil.copytree(state / "checkpoints", partial, dirs_exist_ok=True)
    shutil.rmtree(directory, ignore_errors=True)
    os.replace(partial, directory)
    shutil.rmtree(state, ignore_errors=True)
    return record


def load_finished_run(directory: Path, run_digest: str) -> dict[str, Any] | None:
    """The content of run.json if the folder holds the run of this digest, else None."""
    file = directory / "run.json"
    if file.is_file() and (record := json.loads(file.read_text()))["digest"] == run_digest:
        return record
    return None
