"""A WordPiece vocabulary, learned from text or read from a file."""

import json
import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dwt.data.files import CorpusError

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY_CHARACTERS = 50_000_000  # a vocabulary is learned from at most this much training text


BERT_SIZE = 30_522  # tokens of bert-base-uncased


@dataclass(frozen=True)
class Vocabulary:
    """What masking needs to know of a tokenizer."""

    size: int
    cls: int
    sep: int
    mask: int
    special: tuple[int, ...]

    @property
    def ordinary(self) -> np.ndarray:
        """Ids that may be masked and may stand in for a masked token. [size - special]"""
        return np.setdiff1d(np.arange(self.size), self.special)


def make_tokenizer(settings, texts, *, root):
    """A WordPiece tokenizer from a vocabulary file, or learned from training text.

    Parameters
    ----------
    settings : dict
        ``{file}``, one token per line; ``{pretrained}``, a folder or hub name of a tokenizer, for
        its vocabulary; or ``{size, alphabet}``.
    texts : callable
        Returns an iterator over the training documents each time it is called.
    root : Path
        What a relative ``file`` starts from.

    Raises
    ------
    CorpusError
        If the file is missing, is not UTF-8 or lacks a special token, if the tokenizer cannot be
        reached or is no WordPiece, or if the size is too small.
    """
    if "file" in settings:
        tokens = _tokens_of_file(settings["file"], root)
        return _given("file", settings["file"], tokens)
    if "pretrained" in settings:
        tokens = _tokens_of_pretrained(settings["pretrained"], root)
        return _given("pretrained", settings["pretrained"], tokens)

    # The trainer numbers characters as it meets them in a randomly ordered hash map, and merges of
    # equal count are taken in that order. Handing it the characters, alone and as continuations,
    # makes the vocabulary a function of the text.
    normalizer = normalizers.BertNormalizer(lowercase=True)
    written, characters = Counter(), Counter()
    for document in _budgeted(texts()):
        written.update(document)
    for character, number in written.items():  # normalising goes character by character
        for normal in normalizer.normalize_str(character):
            characters[normal] += number
    ranked = sorted((-n, c) for c, n in characters.items() if not c.isspace())
    alphabet = [c for _, c in ranked[: settings["alphabet"]]]
    needed = len(SPECIAL_TOKENS) + 2 * len(alphabet)
    if settings["size"] <= needed:
        raise CorpusError(
            f"corpus.vocabulary.size: {settings['size']} leaves no room for words; with "
            f"{len(alphabet)} characters, alone and as continuations, it must exceed {needed}"
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=settings["size"],
        limit_alphabet=len(alphabet),
        initial_alphabet=alphabet,
        special_tokens=[*SPECIAL_TOKENS, *(f"##{c}" for c in sorted(alphabet))],
        show_progress=False,
    )
    learner = _wordpiece({"[UNK]": 0}, lowercase=True)
    learner.train_from_iterator(_budgeted(texts()), trainer)
    return _wordpiece(learner.get_vocab(with_added_tokens=True), lowercase=True)


def _tokens_of_file(name, root):
    if not (root / name).is_file():
        raise CorpusError(f"corpus.vocabulary.file: {name} does not exist")
    try:
        return (root / name).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise CorpusError(f"corpus.vocabulary.file: {name} is not UTF-8") from None


def _tokens_of_pretrained(name, root):
    where = f"corpus.vocabulary.pretrained: {name!r}"
    try:
        found = AutoTokenizer.from_pretrained(root / name if (root / name).is_dir() else name)
    except Exception as error:  # whatever the hub, the network or a damaged file raises
        raise CorpusError(
            f"{where} could not be loaded ({type(error).__name__}: {error}). Without a network, "
            "give {file: vocab.txt}, one token per line"
        ) from error
    backend = getattr(found, "backend_tokenizer", None)
    if not isinstance(getattr(backend, "model", None), models.WordPiece):
        raise CorpusError(f"{where} is not a WordPiece tokenizer, as that of bert-base-uncased is")
    return sorted(found.get_vocab(), key=found.get_vocab().get)


def _given(key, name, tokens):
    """The tokenizer of a vocabulary; of lower case unless that has capitals."""
    missing = [token for token in SPECIAL_TOKENS if token not in tokens]
    if missing:
        raise CorpusError(
            f"corpus.vocabulary.{key}: {name} lacks {', '.join(missing)}; "
            f"one token per line, {' '.join(SPECIAL_TOKENS)} among them"
        )
    cased = any(t != t.lower() for t in tokens if not t.startswith("["))
    return _wordpiece({token: i for i, token in enumerate(tokens)}, lowercase=not cased)


def _budgeted(texts):
    """The first documents, `VOCABULARY_CHARACTERS` of them at most."""
    left = VOCABULARY_CHARACTERS
    for text in texts:
        if left <= 0:
            return
        left -= len(text)
        yield text


def _wordpiece(vocabulary, *, lowercase):
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if "[SEP]" in vocabulary:
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(t, vocabulary[t]) for t in ("[CLS]", "[SEP]")],
        )
    return tokenizer


def save_tokenizer(tokenizer, directory):
    """Write the files that `transformers.AutoTokenizer.from_pretrained` reads."""
    names = {f"{token[1:-1].lower()}_token": token for token in SPECIAL_TOKENS}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **names
    )
    fast.save_pretrained(directory)


def vocabulary_size(params):
    """Of the corpus that is built, else as params.yaml asks: a learned one may come out smaller."""
    if (built := params.path("data", "card.json")).is_file():
        return json.loads(built.read_text())["vocabulary"]
    asked = params.settings.corpus.vocabulary
    if asked.size:
        return asked.size
    if asked.file and (file := params.root / asked.file).is_file():
        return len(file.read_text(encoding="utf-8").splitlines())
    said = f"{asked.file or asked.pretrained} is not here"
    warnings.warn(f"{said}; {BERT_SIZE:,} tokens are assumed", stacklevel=2)
    return BERT_SIZE
