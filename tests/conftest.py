"""Small, real things that several test files start from."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
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
