"""Builds a corpus on disk from the text that params.yaml names, and opens it."""

import errno
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dwt.config.corpus import CorpusSettings
from dwt.config.params import Run
from dwt.config.section import explain
from dwt.data.documents import CorpusError
from dwt.data.packing import pack
from dwt.data.sources import open_sources
from dwt.data.splits import SPLITS, in_share, sample_sentences
from dwt.data.tokenize import tokenize
from dwt.data.vocabulary import Vocabulary, make_tokenizer, save_tokenizer

FILES = ("card.json", "tokenizer.json", "heldout.parquet", *(f"{split}.npy" for split in SPLITS))


@dataclass(frozen=True)
class Corpus:
    """A corpus that was built: three streams of token ids, their tokenizer and data card."""

    directory: Path  # `transformers.AutoTokenizer.from_pretrained(directory)` works there
    vocabulary: Vocabulary
    card: dict  # counts, unknown-token rates, versions and licence of the text

    def tokens(self, split: str) -> np.ndarray:
        """Token ids of one split, `[T]` uint16 and read-only; every document ends with [SEP]."""
        if split not in SPLITS:
            raise CorpusError(f"{split!r} is not a split; choose one of {', '.join(SPLITS)}")
        return np.load(self.directory / f"{split}.npy", mmap_mode="r")

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer, as `transformers` loads it."""
        return AutoTokenizer.from_pretrained(self.directory)

    def heldout(self) -> pd.DataFrame:
        """A row per held-out paragraph; `unseen`: none of its sentences is in the training text."""
        return pd.read_parquet(self.directory / "heldout.parquet")


def build_corpus(
    settings: CorpusSettings | Mapping, *, directory: Path, root: Path = Path("."),
    length: int = 4, name: str = "corpus", workers: int | None = None,
) -> Corpus:  # fmt: skip
    """Read the text, learn the vocabulary and write token ids.

    `settings` are a section `scales.<scale>.corpus` (data/README.md has its keys), which messages
    call `name`. Relative paths in it start from `root`, the folder of constraints.txt. The corpus
    replaces `directory` when it is complete; an interrupted build resumes from its finished shards
    beside it. Every split must fill a sequence of `length` tokens. No byte depends on the number of
    `workers`, by default one per core. CorpusError for whatever cannot be used, and a full disk.
    """
    directory = Path(directory)
    building = directory.with_name(f".{directory.name}.building")
    shards = directory.with_name(f".{directory.name}.shards")
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(parents=True)
        checked = CorpusSettings.model_validate(settings)
        _write(checked, building, shards, root=Path(root), length=length, workers=workers)
    except BaseException as error:
        shutil.rmtree(building, ignore_errors=True)
        if isinstance(error, ValidationError):
            raise CorpusError(explain(error.errors()[0], CorpusSettings, name=name)) from None
        if isinstance(error, CorpusError):
            error.args = (name + str(error).removeprefix("corpus"),)
        elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CorpusError(
                f"{name}: no space left on the disk of {directory.parent}. Finished shards are "
                f"kept in {shards}: make room and run it again, or delete that folder"
            ) from error
        raise
    old = directory.with_name(f".{directory.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        directory.rename(old)
    building.rename(directory)
    for folder in (old, shards):
        shutil.rmtree(folder, ignore_errors=True)
    return load_corpus(directory)


def load_corpus(directory: Path) -> Corpus:
    """Open a corpus that `build_corpus` wrote; CorpusError if a file is missing or damaged."""
    directory = Path(directory)
    try:
        if missing := [name for name in FILES if not (directory / name).exists()]:
            raise FileNotFoundError(f"{missing[0]} is missing")
        vocabulary = Vocabulary.of(Tokenizer.from_file(str(directory / "tokenizer.json")))
        return Corpus(directory, vocabulary, json.loads((directory / "card.json").read_text()))
    except Exception as error:  # tokenizers raises plain Exception for a damaged file
        problem = f"{directory}: no usable corpus ({error}); build it: `dvc repro corpus`"
        raise CorpusError(problem) from error


def open_corpus(run: Run) -> Corpus:
    """The corpus of a run; CorpusError if a split is too short for a batch, or a sequence of it."""
    corpus, length = load_corpus(run.corpus_directory), run.train["length"]
    for split in SPLITS:
        tokens, need = corpus.tokens(split), run.train["batch"] if split == "train" else 1
        if len(tokens) < need * (length - 2):  # [CLS] and a last [SEP] are added to each sequence
            raise CorpusError(
                f"data/{run.scale}/{split}.npy holds {len(tokens):,} tokens, fewer than "
                f"{need} sequence(s) of {length}; give scales.{run.scale}.corpus more text, or "
                "lower train.batch or train.length (params.yaml)"
            )
    return corpus


def _write(
    settings: CorpusSettings, building: Path, shards: Path, *,
    root: Path, length: int, workers: int | None,
) -> None:  # fmt: skip
    """Write all files of a corpus into `building`."""
    text, out_of_domain, card = open_sources(settings, root)
    next(out_of_domain(), None)  # unreadable text is refused before the vocabulary is learned
    share, sample, limit = settings.heldout, settings.sample, settings.limit_mb

    def texts() -> Iterator[str]:
        """The training documents, as the models will read them."""
        inside = (d["text"] for d in text() if not in_share(d["text"], share))
        return (sample_sentences(text, sample) for text in inside)

    tokenizer = make_tokenizer(settings.vocabulary, texts, root=root)
    size = tokenizer.get_vocab_size()
    if size > 2**16:
        raise CorpusError(f"corpus.vocabulary: {size} tokens; at most 65536 fit in 16 bits")
    save_tokenizer(tokenizer, building)
    if shards.exists():
        print(f"resuming from the finished shards in {shards}", flush=True)
    write = partial(tokenize, folder=shards, tokenizer=building / "tokenizer.json", workers=workers)
    outside = write(out_of_domain(), heldout=None)
    total = None if limit is None else max(1, round(limit))
    inside = write(text(), heldout=share, sample=sample, total=total)
    try:
        splits, sources, sentences = pack(inside + outside, building, length=length)
    except CorpusError:  # other settings are needed, and so other shards
        shutil.rmtree(shards)
        raise
    card["vocabulary"] = size
    if settings.parts:
        card["sources"] = sources
    if sample is not None:
        card |= {"sample": sample, "sentences": sentences}
    card["splits"] = splits
    (building / "card.json").write_text(json.dumps(card, indent=2) + "\n")
