"""Small, real things that several test files start from."""

from pathlib import Path

import numpy as np
import pytest

from dwt.batches import Vocabulary

ROOT = Path(__file__).resolve().parents[1]
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
