"""dwt/tasks.py: classes of tokens, and tasks whose labels are those of the text."""

from types import SimpleNamespace

import pandas as pd
import pytest

from dwt.corpus import build_corpus
from dwt.tasks import TASKS, TOKEN_CLASSES, finetune_tasks, token_classes


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


def test_tasks_are_balanced_and_split_by_document(farm):
    document = farm.heldout().groupby("text").document.first()
    for task in finetune_tasks(farm, examples=60):
        for part in (task.train, task.validation):
            assert list(part.columns) == ["text", "pair", "label"]
            counts = part.label.value_counts()
            assert set(counts.index) == set(range(len(task.labels))) and counts.nunique() == 1
            assert len(part) <= 60 and part.pair.isna().all()
        if task.name == "section":
            train, validation = (set(document[p.text]) for p in (task.train, task.validation))
            assert train and validation and not train & validation


def test_labels_are_those_of_the_text(farm):
    heldout = farm.heldout()
    real = set(heldout.text)
    section = heldout.set_index("text").section.replace("", "Summary")
    for task in finetune_tasks(farm):
        for part in (task.train, task.validation):
            labels = part.label.map(dict(enumerate(task.labels)))
            if task.name == "section":
                assert (labels.to_numpy() == section[part.text].to_numpy()).all()
            else:
                assert (part.text.isin(real) == (labels == "real")).all()


def test_no_example_is_from_training_text_or_there_twice(farm):
    heldout = farm.heldout()
    seen = set(heldout.text[~heldout.unseen])
    for task in finetune_tasks(farm):
        texts = pd.concat([task.train.text, task.validation.text])
        assert not set(texts) & seen and texts.is_unique


def test_tasks_depend_on_the_seed_and_on_nothing_else(farm):
    first, again, other = (
        [t.train.text.tolist() for t in finetune_tasks(farm, seed=s)] for s in (1, 1, 2)
    )
    assert first == again and first != other


def test_metrics_are_those_of_glue(farm):
    assert {t.name: t.metric for t in finetune_tasks(farm)} == {
        "function-words": "matthews",
        "word-order": "matthews",
        "section": "accuracy",
    }


def test_text_without_sections_has_no_section_task(farm):
    plain = farm.heldout().assign(section="")
    tasks = finetune_tasks(SimpleNamespace(heldout=lambda: plain))
    assert [t.name for t in tasks] == ["function-words", "word-order"]


def test_too_little_text_says_what_to_raise(farm):
    one = SimpleNamespace(heldout=lambda: farm.heldout().head(4))
    with pytest.raises(ValueError, match=r"corpus\.heldout"):
        finetune_tasks(one)


def test_an_unknown_task_names_the_known_ones(farm):
    with pytest.raises(ValueError, match=r"'cola'.*" + ", ".join(TASKS)):
        finetune_tasks(farm, names=["cola"])
