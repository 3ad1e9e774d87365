import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dwt.config.params import resolve
from dwt.data.corpus import load_corpus
from dwt.training.batches import batch_at
from dwt.training.models import load_model
from dwt.training.validation import EVALUATION_SEED, masked_lm_loss


def test_held_out_loss_is_torchs_cross_entropy_on_the_full_forward_pass(study):
    corpus = load_corpus(study.path("data"))
    run = resolve("weak-teacher", 0, study)
    model = load_model(run.directory)
    ours = masked_lm_loss(
        model, corpus.tokens("heldout"), corpus.vocabulary, sequences=8, train=run.train
    )
    losses = []
    for step in range(2):
        ids, positions, targets = map(torch.from_numpy, batch_at(
            corpus.tokens("heldout"), corpus.vocabulary, seed=EVALUATION_SEED,
            step=step, batch=4, length=32, mask_rate=0.3,
        ))  # fmt: skip
        labels = torch.full_like(ids, -100).scatter(1, positions, targets)
        with torch.no_grad():
            logits = model.eval()(input_ids=ids).logits
        losses.append(F.cross_entropy(logits.flatten(0, 1), labels.flatten()).item())
    assert ours == pytest.approx(np.mean(losses), rel=1e-5)
