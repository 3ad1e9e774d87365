"""dwt/data/sources.py and documents.py: shares hold in any prefix; an unreadable text is named."""

import json
from itertools import islice

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from small_text import articles, refusal, write_text

from dwt.config.params import ParamsError, load_params
from dwt.data import hub as hub_module
from dwt.data import tokenize as tokenizing
from dwt.data.corpus import CorpusError, build_corpus
from dwt.data.documents import cut, document, interleaved, joined
from dwt.data.splits import SPLITS
from dwt.data.vocabulary import SPECIAL_TOKENS


@pytest.fixture
def settings(tmp_path):
    """A mixture of a text file and a local folder laid out as a hub dataset."""
    write_text(tmp_path / "text.txt", articles(0, 200))
    write_text(tmp_path / "other.txt", articles(300, 360))
    (tmp_path / "books" / "data").mkdir(parents=True)
    for i, start in enumerate((200, 250)):
        frame = pd.DataFrame({"id": range(50), "text": articles(start, start + 50)})
        frame.to_parquet(tmp_path / "books" / "data" / f"train-0000{i}-of-00002.parquet")
    return {
        "source": "mixture",
        "parts": [
            {"files": ["text.txt"], "weight": 0.75},
            {"path": "books", "split": "train", "weight": 0.25},
        ],
        "out_of_domain": ["other.txt"],
        "vocabulary": {"size": 150, "alphabet": 30},
        "heldout": 0.2,
    }


def build(settings, root, name="built"):
    return build_corpus(settings, directory=root / name, root=root, workers=1)


def stream(name, number, length):
    return lambda: (document(name, "x" * length) for _ in range(number))


# ---- Shares ----


def test_every_prefix_has_the_shares_to_one_document():
    parts = [stream("a", 1000, 10), stream("b", 1000, 70), stream("c", 1000, 300)]
    weights = np.array([5.0, 3.0, 2.0])
    given = dict.fromkeys("abc", 0)
    for row in islice(interleaved(parts, weights), 800):
        given[row["source"]] += row["size"]
        off = np.array(list(given.values())) - weights / 10 * sum(given.values())
        assert np.abs(off).max() <= 300


def test_all_text_is_read_once_where_no_limit_is_set():
    rows = list(interleaved([stream("a", 30, 10), stream("b", 4, 10)], [1, 1]))
    assert [r["source"] for r in rows] == ["a", "b"] * 4 + ["a"] * 26


def test_a_limit_keeps_the_shares(settings, tmp_path):
    corpus = build(settings | {"limit_mb": 0.01}, tmp_path)
    found = corpus.card["sources"]
    assert found["text.txt"] / sum(found.values()) == pytest.approx(0.75, abs=0.05)
    assert corpus.card["parts"] == [
        {"files": ["text.txt"], "weight": 0.75},
        {"path": "books", "split": "train", "weight": 0.25},
    ]


def test_files_and_datasets_hold_together_the_documents_of_each(settings, tmp_path):
    corpus = build(settings, tmp_path)
    write_text(tmp_path / "all.txt", articles(0, 300))
    one = {k: settings[k] for k in ("out_of_domain", "vocabulary", "heldout")}
    files = build(one | {"source": "files", "files": ["all.txt"]}, tmp_path, "files")
    for split in SPLITS[:2]:
        assert {tuple(d) for d in documents(corpus, split)} == {
            tuple(d) for d in documents(files, split)
        }


def documents(corpus, split):
    ids = np.asarray(corpus.tokens(split))
    return np.split(ids, np.flatnonzero(ids == corpus.vocabulary.sep) + 1)[:-1]


def test_a_mixture_of_one_part_is_that_part(settings, tmp_path):
    one = {k: settings[k] for k in ("out_of_domain", "vocabulary", "heldout")}
    files = build(one | {"source": "files", "files": ["text.txt"]}, tmp_path, "files")
    mixed = build(one | {"source": "mixture", "parts": [{"files": ["text.txt"]}]}, tmp_path)
    for name in ("train.npy", "heldout.npy", "heldout.parquet", "tokenizer.json"):
        assert (files.directory / name).read_bytes() == (mixed.directory / name).read_bytes()


def test_rows_of_single_sentences_are_joined_to_documents(settings, tmp_path):
    rows = list(joined(lambda: (document("s", f"Sentence {i}.") for i in range(10)), 4))
    assert [r["text"].count("\n") + 1 for r in rows] == [4, 4, 2]
    assert rows[1]["text"].startswith("Sentence 4.\nSentence 5.")
    assert rows[0]["size"] == 4 * len("Sentence 0.")


def test_long_documents_are_cut_at_ends_of_lines():
    lines = [f"line {i} " + "x" * 40 for i in range(30)]
    pieces = list(
        cut(lambda: iter([document("book", "\n".join(lines)), document("note", "short")]), 200)
    )
    assert "\n".join(p["text"] for p in pieces[:-1]) == "\n".join(lines)
    assert all(200 <= len(p["text"]) < 260 for p in pieces[:-2])
    assert pieces[-1]["text"] == "short"


def test_out_of_domain_text_may_be_of_any_kind(settings, tmp_path):
    expected = build(settings, tmp_path).tokens("out-of-domain").copy()
    pd.DataFrame({"body": articles(300, 360)}).to_parquet(tmp_path / "other.parquet")
    (tmp_path / "novels").mkdir()
    pd.DataFrame({"text": articles(300, 360)}).to_parquet(tmp_path / "novels" / "train.parquet")
    for kept_out in (
        {"files": ["other.txt"]},
        {"files": ["other.parquet"], "column": "body"},
        {"path": "novels", "split": "train"},
        {"path": "novels", "split": "train[:60]"},
    ):
        found = build(settings | {"out_of_domain": kept_out}, tmp_path).tokens("out-of-domain")
        np.testing.assert_array_equal(found, expected)
    card = build(settings | {"out_of_domain": {"packages": ["tqdm"]}}, tmp_path).card
    assert list(card["out_of_domain"]) == ["tqdm"]


@pytest.mark.parametrize(
    ("source", "kept_out"),
    [
        ({"source": "hub", "path": "books", "split": "train"}, "other.txt"),
        ({"source": "files", "files": ["text.txt"]}, {"path": "books", "split": "train[:60]"}),
        ({"source": "docstrings", "packages": ["tqdm"]}, {"files": ["other.txt"]}),
    ],
)
def test_out_of_domain_text_may_be_of_another_kind(settings, tmp_path, source, kept_out):
    base = {"vocabulary": settings["vocabulary"], "heldout": 0.2, "out_of_domain": kept_out}
    assert build(base | source, tmp_path).card["splits"]["out-of-domain"]["documents"] == 60


# ---- What is refused ----


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"files": ["text.txt"], "weight": 0}, "parts.1.weight: must be above 0"),
        (
            {"files": ["text.txt"], "weight": "much"},
            "parts.1.weight: must be a number",
        ),
        (
            {"files": ["text.txt"], "wieght": 1},
            "parts.1.wieght: unknown key; allowed: files, path, split",
        ),
        ({"files": ["text.txt"], "join": 0}, "parts.1.join: must be above 0"),
        ({"files": ["blank.txt"]}, "parts.1.files: "),
        ({"path": "none", "split": "train"}, "parts.1.path: 'none' is empty: it holds no text"),
        ({"path": "books"}, "parts.1: split is missing"),
        ({"path": "books", "split": "test"}, "parts.1.path: 'books' could not be loaded"),
        ({"path": "books", "split": "train", "column": "body"}, "parts.1.column: no column 'body'"),
        (
            {"path": "books", "split": "train", "files": ["text.txt"]},
            "parts.1: path does not go with files",
        ),
        ({}, "parts.1: give files, or path"),
        ("text.txt", "parts.1: "),
        ({"packages": ["tqdm"]}, "parts.1.packages: unknown key"),
        ({"files": ["other.txt"]}, "out_of_domain: "),
    ],
)
def test_a_part_that_cannot_be_read_is_refused_by_key(settings, tmp_path, part, words):
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "none").mkdir()
    pd.DataFrame({"text": [" "]}).to_parquet(tmp_path / "none" / "train.parquet")
    message = refusal(settings | {"parts": [settings["parts"][0], part]}, tmp_path)
    assert message.startswith("corpus.") and words in message


def test_params_refuse_a_part_by_key_and_say_what_is_allowed(settings, tmp_path):
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    for change, words in {
        "weight": "scales.smoke.corpus.parts.0.weight: must be above 0",
        "wieght": "scales.smoke.corpus.parts.0.wieght: unknown key; allowed: files, path, split",
        "path": "scales.smoke.corpus.parts.0: path does not go with files",
    }.items():
        part = {"files": ["text.txt"], change: 0.0 if change == "weight" else "x"}
        content["scales"]["smoke"]["corpus"] = settings | {"parts": [part]}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
        with pytest.raises(ParamsError) as error:
            load_params(tmp_path / "params.yaml")
        assert words in str(error.value)
    content["scales"]["smoke"]["corpus"] = settings
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    corpus = load_params(tmp_path / "params.yaml").scales["smoke"].corpus
    build(corpus.model_dump(exclude_none=True), tmp_path)


def test_a_dataset_that_cannot_be_reached_says_what_to_do(settings, tmp_path, monkeypatch):
    def unreachable(path, *args, streaming, **kwargs):
        assert streaming  # a whole split is never downloaded first
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub_module.datasets, "load_dataset", unreachable)
    message = refusal(settings, tmp_path)
    for words in ("corpus.parts.1.path", "'books'", "no route to host", "without a network"):
        assert words in message


def test_a_parquet_file_cut_short_is_refused_before_anything_is_read(settings, tmp_path):
    whole = (tmp_path / "books" / "data" / "train-00000-of-00002.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:-100])
    part = {"files": ["cut.parquet"]}
    message = refusal(settings | {"parts": [*settings["parts"], part]}, tmp_path)
    assert "corpus.parts.2.files" in message
    assert "cut.parquet: not a complete .parquet file" in message


def test_a_dataset_that_breaks_off_keeps_what_is_tokenised(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizing, "SHARD_BYTES", 1000)
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "the", "cat", "dog"]))
    settings |= {"vocabulary": {"file": "vocab.txt"}}
    expected = build(settings, tmp_path, "whole")
    second = tmp_path / "books" / "data" / "train-00001-of-00002.parquet"
    whole = second.read_bytes()
    second.write_bytes(whole[:-100])
    with pytest.raises(CorpusError, match=r"^corpus.parts.1.path: 'books' broke off after 50 doc"):
        build(settings, tmp_path)
    assert len(list((tmp_path / ".built.shards").glob("*.npz"))) > 5
    second.write_bytes(whole)
    again = build(settings, tmp_path)
    assert json.dumps(again.card) == json.dumps(expected.card)
