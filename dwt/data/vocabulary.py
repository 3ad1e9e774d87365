"""Learns a WordPiece vocabulary from text, or takes one from a file or a pretrained tokenizer."""

import itertools
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import WordPieceTrainer

from dwt.config.corpus import VocabularySettings
from dwt.config.schema import Params
from dwt.data.documents import CorpusError, until

if TYPE_CHECKING:  # transformers takes seconds to import, and analyses read sizes only
    from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LEARNED_FROM = 50_000_000  # a vocabulary is learned from the first characters of training text
BERT_SIZE = 30_522  # tokens of bert-base-uncased


@dataclass(frozen=True)
class Vocabulary:
    """Number of tokens and ids of the special ones: what masking and models need of a tokenizer."""

    size: int
    cls: int
    sep: int
    mask: int
    special: tuple[int, ...]  # ids of `SPECIAL_TOKENS`, in their order

    @classmethod
    def of(cls, tokenizer: "Tokenizer | PreTrainedTokenizerFast") -> Self:
        """The vocabulary of a tokenizer; ValueError if it lacks one of BERT's special tokens."""
        tokenizer = getattr(tokenizer, "backend_tokenizer", tokenizer)
        special = tuple(map(tokenizer.token_to_id, SPECIAL_TOKENS))
        if missing := [t for t, i in zip(SPECIAL_TOKENS, special, strict=True) if i is None]:
            required = f"it must have {' '.join(SPECIAL_TOKENS)}"
            raise ValueError(f"the tokenizer lacks {', '.join(missing)}; {required}")
        return cls(tokenizer.get_vocab_size(), special[2], special[3], special[4], special)

    @property
    def ordinary(self) -> np.ndarray:
        """Ids that may be masked and may replace a masked token, `[size - len(special)]`."""
        return np.setdiff1d(np.arange(self.size), self.special)


def vocabulary_size(params: Params) -> int:
    """Number of tokens of a scale's vocabulary, known or, with a warning, assumed to be BERT's.

    A vocabulary that is yet to be learned may come out smaller.
    """
    if (built := params.path("data", "card.json")).is_file():
        return json.loads(built.read_text())["vocabulary"]
    settings = params.settings.corpus.vocabulary
    if settings.size:
        return settings.size
    if settings.file and (file := params.root / settings.file).is_file():
        return len(file.read_text(encoding="utf-8").splitlines())
    missing = f"{settings.file or settings.pretrained} is not here"
    warnings.warn(f"{missing}; {BERT_SIZE:,} tokens are assumed", stacklevel=2)
    return BERT_SIZE


def make_tokenizer(
    settings: VocabularySettings | Mapping, texts: Callable[[], Iterator[str]], *, root: Path
) -> Tokenizer:
    """Learn a WordPiece tokenizer from training text, or make one of a given vocabulary.

    Each call of `texts` reads the training documents anew; relative paths start from `root`.
    CorpusError for a file or tokenizer that cannot be used, or too small a size.
    """
    settings = VocabularySettings.model_validate(settings)
    if settings.size:
        return _learn(settings.size, settings.alphabet, texts)
    if settings.file:
        where = f"corpus.vocabulary.file: {settings.file!r}"
        try:
            tokens = (root / settings.file).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise CorpusError(f"{where} cannot be read ({error.strerror})") from None
        except UnicodeDecodeError:
            raise CorpusError(f"{where} is not UTF-8") from None
    else:
        where = f"corpus.vocabulary.pretrained: {settings.pretrained!r}"
        tokens = _pretrained_tokens(settings.pretrained, root, where)
    if missing := [token for token in SPECIAL_TOKENS if token not in tokens]:
        required = f"the vocabulary must hold {' '.join(SPECIAL_TOKENS)}"
        raise CorpusError(f"{where} lacks {', '.join(missing)}; {required}")
    # Text is lower-cased unless the vocabulary has capitals.
    cased = any(t != t.lower() for t in tokens if not t.startswith("["))
    return _wordpiece({token: i for i, token in enumerate(tokens)}, lowercase=not cased)


def save_tokenizer(tokenizer: Tokenizer, directory: Path) -> None:
    """Write the files that `transformers.AutoTokenizer.from_pretrained` reads."""
    from transformers import PreTrainedTokenizerFast

    names = {f"{token[1:-1].lower()}_token": token for token in SPECIAL_TOKENS}
    inputs = ["input_ids", "attention_mask"]
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_input_names=inputs, **names)
    fast.save_pretrained(directory)


def _learn(size: int, alphabet_size: int, texts: Callable[[], Iterator[str]]) -> Tokenizer:
    # The trainer numbers characters in the order of a randomly seeded hash map, and takes merges of
    # equal count in that order. Handing it the characters, alone and as continuations, makes the
    # vocabulary a function of the text.
    normalizer = normalizers.BertNormalizer(lowercase=True)
    raw = Counter(itertools.chain.from_iterable(until(texts(), LEARNED_FROM, len)))
    counts: Counter[str] = Counter()
    for character, number in raw.items():  # normalization goes character by character
        for normal in normalizer.normalize_str(character):
            counts[normal] += number
    ranked = sorted((-n, c) for c, n in counts.items() if not c.isspace())
    alphabet = [c for _, c in ranked[:alphabet_size]]
    needed = len(SPECIAL_TOKENS) + 2 * len(alphabet)
    if size <= needed:
        raise CorpusError(
            f"corpus.vocabulary.size: {size} leaves no room for words; with {len(alphabet)} "
            f"characters, alone and as continuations, it must exceed {needed}"
        )
    trainer = WordPieceTrainer(
        vocab_size=size, limit_alphabet=len(alphabet), initial_alphabet=alphabet,
        special_tokens=[*SPECIAL_TOKENS, *(f"##{c}" for c in sorted(alphabet))],
        show_progress=False,
    )  # fmt: skip
    learner = _wordpiece({"[UNK]": 0}, lowercase=True)
    learner.train_from_iterator(until(texts(), LEARNED_FROM, len), trainer)
    return _wordpiece(learner.get_vocab(with_added_tokens=True), lowercase=True)


def _pretrained_tokens(name: str, root: Path, where: str) -> list[str]:
    try:
        from transformers import AutoTokenizer

        loaded = AutoTokenizer.from_pretrained(root / name if (root / name).is_dir() else name)
    except Exception as error:  # whatever the hub, the network or a damaged file raises
        raise CorpusError(
            f"{where} could not be loaded ({type(error).__name__}: {error}). Without a network, "
            "give {file: vocab.txt}, one token per line"
        ) from error
    backend = getattr(loaded, "backend_tokenizer", None)
    if not isinstance(getattr(backend, "model", None), models.WordPiece):
        raise CorpusError(f"{where} is not a WordPiece tokenizer, as that of bert-base-uncased is")
    return sorted(loaded.get_vocab(), key=loaded.get_vocab().get)


def _wordpiece(vocabulary: dict[str, int], *, lowercase: bool) -> Tokenizer:
    """A tokenizer as BERT's; it adds special tokens once the vocabulary has them."""
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if "[SEP]" in vocabulary:
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
        )
    return tokenizer
