"""dwt/data/corpus.py: what ends in which split, what is refused, and reproducible builds."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from small_text import articles, build, file_settings, refusal, write_text

from dwt.data import corpus as corpus_module
from dwt.data.corpus import CorpusError, build_corpus, load_corpus
from dwt.data.splits import SPLITS


@pytest.fixture
def settings(tmp_path):
    return file_settings(tmp_path)


def documents(corpus, split):
    """Token ids of each document, [SEP] removed."""
    ids = np.asarray(corpus.tokens(split))
    return [d[:-1] for d in np.split(ids, np.flatnonzero(ids == corpus.vocabulary.sep) + 1)[:-1]]


# ---- What is built ----


def test_every_document_is_in_exactly_one_split(settings, tmp_path):
    corpus = build(settings, tmp_path)
    tokenizer = corpus.tokenizer()
    decoded = {s: [tokenizer.decode(d) for d in documents(corpus, s)] for s in SPLITS}
    assert len(decoded["train"]) + len(decoded["heldout"]) == 300
    assert len(decoded["out-of-domain"]) == 60
    assert not set(decoded["train"]) & set(decoded["heldout"])
    plain = lambda text: text.lower().replace(" ", "").replace("\n", "")  # noqa: E731
    found = {plain(text) for split in SPLITS for text in decoded[split]}
    assert found == {plain(text) for text in articles()}


def test_streams_are_read_only_16_bit_ids_without_cls_mask_or_padding(settings, tmp_path):
    corpus = build(settings, tmp_path)
    for split in SPLITS:
        ids = corpus.tokens(split)
        assert ids.dtype == np.uint16 and ids.ndim == 1 and isinstance(ids, np.memmap)
        assert not ids.flags.writeable
        assert ids[-1] == corpus.vocabulary.sep and ids.max() < corpus.vocabulary.size
        assert not np.isin(
            ids, [corpus.vocabulary.cls, corpus.vocabulary.mask, corpus.vocabulary.special[0]]
        ).any()


def test_card_counts_what_is_on_disk(settings, tmp_path):
    corpus = build(settings, tmp_path)
    for split in SPLITS:
        count, ids = corpus.card["splits"][split], corpus.tokens(split)
        assert count["tokens"] == len(ids)
        assert count["documents"] == (ids == corpus.vocabulary.sep).sum()
        assert count["unknown_rate"] == pytest.approx(
            (ids == corpus.vocabulary.special[1]).mean(), abs=1e-6
        )
    words = sum(len(text.split()) for text in articles(0, 300))
    assert (
        corpus.card["splits"]["train"]["words"] + corpus.card["splits"]["heldout"]["words"] == words
    )


def test_card_names_no_machine_path_and_no_date(settings, tmp_path):
    corpus = build(settings, tmp_path)
    for name in ("card.json", "tokenizer.json", "tokenizer_config.json"):
        assert str(tmp_path) not in (corpus.directory / name).read_text()
    assert corpus.card["files"] == ["text.txt"]


def test_heldout_table_holds_the_heldout_documents(settings, tmp_path):
    corpus = build(settings, tmp_path)
    table = corpus.heldout()
    assert table.document.nunique() == corpus.card["splits"]["heldout"]["documents"]
    assert set("\n".join(t) for _, t in table.groupby("document").text) <= set(articles(0, 300))


def test_sentences_that_training_text_also_has_are_marked(settings, tmp_path):
    table = build(settings, tmp_path).heldout()
    assert not table.unseen[table.text == "Nobody sees it better."].any()  # in every other document
    assert table.unseen[table.text.str.startswith("The ")].all()  # in one document each


def test_a_document_stays_in_its_split_when_others_are_added(settings, tmp_path):
    before = build(settings, tmp_path, "before").heldout()
    write_text(tmp_path / "more.txt", ["Title\nA new text that was not there before."])
    after = build(settings | {"files": ["more.txt", "text.txt"]}, tmp_path, "after").heldout()
    assert set(before.text) <= set(after.text)


def test_a_loaded_corpus_equals_the_built_one(settings, tmp_path):
    corpus = build(settings, tmp_path)
    again = load_corpus(corpus.directory)
    assert again == corpus
    with pytest.raises(CorpusError, match="out-of-domain"):
        again.tokens("test")


def test_loading_where_nothing_was_built_says_how_to_build(tmp_path):
    with pytest.raises(CorpusError, match="dvc repro corpus"):
        load_corpus(tmp_path)


@pytest.mark.parametrize("name", ["card.json", "tokenizer.json"])
def test_a_damaged_corpus_is_refused(settings, tmp_path, name):
    corpus = build(settings, tmp_path)
    (corpus.directory / name).write_text('{"cut')
    with pytest.raises(CorpusError, match="no usable corpus .*dvc repro corpus"):
        load_corpus(corpus.directory)


def test_keys_without_a_value_are_as_good_as_absent(settings, tmp_path):
    empty = {"packages": None, "limit_mb": None, "column": "text"}
    vocabulary = settings["vocabulary"] | {"file": None}
    with_empty = build(settings | empty | {"vocabulary": vocabulary}, tmp_path, "with-empty")
    assert with_empty.card == build(settings, tmp_path).card


def test_limit_mb_stops_reading(settings, tmp_path):
    size = len((tmp_path / "text.txt").read_bytes())
    half = build(
        settings | {"limit_mb": size / 2e6, "vocabulary": {"size": 120, "alphabet": 30}}, tmp_path
    )
    read = half.card["splits"]["train"]["documents"] + half.card["splits"]["heldout"]["documents"]
    assert 140 <= read <= 160


# ---- Reproducible builds ----

BUILD = """
import json, sys
from dwt.data.corpus import build_corpus
build_corpus(json.loads(sys.argv[1]), directory=sys.argv[2], root=sys.argv[3])
"""


def test_builds_in_separate_processes_are_identical_byte_for_byte(settings, tmp_path):
    for i in (1, 2):
        env = os.environ | {
            "PYTHONHASHSEED": str(i),
            "RAYON_NUM_THREADS": str(i),
            "PYTHONPATH": str(ROOT),
        }
        arguments = [json.dumps(settings), str(tmp_path / str(i)), str(tmp_path)]
        subprocess.run([sys.executable, "-c", BUILD, *arguments], env=env, check=True)
    names = sorted(p.name for p in (tmp_path / "1").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "2").iterdir())
    for name in names:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name


def test_an_interrupted_build_leaves_the_old_corpus_whole(settings, tmp_path, monkeypatch):
    old = {p.name: p.read_bytes() for p in build(settings, tmp_path).directory.iterdir()}

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus_module, "pack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(settings | {"heldout": 0.5}, tmp_path)
    assert {p.name: p.read_bytes() for p in (tmp_path / "built").iterdir()} == old


# ---- What is refused ----


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("source", "web", "choose one of docstrings, files, hub"),
        ("files", [], "corpus.files: must hold at least 1 (found [])"),
        ("out_of_domain", None, "corpus.out_of_domain: is missing"),
        ("packages", ["numpy"], "corpus: packages does not go with files; allowed: column"),
        ("heldout", 1.5, "corpus.heldout: must be below 1 (found 1.5)"),
        ("heldout", "much", "corpus.heldout: must be a number"),
        ("limit_mb", -1, "corpus.limit_mb"),
        ("vocabulary", {"size": 99, "file": "x"}, "corpus.vocabulary: give size (and alphabet)"),
        ("vocabulary", {"alphabet": 30}, "corpus.vocabulary: give size (and alphabet)"),
        ("vocabulary", {"size": 50, "alphabet": 30}, "leaves no room"),
        ("vocabulary", {"file": "missing-vocab.txt"}, "missing-vocab.txt"),
        ("vocabulary", {"file": "other.txt"}, "lacks [PAD], [UNK]"),
        ("heldout", 1e-9, "corpus.heldout: the heldout split has 0 documents"),
    ],
)
def test_a_wrong_setting_is_refused_by_key(settings, tmp_path, key, value, words):
    assert words in refusal(settings | {key: value}, tmp_path)


def test_messages_name_the_section_in_full_where_the_caller_does(settings, tmp_path):
    where = {"directory": tmp_path / "built", "root": tmp_path}
    for key, value in (("heldout", 2.0), ("files", ["missing.txt"]), ("vocabulary", {"file": "x"})):
        with pytest.raises(CorpusError, match=rf"^params\.yaml: scales\.own\.corpus\.{key}.*: "):
            build_corpus(settings | {key: value}, name="params.yaml: scales.own.corpus", **where)


def test_a_split_that_fills_no_sequence_is_refused(settings, tmp_path):
    counts = build(settings, tmp_path).card["splits"]
    heldout = counts["heldout"]["tokens"]
    assert heldout < counts["train"]["tokens"]
    where = {"directory": tmp_path / "long", "root": tmp_path}
    with pytest.raises(CorpusError, match=rf"^corpus\.heldout: .* {heldout} tokens, less than one"):
        build_corpus(settings, length=heldout + 3, **where)
    write_text(tmp_path / "other.txt", articles(300, 301))
    with pytest.raises(CorpusError, match=r"^corpus\.out_of_domain: .* 1 documents"):
        build_corpus(settings, length=heldout, **where)
    assert not (tmp_path / "long").exists()
