"""dwt/evaluation/zero_shot.py: scores by their definition, one token and one sentence at a time."""

import copy
import math

import numpy as np
import pytest
import torch
from conftest import SENTENCES

from dwt.data.corpus import build_corpus
from dwt.evaluation.zero_shot import (
    TOKEN_CLASSES,
    pair_scores,
    pseudo_log_likelihood,
    token_classes,
)


def one_token_at_a_time(model, tokenizer, sentence):
    """Pseudo-log-likelihood by its definition: mask one token, run the whole model."""
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
    batched = pseudo_log_likelihood(model, tokenizer, SENTENCES)
    expected = [one_token_at_a_time(model, tokenizer, s) for s in SENTENCES]
    np.testing.assert_allclose(batched, expected, rtol=1e-4)


def test_a_score_does_not_depend_on_the_other_sentences(model, tokenizer):
    alone = [pseudo_log_likelihood(model, tokenizer, [s])[0] for s in SENTENCES]
    np.testing.assert_allclose(pseudo_log_likelihood(model, tokenizer, SENTENCES), alone, rtol=1e-4)


def test_a_pair_of_equal_sentences_counts_half(model, tokenizer):
    assert pair_scores(model, tokenizer, [(SENTENCES[0], SENTENCES[0])]).tolist() == [0.5]


def test_swapping_good_and_bad_gives_one_minus_the_score(model, tokenizer):
    pairs = [(SENTENCES[0], SENTENCES[2]), (SENTENCES[1], SENTENCES[0])]
    swapped = [(bad, good) for good, bad in pairs]
    scores = pair_scores(model, tokenizer, pairs)
    assert pair_scores(model, tokenizer, swapped).tolist() == (1 - scores).tolist()
    better = pseudo_log_likelihood(model, tokenizer, ["the text.", "a small student learns."])
    assert better[0] > better[1]  # fewer tokens, fewer nats


def test_a_uniform_model_gives_every_token_log_v(model, tokenizer):
    flat = uniform(model)
    tokens = len(tokenizer(SENTENCES[1])["input_ids"]) - 2
    score = pseudo_log_likelihood(flat, tokenizer, [SENTENCES[1]])[0]
    assert score == pytest.approx(-tokens * math.log(len(tokenizer)), rel=1e-5)


def uniform(model):
    """The model with an output layer of zeros: every token equally likely."""
    flat = copy.deepcopy(model)
    with torch.no_grad():
        flat.decoder.weight.zero_()
        flat.decoder.bias.zero_()
    return flat


def test_every_token_has_one_class(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n".join(f"The cat {i} is in 42 houses." for i in range(99)))
    (tmp_path / "b.txt").write_text("A text.\n")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = [*special, "the", "is", "cat", "x", "##s", "##7", "42", "7", ".", "(", "é", "½"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n")
    settings = {
        "source": "files",
        "files": "a.txt",
        "out_of_domain": "b.txt",
        "vocabulary": {"file": "vocab.txt"},
        "heldout": 0.2,
    }
    built = build_corpus(settings, directory=tmp_path / "built", root=tmp_path)
    assert list(token_classes(built.tokenizer())) == (
        ["special"] * 5
        + ["function word"] * 2
        + ["content word"] * 2
        + ["continuation piece"] * 2
        + ["number"] * 2
        + ["punctuation"] * 2
        + ["content word", "number"]
    )
    assert set(token_classes(built.tokenizer())) == set(TOKEN_CLASSES)
