"""Scores of finished runs, kept in build/, so that a new or removed seed scores no other again."""

import json
import platform
import warnings
from hashlib import sha256
from importlib import metadata
from io import BytesIO
from pathlib import Path

import pandas as pd
import torch

from dwt.config.files import atomic_path, digest, file_digest
from dwt.config.params import Run
from dwt.data.corpus import Corpus
from dwt.evaluation.evaluate import INTEGERS, evaluate, models_to_score
from dwt.training.device import set_threads

NUMBERS = {"learning_rate": "float64", "score": "float64"} | dict.fromkeys(INTEGERS, "Int64")
TEXT = ("heldout.npy", "heldout.parquet", "tokenizer.json", "tokenizer_config.json")
CODE = [Path(__file__).parents[1] / name for name in ("data", "evaluation", "training")]
PACKAGES = ("numpy", "pandas", "scikit-learn", "scipy", "tokenizers", "torch", "transformers")


def evaluate_once(run: Run, corpus: Corpus, **how) -> pd.DataFrame:
    """`evaluate(run, corpus, **how)`, read from build/<scale>/scores if it was computed before.

    A file is named by a digest of all that decides its scores; its first line is the SHA-256 of the
    rest.
    """
    as_text = {"default": lambda rows: rows.to_json(orient="split", double_precision=15)}
    key = digest(json.dumps(_key(run, corpus, **how), **as_text))
    file = run.root / "build" / run.scale / "scores" / f"{key}.csv"
    if file.is_file():
        written, _, rows = file.read_bytes().partition(b"\n")
        if written == sha256(rows).hexdigest().encode():  # text is never missing, nor "null":
            missing = {"na_values": dict.fromkeys(NUMBERS, ""), "keep_default_na": False}
            return pd.read_csv(BytesIO(rows), dtype=str, **missing).astype(NUMBERS)  # to the bit
        warnings.warn(f"{file} is damaged; {run.arm}, seed {run.seed} is scored anew", stacklevel=2)
    scores = evaluate(run, corpus, **how)
    rows = scores.to_csv(index=False, lineterminator="\n").encode()
    with atomic_path(file) as unfinished:
        unfinished.write_bytes(b"\n".join([sha256(rows).hexdigest().encode(), rows]))
    return scores


def _key(run, corpus, *, pairs, tasks, settings, train, blimp=None, weights="trained"):
    """All that decides the scores."""
    set_threads(train["threads"])
    machine = [platform.machine(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]
    if torch.cuda.is_available():
        machine += [torch.cuda.get_device_name(), torch.cuda.get_device_capability()]
    files = [corpus.directory / name for name in TEXT]
    files += [file for folder in CODE for file in sorted(folder.glob("*.py"))]
    if weights == "trained":
        for _, folder, *_ in models_to_score(run, [], settings, train):
            files += [folder / "config.json", *sorted(folder.glob("model*"))]
    model = [run.kind, run.arm, run.seed, weights, run.model, run.layers]
    data = [pairs, *map(vars, tasks), blimp, *((f.name, file_digest(f)) for f in files)]
    return [model, data, settings, train, machine, *map(metadata.version, PACKAGES)]
