"""dwt/data/tokenize.py and packing.py: the same bytes however the work is done, and resuming."""

import errno
import hashlib
import itertools
import random
import tracemalloc

import numpy as np
import pytest
from small_text import articles, file_settings, write_text

from dwt.data import packing
from dwt.data import tokenize as tokenizing
from dwt.data.corpus import CorpusError, build_corpus, load_corpus
from dwt.data.deduplicate import fingerprints, normalized
from dwt.data.progress import Progress
from dwt.data.sentences import sentences
from dwt.data.splits import in_share, sample_sentences
from dwt.data.vocabulary import SPECIAL_TOKENS, make_tokenizer


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """`source: files`; shards of 2,000 bytes, so some ten of them."""
    monkeypatch.setattr(tokenizing, "SHARD_BYTES", 2000)
    return file_settings(tmp_path)


def build(settings, root, name="built", **options):
    return build_corpus(settings, directory=root / name, root=root, **{"workers": 1} | options)


def content(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def fails_at(monkeypatch):
    """`fails_at(n, error)`: the n-th shard from now on is not written, the error raised instead."""
    write = np.savez

    def arrange(number, error):
        count = itertools.count(1)

        def savez(file, **arrays):
            if next(count) == number:
                file.write(b"half a shard")
                raise error
            write(file, **arrays)

        monkeypatch.setattr(np, "savez", savez)

    return arrange


# ---- Token ids ----


def test_ids_word_by_word_are_those_of_the_whole_text(tmp_path):
    draw = random.Random(0)
    odd = "a b Z é ß İ ﬁ Ω ά 中 国 ́ ‍ \x1c \x85 \u2028 \xa0 \t . ' - [ ] # 1 ½ 🙂".split(" ")
    odd += [" ", " ", "\n", "[MASK]", "[SEP]", "##a", "the", "x" * 120, "\x00", "\ufffd"]
    texts = ["".join(draw.choices(odd, k=draw.randrange(60))) for _ in range(1500)]
    tokenizer = make_tokenizer({"size": 90, "alphabet": 30}, lambda: iter(texts), root=tmp_path)
    words = tokenizing.CachedTokenizer(tokenizer)
    for text in texts:
        assert words.ids(text).tolist() == tokenizer.encode(text, add_special_tokens=False).ids


def test_forgetting_words_changes_no_id(monkeypatch, settings, tmp_path):
    expected = content(build(settings, tmp_path).directory)
    monkeypatch.setattr(tokenizing, "CACHED_WORDS", 3)
    assert content(build(settings, tmp_path).directory) == expected


def test_any_number_of_processes_writes_the_same_bytes(settings, tmp_path):
    one, two, four = (
        content(build(settings, tmp_path, str(n), workers=n).directory) for n in (1, 2, 4)
    )
    assert one == two == four


def test_any_size_of_shard_gives_the_same_corpus(settings, tmp_path, monkeypatch):
    expected = content(build(settings, tmp_path).directory)
    monkeypatch.setattr(tokenizing, "SHARD_BYTES", 10**9)
    assert content(build(settings, tmp_path).directory) == expected


def test_memory_does_not_grow_with_the_text(tmp_path, monkeypatch):
    monkeypatch.setattr(tokenizing, "SHARD_BYTES", 50_000)
    monkeypatch.setattr(tokenizing, "CACHED_WORDS", 1000)
    monkeypatch.setattr(packing, "TABLE_CHARACTERS", 20_000)
    words = [f"{a}{b}" for a in "bcdfghjk" for b in ("an", "ad", "in", "or", "es")]

    def rows(number):
        draw = random.Random(0)
        for _ in range(number):
            lines = ([*draw.choices(words, k=40), f"{draw.random()}."] for _ in range(10))
            text = "\n".join(map(" ".join, lines))
            yield {"source": "made", "size": len(text), "text": text}

    tokenizer = make_tokenizer({"size": 80, "alphabet": 26}, lambda: iter(words), root=tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    peaks = []
    for number in (400, 1600):
        tracemalloc.start()
        how = {"tokenizer": tmp_path / "tokenizer.json", "heldout": 0.1, "workers": 1}
        shards = tokenizing.tokenize(rows(number), tmp_path / "shards", **how)
        outside = tokenizing.tokenize(rows(5), tmp_path / "shards", **how | {"heldout": None})
        packing.pack(shards + outside, tmp_path, length=4)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # What remains is the names of the shards, here of 50 kB each.
    assert peaks[1] - peaks[0] < 0.05 * sum(row["size"] for row in rows(1200))


# ---- Work is kept ----


def test_a_killed_build_goes_on_from_its_finished_shards(settings, tmp_path, fails_at, monkeypatch):
    expected = content(build(settings, tmp_path, "whole").directory)
    fails_at(5, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        build(settings, tmp_path)
    finished = list((tmp_path / ".built.shards").iterdir())
    assert [path.suffix for path in finished] == [".npz"] * 4
    stamps = {path: path.stat().st_mtime_ns for path in finished}
    fails_at(10**6, None)
    seen = {}
    monkeypatch.setattr(
        "dwt.data.corpus.pack",
        lambda shards, *args, **options: (
            seen.update({s: s.stat().st_mtime_ns for s in shards}),
            packing.pack(shards, *args, **options),
        )[1],
    )
    assert content(build(settings, tmp_path).directory) == expected
    assert stamps.items() <= seen.items()
    assert not (tmp_path / ".built.shards").exists()


@pytest.mark.parametrize("change", ["text", "vocabulary", "heldout", "sample"])
def test_shards_of_other_text_or_settings_are_not_used(settings, tmp_path, fails_at, change):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, "the", "cat", "sees", "."]))
    settings |= {"vocabulary": {"file": "vocab.txt"}}
    fails_at(9, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        build(settings, tmp_path)
    fails_at(10**6, None)
    if change == "text":
        write_text(tmp_path / "text.txt", [text.replace("river", "ocean") for text in articles()])
    else:
        other = {"vocabulary": {"size": 140, "alphabet": 30}, "heldout": 0.3, "sample": 0.6}
        settings |= {change: other[change]}
    resumed = content(build(settings, tmp_path).directory)
    assert resumed == content(build(settings, tmp_path, "fresh").directory)


def test_a_full_disk_is_named_and_what_is_tokenised_is_kept(settings, tmp_path, fails_at):
    old = content(build(settings | {"heldout": 0.5}, tmp_path).directory)
    fails_at(4, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(CorpusError, match=r"no space left on the disk of .*make room") as error:
        build(settings, tmp_path)
    shards = tmp_path / ".built.shards"
    assert str(tmp_path) in str(error.value) and str(shards) in str(error.value)
    assert [path.suffix for path in shards.iterdir()] == [".npz"] * 3
    assert not (tmp_path / ".built.building").exists()
    assert content(tmp_path / "built") == old
    fails_at(10**6, None)
    assert load_corpus(build(settings, tmp_path).directory).card["splits"]["train"]["tokens"]


# ---- Sentences ----


def test_one_in_four_sentences_is_drawn_and_the_same_ones_in_any_text():
    text = "\n".join(f"Sentence {i} is here. Another one is number {i}." for i in range(2000))
    kept = [s for line in sample_sentences(text, 0.25).split("\n") for s in sentences(line)]
    assert abs(len(kept) - 1000) < 4 * np.sqrt(4000 * 0.25 * 0.75)
    assert set(kept) <= {s for line in text.split("\n") for s in sentences(line)}
    some = "\n".join(text.split("\n")[500:700])
    assert set(sample_sentences(some, 0.25).split("\n")) <= set(
        sample_sentences(text, 0.25).split("\n")
    )
    fewer = [s for line in sample_sentences(text, 0.1).split("\n") for s in sentences(line)]
    assert set(fewer) < set(kept)


def test_sampling_moves_no_document_to_another_split(settings, tmp_path):
    whole = build(settings, tmp_path, "whole")
    drawn = build(settings | {"sample": 0.5}, tmp_path)
    assert set(drawn.heldout().text) < set(whole.heldout().text)
    assert drawn.card["sample"] == 0.5 and "sample" not in whole.card
    every = [s for text in articles(0, 300) for line in text.split("\n") for s in sentences(line)]
    kept = [s for s in every if in_share(s, 0.5, purpose=b"sentence")]
    words = sum(drawn.card["splits"][split]["words"] for split in ("train", "heldout"))
    assert words == sum(len(s.split()) for s in kept)
    outside = [card.card["splits"]["out-of-domain"] for card in (whole, drawn)]
    assert outside[0]["words"] == outside[1]["words"]


def test_a_one_sentence_document_is_drawn_independently_of_being_held_out():
    texts = [f"Sentence {i}." for i in range(4000)]
    held = [t for t in texts if in_share(t, 0.25)]
    both = sum(in_share(t, 0.25, purpose=b"sentence") for t in held)
    assert abs(both - len(held) / 4) < 4 * np.sqrt(len(held) * 0.25 * 0.75)


def test_fingerprints_are_those_of_the_letters():
    text = "The 1st cat-dog, SAW it. Café ÉCOLE 9 is here.\nAll_of it: x² (or so)! \x1cWhy\tnot?"
    expected = [
        hashlib.blake2b(normalized(s).encode(), digest_size=8).digest()
        for line in text.splitlines()
        for s in sentences(line)
    ]
    assert fingerprints(text) == expected and len(expected) == 4


def test_unseen_is_what_a_search_through_all_training_sentences_says(settings, tmp_path):
    corpus = build(settings, tmp_path)
    assert 0 < corpus.heldout().unseen.sum() < len(corpus.heldout())
    known = {
        normalized(sentence)
        for text in articles(0, 300)
        if not in_share(text, 0.2)
        for line in text.split("\n")
        for sentence in sentences(line)
    }
    for text, unseen in zip(corpus.heldout().text, corpus.heldout().unseen, strict=True):
        assert unseen == known.isdisjoint(map(normalized, sentences(text)))


def test_the_heldout_table_is_cut_where_it_would_fill_the_memory(settings, tmp_path, monkeypatch):
    whole = build(settings, tmp_path, "whole")
    monkeypatch.setattr(packing, "TABLE_CHARACTERS", 1000)
    short = build(settings, tmp_path)
    table = whole.heldout().head(len(short.heldout()))
    assert short.heldout().equals(table) and 1000 <= table.text.str.len().sum() < 1100
    np.testing.assert_array_equal(short.tokens("heldout"), whole.tokens("heldout"))


# ---- Progress ----


def test_progress_of_unknown_length_says_how_much_is_done(capsys, monkeypatch):
    monkeypatch.setattr("dwt.data.progress.SECONDS_PER_LINE", 0.0)
    monkeypatch.setattr("dwt.data.progress.is_interactive", lambda: False)
    progress = Progress("MB of text tokenized", None)
    progress.update(7)
    progress.close()
    assert capsys.readouterr().out.startswith("MB of text tokenized: 7  in ")
