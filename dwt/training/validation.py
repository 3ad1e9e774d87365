"""Loss of a model on text it was not trained on."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from dwt.data.vocabulary import Vocabulary
from dwt.training.batches import Batch, batch_at, sequences_in
from dwt.training.loss import linear_dwt_loss
from dwt.training.models import hidden_at, output_layer
from dwt.training.step import autocast, batch_to_device

EVALUATION_SEED = 1_000_003  # the same order and masks of held-out text for every run and seed


@torch.no_grad()
def masked_lm_loss(
    model: nn.Module, tokens: np.ndarray, vocabulary: Vocabulary, *, sequences: int,
    train: Mapping[str, Any], device: torch.device | str = "cpu",
) -> float:  # fmt: skip
    """Mean hard loss on `sequences` of a stream [T], with fixed masks, nats per masked token.

    All are read where it holds fewer. The model keeps its mode, training or evaluation.
    """
    was_training = model.training
    model.eval()
    total = torch.zeros((), dtype=torch.float64, device=device)
    batches = list(heldout_batches(tokens, vocabulary, sequences=sequences, train=train))
    for batch in batches:
        ids, positions, targets, _ = batch_to_device(batch, device)
        with autocast(train, device):
            hidden = hidden_at(model, ids, positions)
            head, targets = output_layer(model), targets.flatten()
            total += linear_dwt_loss(hidden, head, None, None, targets).hard
    model.train(was_training)
    return total.item() / len(batches)


def heldout_batches(
    tokens: np.ndarray, vocabulary: Vocabulary, *, sequences: int, train: Mapping[str, Any]
) -> Iterator[Batch]:
    """The batches on which every model is evaluated, at least one; parameters as above."""
    available = sequences_in(tokens, train["length"])
    batch = min(train["batch"], available)
    for step in range(max(1, min(sequences, available) // batch)):
        yield batch_at(
            tokens, vocabulary, seed=EVALUATION_SEED, step=step, batch=batch,
            length=train["length"], mask_rate=train["mask_rate"],
        )  # fmt: skip
