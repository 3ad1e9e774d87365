"""dwt/evaluation/heldout_tasks.py: balanced tasks whose labels come from the text."""

from types import SimpleNamespace

import pandas as pd
import pytest

from dwt.config.tasks import HELDOUT_TASKS
from dwt.evaluation.heldout_tasks import MISSING_WORDS, make_heldout_tasks


def test_tasks_are_balanced_and_within_their_limit(farm):
    for task in make_heldout_tasks(farm, examples=16):
        for part, limit in ((task.train, 16), (task.validation[""], 48)):
            assert list(part.columns) == ["text", "pair", "label"]
            counts = part.label.value_counts()
            assert set(counts.index) == set(range(len(task.labels))) and counts.nunique() == 1
            assert len(part) <= limit and part.pair.isna().all()
        assert len(task.train) == 16


def test_training_and_validation_share_no_document(farm):
    heldout = farm.heldout()
    of = dict(zip(heldout.text, heldout.document, strict=True))
    task = make_heldout_tasks(farm, names=["missing-word"])[0]
    train, validation = (
        {of[t] for t in restored(task, p)} for p in (task.train, task.validation[""])
    )
    assert train and validation and not train & validation


def restored(task, part):
    return [
        text.replace("[MASK]", task.labels[label])
        for text, label in zip(part.text, part.label, strict=True)
    ]


def test_the_label_is_the_word_behind_the_mask(farm):
    real = set(farm.heldout().text)
    task = make_heldout_tasks(farm, names=["missing-word"])[0]
    assert sorted(task.labels) == sorted(MISSING_WORDS) and task.at_mask
    for part in (task.train, task.validation[""]):
        assert (part.text.str.count(r"\[MASK\]") == 1).all()
        assert set(restored(task, part)) <= real


def test_sentences_that_contain_a_mask_are_left_out(farm):
    table = farm.heldout()
    table.loc[1, "text"] = "Replace the token by a [MASK] of the text."
    task = make_heldout_tasks(SimpleNamespace(heldout=lambda: table), names=["missing-word"])[0]
    assert not any("token" in text for text in [*task.train.text, *task.validation[""].text])


def test_the_label_real_means_an_unchanged_sentence(farm):
    real = set(farm.heldout().text)
    task = make_heldout_tasks(farm, names=["function-words"])[0]
    for part in (task.train, task.validation[""]):
        labels = part.label.map(dict(enumerate(task.labels)))
        assert (part.text.isin(real) == (labels == "real")).all()


def test_examples_are_unique_and_not_in_the_training_text(farm):
    heldout = farm.heldout()
    seen = set(heldout.text[~heldout.unseen])
    for task in make_heldout_tasks(farm):
        texts = pd.concat([task.train, task.validation[""]])
        assert texts.text.is_unique and not set(restored(task, texts)) & seen


def test_tasks_depend_on_the_seed_and_on_nothing_else(farm):
    first, again, other = (
        [t.train.text.tolist() for t in make_heldout_tasks(farm, seed=s)] for s in (1, 1, 2)
    )
    assert first == again and first != other


def test_metrics_are_accuracy_and_that_of_cola(farm):
    assert {t.name: t.metrics for t in make_heldout_tasks(farm)} == {
        "missing-word": ("accuracy",),
        "function-words": ("matthews",),
    }


def test_too_little_text_is_refused_with_what_to_change(farm):
    one = SimpleNamespace(heldout=lambda: farm.heldout().head(4))
    for name in HELDOUT_TASKS:
        with pytest.raises(ValueError, match=rf"{name}.*corpus\.heldout"):
            make_heldout_tasks(one, names=[name])


def test_without_a_limit_all_examples_are_used(farm):
    limited, whole = (make_heldout_tasks(farm, examples=n)[0].train for n in (16, None))
    assert len(whole) > len(limited) == 16
