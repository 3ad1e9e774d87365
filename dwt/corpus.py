"""What do the models read? Text sources -> vocabulary -> packed token ids on disk."""

import hashlib
import itertools
import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from dwt.batches import Vocabulary
from dwt.docstrings import read_docstrings
from dwt.prose import letters_of, sentences
from dwt.sources import CorpusError, read_files, read_hub
from dwt.vocabulary import SPECIAL_TOKENS, make_tokenizer, save_tokenizer

SPLITS = ("train", "heldout", "out-of-domain")


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


def build_corpus(settings, *, directory, root=Path("."), length=4, name="corpus"):
    """Read the text, learn the vocabulary, and write token ids; all or nothing.

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

    Raises
    ------
    CorpusError
        For a setting, file or package that cannot be used, and for too little text.
    """
    directory, root = Path(directory), Path(root)
    building = directory.with_name(f".{directory.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        settings = _check(settings)
        share = settings["heldout"]
        read = {"docstrings": read_docstrings, "files": read_files, "hub": read_hub}
        text, out_of_domain, card = read[settings["source"]](settings, root)

        training = partial(_training_texts, text, share)
        tokenizer = make_tokenizer(settings["vocabulary"], training, root=root)
        save_tokenizer(tokenizer, building)
        text, out_of_domain = (
            rows.map(_encode, batched=True, batch_size=256,
                     fn_kwargs={"tokenizer": tokenizer, "share": part})
            for rows, part in ((text, share), (out_of_domain, None))
        )  # fmt: skip
        card["vocabulary"] = tokenizer.get_vocab_size()
        card["splits"] = _write(itertools.chain(text, out_of_domain), building, tokenizer, length)
        (building / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    except BaseException as error:
        shutil.rmtree(building, ignore_errors=True)
        if isinstance(error, CorpusError):
            error.args = (name + str(error).removeprefix("corpus"),)
        raise
    old = directory.with_name(f".{directory.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        directory.rename(old)
    building.rename(directory)
    shutil.rmtree(old, ignore_errors=True)
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


KEYS = {  # source -> keys it needs, keys it may have
    "docstrings": (("packages",), ()),
    "files": (("files",), ("limit_mb", "column")),
    "hub": (("path", "split"), ("name", "revision", "column")),
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
    share = settings["heldout"]
    if not isinstance(share, float) or not 0 < share < 1:
        raise CorpusError(f"corpus.heldout: {share!r}; give a share of documents between 0 and 1")
    if "file" not in vocabulary and set(vocabulary) != {"size", "alphabet"}:
        allowed = "{size, alphabet} to learn one, or {file} to read one"
        raise CorpusError(f"corpus.vocabulary: give {allowed}")
    return settings | {"vocabulary": vocabulary}


def _training_texts(text, share):
    return (row["text"] for row in text if not _is_heldout(row["text"], share))


def _is_heldout(text, share):
    """Whether a document is held out: a stable hash of its text, the same on any machine."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def _encode(rows, tokenizer, share):
    """Batched map: texts -> token ids and split; `share` None marks out-of-domain text."""
    ids = [e.ids for e in tokenizer.encode_batch_fast(rows["text"], add_special_tokens=False)]
    inside = share is not None
    splits = [SPLITS[_is_heldout(t, share)] if inside else SPLITS[2] for t in rows["text"]]
    return {"ids": ids, "split": splits}


def _write(rows, directory, tokenizer, length):
    """Append each document and a [SEP] to its split; returns the counts per split."""
    if tokenizer.get_vocab_size() > 2**16:
        raise CorpusError(
            f"corpus.vocabulary: {tokenizer.get_vocab_size()} tokens; at most 65536 fit in 16 bits"
        )
    sep, unknown = (tokenizer.token_to_id(t) for t in ("[SEP]", "[UNK]"))
    names = ("documents", "words", "characters", "tokens", "unknown")
    counts = {split: dict.fromkeys(names, 0) for split in SPLITS}
    files = {split: open(directory / f"{split}.npy", "wb") for split in SPLITS}  # noqa: SIM115
    heldout, trained_on = [], set()
    for file in files.values():
        _header(file, 0)
    for row in rows:
        count = counts[row["split"]]
        ids = np.asarray([*row["ids"], sep], dtype=np.uint16)
        files[row["split"]].write(ids.tobytes())
        if row["split"] == "heldout":
            named = {"document": count["documents"], "source": row["source"]}
            heldout += [named | block for block in json.loads(row["blocks"])]
        elif row["split"] == "train":
            trained_on.update(_fingerprints(row["text"]))
        count["documents"] += 1
        count["words"] += len(row["text"].split())
        count["characters"] += len(row["text"])
        count["tokens"] += len(ids)
        count["unknown"] += int((ids == unknown).sum())
    for split, file in files.items():
        file.seek(0)
        _header(file, counts[split]["tokens"])
        file.close()
        count = counts[split]
        if count["tokens"] < length - 2:  # [CLS] and a last [SEP] are added to each sequence
            key = "out_of_domain" if split == "out-of-domain" else "heldout"
            raise CorpusError(
                f"corpus.{key}: the {split} split has {count['documents']} documents, "
                f"{count['tokens']} tokens, less than one sequence of {length}; give more text"
                f"{', or another share' if key == 'heldout' else ''}"
            )
        count["unknown_rate"] = round(count.pop("unknown") / count["tokens"], 6)
        with (directory / f"{split}.npy").open("rb") as stream:  # a run is keyed by what it reads
            count["sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
    for block in heldout:
        block["unseen"] = trained_on.isdisjoint(_fingerprints(block["text"]))
    pd.DataFrame(heldout).to_parquet(directory / "heldout.parquet")
    return counts


def _fingerprints(text):
    """8 bytes per sentence, blind to case, digits and punctuation."""
    for line in text.splitlines():
        for sentence in sentences(line):
            yield hashlib.blake2b(letters_of(sentence).encode(), digest_size=8).digest()


def _header(file, length):
    """The .npy header; numpy pads it so that a longer length fits in the same place."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<u2", "fortran_order": False, "shape": (length,)}
    )
