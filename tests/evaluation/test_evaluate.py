"""dwt/evaluation/evaluate.py: one row for every model, task, setting, seed and metric."""

import shutil
from types import SimpleNamespace

import pandas as pd
import pytest
from conftest import SENTENCES

from dwt.data.corpus import build_corpus
from dwt.evaluation.evaluate import evaluate, trivial_scores
from dwt.evaluation.metrics import Task
from dwt.training.models import build_model


def test_trivial_scores_are_half_of_the_pairs_and_the_majority_label():
    frame = pd.DataFrame({"text": "a", "pair": None, "label": [0, 1, 1, 1]})
    task = Task("word", ("accuracy",), ("no", "yes"), frame, {"": frame.head(2)})
    scores = trivial_scores({"agreement": [("a", "b")] * 3}, [task]).set_index("task")
    assert scores.score.to_dict() == {"agreement": 0.5, "word": 0.5}
    assert scores.examples.to_dict() == {"agreement": 3, "word": 2}


def test_trivial_scores_cover_every_validation_set_and_regression_scores_0():
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


def scores_of_run(run, corpus, *, weights="trained", **changed):
    return evaluate(
        run, corpus, pairs=PAIRS, tasks=word_tasks(), settings=SETTINGS | changed,
        train=TRAIN, weights=weights, device="cpu",
    )  # fmt: skip


def test_every_setting_seed_and_metric_has_a_row(trained, corpus):
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


def test_random_weights_are_a_baseline_of_step_0(trained, corpus):
    scores = scores_of_run(trained, corpus, weights="random", checkpoints=True)
    assert {*scores.kind} == {"baseline"} and {*scores.arm} == {"random"} and {*scores.step} == {0}


def test_checkpoints_are_scored_with_their_own_weights_and_step(trained, corpus):
    scores = scores_of_run(trained, corpus, checkpoints=True)
    assert scores.groupby("step").size().nunique() == 1 and {*scores.step} == {5, 10, 20}
    early = SimpleNamespace(**vars(trained) | {"directory": trained.directory / "checkpoint-5"})
    alone = scores_of_run(early, corpus)
    rows = scores[scores.step == 5].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows.drop(columns="step"), alone.drop(columns="step"))


def test_checkpoints_are_scored_on_the_named_tasks_only(trained, corpus):
    scores = scores_of_run(trained, corpus, checkpoints=["sts"])
    assert {*scores[scores.step < 20].task} == {"sts"}
    assert {*scores[scores.step == 20].task} > {"sts", "word", "swap"}


def test_a_missing_checkpoint_is_refused_before_anything_is_scored(trained, corpus, monkeypatch):
    monkeypatch.setattr("dwt.evaluation.evaluate.finetune", pytest.fail)
    monkeypatch.setattr("dwt.evaluation.evaluate.pair_scores", pytest.fail)
    shutil.rmtree(trained.directory / "checkpoint-10")
    with pytest.raises(FileNotFoundError, match="normal, seed 3: no weights of step 10.*keep|eval"):
        scores_of_run(trained, corpus, checkpoints=True)
