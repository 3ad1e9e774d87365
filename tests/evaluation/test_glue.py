"""dwt/evaluation/glue.py: tasks as the hub has them; malformed files are refused."""

import datasets
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from dwt.config.tasks import GLUE
from dwt.evaluation.evaluate import load_tasks
from dwt.evaluation.glue import glue_note, load_glue
from dwt.evaluation.metrics import METRICS
from dwt.evaluation.sources import BenchmarkError

ROWS = 12


def made_up(name, rows=ROWS):
    """Rows of one split, in the hub's columns and codes."""
    task = GLUE[name]
    label = np.arange(rows) % len(task.labels) if task.labels else np.linspace(0, 5, rows)
    texts = {column: [f"{column} {i}." for i in range(rows)] for column in task.columns}
    return pd.DataFrame(texts | {"label": label, "idx": range(rows)})


def splits_of(name):
    return ["train", *(f"validation_{p}" if p else "validation" for p in GLUE[name].validation)]


@pytest.fixture
def folder(tmp_path):
    """A GLUE of twelve rows a split."""
    for name in GLUE:
        (tmp_path / "glue" / name).mkdir(parents=True)
        for split in splits_of(name):
            made_up(name).to_parquet(tmp_path / "glue" / name / f"{split}.parquet")
    return tmp_path / "glue"


def test_every_task_comes_with_its_texts_labels_metrics_and_validation_sets(folder):
    tasks = load_glue([*GLUE], where="glue", root=folder.parent)
    assert [task.name for task in tasks] == [*GLUE]
    for task in tasks:
        rows = made_up(task.name)
        assert {*task.metrics} <= {*METRICS}
        assert task.train.text.tolist() == rows[GLUE[task.name].columns[0]].tolist()
        second = task.train.pair.tolist()
        assert second == (rows[GLUE[task.name].columns[1]].tolist() if second[0] else [None] * ROWS)
        assert task.train.label.tolist() == rows.label.tolist()
    by_name = {task.name: task for task in tasks}
    assert [*by_name["mnli"].validation] == ["matched", "mismatched"]
    assert by_name["stsb"].labels == () and by_name["stsb"].train.label.dtype == "float64"
    assert by_name["cola"].metrics == ("matthews",)
    assert by_name["mrpc"].metrics == by_name["qqp"].metrics == ("accuracy", "f1")
    assert by_name["stsb"].metrics == ("pearson", "spearman")


def test_hub_and_folder_give_the_same_tasks(folder, monkeypatch):
    calls = []

    def load(path, name, *, split):
        calls.append((path, name, split))
        return datasets.Dataset.from_pandas(made_up(name))

    monkeypatch.setattr(datasets, "load_dataset", load)
    local, hub = (
        load_glue(["cola", "mnli"], where=where, root=folder.parent)
        for where in ("glue", "nyu-mll/glue")
    )
    assert calls[0] == ("nyu-mll/glue", "cola", "train")
    assert calls[-1] == ("nyu-mll/glue", "mnli", "validation_mismatched")
    for a, b in zip(local, hub, strict=True):
        pd.testing.assert_frame_equal(a.train, b.train)
        assert [*a.validation] == [*b.validation]


def test_limits_sample_the_same_rows_every_time(folder):
    first, again = (
        load_glue(["sst2"], where="glue", root=folder.parent, examples=5, validation=7)[0]
        for _ in range(2)
    )
    assert (len(first.train), len(first.validation[""])) == (5, 7)
    assert first.train.text.tolist() == again.train.text.tolist()
    assert first.train.text.tolist() != made_up("sst2").sentence.head(5).tolist()
    other = load_glue(["sst2"], where="glue", root=folder.parent, examples=5, seed=1)[0]
    assert other.train.text.tolist() != first.train.text.tolist()
    assert len(other.validation[""]) == ROWS


def refusal(folder, *names):
    with pytest.raises(BenchmarkError) as refused:
        load_glue(names, where="glue", root=folder.parent)
    return str(refused.value)


def test_a_missing_task_is_refused_with_those_that_exist(folder):
    (folder / "qnli" / "train.parquet").unlink()
    message = refusal(folder, "cola", "qnli")
    assert "'qnli' needs" in message and "glue/qnli/train.parquet" in message
    assert "cola, sst2" in message and "qnli" not in message.split("with a train.parquet:")[1]


def test_a_missing_column_is_refused_with_file_and_what_is_needed(folder):
    file = folder / "mrpc" / "validation.parquet"
    pd.read_parquet(file).drop(columns="sentence2").to_parquet(file)
    message = refusal(folder, "mrpc")
    assert "glue/mrpc/validation.parquet: no column sentence2" in message
    assert "sentence1, sentence2, label" in message


BAD_LABELS = {
    "of a test split": ("cola", [-1] * ROWS, "has -1; .*-1 hides the labels of a test split"),
    "counted from one": ("sst2", [1, 2] * 6, r"has 1, 2; allowed are 0 \(negative\), 1 \(pos"),
    "of two classes where there are three": ("mnli", [0, 1] * 6, "has 0, 1; .*2 .contradiction"),
    "in words": ("rte", ["entailment"] * ROWS, "has 'entailment'; allowed are 0 .entailment."),
    "between two codes": ("wnli", [0, 0.5, 1] * 4, "has 0, 0.5, 1;"),
    "beyond the scale": ("stsb", [*range(ROWS)], "has 6; allowed are scores from 0 to 5"),
    "on another scale": ("stsb", np.linspace(0, 1, ROWS), "has nothing above 1; allowed"),
    "missing": ("qqp", [0, None] * 6, "column label: 6 of 12 rows are empty"),
}


@pytest.mark.parametrize("kind", BAD_LABELS)
def test_labels_that_are_not_the_tasks_are_refused(kind, folder):
    name, labels, message = BAD_LABELS[kind]
    file = folder / name / "train.parquet"
    pd.read_parquet(file).assign(label=labels).to_parquet(file)
    with pytest.raises(BenchmarkError, match=f"glue/{name}/train.parquet: .*{message}"):
        load_glue([name], where="glue", root=folder.parent)


def test_a_truncated_file_is_refused_by_name(folder):
    file = folder / "rte" / "validation.parquet"
    file.write_bytes(file.read_bytes()[:-200])
    message = refusal(folder, "rte")
    assert "rte/validation.parquet is not a valid parquet file" in message


def test_a_file_without_rows_or_with_an_empty_text_is_refused(folder):
    file = folder / "cola" / "train.parquet"
    rows = pd.read_parquet(file)
    rows.assign(sentence=[None, *rows.sentence[1:]]).to_parquet(file)
    assert "column sentence: 1 of 12 rows are empty" in refusal(folder, "cola")
    rows.head(0).to_parquet(file)
    assert "glue/cola/train.parquet: no rows" in refusal(folder, "cola")


def test_an_unreachable_hub_names_the_alternative(tmp_path, monkeypatch):
    def load(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(
        BenchmarkError, match="'glu/e' is not a local path.*no route.*TASK/train.parquet"
    ):
        load_glue(["cola"], where="glu/e", root=tmp_path)


def test_loaded_tasks_are_those_of_held_out_text_and_of_glue(folder, farm):
    settings = dict(tasks=["cola", "missing-word"], glue="glue", examples=8, validation=None)
    both = load_tasks(settings, farm, root=folder.parent)
    assert {task.name: len(task.train) for task in both} == {"missing-word": 8, "cola": 8}
    assert [task.name for task in load_tasks(settings, None, root=folder.parent)] == ["cola"]


def table_of(**tasks):
    """A scores table: task -> (train examples, {metric: examples})."""
    rows = [
        dict(task=name, metric=metric, examples=count, train_examples=train)
        for name, (train, metrics) in tasks.items()
        for metric, count in metrics.items()
    ]
    rows.append(dict(task="word-swap", metric="accuracy", examples=9, train_examples=None))
    return pd.DataFrame(rows).astype({"examples": "Int64", "train_examples": "Int64"})


def test_the_note_names_reduced_and_left_out_tasks():
    note = glue_note(table_of(
        cola=(8_551, {"matthews": 1_043}),
        mnli=(39_141, {"accuracy (matched)": 9_815, "accuracy (mismatched)": 6_892}),
        qqp=(30_353, {"accuracy": 24_023, "f1": 24_023}),
    ))  # fmt: skip
    assert note == (
        "GLUE: reduced training sets: QQP (30,353 of 363,846), MNLI (39,141 of 392,702); "
        "reduced validation sets: QQP (24,023 of 40,430), MNLI mismatched (6,892 of 9,832); "
        "left out: SST-2, MRPC, STS-B, QNLI, RTE, WNLI."
    )


def test_the_note_is_empty_without_glue_and_short_when_glue_is_complete():
    assert glue_note(table_of()) == ""
    complete = {
        name: (
            task.train,
            {f"accuracy ({p})" if p else "accuracy": n for p, n in task.validation.items()},
        )
        for name, task in GLUE.items()
    }
    assert glue_note(table_of(**complete)) == "GLUE: all tasks, complete."


@pytest.mark.skipif(
    not (ROOT / "data/external/glue").is_dir(), reason="GLUE's files are not part of the project"
)
@pytest.mark.parametrize("name", ["cola", "sst2", "mrpc", "stsb", "rte", "wnli"])
def test_the_real_files_have_the_official_sizes(name):
    task = load_glue([name], where="data/external/glue", root=ROOT)[0]
    assert len(task.train) == GLUE[name].train
    assert {part: len(rows) for part, rows in task.validation.items()} == GLUE[name].validation
