import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import matthews_corrcoef
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dwt.batches import Vocabulary
from dwt.evaluate import (
    METRICS,
    finetune,
    minimal_pair_accuracy,
    pseudo_log_likelihood,
)
from dwt.models import build_model
from dwt.tasks import Task
from dwt.vocabulary import SPECIAL_TOKENS, make_tokenizer, save_tokenizer

SENTENCES = ["the teacher reads.", "a small student learns from the teacher.", "the text."]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    made = make_tokenizer({"size": 80, "alphabet": 26}, lambda: iter(SENTENCES * 50), root=folder)
    save_tokenizer(made, folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def model(tokenizer):
    ids = tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS)
    vocabulary = Vocabulary(len(tokenizer), ids[2], ids[3], ids[4], tuple(ids))
    shape = dict(family="modernbert", width=16, heads=2, intermediate=24, initializer_range=0.3)
    return build_model(shape, layers=2, vocabulary=vocabulary, max_length=64, pad=ids[0]).eval()


def one_token_at_a_time(model, tokenizer, sentence):
    """Pseudo-log-likelihood as it is defined: mask one token, run the whole model, look it up."""
    ids = tokenizer(sentence, return_tensors="pt")["input_ids"]
    total = 0.0
    for place in range(1, ids.shape[1] - 1):
        masked = ids.clone()
        masked[0, place] = tokenizer.mask_token_id
        with torch.no_grad():
            logits = model(input_ids=masked).logits[0, place].double()
        total += logits.log_softmax(-1)[ids[0, place]].item()
    return total


def test_batched_pseudo_log_likelihood_is_the_sum_over_tokens_masked_one_by_one(model, tokenizer):
    found = pseudo_log_likelihood(model, tokenizer, SENTENCES)
    wanted = [one_token_at_a_time(model, tokenizer, s) for s in SENTENCES]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_a_sentence_scores_the_same_whatever_stands_beside_it(model, tokenizer):
    alone = [pseudo_log_likelihood(model, tokenizer, [s])[0] for s in SENTENCES]
    np.testing.assert_allclose(pseudo_log_likelihood(model, tokenizer, SENTENCES), alone, rtol=1e-4)


def test_a_pair_of_equal_sentences_counts_half(model, tokenizer):
    assert minimal_pair_accuracy(model, tokenizer, [(SENTENCES[0], SENTENCES[0])]) == 0.5


def test_swapping_good_and_bad_turns_the_accuracy_round(model, tokenizer):
    pairs = [(SENTENCES[0], SENTENCES[2]), (SENTENCES[1], SENTENCES[0])]
    turned = [(bad, good) for good, bad in pairs]
    accuracy = minimal_pair_accuracy(model, tokenizer, pairs)
    assert minimal_pair_accuracy(model, tokenizer, turned) == pytest.approx(1 - accuracy)
    better = pseudo_log_likelihood(model, tokenizer, ["the text.", "a small student learns."])
    assert better[0] > better[1]  # fewer tokens, fewer nats


@pytest.mark.parametrize("metric", ["accuracy", "matthews", "f1"])
def test_a_perfect_guess_scores_one_and_metrics_are_scikit_learns(metric):
    truth = np.array([0, 1, 1, 0, 1])
    assert METRICS[metric](truth, truth) == 1.0
    assert METRICS["matthews"](truth, 1 - truth) == matthews_corrcoef(truth, 1 - truth) == -1.0


def word_task(n):
    """Does the sentence hold the word `teacher`? Learnable by any model that reads."""
    rows = [(SENTENCES[i % 3], None, int("teacher" in SENTENCES[i % 3])) for i in range(n)]
    frame = pd.DataFrame(rows, columns=["text", "pair", "label"])
    return Task("word", "accuracy", ("no", "yes"), frame, frame.head(30))


SETTINGS = dict(learning_rate=3e-3, epochs=6, batch=8)


def classifier(model, tmp_path):
    model.save_pretrained(tmp_path / "model")
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_pretrained(tmp_path / "model", num_labels=2)


def test_fine_tuning_learns_what_can_be_learned(model, tokenizer, tmp_path):
    score = finetune(
        classifier(model, tmp_path), tokenizer, word_task(90), settings=SETTINGS, seed=0
    )
    assert score == 1.0


def test_fine_tuning_is_a_function_of_its_seed(model, tokenizer, tmp_path):
    weights = []
    for seed in (0, 0, 1):
        fresh = classifier(model, tmp_path)
        finetune(fresh, tokenizer, word_task(40), settings={**SETTINGS, "epochs": 1}, seed=seed)
        weights.append(torch.cat([p.detach().flatten() for p in fresh.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_uniform_model_gives_every_token_log_v(model, tokenizer):
    flat = build_uniform(model)
    tokens = len(tokenizer(SENTENCES[1])["input_ids"]) - 2
    found = pseudo_log_likelihood(flat, tokenizer, [SENTENCES[1]])[0]
    assert found == pytest.approx(-tokens * math.log(len(tokenizer)), rel=1e-5)


def build_uniform(model):
    """The model with an output layer of zeros: every token equally likely."""
    flat = copy.deepcopy(model)
    with torch.no_grad():
        flat.decoder.weight.zero_()
        flat.decoder.bias.zero_()
    return flat
