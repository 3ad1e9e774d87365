"""dwt/evaluate.py: scores as they are defined, one token and one pair at a time."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SENTENCES

from dwt.evaluate import minimal_pair_accuracy, pseudo_log_likelihood, trivial_scores
from dwt.tasks import Task


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


def test_guesses_score_a_coin_on_pairs_and_the_share_of_the_commonest_label():
    frame = pd.DataFrame({"text": "a", "pair": None, "label": [0, 1, 1, 1]})
    task = Task("word", "accuracy", ("no", "yes"), frame, frame.head(2))
    scores = trivial_scores({"agreement": [("a", "b")] * 3}, [task]).set_index("task")
    assert scores.score.to_dict() == {"agreement": 0.5, "word": 0.5}
    assert scores.examples.to_dict() == {"agreement": 3, "word": 2}
