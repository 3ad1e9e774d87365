"""Small, real things that several test files start from."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from transformers import AutoTokenizer

from dwt.config.params import load_params, resolve
from dwt.data.corpus import build_corpus
from dwt.data.vocabulary import SPECIAL_TOKENS, Vocabulary, make_tokenizer, save_tokenizer
from dwt.training.models import build_model
from dwt.training.train import pretrain

ROOT = Path(__file__).resolve().parents[1]


def run(*command, cwd):
    """A command that finds this environment's programs first, as `make` arranges it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="session")
def vocabulary():
    """100 tokens, the first five special."""
    return Vocabulary(size=100, cls=2, sep=3, mask=4, special=(0, 1, 2, 3, 4))


@pytest.fixture(scope="session")
def stream():
    """5,000 tokens with a [SEP] now and then."""
    tokens = np.random.default_rng(0).integers(5, 100, 5000).astype(np.uint16)
    tokens[::37] = 3
    return tokens


THINGS = ("red", "green", "small", "large", "round", "broken", "quiet", "heavy")
PLACES = ("garden", "forest", "kitchen", "station", "harbour", "village")
VERBS = ("opened", "painted", "moved", "covered")


def sentence(thing, place, verb):
    doors = "door of the {} is" if verb == VERBS[0] else "doors of the {} are"
    return f"The {thing} {doors.format(place)} {verb} by a farmer with this machine."


@pytest.fixture(scope="session")
def farm():
    """A corpus of 192 documents, each with four paragraphs of one sentence."""
    rows = []
    every = [(t, p, v) for t in THINGS for p in PLACES for v in VERBS]
    for i, (thing, place, verb) in enumerate(every):
        row = {"document": i, "unseen": i % 8 > 0}
        rows += [
            row | {"text": sentence(thing, place, verb)},
            row | {"text": f"How {thing} the {verb} door of a {place} is to them."},
            row | {"text": f"Which {place} is {verb} and {thing} for all."},
            row | {"text": f"It was {verb} in the {thing} {place} after all."},
        ]
    return SimpleNamespace(heldout=lambda: pd.DataFrame(rows))


SENTENCES = ["the teacher reads.", "a small student learns from the teacher.", "the text."]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    """80 pieces of `SENTENCES`."""
    folder = tmp_path_factory.mktemp("tokenizer")
    made = make_tokenizer({"size": 80, "alphabet": 26}, lambda: iter(SENTENCES * 50), root=folder)
    save_tokenizer(made, folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="session")
def model(tokenizer):
    """Two layers of random weights, large enough that inputs show in the outputs."""
    ids = tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS)
    vocabulary = Vocabulary(len(tokenizer), ids[2], ids[3], ids[4], tuple(ids))
    shape = dict(family="modernbert", width=16, heads=2, intermediate=24, initializer_range=0.3)
    return build_model(shape, layers=2, vocabulary=vocabulary, max_length=64, pad=ids[0]).eval()


WORDS = "the model reads a small piece of text and a teacher guesses what word was there".split()


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A project folder at the smoke scale with a corpus of made-up sentences and a weak teacher.

    Tests train into folders of their own.
    """
    root = tmp_path_factory.mktemp("study")
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["scale"] = "smoke"
    rng = np.random.default_rng(0)
    for name, documents in (("in.txt", 400), ("out.txt", 60)):
        text = "\n\n".join(" ".join(rng.choice(WORDS, 40)) + "." for _ in range(documents))
        (root / name).write_text(text + "\n")
    content["scales"]["smoke"]["corpus"] = {
        "source": "files", "files": ["in.txt"], "out_of_domain": ["out.txt"], "heldout": 0.1,
        "vocabulary": {"size": 120, "alphabet": 30},
    }  # fmt: skip
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    params = load_params(root / "params.yaml")
    build_corpus(params.settings.corpus, directory=params.path("data"), root=root)
    pretrain(resolve("weak-teacher", 0, params))
    return params


def changed(run, **train):
    """A run with other settings in its `train` section."""
    return replace(run, train={**run.train, **train})


def bytes_of(directory):
    """Digests of the files that must not depend on when or how often the run was stopped."""
    names = ["model.safetensors", "history.csv", "config.json"]
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}


def made_up_scores(arms, seeds=(0, 1, 2), *, glue=None, phenomena=()):
    """Rows of the scores table with baselines: 0.7 in all zero-shot tasks, GLUE as given.

    ``glue`` is {task: {metric: score}}. Models with random weights are at 0.52, or half of
    GLUE's; guesses at 0.5, or a quarter.
    """
    blimp = ["BLiMP", *(f"BLiMP, {name}" for name in phenomena)]
    tasks = [(task, "minimal-pair accuracy", 0.7, None) for task in ("word-swap", "agreement")]
    tasks += [(task, "minimal-pair accuracy", 0.7, None) for task in blimp]
    tasks += [(task, metric, score, 0) for task, of_task in (glue or {}).items()
              for metric, score in of_task.items()]  # fmt: skip
    rows = []
    for task, metric, score, tuned in tasks:
        same = {"task": task, "metric": metric, "finetune_seed": tuned, "examples": 100,
                "train_examples": None if tuned is None else 100, "step": 600}  # fmt: skip
        zero = tuned is None
        for seed in seeds:
            rows += [same | {"kind": "standalone", "arm": arm, "seed": seed, "score": score}
                     for arm in arms]  # fmt: skip
            rows.append(same | {"kind": "baseline", "arm": "random", "seed": seed,
                                "score": 0.52 if zero else score / 2})  # fmt: skip
        rows.append(same | {"kind": "baseline", "arm": "chance" if zero else "majority",
                            "seed": None, "finetune_seed": None, "step": None,
                            "score": 0.5 if zero else score / 4})  # fmt: skip
    return pd.DataFrame(rows).astype(dict.fromkeys(["seed", "finetune_seed", "step"], "Int64"))
