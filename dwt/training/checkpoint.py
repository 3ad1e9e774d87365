"""What is kept of a run, while it goes on and when it is done? All or nothing, either way."""

import json
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

import pandas as pd
import torch

from dwt.config.params import digest
from dwt.pipeline.code import statements

# What decides what a run learns: the modules of the stage `training-code` in dvc.yaml.
LEARNING = (
    "batches", "cache", "code", "counted", "engine", "heldout", "lessons", "loss", "machine",
    "models", "record", "remap", "schedule", "teachers", "train",
)  # fmt: skip
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


def publish(directory, record, *, model, tokenizer, rows, timing, state, kept=None):
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
    kept : Path, optional
        Where the run is to stay besides, as `kept_at` says.

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
    if kept is not None:
        _copy(directory, kept)
    shutil.rmtree(state, ignore_errors=True)
    return record


def code_digest():
    """Digest of what decides what a run learns, comments left out."""
    modules = (Path(__file__).with_name(f"{name}.py") for name in LEARNING)
    return digest([statements(module.read_text(encoding="utf-8")) for module in modules])


CODE = code_digest()  # at import: a module edited while a stage trains is not what trained


def kept_at(root, run_digest, device):
    """Where a finished run stays, whatever becomes of its folder in runs/.

    One stage trains all seeds of an arm, and DVC empties the stage's folder before it starts: those
    that were finished come back from build/finished/<digest>, a digest of settings, text and
    teacher, of this code, of PyTorch and of the kind of device.
    """
    return root / "build" / "finished" / digest([run_digest, CODE, torch.__version__, device.type])


def finished(directory, run_digest, kept):
    """The content of run.json if a run is done, in its folder or `kept`; else None."""
    file = directory / "run.json"
    if file.is_file() and (record := json.loads(file.read_text()))["digest"] == run_digest:
        return record
    if kept is None or not kept.is_dir():
        return None
    _copy(kept, directory)
    record = json.loads(file.read_text())
    which, where = f"{record['arm']}, seed {record['seed']}", "/".join(kept.parts[-3:])
    print(f"{which}: finished before, taken from {where}", flush=True)
    return record


def _copy(source, target):
    """Put a copy of a folder in the place of another in one go."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)
