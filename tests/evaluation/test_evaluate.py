"""dwt/evaluation/evaluate.py: scores as they are defined, one token and one pair at a time."""

import copy
import math
import shutil
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SENTENCES

from dwt.data.corpus import build_corpus
from dwt.evaluation.evaluate import evaluate, trivial_scores
from dwt.evaluation.finetune import finetune
from dwt.evaluation.heldout_tasks import Task
from dwt.evaluation.kept import Kept
from dwt.evaluation.zero_shot import minimal_pair_accuracy, pseudo_log_likelihood
from dwt.training.models import build_model


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
    task = Task("word", ("accuracy",), ("no", "yes"), frame, {"": frame.head(2)})
    scores = trivial_scores({"agreement": [("a", "b")] * 3}, [task]).set_index("task")
    assert scores.score.to_dict() == {"agreement": 0.5, "word": 0.5}
    assert scores.examples.to_dict() == {"agreement": 3, "word": 2}


def test_guesses_know_every_validation_set_and_correlate_with_no_number():
    frame = pd.DataFrame({"text": "a", "pair": None, "label": [0, 1, 1, 1]})
    sets = {"matched": frame.head(2), "mismatched": frame.tail(2)}
    labels = Task("two", ("accuracy", "f1"), ("no", "yes"), frame, sets)
    number = Task("sts", ("pearson", "spearman"), (), frame, {"": frame})
    scores = trivial_scores({}, [labels, number]).set_index(["task", "metric"]).score
    assert scores["two", "accuracy (matched)"] == 0.5
    assert scores["two", "f1 (mismatched)"] == 1.0  # always label 1
    assert scores["sts", "pearson"] == scores["sts", "spearman"] == 0.0


SETTINGS = dict(
    tasks=["word", "sts"], seeds=2, learning_rate=[1e-3, 3e-3], epochs=[1, 2], batch=8, length=32,
    checkpoints=False,
)  # fmt: skip
TRAIN = dict(
    threads=1, steps=20, batch=4, keep=[0.25, 0.5], length=32, mask_rate=0.15, final_sequences=4,
)  # fmt: skip
PAIRS = {"swap": [("the teacher reads.", "teacher the reads.")]}


def word_tasks(n=12):
    """Does the sentence hold `teacher`, as a label and as a number?"""
    rows = [(SENTENCES[i % 3], None, int("teacher" in SENTENCES[i % 3])) for i in range(n)]
    frame = pd.DataFrame(rows, columns=["text", "pair", "label"])
    numbers = frame.assign(label=frame.label + 0.5)
    return [
        Task("word", ("accuracy", "f1"), ("no", "yes"), frame, {"": frame}),
        Task("sts", ("pearson",), (), numbers, {"": numbers}),
    ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A built corpus of three sentences."""
    root = tmp_path_factory.mktemp("text")
    for name in ("a.txt", "b.txt"):
        lines = [f"{SENTENCES[i % 3]} {i}" for i in range(300)]
        (root / name).write_text("\n\n".join(lines))
    settings = dict(source="files", files="a.txt", out_of_domain="b.txt", heldout=0.3,
                    vocabulary={"size": 120, "alphabet": 40})  # fmt: skip
    return build_corpus(settings, directory=root / "built", root=root, length=32)


@pytest.fixture
def trained(corpus, tmp_path):
    """A run of 20 steps with weights of steps 5, 10 and 20, each of its own seed."""
    shape = dict(family="modernbert", width=16, heads=2, intermediate=24, initializer_range=0.3)
    for step, folder in ((20, "."), (5, "checkpoint-5"), (10, "checkpoint-10")):
        model = build_model(shape, layers=1, vocabulary=corpus.vocabulary, max_length=32, seed=step)
        model.save_pretrained(tmp_path / folder)
    return SimpleNamespace(
        kind="student", arm="normal", seed=3, directory=tmp_path, model=shape, layers=1
    )


def scores_of_run(run, corpus, tasks=None, *, kept=None, weights="trained", **changed):
    return evaluate(
        run, corpus, pairs=PAIRS, tasks=tasks or word_tasks(), settings=SETTINGS | changed,
        train=TRAIN, weights=weights, device="cpu", kept=kept,
    )  # fmt: skip


def test_every_setting_seed_and_metric_of_a_task_has_a_row_that_says_so(trained, corpus):
    scores = scores_of_run(trained, corpus)
    assert {*scores.step} == {20} and {*scores.arm} == {"normal"} and {*scores.seed} == {3}
    word = scores[scores.task == "word"]
    grid = {(r, e, s, m) for r in (1e-3, 3e-3) for e in (1, 2) for s in (0, 1)
            for m in ("accuracy", "f1")}  # fmt: skip
    columns = ["learning_rate", "epochs", "finetune_seed", "metric"]
    assert {*word[columns].itertuples(index=False, name=None)} == grid and len(word) == len(grid)
    assert {*word.train_examples} == {12}
    zero_shot = scores[scores.task.str.startswith(("swap", "cloze"))]
    assert len(zero_shot) >= 2 and zero_shot[[*columns[:3], "train_examples"]].isna().all(axis=None)


def test_each_number_of_epochs_has_a_schedule_of_its_own(trained, corpus):
    both = scores_of_run(trained, corpus)
    alone = scores_of_run(trained, corpus, epochs=[1], learning_rate=[3e-3])
    same = both[(both.epochs.isna()) | ((both.epochs == 1) & (both.learning_rate == 3e-3))]
    pd.testing.assert_frame_equal(same.reset_index(drop=True), alone)


def test_random_weights_are_those_of_step_0(trained, corpus):
    scores = scores_of_run(trained, corpus, weights="random", checkpoints=True)
    assert {*scores.kind} == {"baseline"} and {*scores.arm} == {"random"} and {*scores.step} == {0}


def test_checkpoints_are_scored_with_their_own_weights_and_step(trained, corpus):
    scores = scores_of_run(trained, corpus, checkpoints=True)
    assert scores.groupby("step").size().nunique() == 1 and {*scores.step} == {5, 10, 20}
    early = SimpleNamespace(**vars(trained) | {"directory": trained.directory / "checkpoint-5"})
    alone = scores_of_run(early, corpus)
    found = scores[scores.step == 5].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.drop(columns="step"), alone.drop(columns="step"))


def test_checkpoints_are_scored_on_the_tasks_named_only(trained, corpus):
    scores = scores_of_run(trained, corpus, checkpoints=["sts"])
    assert {*scores[scores.step < 20].task} == {"sts"}
    assert {*scores[scores.step == 20].task} > {"sts", "word", "swap"}


def test_a_missing_checkpoint_is_refused_before_anything_is_scored(trained, corpus, monkeypatch):
    monkeypatch.setattr("dwt.evaluation.evaluate.finetune", pytest.fail)
    monkeypatch.setattr("dwt.evaluation.evaluate.minimal_pair_accuracy", pytest.fail)
    shutil.rmtree(trained.directory / "checkpoint-10")
    with pytest.raises(FileNotFoundError, match="normal, seed 3: no weights of step 10.*keep|eval"):
        scores_of_run(trained, corpus, checkpoints=True)


def test_a_job_that_was_stopped_goes_on_after_its_last_finished_fine_tuning(
    trained, corpus, monkeypatch, tmp_path
):
    real, calls = finetune, []

    def counting(*args, stop=None, **kwargs):
        if len(calls) == stop:
            raise KeyboardInterrupt
        calls.append(kwargs["settings"]["epochs"])
        return real(*args, **kwargs)

    kept = Kept(tmp_path / "kept")
    whole = scores_of_run(trained, corpus)
    monkeypatch.setattr("dwt.evaluation.evaluate.finetune", partial(counting, stop=5))
    with pytest.raises(KeyboardInterrupt):
        scores_of_run(trained, corpus, kept=kept)
    monkeypatch.setattr("dwt.evaluation.evaluate.finetune", counting)
    pd.testing.assert_frame_equal(scores_of_run(trained, corpus, kept=kept), whole)
    assert len(calls) == 2 * 2 * 2 * 2  # tasks, rates, epochs, seeds: none of them twice
    scores_of_run(trained, corpus, kept=kept, batch=4)
    assert len(calls) == 32  # another setting: nothing that was kept is its score
    flipped = [replace(t, train=t.train.assign(label=1 - t.train.label)) for t in word_tasks()]
    scores_of_run(trained, corpus, flipped, kept=kept)
    assert len(calls) == 48
    kept.drop()
    assert not kept.folder.exists()


def test_a_kept_score_that_is_cut_short_is_made_anew(tmp_path):
    kept = Kept(tmp_path)
    kept.put(["a", 1], {"accuracy": [0.1 + 0.2, 3]})
    assert kept.get(["a", 1]) == {"accuracy": [0.1 + 0.2, 3]} and kept.get(["a", 2]) is None
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text()[:-3])
    assert kept.get(["a", 1]) is None
