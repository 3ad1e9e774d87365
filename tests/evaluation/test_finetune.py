"""dwt/evaluation/finetune.py: what can be learned is learned, at the mask, over a text and over two."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from conftest import FAMILIES, SENTENCES
from transformers import AutoModelForSequenceClassification

from dwt.evaluation.finetune import (
    METRICS,
    _batches,
    _outputs,
    classifier,
    encode,
    finetune,
    scores_of,
)
from dwt.evaluation.heldout_tasks import Task
from dwt.training.models import build_model, hidden_at

TRUTH, FOUND = np.array([0, 1, 1, 0, 1, 1, 0, 1]), np.array([0, 1, 0, 1, 1, 1, 0, 0])
TP, FP, FN, TN = 3, 1, 2, 2  # of label 1
PERFECT = {"accuracy": (1.0, 30)}


def test_metrics_of_labels_are_their_closed_forms():
    across = math.sqrt((TP + FP) * (TP + FN) * (TN + FP) * (TN + FN))
    assert METRICS["accuracy"](TRUTH, FOUND) == (TP + TN) / 8
    assert METRICS["f1"](TRUTH, FOUND) == pytest.approx(2 * TP / (2 * TP + FP + FN))
    assert METRICS["matthews"](TRUTH, FOUND) == pytest.approx((TP * TN - FP * FN) / across)


def test_f1_is_that_of_the_positive_label_as_glue_has_it():
    assert METRICS["f1"](TRUTH, FOUND) != pytest.approx(METRICS["f1"](1 - TRUTH, 1 - FOUND))


def test_metrics_of_numbers_are_pearsons_and_spearmans_ties_among_them():
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 6, 50).astype(float), rng.normal(size=50)
    assert METRICS["pearson"](truth, found) == pytest.approx(np.corrcoef(truth, found)[0, 1])
    ranks = [scipy.stats.rankdata(values) for values in (truth, found)]
    assert METRICS["spearman"](truth, found) == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_a_constant_guess_correlates_with_nothing():
    assert METRICS["pearson"](TRUTH, np.ones(8)) == METRICS["spearman"](TRUTH, np.ones(8)) == 0.0
    assert METRICS["matthews"](TRUTH, np.ones(8)) == 0.0


def test_every_metric_of_every_validation_set_is_scored_on_its_own_rows():
    frames = {"matched": pd.DataFrame({"label": TRUTH}), "mismatched": pd.DataFrame({"label": [1]})}
    task = Task("two", ("accuracy", "f1"), ("no", "yes"), None, frames)
    found = scores_of(task, {"matched": FOUND, "mismatched": np.array([1])})
    assert found["accuracy (matched)"] == (5 / 8, 8)
    assert found["accuracy (mismatched)"] == found["f1 (mismatched)"] == (1.0, 1)
    assert len(found) == 4


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


def test_a_number_is_learned_with_one_output_on_its_own_scale(model, tokenizer):
    encoded = encode(tokenizer, pair_task(90, number=True))
    made = classifier(model, encoded.task, seed=0)
    assert made.config.num_labels == 1
    found = finetune(made, encoded, settings=SETTINGS | {"epochs": 20}, seed=0)
    assert {*found} == {"pearson", "spearman"} and found["pearson"][0] > 0.9
    guesses = _outputs(made, encoded, encoded.train[:9], "cpu")[:, 0].detach().numpy()
    wanted = encoded.task.train.label.head(9).to_numpy()
    assert np.abs(guesses - wanted).mean() < 0.7  # not scaled to [0, 1], nor centred


def test_two_texts_are_encoded_apart_and_the_longer_one_is_cut_first(tokenizer):
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
def test_a_padded_batch_of_pairs_gives_what_transformers_gives_each_alone(
    family, vocabulary, tokenizer
):
    shape = dict(family=family, width=16, heads=2, intermediate=24, initializer_range=0.5)
    base = build_model(shape, layers=2, vocabulary=vocabulary, max_length=64)
    encoded = encode(tokenizer, pair_task(9))
    made = classifier(base, encoded.task, seed=0).eval()
    given = {"return_tensors": "pt", "return_token_type_ids": family == "bert"}
    with torch.no_grad():
        found = _outputs(made, encoded, encoded.train, "cpu")
        rows = encoded.task.train.itertuples()
        wanted = [made(**tokenizer(row.text, row.pair, **given)).logits[0] for row in rows]
    torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-4, atol=1e-5)


def test_bert_tells_the_texts_of_a_pair_apart(vocabulary, tokenizer):
    shape = dict(family="bert", width=16, heads=2, intermediate=24, initializer_range=0.5)
    base = build_model(shape, layers=1, vocabulary=vocabulary, max_length=64)
    encoded = encode(tokenizer, pair_task(9))
    made = classifier(base, encoded.task, seed=0).eval()
    before = _outputs(made, encoded, encoded.train, "cpu")
    with torch.no_grad():
        made.bert.embeddings.token_type_embeddings.weight[1] += torch.randn(16)
    assert not torch.allclose(before, _outputs(made, encoded, encoded.train, "cpu"), atol=1e-3)


def test_distilbert_and_bert_get_the_head_of_transformers_recipe(vocabulary, tmp_path):
    for family in ("distilbert", "bert"):
        shape = dict(family=family, width=16, heads=2, intermediate=24)
        base = build_model(shape, layers=1, vocabulary=vocabulary, max_length=32)
        base.save_pretrained(tmp_path / family)
        recipe = AutoModelForSequenceClassification.from_pretrained(
            tmp_path / family, num_labels=2
        ).eval()
        made = classifier(base, word_task(3), seed=0).eval()
        assert type(made) is type(recipe)
        head = {k: v for k, v in recipe.state_dict().items() if "classifier" in k or "pooler" in k}
        made.load_state_dict(head, strict=False)
        ids = torch.randint(5, 100, (3, 8))
        torch.testing.assert_close(made(input_ids=ids).logits, recipe(input_ids=ids).logits)
        last = made(input_ids=ids, output_hidden_states=True).hidden_states[-1]
        if family == "distilbert":  # [CLS], a linear layer, ReLU, the labels
            hidden = made.pre_classifier(last[:, 0]).relu()
            torch.testing.assert_close(made.classifier(hidden), made(input_ids=ids).logits)


def test_batches_hold_every_row_once_and_texts_of_like_length():
    lengths = np.random.default_rng(1).integers(3, 60, 7777)
    ids = [(np.zeros(n),) for n in lengths]
    batches = _batches(ids, 16, np.random.default_rng(0))
    assert sorted(np.concatenate(batches)) == [*range(7777)]
    padded = sum(lengths[rows].max() * len(rows) for rows in batches)
    assert padded < 1.1 * lengths.sum()
    again = _batches(ids, 16, np.random.default_rng(1))
    assert not any({*a} == {*b} for a in batches[:20] for b in again)  # other company each time


def test_texts_labels_and_metrics_are_what_a_score_is_remembered_by(tokenizer):
    same, again, other = (encode(tokenizer, word_task(n)).digest() for n in (9, 9, 12))
    assert same == again != other
    flipped = word_task(9)
    flipped.train["label"] = 1 - flipped.train["label"]
    assert encode(tokenizer, flipped).digest() != same
