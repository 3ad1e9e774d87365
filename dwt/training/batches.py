"""Batches of sequences with masked tokens: pure functions of (token stream, seed, step)."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dwt.data.vocabulary import Vocabulary

# Each use of a seed has a random stream of its own.
ORDER, MASKS, DROPOUT, SHUFFLE = range(4)


class Batch(NamedTuple):
    """B sequences of L tokens with M masked positions each."""

    input_ids: np.ndarray  # [B, L] int64, with [MASK] and random tokens
    positions: np.ndarray  # [B, M] int64, ascending within a row
    targets: np.ndarray  # [B, M] int64, the true tokens there


def dropout_seed(seed: int, step: int) -> int:
    """Seed of the dropout of one step, so that a resumed run draws the same."""
    return int(np.random.SeedSequence([DROPOUT, seed, step]).generate_state(1)[0])


def masked_per_sequence(length: int, mask_rate: float) -> int:
    """Masked positions in each sequence: round(rate x length), at least one."""
    return max(1, round(mask_rate * length))


def sequences_in(tokens: np.ndarray, length: int) -> int:
    """Whole sequences that a stream of tokens fills; `length` counts the added [CLS] and [SEP]."""
    return len(tokens) // (length - 2)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, n: int) -> np.ndarray:
    return np.random.default_rng([ORDER, seed, epoch]).permutation(n)


def batch_at(
    tokens: np.ndarray, vocabulary: Vocabulary, *, seed: int, step: int, batch: int, length: int,
    mask_rate: float, rank: int = 0, world: int = 1, shuffle: bool = True,
) -> Batch:  # fmt: skip
    """The batch of one optimizer step, from a packed stream of `tokens` [T].

    The stream is read in a new random order each epoch, or in its own without `shuffle`. Of each
    sequence `masked_per_sequence` positions are masked, never special tokens: 80 % become [MASK],
    10 % a random token, 10 % stay (BERT, section 3.1). `batch` counts the sequences of the *global*
    batch; process `rank` of `world` takes rows ``rank::world``. ValueError if the stream is shorter
    than one batch, or a sequence has too few ordinary tokens to mask.
    """
    n = sequences_in(tokens, length)
    if n < batch:
        raise ValueError(
            f"{len(tokens):,} tokens are {n} sequences of {length}, fewer than one batch of "
            f"{batch}; give the corpus more text, or lower train.batch or train.length"
        )
    index = np.arange(step * batch, (step + 1) * batch)
    epoch, place = index // n, index % n
    rows = [_order(seed, e, n)[p] if shuffle else p for e, p in zip(epoch, place, strict=True)]

    body = length - 2
    truth = np.empty((batch, length), dtype=np.int64)  # [B, L]
    truth[:, 0], truth[:, -1] = vocabulary.cls, vocabulary.sep
    truth[:, 1:-1] = tokens[: n * body].reshape(n, body)[rows]

    # Masks are drawn for the whole global batch, then split: the same for any `world`.
    rng = np.random.default_rng([MASKS, seed, step])
    m = masked_per_sequence(length, mask_rate)
    score = rng.random((batch, length))
    score[np.isin(truth, vocabulary.special)] = 2.0  # above every ordinary token
    positions = np.sort(np.argpartition(score, m - 1, axis=1)[:, :m], axis=1)  # [B, M]
    if np.take_along_axis(score, positions, axis=1).max() > 1:
        raise ValueError(
            f"a sequence of step {step} has fewer than {m} ordinary tokens to mask; "
            "lower train.mask_rate or drop documents of a few tokens"
        )
    targets = np.take_along_axis(truth, positions, axis=1)  # [B, M]
    fate = rng.random((batch, m))
    random_ids = rng.choice(vocabulary.ordinary, size=(batch, m))
    shown = np.where(fate < 0.8, vocabulary.mask, np.where(fate < 0.9, random_ids, targets))
    input_ids = truth.copy()
    np.put_along_axis(input_ids, positions, shown, axis=1)

    mine = slice(rank, None, world)
    return Batch(input_ids[mine], positions[mine], targets[mine])
