"""dwt/data/files.py: all formats give the same documents, and a file that is no text is refused."""

import gzip
import json
import lzma
import os

import numpy as np
import pandas as pd
import pytest
from small_text import articles, build, file_settings, refusal, write_text

from dwt.data.splits import SPLITS


@pytest.fixture
def settings(tmp_path):
    return file_settings(tmp_path)


def test_all_file_formats_hold_the_same_documents(settings, tmp_path):
    text = articles(0, 300)
    with lzma.open(tmp_path / "text.txt.xz", "wt", encoding="utf-8") as file:
        file.write("\n\n".join(text))
    (tmp_path / "text.jsonl").write_text(
        "".join(json.dumps({"text": t, "id": 1}) + "\n" for t in text)
    )
    pd.DataFrame({"text": text}).to_parquet(tmp_path / "text.parquet")
    expected = build(settings, tmp_path)
    for name in ("text.txt.xz", "text.jsonl", "text.parquet"):
        corpus = build(settings | {"files": name}, tmp_path, name + ".built")
        for split in SPLITS:
            np.testing.assert_array_equal(corpus.tokens(split), expected.tokens(split))


def test_another_column_can_be_read(settings, tmp_path):
    pd.DataFrame({"body": articles(0, 300), "text": "no"}).to_parquet(tmp_path / "text.parquet")
    pd.DataFrame({"body": articles(300, 360)}).to_parquet(tmp_path / "other.parquet")
    files = {"files": "text.parquet", "out_of_domain": "other.parquet", "column": "body"}
    corpus = build(settings | files, tmp_path, "from-column")
    np.testing.assert_array_equal(corpus.tokens("train"), build(settings, tmp_path).tokens("train"))


def test_globs_are_read_in_sorted_order(settings, tmp_path):
    text = articles(0, 300)
    (tmp_path / "parts").mkdir()
    for name, part in (("b.txt", text[200:]), ("a.txt", text[:200])):
        write_text(tmp_path / "parts" / name, part)
    parts = build(settings | {"files": ["parts/*.txt"]}, tmp_path, "parts-built")
    np.testing.assert_array_equal(parts.tokens("train"), build(settings, tmp_path).tokens("train"))


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(settings, tmp_path):
    expected = build(settings, tmp_path)
    text = (tmp_path / "text.txt").read_text()
    (tmp_path / "text.txt").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    np.testing.assert_array_equal(
        build(settings, tmp_path).tokens("train"), expected.tokens("train")
    )


def test_a_compressed_file_is_streamed_up_to_the_limit(settings, tmp_path):
    whole = lzma.compress(("\n\n".join(articles(0, 300)) + "\n\n").encode())
    beyond = lzma.compress(os.urandom(1 << 16))[:-40]  # damaged: reading it would fail
    (tmp_path / "big.txt.xz").write_bytes(whole + beyond)
    limited = settings | {"files": ["big.txt.xz"], "limit_mb": 0.01}
    assert build(limited, tmp_path).card["splits"]["train"]["documents"] > 50
    assert "big.txt.xz" in refusal(settings | {"files": ["big.txt.xz"]}, tmp_path)


def test_a_file_that_cannot_be_read_is_refused_by_name(settings, tmp_path):
    write_text(tmp_path / "notes.md", articles())
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes("Title\n\nCaf\u00e9 de la gare.".encode("latin-1"))
    (tmp_path / "fake.txt.xz").write_bytes(gzip.compress(b"text"))
    (tmp_path / "bad.jsonl").write_text('{"text": "A line."}\nnot json\n')
    (tmp_path / "column.jsonl").write_text('{"body": "A line."}\n')
    pd.DataFrame({"body": ["A line."]}).to_parquet(tmp_path / "column.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "column.parquet").read_bytes()[:-9])
    for name, words in {
        "missing.txt": "does not exist",
        "*.csv": "matches no file",
        "notes.md": ".txt, .txt.xz, .jsonl, .parquet",
        "empty.txt": "is empty",
        "blank.txt": "is empty",
        "latin.txt": "line 3: not UTF-8",
        "fake.txt.xz": "not a complete .xz file",
        "bad.jsonl": "line 2: not JSON",
        "column.jsonl": "no text column 'text'; found body",
        "column.parquet": "no text column 'text'; found body",
        "cut.parquet": "not a complete .parquet file",
    }.items():
        message = refusal(settings | {"files": [name]}, tmp_path)
        assert message.startswith("corpus.files: ") and name in message and words in message
    assert "out_of_domain.files: 'missing.txt'" in refusal(
        settings | {"out_of_domain": "missing.txt"}, tmp_path
    )
