"""Atomic checkpoints and run outputs."""

import json
import os
import platform
import shutil
from importlib import metadata

import pandas as pd
import torch

HISTORY = [
    "step", "tokens", "learning_rate", "hard", "soft", "hard_weight", "soft_weight",
    "gradient_norm", "gradient_ratio", "gradient_cosine", "student_flops", "teacher_flops",
    "heldout_loss",
]  # fmt: skip


def save_state(folder, state):
    """Write folder/state.pt; the old one stays until the new one is whole and on the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "state.partial"
    with partial.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / "state.pt")


def load_state(folder, device):
    """What `save_state` wrote last, or None."""
    file = folder / "state.pt"
    return torch.load(file, map_location=device, weights_only=True) if file.is_file() else None


def save_run(directory, record, *, model, tokenizer, rows, timing, state):
    """Write a finished run in the place of an older one, then drop what resuming needed.

    Parameters
    ----------
    directory : Path
    record : dict
        For run.json; thread count and versions are added.
    model, tokenizer
        As `from_pretrained` loads them.
    rows, timing : list of dict
        For history.csv, which is the same whenever and however often the run was stopped, and
        for timing.csv, which is not.
    state : Path
        The folder of `save_state`; checkpoints under ``kept/`` move into the run.

    Returns
    -------
    dict
        The content of run.json.
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
    tokenizer.save_pretrained(partial)
    pd.DataFrame(rows, columns=HISTORY).to_csv(
        partial / "history.csv", index=False, float_format="%.9g"
    )
    pd.DataFrame(timing).to_csv(partial / "timing.csv", index=False)
    (partial / "run.json").write_text(json.dumps(record, indent=1))
    if (state / "kept").is_dir():
        for checkpoint in (state / "kept").iterdir():
            shutil.copytree(checkpoint, partial / checkpoint.name)
    shutil.rmtree(directory, ignore_errors=True)
    os.replace(partial, directory)
    shutil.rmtree(state, ignore_errors=True)
    return record


def load_finished_run(directory, run_digest):
    """The content of run.json if the folder holds the run that was asked for, else None."""
    file = directory / "run.json"
    if file.is_file() and (record := json.loads(file.read_text()))["digest"] == run_digest:
        return record
    return None
