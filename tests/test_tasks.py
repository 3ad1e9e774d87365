"""dwt/tasks.py: real against wrong, balanced, and never from training text."""

from collections import Counter
from types import SimpleNamespace

import pandas as pd
import pytest

from dwt.corpus import build_corpus
from dwt.tasks import (
    PAIR_KINDS,
    TASKS,
    TOKEN_CLASSES,
    finetune_tasks,
    minimal_pairs,
    short_sentences,
    token_classes,
)

THINGS = ("red", "green", "small", "large", "round", "broken", "quiet", "heavy")
PLACES = ("garden", "forest", "kitchen", "station", "harbour", "village")
VERBS = ("opened", "painted", "moved", "covered")


def sentence(thing, place, verb):
    doors = "door of the {} is" if verb == VERBS[0] else "doors of the {} are"
    return f"The {thing} {doors.format(place)} {verb} by a farmer with this machine."


@pytest.fixture(scope="module")
def corpus():
    """192 documents of three sections, one sentence each, as a built corpus holds them."""
    rows = []
    every = [(t, p, v) for t in THINGS for p in PLACES for v in VERBS]
    for i, (thing, place, verb) in enumerate(every):
        row = {"document": i, "source": "none", "name": "", "type": "", "unseen": i % 8 > 0}
        rows += [
            row | {"section": "", "text": sentence(thing, place, verb)},
            row
            | {"section": "Parameters", "text": f"How {thing} the {verb} door of the {place} is."},
            row | {"section": "Returns", "text": f"Which {place} is {verb} and {thing} for all."},
            row | {"section": "Notes", "text": f"It was {verb} in the {thing} {place} after all."},
        ]
    return SimpleNamespace(heldout=lambda: pd.DataFrame(rows))


# ---- Token classes ----


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


# ---- Minimal pairs ----


def test_good_sentences_are_real_and_not_from_training_text(corpus):
    heldout = corpus.heldout()
    unseen = set(heldout.text[heldout.unseen])
    for kind, pairs in minimal_pairs(corpus).items():
        assert pairs, kind
        assert {good for good, _ in pairs} <= unseen
        assert len({good for good, _ in pairs}) == len(pairs)


def test_a_bad_sentence_differs_in_one_place(corpus):
    for kind, pairs in minimal_pairs(corpus).items():
        for good, bad in pairs:
            good, bad = good.rstrip(".").split(), bad.rstrip(".").split()
            places = [i for i, (a, b) in enumerate(zip(good, bad, strict=True)) if a != b]
            if kind == "word-swap":
                assert len(places) == 2 and places[1] == places[0] + 1
                assert Counter(good) == Counter(bad)
            else:
                assert len(places) == 1


def test_every_word_is_as_frequent_in_bad_sentences_as_in_good_ones(corpus):
    for pairs in minimal_pairs(corpus).values():
        good, bad = (
            Counter(w for sentence in part for w in sentence.rstrip(".").lower().split())
            for part in zip(*pairs, strict=True)
        )
        assert good == bad


def test_agreement_changes_number_only(corpus):
    for good, bad in minimal_pairs(corpus, kinds=["agreement"])["agreement"]:
        changed = {(a, b) for a, b in zip(good.split(), bad.split(), strict=True) if a != b}
        assert changed <= {("are", "is"), ("is", "are"), ("was", "were"), ("this", "these")}


def test_pairs_depend_on_the_seed_and_on_nothing_else(corpus):
    assert minimal_pairs(corpus, pairs=10, seed=1) == minimal_pairs(corpus, pairs=10, seed=1)
    assert minimal_pairs(corpus, pairs=10, seed=1) != minimal_pairs(corpus, pairs=10, seed=2)
    both = minimal_pairs(corpus, pairs=10)
    alone = minimal_pairs(corpus, pairs=10, kinds=["agreement"])
    assert both["agreement"] == alone["agreement"]
    assert minimal_pairs(corpus, pairs=20)["word-swap"][:10] == both["word-swap"]


def test_at_most_so_many_pairs(corpus):
    assert {len(pairs) for pairs in minimal_pairs(corpus, pairs=6).values()} == {6}


def test_an_unknown_kind_names_the_known_ones(corpus):
    with pytest.raises(ValueError, match=r"'spelling'.*word-swap, function-word, agreement"):
        minimal_pairs(corpus, kinds=["spelling"])


@pytest.mark.parametrize(
    "paragraph",
    [
        "Too short a sentence.",
        "A sentence that is long enough but does not end with a full stop",
        "A sentence with n_samples and other names of variables in it.",
        "A sentence with the number 42 in the middle of it.",
        "the sentence does not begin with a capital letter at all.",
        "A sentence whose reference was cut off, as explained in.",
        "The sentence seems to end here at the professor of St.",
    ],
)
def test_sentences_that_are_not_plain_are_left_out(paragraph):
    table = pd.DataFrame({"document": [0], "text": [paragraph], "unseen": [True]})
    assert short_sentences(table).empty


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Some data are missing from many large tables.", "agreement"),  # so is "data is"
        ("Only tables that this should never change remain.", "agreement"),  # these should
        ("Act as if tables were large and very heavy.", "agreement"),  # as if it was
        ("Only heavy large green old doors open.", "word-swap"),  # any order of adjectives
        ("Doors that only open inwards, not outwards, also exist.", "function-word"),
    ],
)
def test_places_where_both_forms_are_right_make_no_pair(text, kind):
    table = pd.DataFrame({"document": [0], "text": [text], "unseen": [True]})
    assert len(short_sentences(table)) == 1
    assert minimal_pairs(SimpleNamespace(heldout=lambda: table), kinds=[kind]) == {kind: []}


# ---- Fine-tuning ----


def test_tasks_are_balanced_and_split_by_document(corpus):
    document = corpus.heldout().groupby("text").document.first()
    for task in finetune_tasks(corpus, examples=60):
        for part in (task.train, task.validation):
            assert list(part.columns) == ["text", "pair", "label"]
            counts = part.label.value_counts()
            assert set(counts.index) == set(range(len(task.labels))) and counts.nunique() == 1
            assert len(part) <= 60 and part.pair.isna().all()
        if task.name == "section":
            train, validation = (set(document[p.text]) for p in (task.train, task.validation))
            assert train and validation and not train & validation


def test_labels_are_those_of_the_text(corpus):
    heldout = corpus.heldout()
    real = set(heldout.text)
    section = heldout.set_index("text").section.replace("", "Summary")
    for task in finetune_tasks(corpus):
        for part in (task.train, task.validation):
            labels = part.label.map(dict(enumerate(task.labels)))
            if task.name == "section":
                assert (labels.to_numpy() == section[part.text].to_numpy()).all()
            else:
                assert (part.text.isin(real) == (labels == "real")).all()


def test_no_example_is_from_training_text_or_there_twice(corpus):
    heldout = corpus.heldout()
    seen = set(heldout.text[~heldout.unseen])
    for task in finetune_tasks(corpus):
        texts = pd.concat([task.train.text, task.validation.text])
        assert not set(texts) & seen and texts.is_unique


def test_tasks_depend_on_the_seed_and_on_nothing_else(corpus):
    first, again, other = (
        [t.train.text.tolist() for t in finetune_tasks(corpus, seed=s)] for s in (1, 1, 2)
    )
    assert first == again and first != other


def test_metrics_are_those_of_glue(corpus):
    assert {t.name: t.metric for t in finetune_tasks(corpus)} == {
        "function-words": "matthews",
        "word-order": "matthews",
        "section": "accuracy",
    }


def test_text_without_sections_has_no_section_task(corpus):
    plain = corpus.heldout().assign(section="")
    tasks = finetune_tasks(SimpleNamespace(heldout=lambda: plain))
    assert [t.name for t in tasks] == ["function-words", "word-order"]


def test_too_little_text_says_what_to_raise(corpus):
    one = SimpleNamespace(heldout=lambda: corpus.heldout().head(4))
    with pytest.raises(ValueError, match=r"corpus\.heldout"):
        finetune_tasks(one)


def test_an_unknown_task_names_the_known_ones(corpus):
    with pytest.raises(ValueError, match=r"'cola'.*" + ", ".join(TASKS)):
        finetune_tasks(corpus, names=["cola"])


def test_pair_kinds_are_what_minimal_pairs_returns(corpus):
    assert tuple(minimal_pairs(corpus, pairs=2)) == PAIR_KINDS
