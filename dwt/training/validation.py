"""How well does a model predict text it was not trained on?"""

import torch

from dwt.training.batches import batch_at, sequences_in
from dwt.training.loss import linear_dwt_loss
from dwt.training.models import hidden_at, output_layer
from dwt.training.step import on_device, precision

EVALUATION_SEED = 1_000_003  # held-out text is read and masked alike in every run of every seed


@torch.no_grad()
def masked_lm_loss(model, tokens, vocabulary, *, sequences, train, device="cpu"):
    """Mean hard loss on a fixed sample with fixed masks, nats per masked token.

    Parameters
    ----------
    model : PreTrainedModel
        Left in the mode it came in.
    tokens : array of int, [T]
    vocabulary : dwt.training.batches.Vocabulary
    sequences : int
        How many to read; all there are when the stream holds fewer.
    train : dict
        The `train` section: batch, length, mask_rate, precision.
    """
    was_training = model.training
    model.eval()
    total = torch.zeros((), dtype=torch.float64, device=device)
    batches = list(heldout_batches(tokens, vocabulary, sequences=sequences, train=train))
    for batch in batches:
        batch = on_device(batch, device)
        with precision(train, device):
            hidden = hidden_at(model, batch.input_ids, batch.positions)
            head, targets = output_layer(model), batch.targets.flatten()
            total += linear_dwt_loss(hidden, head, None, None, targets).hard
    model.train(was_training)
    return total.item() / len(batches)


def heldout_batches(tokens, vocabulary, *, sequences, train):
    """The batches that every model is measured on: `dwt.training.batches.Batch`, at least one."""
    available = sequences_in(tokens, train["length"])
    batch = min(train["batch"], available)
    for step in range(max(1, min(sequences, available) // batch)):
        yield batch_at(
            tokens, vocabulary, seed=EVALUATION_SEED, step=step, batch=batch,
            length=train["length"], mask_rate=train["mask_rate"],
        )  # fmt: skip
