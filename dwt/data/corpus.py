"""What do the models read? Text sources -> vocabulary -> packed token ids on disk."""

import errno
import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from dwt.data.docstrings import read_docstrings
from dwt.data.files import CorpusError, read_files
from dwt.data.hub import read_hub
from dwt.data.mixture import read_mixture
from dwt.data.packing import assemble
from dwt.data.tokenize import SPLITS, is_below, sampled, tokenise
from dwt.data.vocabulary import SPECIAL_TOKENS, Vocabulary, make_tokenizer, save_tokenizer


@dataclass(frozen=True)
class Corpus:
    """A built corpus: three streams of token ids, their tokenizer and their card.

    Attributes
    ----------
    directory : Path
        Where it lies; `transformers.AutoTokenizer.from_pretrained(directory)` works there.
    vocab_size, pad_id, unk_id, cls_id, sep_id, mask_id : int
        Size of the vocabulary and the ids of the special tokens.
    card : dict
        Counts, unknown-token rates, versions and licence of the text.
    """

    directory: Path
    vocab_size: int
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int
    card: dict

    @property
    def vocabulary(self):
        """What masking needs to know of the tokenizer; `special` ids as in `SPECIAL_TOKENS`."""
        special = (self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id)
        return Vocabulary(self.vocab_size, self.cls_id, self.sep_id, self.mask_id, special)

    def tokens(self, split):
        """Token ids of one split, `[T]` uint16 and read-only; every document ends with [SEP]."""
        if split not in SPLITS:
            raise CorpusError(f"{split!r} is not a split; choose one of {', '.join(SPLITS)}")
        return np.load(self.directory / f"{split}.npy", mmap_mode="r")

    def tokenizer(self):
        """The tokenizer, as `transformers` loads it."""
        return AutoTokenizer.from_pretrained(self.directory)

    def heldout(self):
        """Held-out text, one row per paragraph.

        Columns document, source, section, name, type, text and unseen: whether no sentence of
        the paragraph occurs, letter by letter, in the training text.
        """
        return pd.read_parquet(self.directory / "heldout.parquet")


def build_corpus(settings, *, directory, root=Path("."), length=4, name="corpus", workers=None):
    """Read the text, learn the vocabulary, and write token ids; all or nothing.

    Memory does not grow with the text, for text that is streamed. A build that is killed, or whose
    disk fills, goes on from what it has tokenised, which lies beside `directory` until the corpus
    is complete.

    Parameters
    ----------
    settings : dict
        The `scales.<scale>.corpus` section of params.yaml; data/README.md lists its keys.
    directory : path
        Where to write. An existing corpus there is replaced once the new one is complete.
    root : path
        What relative paths in `settings` start from, and where constraints.txt is looked for.
    length : int
        Tokens per sequence, [CLS] and [SEP] included; every split must fill one.
    name : str
        What messages call the section: ``"params.yaml: scales.laptop.corpus"``.
    workers : int, optional
        Processes that tokenise; by default one per core to be had. No byte depends on it.

    Raises
    ------
    CorpusError
        For a setting, file, package or dataset that cannot be used, for too little text, and for
        a full disk.
    """
    directory, root = Path(directory), Path(root)
    building = directory.with_name(f".{directory.name}.building")
    shards = directory.with_name(f".{directory.name}.shards")
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(parents=True)
        settings = _check(settings)
        share, sample = settings["heldout"], settings.get("sample")
        text, out_of_domain, card = READERS[settings["source"]](settings, root)
        next(out_of_domain(), None)  # what cannot be read is refused before the work begins

        training = partial(_training_texts, text, share, sample)
        tokenizer = make_tokenizer(settings["vocabulary"], training, root=root)
        if tokenizer.get_vocab_size() > 2**16:
            raise CorpusError(
                f"corpus.vocabulary: {tokenizer.get_vocab_size()} tokens; "
                "at most 65536 fit in 16 bits"
            )
        save_tokenizer(tokenizer, building)
        if shards.exists():
            print(f"tokenising goes on from the finished shards in {shards}", flush=True)
        how = {"tokenizer": building / "tokenizer.json", "workers": workers}
        outside = tokenise(out_of_domain(), shards, heldout=None, **how)
        inside = tokenise(
            text(), shards, heldout=share, sample=sample, total=settings.get("limit_mb"), **how
        )
        card["vocabulary"] = tokenizer.get_vocab_size()
        try:
            splits, sources, sentences = assemble(inside + outside, building, tokenizer, length)
        except CorpusError:  # other settings are needed, so other shards
            shutil.rmtree(shards)
            raise
        if settings["source"] == "mixture":
            card["sources"] = sources
        if sample is not None:
            card |= {"sample": sample, "sentences": sentences}
        card["splits"] = splits
        (building / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    except BaseException as error:
        shutil.rmtree(building, ignore_errors=True)
        if isinstance(error, CorpusError):
            error.args = (name + str(error).removeprefix("corpus"),)
        elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CorpusError(
                f"{name}: no space left on the disk of {directory.parent}. What is tokenised is "
                f"kept in {shards}: make room and run it again, or delete that folder"
            ) from error
        raise
    old = directory.with_name(f".{directory.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        directory.rename(old)
    building.rename(directory)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(shards, ignore_errors=True)
    return load_corpus(directory)


def load_corpus(directory):
    """Open a corpus that `build_corpus` wrote."""
    directory = Path(directory)
    needed = ["card.json", "tokenizer.json", "heldout.parquet", *(f"{s}.npy" for s in SPLITS)]
    missing = [name for name in needed if not (directory / name).exists()]
    if missing:
        raise CorpusError(
            f"{directory}: no corpus here ({missing[0]} is missing); build it: `dvc repro corpus`"
        )
    card = json.loads((directory / "card.json").read_text())
    vocabulary = Tokenizer.from_file(str(directory / "tokenizer.json"))
    ids = [vocabulary.token_to_id(token) for token in SPECIAL_TOKENS]
    return Corpus(directory, vocabulary.get_vocab_size(), *ids, card)


READERS = {
    "docstrings": read_docstrings,
    "files": read_files,
    "hub": read_hub,
    "mixture": read_mixture,
}
KEYS = {  # source -> keys it needs, keys it may have
    "docstrings": (("packages",), ()),
    "files": (("files",), ("limit_mb", "column", "sample")),
    "hub": (("path", "split"), ("name", "revision", "column", "sample")),
    "mixture": (("parts",), ("limit_mb", "sample")),
}


def _check(settings):
    """Settings without their empty keys; refuses what no source could serve."""
    settings = {key: value for key, value in settings.items() if value is not None}
    vocabulary = {k: v for k, v in settings.get("vocabulary", {}).items() if v is not None}
    source = settings.get("source")
    if source not in KEYS:
        raise CorpusError(f"corpus.source: {source!r} is no source; choose from {', '.join(KEYS)}")
    for key in (needed := [*KEYS[source][0], "out_of_domain", "vocabulary", "heldout"]):
        if not settings.get(key):
            raise CorpusError(f"corpus.{key}: missing; `source: {source}` needs it")
    allowed = ["source", *needed, *KEYS[source][1]]
    for key in settings:
        if key not in allowed and not (key == "column" and settings[key] == "text"):
            which = f"`source: {source}`, which allows {', '.join(allowed)}"
            raise CorpusError(f"corpus.{key}: not for {which}")
    for key, of in (("heldout", "documents"), ("sample", "sentences")):
        share = settings.get(key)
        if share is not None and (not isinstance(share, float) or not 0 < share < 1):
            raise CorpusError(f"corpus.{key}: {share!r}; give a share of {of} between 0 and 1")
    given = set(vocabulary)
    if given != {"size", "alphabet"} and given - {"alphabet"} not in ({"file"}, {"pretrained"}):
        allowed = "{size, alphabet} to learn one, {file} or {pretrained} to take one"
        raise CorpusError(f"corpus.vocabulary: give {allowed}")
    return settings | {"vocabulary": vocabulary}


def _training_texts(text, share, sample):
    """Texts of the training documents, as the models will read them."""
    for row in text():
        if not is_below(row["text"], share):
            yield row["text"] if sample is None else sampled(row["text"], sample)
