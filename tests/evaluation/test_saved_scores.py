"""dwt/evaluation/saved_scores.py: a run is scored once, and again when its scores could differ."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import changed

from dwt.analysis.tables import save
from dwt.config.params import resolve
from dwt.data.corpus import load_corpus
from dwt.evaluation import saved_scores as module
from dwt.evaluation.evaluate import COLUMNS, evaluate
from dwt.evaluation.metrics import Task
from dwt.evaluation.saved_scores import evaluate_once
from dwt.training.train import pretrain


@pytest.fixture(scope="session")
def trained(study):
    """A run with a checkpoint; tests copy its folder."""
    run = resolve("weak-teacher", 0, study)
    pretrain(run)
    return run


@pytest.fixture
def run(trained, tmp_path):
    """The trained run in a folder of its own, in which no scores are kept."""
    moved = replace(trained, root=tmp_path)
    shutil.copytree(trained.directory, moved.directory)
    shutil.copytree(trained.corpus_directory, moved.corpus_directory)
    return moved


@pytest.fixture
def corpus(run):
    return load_corpus(run.corpus_directory)


@pytest.fixture
def how(study, run):
    """The arguments of an evaluation: one kind of pair, one task, BLiMP of two sets."""
    rows = [("the model reads a text", "a text", 1), ("a text the", "", 0)] * 8
    frame = pd.DataFrame(rows, columns=["text", "pair", "label"])
    task = Task("word", ("accuracy", "f1"), ("no", "yes"), frame, {"": frame.head(4)})
    good, bad = "a model reads.", "reads a."
    blimp = pd.DataFrame({"UID": ["a", "b"], "linguistics_term": "binding",
                          "sentence_good": good, "sentence_bad": bad})  # fmt: skip
    settings = study.settings.evaluate.model_dump() | {"checkpoints": True}
    pairs = {"swap": [("the teacher reads.", "teacher the reads.")]}
    return dict(pairs=pairs, tasks=[task], blimp=blimp, settings=settings, train=run.train)


@pytest.fixture
def scored(monkeypatch):
    """The runs that are scored, each with made-up rows instead of an evaluation."""
    calls = []

    def made_up(run, corpus, **how):
        calls.append(run)
        row = dict(kind=run.kind, arm=run.arm, seed=run.seed, task="a", metric="b", score=1 / 3)
        return pd.DataFrame([row]).reindex(columns=COLUMNS).astype(module.NUMBERS)

    monkeypatch.setattr(module, "evaluate", made_up)
    return calls


def files(run):
    return sorted((run.root / "build" / run.scale / "scores").iterdir())


def test_rows_that_are_read_equal_those_that_were_computed_to_the_last_bit(
    run, corpus, how, tmp_path, monkeypatch
):
    computed = evaluate(run, corpus, **how)
    pd.testing.assert_frame_equal(evaluate_once(run, corpus, **how), computed, check_exact=True)
    monkeypatch.setattr(module, "evaluate", pytest.fail)
    read = evaluate_once(run, corpus, **how)
    pd.testing.assert_frame_equal(read, computed, check_exact=True)
    assert {*read.step} == {10, 20} and read.finetune_seed.isna().any()
    for name, rows in (("read", read), ("computed", computed)):
        save(rows, tmp_path / f"{name}.csv")
        rows.to_csv(tmp_path / f"{name}-whole.csv")
    for kind in (".csv", "-whole.csv"):
        made = [(tmp_path / f"{name}{kind}").read_bytes() for name in ("read", "computed")]
        assert made[0] == made[1]


@pytest.mark.parametrize("arm", ["null", "nan", "na"])
def test_numbers_and_names_that_are_hard_to_write_come_back(arm, run, corpus, how, monkeypatch):
    rows = pd.DataFrame({
        "kind": "student", "arm": arm, "seed": [2**32 - 1, 0], "step": 20,
        "finetune_seed": [None, 1], "learning_rate": [np.nan, 0.1 + 0.2], "epochs": [None, 3],
        "task": 'a "b", c', "metric": "f1", "score": [np.nextafter(1, 2), 5e-324], "examples": 1,
        "train_examples": [None, 2],
    }).astype(module.NUMBERS)  # fmt: skip
    monkeypatch.setattr(module, "evaluate", lambda *args, **how: rows)
    evaluate_once(run, corpus, **how)
    pd.testing.assert_frame_equal(evaluate_once(run, corpus, **how), rows, check_exact=True)


def test_a_run_is_scored_once(run, corpus, how, scored):
    first = evaluate_once(run, corpus, **how)
    again = evaluate_once(run, corpus, **how)
    assert scored == [run] and len(files(run)) == 1
    assert again.score[0] == first.score[0] == 1 / 3


def test_another_seed_is_scored_and_no_other_again(run, corpus, how, scored):
    second = replace(run, seed=1)
    shutil.copytree(run.directory, second.directory)
    for one in (run, second, run):
        assert {*evaluate_once(one, corpus, **how).seed} == {one.seed}
    assert scored == [run, second]


def test_where_a_run_lies_and_how_its_teacher_is_cached_change_nothing(
    run, corpus, how, scored, tmp_path
):
    evaluate_once(run, corpus, **how)
    moved = replace(run, root=tmp_path / "elsewhere", cache={"teacher": "off"})
    shutil.copytree(run.directory, moved.directory)
    shutil.copytree(run.root / "build", moved.root / "build")
    evaluate_once(moved, corpus, **how)
    assert scored == [run]


def other_weights(run, name):
    file = run.directory / name
    file.write_bytes(file.read_bytes() + b" ")


CHANGED_FILES = ("model.safetensors", "config.json", "checkpoint-10/model.safetensors")


@pytest.mark.parametrize("name", CHANGED_FILES)
def test_other_weights_are_scored_those_of_a_checkpoint_too(name, run, corpus, how, scored):
    evaluate_once(run, corpus, **how)
    other_weights(run, name)
    evaluate_once(run, corpus, **how)
    assert len(scored) == 2


def test_a_checkpoint_that_is_not_scored_does_not_matter(run, corpus, how, scored):
    how["settings"] |= {"checkpoints": False}
    evaluate_once(run, corpus, **how)
    other_weights(run, "checkpoint-10/model.safetensors")
    evaluate_once(run, corpus, **how)
    assert len(scored) == 1


@pytest.mark.parametrize("change", [
    lambda run: replace(run, layers=run.layers + 1),
    lambda run: replace(run, model=run.model | {"initializer_range": 0.3}),
    lambda run: replace(run, seed=1),
])  # fmt: skip
def test_random_weights_are_scored_for_each_shape_initializer_and_seed(
    change, run, corpus, how, scored
):
    how["weights"] = "random"
    shutil.rmtree(run.directory)
    for one in (run, change(run), run):
        evaluate_once(one, corpus, **how)
    assert len(scored) == 2


def other_rows(how, **columns):
    (task,) = how["tasks"]
    return [replace(task, validation={"": task.validation[""].assign(**columns)})]


@pytest.mark.parametrize("change", [
    lambda how: {"pairs": {"swap": [*how["pairs"]["swap"], ("a text.", "text a.")]}},
    lambda how: {"tasks": other_rows(how, label=1)},
    lambda how: {"tasks": other_rows(how, label=[1.0, 0.0, 1.0, 0.0])},
    lambda how: {"tasks": other_rows(how, pair=["a text", None] * 2)},  # for ["a text", ""]
    lambda how: {"tasks": [replace(how["tasks"][0], at_mask=True)]},
    lambda how: {"tasks": [replace(how["tasks"][0], metrics=("f1",))]},
    lambda how: {"tasks": [*how["tasks"]] * 2},
    lambda how: {"blimp": how["blimp"].head(1)},
    lambda how: {"blimp": None},
    lambda how: {"settings": how["settings"] | {"learning_rate": [1e-4]}},
    lambda how: {"train": how["train"] | {"final_sequences": 8}},
    lambda how: {"train": how["train"] | {"threads": 2}},
    lambda how: {"weights": "random"},
])  # fmt: skip
def test_other_pairs_tasks_settings_and_threads_are_scored(change, run, corpus, how, scored):
    for one in (how, how | change(how), how):
        evaluate_once(run, corpus, **one)
    assert len(scored) == 2 and len(files(run)) == 2


@pytest.mark.parametrize("name", module.TEXT)
def test_another_text_or_vocabulary_is_scored(name, run, corpus, how, scored):
    evaluate_once(run, corpus, **how)
    file = corpus.directory / name
    file.write_bytes(file.read_bytes() + b" ")
    evaluate_once(run, corpus, **how)
    assert len(scored) == 2


@pytest.mark.parametrize("folder", ["data", "evaluation", "training"])
def test_other_code_scores_anew(folder, run, corpus, how, scored, tmp_path, monkeypatch):
    code = [shutil.copytree(source, tmp_path / "dwt" / source.name) for source in module.CODE]
    monkeypatch.setattr(module, "CODE", code)
    evaluate_once(run, corpus, **how)
    file = next((tmp_path / "dwt" / folder).glob("s*.py"))
    file.write_text(file.read_text() + "\n# another line\n")
    evaluate_once(run, corpus, **how)
    assert len(scored) == 2


def test_other_versions_and_another_device_score_anew(run, corpus, how, scored, monkeypatch):
    evaluate_once(run, corpus, **how)
    monkeypatch.setattr(module.metadata, "version", lambda name: "0.0")
    evaluate_once(run, corpus, **how)
    for name, value in (("is_available", True), ("get_device_name", "H100"),
                        ("get_device_capability", (9, 0))):  # fmt: skip
        monkeypatch.setattr(f"torch.cuda.{name}", lambda value=value: value)
    evaluate_once(run, corpus, **how)
    assert len(scored) == 3


@pytest.mark.parametrize("damage", [
    lambda content: content[:-9],
    lambda content: content.replace(b"0.333", b"0.433"),
    lambda content: content.partition(b"\n")[2],
    lambda content: b"",
    lambda content: b"\xff" + content,
])  # fmt: skip
def test_a_damaged_file_is_named_and_replaced(damage, run, corpus, how, scored):
    evaluate_once(run, corpus, **how)
    (file,) = files(run)
    content = file.read_bytes()
    assert damage(content) != content
    file.write_bytes(damage(content))
    with pytest.warns(UserWarning, match=f"{file.name} is damaged; weak-teacher, seed 0"):
        assert evaluate_once(run, corpus, **how).score[0] == 1 / 3
    assert file.read_bytes() == content and len(scored) == 2


def test_an_evaluation_that_breaks_off_leaves_nothing(run, corpus, how, monkeypatch):
    monkeypatch.setattr("os.replace", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate_once(run, corpus, **how)
    assert files(run) == []


def test_missing_weights_are_refused_as_by_evaluate(run, corpus, how):
    shutil.rmtree(run.directory / "checkpoint-10")
    with pytest.raises(FileNotFoundError, match="no weights of step 10"):
        evaluate_once(run, corpus, **how)
    with pytest.raises(FileNotFoundError, match="no weights of step 5"):
        evaluate_once(run, corpus, **how | {"train": changed(run, keep=[0.25]).train})
