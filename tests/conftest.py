"""Small, real things that several test files start from."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from dwt.batches import Vocabulary

ROOT = Path(__file__).resolve().parents[1]


def run(*command, cwd):
    """A command that finds this environment's programs first, as `make` arranges it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


FAMILIES = ("modernbert", "distilbert", "bert")


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
    """A corpus of 192 documents, each with four sections of one sentence."""
    rows = []
    every = [(t, p, v) for t in THINGS for p in PLACES for v in VERBS]
    for i, (thing, place, verb) in enumerate(every):
        row = {"document": i, "source": "none", "name": "", "type": "", "unseen": i % 8 > 0}
        rows += [
            row | {"section": "", "text": sentence(thing, place, verb)},
            row
            | {"section": "Parameters", "text": f"How {thing} the {verb} door of the {place} is."},
            row | {"section": "Returns", "text": f"Which {place} is {verb} and {thing} for all."},
            row | {"section": "Notes", "text": f"It was {verb} in the {thing} {place} after all."},
        ]
    return SimpleNamespace(heldout=lambda: pd.DataFrame(rows))
