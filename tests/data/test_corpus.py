"""dwt/data/corpus.py: what ends in which split, what is refused, and that nothing depends on luck."""

import gzip
import json
import lzma
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from dwt.data import corpus as corpus_module
from dwt.data import hub as hub_module
from dwt.data.corpus import (
    SPECIAL_TOKENS,
    SPLITS,
    CorpusError,
    build_corpus,
    load_corpus,
)
from dwt.data.prose import docstring_blocks, docstrings, is_prose
from dwt.data.vocabulary import make_tokenizer

ROOT = Path(__file__).parents[1]
SUBJECTS = "cat dog bird horse child teacher driver doctor farmer writer".split()
VERBS = ["sees", "likes", "finds", "follows", "hears", "paints"]
OBJECTS = ["river", "forest", "garden", "city", "mountain", "house"]


def articles(start=0, stop=360):
    """Small documents, each different: a title line and two paragraphs."""
    every = [(s, v, o) for s in SUBJECTS for v in VERBS for o in OBJECTS]
    return [
        f"{s} and {o}\nThe {s} {v} the {o}.\nNobody {v} it better." for s, v, o in every[start:stop]
    ]


def write_text(path, documents):
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")


@pytest.fixture
def settings(tmp_path):
    """`source: files` on two small text files under tmp_path."""
    write_text(tmp_path / "text.txt", articles(0, 300))
    write_text(tmp_path / "other.txt", articles(300, 360))
    return {
        "source": "files",
        "files": ["text.txt"],
        "out_of_domain": ["other.txt"],
        "vocabulary": {"size": 150, "alphabet": 30},
        "heldout": 0.2,
    }


def build(settings, root, name="built"):
    return build_corpus(settings, directory=root / name, root=root)


def documents(corpus, split):
    """Token ids of each document, [SEP] removed."""
    ids = np.asarray(corpus.tokens(split))
    return [d[:-1] for d in np.split(ids, np.flatnonzero(ids == corpus.sep_id) + 1)[:-1]]


def refusal(settings, root):
    """The message with which a build is refused; nothing may be left behind."""
    before = sorted(p.name for p in root.iterdir())
    with pytest.raises(CorpusError) as error:
        build(settings, root)
    assert sorted(p.name for p in root.iterdir()) == before
    return str(error.value)


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
        assert ids[-1] == corpus.sep_id and ids.max() < corpus.vocab_size
        assert not np.isin(ids, [corpus.cls_id, corpus.mask_id, corpus.pad_id]).any()


def test_card_counts_what_is_on_disk(settings, tmp_path):
    corpus = build(settings, tmp_path)
    for split in SPLITS:
        count, ids = corpus.card["splits"][split], corpus.tokens(split)
        assert count["tokens"] == len(ids)
        assert count["documents"] == (ids == corpus.sep_id).sum()
        assert count["unknown_rate"] == pytest.approx((ids == corpus.unk_id).mean(), abs=1e-6)
    words = sum(len(text.split()) for text in articles(0, 300))
    assert (
        corpus.card["splits"]["train"]["words"] + corpus.card["splits"]["heldout"]["words"] == words
    )


def test_card_names_no_machine_path_and_no_date(settings, tmp_path):
    corpus = build(settings, tmp_path)
    for name in ("card.json", "tokenizer.json", "tokenizer_config.json"):
        assert str(tmp_path) not in (corpus.directory / name).read_text()
    assert corpus.card["files"] == ["text.txt"]


def test_transformers_loads_the_tokenizer_with_bert_special_tokens(settings, tmp_path):
    corpus = build(settings, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(corpus.directory)
    assert len(tokenizer) == corpus.vocab_size <= 150
    assert tuple(tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS))) == corpus.vocabulary.special
    assert tokenizer.mask_token_id == corpus.mask_id and tokenizer.pad_token_id == corpus.pad_id
    pair = tokenizer("The cat", "the DOG")
    assert tokenizer.decode(pair["input_ids"]) == "[CLS] the cat [SEP] the dog [SEP]"
    assert set(pair) == {"input_ids", "attention_mask"}


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


# ---- Sources ----


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


def test_keys_without_a_value_are_as_good_as_absent(settings, tmp_path):
    empty = {"packages": None, "limit_mb": None, "column": "text"}
    vocabulary = settings["vocabulary"] | {"file": None}
    with_empty = build(settings | empty | {"vocabulary": vocabulary}, tmp_path, "with-empty")
    assert with_empty.card == build(settings, tmp_path).card


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


def test_limit_mb_stops_reading(settings, tmp_path):
    size = len((tmp_path / "text.txt").read_bytes())
    half = build(
        settings | {"limit_mb": size / 2e6, "vocabulary": {"size": 120, "alphabet": 30}}, tmp_path
    )
    read = half.card["splits"]["train"]["documents"] + half.card["splits"]["heldout"]["documents"]
    assert 140 <= read <= 160


def test_a_compressed_file_is_streamed_up_to_the_limit(settings, tmp_path):
    whole = lzma.compress(("\n\n".join(articles(0, 300)) + "\n\n").encode())
    beyond = lzma.compress(os.urandom(1 << 16))[:-40]  # damaged: reading it would fail
    (tmp_path / "big.txt.xz").write_bytes(whole + beyond)
    limited = settings | {"files": ["big.txt.xz"], "limit_mb": 0.01}
    assert build(limited, tmp_path).card["splits"]["train"]["documents"] > 50
    assert "big.txt.xz" in refusal(settings | {"files": ["big.txt.xz"]}, tmp_path)


def test_a_hub_dataset_is_read_by_path_name_split_and_column(settings, tmp_path):
    for folder, part in (("news", articles(0, 300)), ("novels", articles(300, 360))):
        (tmp_path / folder / "data").mkdir(parents=True)
        pd.DataFrame({"body": part, "n": range(len(part))}).to_parquet(
            tmp_path / folder / "data" / "train-0.parquet"
        )
    hub = {key: settings[key] for key in ("vocabulary", "heldout")} | {
        "source": "hub", "path": "news", "split": "train", "column": "body",
        "out_of_domain": {"path": "novels", "name": "default", "split": "train[:50%]"},
    }  # fmt: skip
    corpus, files = build(hub, tmp_path), build(settings, tmp_path, "files")
    np.testing.assert_array_equal(corpus.tokens("train"), files.tokens("train"))
    assert corpus.card["splits"]["out-of-domain"]["documents"] == 30
    assert corpus.card["dataset"] == {"path": "news", "split": "train"}
    assert "'text'" in refusal({k: v for k, v in hub.items() if k != "column"}, tmp_path)
    assert "validation" in refusal(hub | {"split": "validation"}, tmp_path)


def test_an_unreachable_hub_dataset_says_what_to_do(settings, tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(hub_module.datasets, "load_dataset", unreachable)
    part = {"path": "someone/some-text", "split": "train"}
    hub = (
        {key: settings[key] for key in ("vocabulary", "heldout")}
        | {"source": "hub", "out_of_domain": part}
        | part
    )
    message = refusal(hub, tmp_path)
    assert "someone/some-text" in message and "source: files" in message


def test_a_given_vocabulary_file_is_used_as_it_is(settings, tmp_path):
    letters = [chr(c) for c in range(97, 123)]
    vocabulary = [
        "[PAD]",
        "the",
        *letters,
        *(f"##{c}" for c in letters),
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        ".",
    ]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    corpus = build(settings | {"vocabulary": {"file": "vocab.txt"}}, tmp_path)
    assert corpus.vocab_size == len(vocabulary)
    assert corpus.vocabulary.special == tuple(map(vocabulary.index, SPECIAL_TOKENS))
    assert corpus.tokenizer().tokenize("The cat.") == ["the", "c", "##a", "##t", "."]


def test_the_vocabulary_of_a_pretrained_tokenizer_is_that_of_its_file(settings, tmp_path):
    words = [*SPECIAL_TOKENS, "[unused0]", "the", "cat", *"abcdefghijklmnopqrstuvwxyz", "##s", "."]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(vocab={w: i for i, w in enumerate(words)}).save_pretrained(tmp_path / "saved")
    expected = build(settings | {"vocabulary": {"file": "vocab.txt"}}, tmp_path, "from-file")
    corpus = build(settings | {"vocabulary": {"pretrained": "saved", "alphabet": 150}}, tmp_path)
    assert corpus.tokenizer().get_vocab() == expected.tokenizer().get_vocab()
    np.testing.assert_array_equal(corpus.tokens("train"), expected.tokens("train"))


def test_a_pretrained_tokenizer_that_cannot_serve_is_refused_by_name(settings, tmp_path):
    (tmp_path / "empty").mkdir()
    other = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    other.save_pretrained(tmp_path / "bpe")
    for name, words in (("empty", "could not be loaded"), ("bpe", "not a WordPiece tokenizer")):
        message = refusal(settings | {"vocabulary": {"pretrained": name}}, tmp_path)
        assert message.startswith("corpus.vocabulary.pretrained: ") and words in message


# ---- Docstrings ----

PROSE = "The quick method returns the sum of the values."


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs distributions of one module each, on tmp_path only: package(name, version, code)."""

    def install(name, version, code, **files):
        site = tmp_path / "site"
        info = site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        files = {f"{name}/__init__.py": code} | files
        for path, content in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(content)
        (info / "RECORD").write_text("".join(f"{path},,\n" for path in files))
        monkeypatch.syspath_prepend(str(site))

    return install


def function(name, docstring):
    return f'def {name}():\n    """{docstring}"""\n'


def docstring_settings():
    return {
        "source": "docstrings", "packages": ["inside"], "out_of_domain": "outside",
        "vocabulary": {"size": 120, "alphabet": 30}, "heldout": 0.2,
    }  # fmt: skip


def many(subjects):
    every = [(s, v, o) for s in subjects for v in VERBS for o in OBJECTS]
    return "".join(
        function(f"f{i}", f"Return the {s} {v} of the {o}.") for i, (s, v, o) in enumerate(every)
    )


def test_docstrings_are_read_without_importing(package, tmp_path):
    package("inside", "1.0", 'raise SystemExit("imported")\n' + many(SUBJECTS[:5]))
    package("outside", "2.0", many(SUBJECTS[5:]))
    corpus = build(docstring_settings(), tmp_path)
    assert "inside" not in sys.modules
    assert corpus.card["packages"] == {"inside": "1.0"} and corpus.card["out_of_domain"] == {
        "outside": "2.0"
    }
    assert corpus.card["splits"]["out-of-domain"]["documents"] == 5 * 36
    assert (
        corpus.card["splits"]["train"]["documents"] + corpus.card["splits"]["heldout"]["documents"]
        == 5 * 36
    )
    assert (corpus.heldout().source == "inside").all()


def test_a_paragraph_is_kept_once_in_all_packages(package, tmp_path):
    package(
        "inside",
        "1.0",
        many(SUBJECTS[:5]) + many(SUBJECTS[:5]).upper().replace("DEF ", "def ").replace("F", "g"),
    )
    package("outside", "1.0", many(SUBJECTS[3:]))
    corpus = build(docstring_settings(), tmp_path)
    assert (
        corpus.card["splits"]["out-of-domain"]["documents"] == 5 * 36
    )  # the other two subjects were inside


def test_tests_and_vendored_code_are_not_read(package, tmp_path):
    hidden = {
        f"inside/{folder}/a.py": function("f", "Hidden words are here in the text.")
        for folder in ("tests", "externals")
    }
    package(
        "inside",
        "1.0",
        many(SUBJECTS[:5]),
        **hidden,
        **{"inside/broken.py": 'def f(:\n    """' + PROSE},
    )
    package("outside", "1.0", many(SUBJECTS[5:]))
    corpus = build(docstring_settings(), tmp_path)
    assert sum(corpus.card["splits"][s]["documents"] for s in ("train", "heldout")) == 5 * 36


def test_a_version_that_differs_from_the_pin_warns(package, tmp_path):
    package("inside", "1.0", many(SUBJECTS[:5]))
    package("outside", "2.0+cpu", many(SUBJECTS[5:]))
    (tmp_path / "constraints.txt").write_text("inside==1.1  # comment\noutside==2.0\n")
    with pytest.warns(
        UserWarning, match="inside 1.0 is installed, constraints.txt pins 1.1"
    ) as caught:
        build(docstring_settings(), tmp_path)
    assert not [w for w in caught if "outside" in str(w.message)]


def test_an_unknown_package_is_named(tmp_path):
    for key in ("packages", "out_of_domain"):
        named = {"packages": ["tqdm"], key: ["no-such-package"]}
        message = refusal(docstring_settings() | named, tmp_path)
        assert message.startswith(f"corpus.{key}: 'no-such-package' is not installed")


def test_out_of_domain_text_must_stay_out_of_training(package, tmp_path, settings):
    package("inside", "1.0", many(SUBJECTS[:5]))
    assert "stay out of training" in refusal(
        docstring_settings() | {"out_of_domain": ["inside"]}, tmp_path
    )
    assert "stay out of training" in refusal(settings | {"out_of_domain": "text.txt"}, tmp_path)


def test_numpydoc_entries_keep_name_type_and_section():
    blocks = docstring_blocks(
        """Sum of the values in an array.

        Parameters
        ----------
        values : array_like, optional
            The numbers that are to be added.

            They may have any shape at all.
        axis, keep : int
            Along which axis the sum is taken.

        Returns
        -------
        float
            The sum of all the values.

        See Also
        --------
        mean : The mean of all the values.
        """
    )
    assert [tuple(b.values()) for b in blocks] == [
        ("", "", "", "Sum of the values in an array."),
        ("Parameters", "values", "array_like, optional", "The numbers that are to be added."),
        ("Parameters", "values", "array_like, optional", "They may have any shape at all."),
        ("Parameters", "axis, keep", "int", "Along which axis the sum is taken."),
        ("Returns", "", "float", "The sum of all the values."),
        ("See Also", "mean", "", "The mean of all the values."),
    ]


def test_google_and_sphinx_entries_keep_name_and_type():
    google = docstring_blocks(
        """Add all of the numbers.

        Args:
            values (`torch.Tensor`, *optional*):
                The numbers that are to be
                added to each other.
            axis (int): Along which axis the sum is taken.

        Returns:
            float: The sum of all the values.
        """
    )
    assert [(b["section"], b["name"], b["text"]) for b in google] == [
        ("", "", "Add all of the numbers."),
        ("Parameters", "values", "The numbers that are to be added to each other."),
        ("Parameters", "axis", "Along which axis the sum is taken."),
        ("Returns", "", "The sum of all the values."),
    ]
    assert google[1]["type"].startswith("torch.Tensor") and google[2]["type"] == "int"
    sphinx = docstring_blocks(
        "Add all of the numbers.\n\n:param int axis: Along which axis the sum is taken."
    )
    assert (sphinx[1]["name"], sphinx[1]["type"]) == ("axis", "int")


@pytest.mark.parametrize(
    "junk",
    [
        ">>> the_sum = add(the, values)\nThe sum of the values is printed here.",
        "```python\nThe code in the fence is not a text.\n```",
        ".. math::\n\n    The sum of the values is not a text here.",
        ".. code-block:: python\n    :linenos:\n\n    The code in the block is not a text.",
        "====== =======\nThe name of the column\n====== =======",
        "| The cell | of the table | is in a row |",
        r"The value :math:`\sum_i x_i` is the sum of the values.",
        "x = f(a, b, c) + g(d, e) * 3",
        "References\n----------\nThe author of the book, The title of the book, 1999.",
    ],
)  # fmt: skip
def test_code_tables_mathematics_and_references_are_dropped(junk):
    assert [b["text"] for b in docstring_blocks(f"{PROSE}\n\n{junk}")] == [PROSE]


def test_a_literal_block_ends_where_its_indentation_ends():
    blocks = docstring_blocks(
        f"An example of the method follows::\n\n    the code of the example\n\n{PROSE}"
    )
    assert [b["text"] for b in blocks] == ["An example of the method follows:", PROSE]


def test_markup_is_removed_from_prose():
    text = (
        "Use :func:`~numpy.sum` or ``mean`` of the *array*, "
        "see `the guide <https://x.org>`_ and [`Model`] [1]_."
    )
    assert (
        docstring_blocks(text)[0]["text"]
        == "Use sum or mean of the array, see the guide and Model."
    )


def test_notes_in_a_directive_are_prose_and_version_remarks_are_not():
    note = f".. note::\n    {PROSE}\n\n"
    text = note + ".. versionadded:: 1.2\n    It is new in the version of the package."
    assert [b["text"] for b in docstring_blocks(text)] == [PROSE]


def test_prose_needs_words_letters_and_stop_words():
    assert is_prose(PROSE)
    assert not is_prose("Too short it")
    assert not is_prose("lorem ipsum dolor amet consectetur")
    assert not is_prose("1.0 2.0 3.0 of the 4.0 5.0")


def test_strings_assembled_by_code_are_not_documents():
    template = 'x = f"""{a} The text of the template is\nnot a document."""\n'
    string = 'y = """The text of the string is\na document."""\n'
    assert list(docstrings((template + string).encode())) == [string[7:-4]]


# ---- Nothing depends on luck ----

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


def test_a_vocabulary_full_of_ties_is_the_same_every_time():
    # Every word once: all pair counts tie, which is where the trainer alone is not deterministic.
    texts = ["".join(chr(97 + (i * k) % 26) for k in range(1, 9)) for i in range(1, 200)]
    learned = [
        make_tokenizer({"size": 200, "alphabet": 26}, lambda: iter(texts), root=ROOT).get_vocab()
        for _ in range(5)
    ]
    assert all(vocabulary == learned[0] for vocabulary in learned)


def test_an_interrupted_build_leaves_the_old_corpus_whole(settings, tmp_path, monkeypatch):
    old = {p.name: p.read_bytes() for p in build(settings, tmp_path).directory.iterdir()}

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus_module, "assemble", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(settings | {"heldout": 0.5}, tmp_path)
    assert {p.name: p.read_bytes() for p in (tmp_path / "built").iterdir()} == old


# ---- What is refused ----


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
    assert "out_of_domain: 'missing.txt'" in refusal(
        settings | {"out_of_domain": "missing.txt"}, tmp_path
    )


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("source", "web", "docstrings, files, hub"),
        ("files", [], "corpus.files: missing"),
        ("out_of_domain", None, "corpus.out_of_domain: missing"),
        ("packages", ["numpy"], "corpus.packages: not for `source: files`"),
        ("heldout", 1.5, "between 0 and 1"),
        ("heldout", "0.1", "between 0 and 1"),
        ("limit_mb", -1, "corpus.limit_mb"),
        ("vocabulary", {"size": 100}, "{size, alphabet} to learn one"),
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
