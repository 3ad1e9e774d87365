"""dwt/finetune.py: what can be learned is learned, at the mask and over the whole text."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import FAMILIES, SENTENCES
from sklearn.metrics import matthews_corrcoef

from dwt.finetune import METRICS, classifier, finetune
from dwt.models import build_model, hidden_at
from dwt.tasks import Task


@pytest.mark.parametrize("metric", ["accuracy", "matthews", "f1"])
def test_a_perfect_guess_scores_one_and_metrics_are_scikit_learns(metric):
    truth = np.array([0, 1, 1, 0, 1])
    assert METRICS[metric](truth, truth) == 1.0
    assert METRICS["matthews"](truth, 1 - truth) == matthews_corrcoef(truth, 1 - truth) == -1.0


def word_task(n, *, at_mask=False):
    """Does the sentence hold the word `teacher`? Learnable by any model that reads."""
    rows = [(SENTENCES[i % 3], None, int("teacher" in SENTENCES[i % 3])) for i in range(n)]
    frame = pd.DataFrame(rows, columns=["text", "pair", "label"])
    return Task("word", "accuracy", ("no", "yes"), frame, frame.head(30), at_mask)


SETTINGS = dict(learning_rate=3e-3, epochs=6, batch=8)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_keeps_its_encoder_and_gets_fresh_labels(family, vocabulary):
    shape = dict(family=family, width=16, heads=2, intermediate=24)
    base = build_model(shape, layers=2, vocabulary=vocabulary, max_length=32)
    ids = torch.randint(5, 100, (3, 8))
    for at_mask, size in ((False, (3, 2)), (True, (3, 8, 2))):
        task = word_task(3, at_mask=at_mask)
        made, again, other = (classifier(base, task, seed=s).eval() for s in (0, 0, 1))
        assert made(input_ids=ids).logits.shape == size
        assert torch.equal(made(input_ids=ids).logits, again(input_ids=ids).logits)
        assert not torch.equal(made(input_ids=ids).logits, other(input_ids=ids).logits)
        for one in (made, other):
            encoder, wanted = one.base_model.state_dict(), base.base_model.state_dict()
            assert all(torch.equal(encoder[k], v) for k, v in wanted.items() if k in encoder)
            assert len(encoder.keys() & wanted.keys()) > 10


def test_a_missing_word_is_read_from_what_masked_lm_gives_its_output_layer(model, vocabulary):
    made = classifier(model, word_task(3, at_mask=True), seed=0).eval()
    ids, places = torch.randint(5, 50, (3, 8)), torch.tensor([[2], [5], [7]])
    found = made(input_ids=ids).logits[torch.arange(3), places[:, 0]]
    state = hidden_at(model, ids, places)
    torch.testing.assert_close(found, state @ made.classifier.weight.T + made.classifier.bias)


def test_fine_tuning_learns_what_can_be_learned(model, tokenizer):
    made = classifier(model, word_task(90), seed=0)
    assert finetune(made, tokenizer, word_task(90), settings=SETTINGS, seed=0) == 1.0


def test_fine_tuning_learns_which_word_is_missing(model, tokenizer):
    rows = [("the [MASK] reads.", None, 0), ("a small student learns from the [MASK].", None, 1)]
    frame = pd.DataFrame(rows * 40, columns=["text", "pair", "label"])
    task = Task("word", "accuracy", ("teacher", "text"), frame, frame.head(30), at_mask=True)
    made = classifier(model, task, seed=0)
    assert finetune(made, tokenizer, task, settings=SETTINGS, seed=0) == 1.0


def test_fine_tuning_leaves_the_pretrained_model_as_it_was(model, tokenizer):
    before = [p.clone() for p in model.parameters()]
    finetune(
        classifier(model, word_task(9), seed=0), tokenizer, word_task(9), settings=SETTINGS, seed=0
    )
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_fine_tuning_is_a_function_of_its_seed(model, tokenizer):
    weights = []
    for seed in (0, 0, 1):
        fresh = classifier(model, word_task(40), seed=0)
        finetune(fresh, tokenizer, word_task(40), settings={**SETTINGS, "epochs": 1}, seed=seed)
        weights.append(torch.cat([p.detach().flatten() for p in fresh.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
