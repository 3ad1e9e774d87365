"""dwt/data/vocabulary.py: learned, from a file or pretrained, and the same every time."""

import numpy as np
import pytest
from conftest import ROOT
from small_text import build, file_settings, refusal
from tokenizers import Tokenizer, models
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast

from dwt.data.vocabulary import SPECIAL_TOKENS, make_tokenizer


@pytest.fixture
def settings(tmp_path):
    return file_settings(tmp_path)


def test_transformers_loads_the_tokenizer_with_bert_special_tokens(settings, tmp_path):
    corpus = build(settings, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(corpus.directory)
    assert len(tokenizer) == corpus.vocabulary.size <= 150
    assert tuple(tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS))) == corpus.vocabulary.special
    assert tokenizer.mask_token_id == corpus.vocabulary.mask
    assert tokenizer.pad_token_id == corpus.vocabulary.special[0]
    pair = tokenizer("The cat", "the DOG")
    assert tokenizer.decode(pair["input_ids"]) == "[CLS] the cat [SEP] the dog [SEP]"
    assert set(pair) == {"input_ids", "attention_mask"}


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
    assert corpus.vocabulary.size == len(vocabulary)
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


def test_a_vocabulary_full_of_ties_is_the_same_every_time():
    # Every word once: all pair counts tie, which is where the trainer alone is not deterministic.
    texts = ["".join(chr(97 + (i * k) % 26) for k in range(1, 9)) for i in range(1, 200)]
    learned = [
        make_tokenizer({"size": 200, "alphabet": 26}, lambda: iter(texts), root=ROOT).get_vocab()
        for _ in range(5)
    ]
    assert all(vocabulary == learned[0] for vocabulary in learned)
