"""dwt/evaluation/finetune.py: learnable tasks are learned, at [MASK], on one text and on two."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SENTENCES

from dwt.evaluation.finetune import _batches, _outputs, classifier, encode, finetune
from dwt.evaluation.metrics import Task
from dwt.training.families import FAMILIES
from dwt.training.models import build_model, hidden_at

PERFECT = {"accuracy": (1.0, 30)}


def one_set(name, metrics, labels, frame, **kind):
    return Task(name, metrics, labels, frame, {"": frame.head(30)}, **kind)


def word_task(n, *, at_mask=False):
    """Does the sentence hold the word `teacher`? Learnable by any model that reads."""
    rows = [(SENTENCES[i % 3], None, int("teacher" in SENTENCES[i % 3])) for i in range(n)]
    frame = pd.DataFrame(rows, columns=["text", "pair", "label"])
    return one_set("word", ("accuracy",), ("no", "yes"), frame, at_mask=at_mask)


def pair_task(n, *, number=False):
    """Is the second text the first? As label, or as a number from 1 to 4."""
    rows = [(SENTENCES[i % 3], SENTENCES[i // 3 % 3]) for i in range(n)]
    frame = pd.DataFrame(rows, columns=["text", "pair"])
    same = (frame.text == frame.pair).astype(int)
    if number:
        frame["label"] = 1.0 + 3 * same
        return one_set("alike", ("pearson", "spearman"), (), frame)
    return one_set("same", ("accuracy",), ("no", "yes"), frame.assign(label=same))


SETTINGS = dict(learning_rate=3e-3, epochs=6, batch=8)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_classifier_keeps_the_encoder_and_draws_a_new_head_from_the_seed(family, vocabulary):
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
            encoder, source = one.base_model.state_dict(), base.base_model.state_dict()
            assert all(torch.equal(encoder[k], v) for k, v in source.items() if k in encoder)
            assert len(encoder.keys() & source.keys()) > 10


def test_at_mask_the_head_reads_the_state_that_masked_lm_reads(model, vocabulary):
    made = classifier(model, word_task(3, at_mask=True), seed=0).eval()
    ids, places = torch.randint(5, 50, (3, 8)), torch.tensor([[2], [5], [7]])
    logits = made(input_ids=ids).logits[torch.arange(3), places[:, 0]]
    state = hidden_at(model, ids, places)
    torch.testing.assert_close(logits, state @ made.classifier.weight.T + made.classifier.bias)


def test_fine_tuning_learns_a_learnable_label(model, tokenizer):
    made = classifier(model, word_task(90), seed=0)
    assert finetune(made, encode(tokenizer, word_task(90)), settings=SETTINGS, seed=0) == PERFECT


def test_fine_tuning_learns_which_word_is_missing(model, tokenizer):
    rows = [("the [MASK] reads.", None, 0), ("a small student learns from the [MASK].", None, 1)]
    frame = pd.DataFrame(rows * 40, columns=["text", "pair", "label"])
    task = one_set("word", ("accuracy",), ("teacher", "text"), frame, at_mask=True)
    made = classifier(model, task, seed=0)
    assert finetune(made, encode(tokenizer, task), settings=SETTINGS, seed=0) == PERFECT


def test_fine_tuning_leaves_the_pretrained_model_as_it_was(model, tokenizer):
    before = [p.clone() for p in model.parameters()]
    made, encoded = classifier(model, word_task(9), seed=0), encode(tokenizer, word_task(9))
    finetune(made, encoded, settings=SETTINGS, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_fine_tuning_is_a_function_of_its_seed(model, tokenizer):
    weights = []
    for seed in (0, 0, 1):
        fresh = classifier(model, word_task(40), seed=0)
        finetune(
            fresh, encode(tokenizer, word_task(40)), settings=SETTINGS | {"epochs": 1}, seed=seed
        )
        weights.append(torch.cat([p.detach().flatten() for p in fresh.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_regression_learns_unscaled_numbers_with_one_output(model, tokenizer):
    encoded = encode(tokenizer, pair_task(90, number=True))
    made = classifier(model, encoded.task, seed=0)
    assert made.config.num_labels == 1
    scores = finetune(made, encoded, settings=SETTINGS | {"epochs": 20}, seed=0)
    assert {*scores} == {"pearson", "spearman"} and scores["pearson"][0] > 0.9
    outputs = _outputs(made, encoded, encoded.train[:9], "cpu")[:, 0].detach().numpy()
    labels = encoded.task.train.label.head(9).to_numpy()
    assert np.abs(outputs - labels).mean() < 0.7  # neither scaled to [0, 1] nor centred


def test_a_pair_is_separated_and_its_longer_text_truncated_first(tokenizer):
    long, short = SENTENCES[1], SENTENCES[2]
    frame = pd.DataFrame({"text": [long], "pair": [short], "label": [0]})
    whole, cut = (
        encode(tokenizer, one_set("x", ("accuracy",), ("a",), frame), length=n).train[0]
        for n in (128, 11)
    )
    pieces = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (long, short)]
    sep = tokenizer.sep_token_id
    assert whole[0].tolist() == [tokenizer.cls_token_id, *pieces[0], sep, *pieces[1], sep]
    assert whole[1].tolist() == [0] * (len(pieces[0]) + 2) + [1] * (len(pieces[1]) + 1)
    assert len(cut[0]) == 11 and cut[0].tolist().count(sep) == 2
    assert cut[0].tolist()[-len(pieces[1]) - 1 : -1] == pieces[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_padded_batch_gives_the_logits_of_each_row_alone(family, vocabulary, tokenizer):
    shape = dict(family=family, width=16, heads=2, intermediate=24, initializer_range=0.5)
    base = build_model(shape, layers=2, vocabulary=vocabulary, max_length=64)
    encoded = encode(tokenizer, pair_task(9))
    made = classifier(base, encoded.task, seed=0).eval()
    options = {"return_tensors": "pt", "return_token_type_ids": family == "bert"}
    with torch.no_grad():
        batched = _outputs(made, encoded, encoded.train, "cpu")
        rows = encoded.task.train.itertuples()
        alone = [made(**tokenizer(row.text, row.pair, **options)).logits[0] for row in rows]
    torch.testing.assert_close(batched, torch.stack(alone), rtol=1e-4, atol=1e-5)


def test_batches_hold_every_row_once_and_similar_lengths():
    lengths = np.random.default_rng(1).integers(3, 60, 7777)
    ids = [(np.zeros(n),) for n in lengths]
    batches = _batches(ids, 16, np.random.default_rng(0))
    assert sorted(np.concatenate(batches)) == [*range(7777)]
    padded = sum(lengths[rows].max() * len(rows) for rows in batches)
    assert padded < 1.1 * lengths.sum()
    again = _batches(ids, 16, np.random.default_rng(1))
    assert not any({*a} == {*b} for a in batches[:20] for b in again)  # reshuffled
