"""dwt/evaluation/heldout_tasks.py: classes of tokens, and tasks whose labels are those of the text."""

from types import SimpleNamespace

import pandas as pd
import pytest

from dwt.data.corpus import build_corpus
from dwt.evaluation.heldout_tasks import (
    MISSING,
    TASKS,
    TOKEN_CLASSES,
    finetune_tasks,
    token_classes,
)


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


def test_tasks_are_balanced_and_as_large_as_asked(farm):
    for task in finetune_tasks(farm, examples=16):
        for part, most in ((task.train, 16), (task.validation[""], 48)):
            assert list(part.columns) == ["text", "pair", "label"]
            counts = part.label.value_counts()
            assert set(counts.index) == set(range(len(task.labels))) and counts.nunique() == 1
            assert len(part) <= most and part.pair.isna().all()
        assert len(task.train) == 16


def test_no_document_is_both_trained_and_scored_on(farm):
    heldout = farm.heldout()
    of = dict(zip(heldout.text, heldout.document, strict=True))
    task = finetune_tasks(farm, names=["missing-word"])[0]
    train, validation = (
        {of[t] for t in restored(task, p)} for p in (task.train, task.validation[""])
    )
    assert train and validation and not train & validation


def restored(task, part):
    return [
        text.replace("[MASK]", task.labels[label])
        for text, label in zip(part.text, part.label, strict=True)
    ]


def test_the_label_is_the_word_that_stood_at_the_mask(farm):
    real = set(farm.heldout().text)
    task = finetune_tasks(farm, names=["missing-word"])[0]
    assert sorted(task.labels) == sorted(MISSING) and task.at_mask
    for part in (task.train, task.validation[""]):
        assert (part.text.str.count(r"\[MASK\]") == 1).all()
        assert set(restored(task, part)) <= real


def test_a_mask_that_the_text_brings_along_is_no_missing_word(farm):
    table = farm.heldout()
    table.loc[1, "text"] = "Replace the token by a [MASK] of the text."
    task = finetune_tasks(SimpleNamespace(heldout=lambda: table), names=["missing-word"])[0]
    assert not any("token" in text for text in [*task.train.text, *task.validation[""].text])


def test_a_sentence_is_called_real_when_it_is(farm):
    real = set(farm.heldout().text)
    task = finetune_tasks(farm, names=["function-words"])[0]
    for part in (task.train, task.validation[""]):
        labels = part.label.map(dict(enumerate(task.labels)))
        assert (part.text.isin(real) == (labels == "real")).all()


def test_no_example_is_from_training_text_or_there_twice(farm):
    heldout = farm.heldout()
    seen = set(heldout.text[~heldout.unseen])
    for task in finetune_tasks(farm):
        texts = pd.concat([task.train, task.validation[""]])
        assert texts.text.is_unique and not set(restored(task, texts)) & seen


def test_tasks_depend_on_the_seed_and_on_nothing_else(farm):
    first, again, other = (
        [t.train.text.tolist() for t in finetune_tasks(farm, seed=s)] for s in (1, 1, 2)
    )
    assert first == again and first != other


def test_metrics_are_accuracy_and_that_of_cola(farm):
    assert {t.name: t.metrics for t in finetune_tasks(farm)} == {
        "missing-word": ("accuracy",),
        "function-words": ("matthews",),
    }


def test_too_little_text_says_what_to_raise(farm):
    one = SimpleNamespace(heldout=lambda: farm.heldout().head(4))
    for name in TASKS:
        with pytest.raises(ValueError, match=rf"{name}.*corpus\.heldout"):
            finetune_tasks(one, names=[name])


def test_without_a_limit_all_there_is_is_used(farm):
    limited, whole = (finetune_tasks(farm, examples=n)[0].train for n in (16, None))
    assert len(whole) > len(limited) == 16


def test_an_unknown_task_names_the_known_ones(farm):
    with pytest.raises(ValueError, match=r"'cola'.*" + ", ".join(TASKS)):
        finetune_tasks(farm, names=["cola"])
