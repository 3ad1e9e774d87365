"""How do shards become a corpus? Their ids end to end, and the held-out text as a table."""

import hashlib
import json
from collections import Counter

import numpy as np
import pandas as pd

from dwt.data.files import CorpusError
from dwt.data.tokenize import COUNTS, SPLITS, fingerprints

BLOCK_OF = {"document": 0, "source": "", "section": "", "name": "", "type": "", "text": ""}
TABLE_CHARACTERS = 20_000_000  # the table has the first held-out documents, so many characters


def assemble(shards, directory, tokenizer, length):
    """Write the streams and the held-out table; one shard at a time is in memory.

    Parameters
    ----------
    shards : list of Path
        What `dwt.data.tokenize.tokenise` returned.
    directory : Path
    tokenizer : tokenizers.Tokenizer
    length : int
        Tokens per sequence; every split must fill one.

    Returns
    -------
    counts : dict
        Per split: documents, words, characters, tokens, unknown_rate and sha256 of the stream.
    sources : dict
        Characters of training text from each source.
    sentences : int
        Sentences in the training text.

    Raises
    ------
    CorpusError
        If a split does not fill one sequence.
    """
    counts = {split: dict.fromkeys(COUNTS, 0) for split in SPLITS}
    files = {split: open(directory / f"{split}.npy", "wb") for split in SPLITS}  # noqa: SIM115
    table, left, sources, sentences = [], TABLE_CHARACTERS, Counter(), 0
    try:
        for file in files.values():
            _header(file, 0)
        for shard in shards:
            with np.load(shard) as content:
                rest = json.loads(content["rest"].tobytes())
                for split, file in files.items():
                    file.write(content[split].tobytes())
            for number, row in enumerate(rest["heldout"], counts["heldout"]["documents"]):
                if left > 0:
                    named = {"document": number, "source": row["source"]}
                    table += [BLOCK_OF | named | block for block in row["blocks"]]
                    left -= sum(len(block["text"]) for block in row["blocks"])
            for split, count in rest["counts"].items():
                for name in COUNTS:
                    counts[split][name] += count[name]
            sources.update(rest["sources"])
            sentences += rest["sentences"]
        for split, file in files.items():
            file.seek(0)
            _header(file, counts[split]["tokens"])
    finally:
        for file in files.values():
            file.close()
    for split, count in counts.items():
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
    _mark_unseen(table, shards)
    pd.DataFrame(table).to_parquet(directory / "heldout.parquet")
    return counts, dict(sources), sentences


def _mark_unseen(table, shards):
    """Set `unseen` of each paragraph: whether no sentence of it is in the training text."""
    marks = [np.frombuffer(b"".join(fingerprints(block["text"])), np.uint64) for block in table]
    held = np.unique(np.concatenate(marks))
    found = np.zeros(len(held), bool)
    for shard in shards:
        with np.load(shard) as content:
            seen = content["seen"]
        place = np.searchsorted(held, seen).clip(max=len(held) - 1)
        found[place[held[place] == seen]] = True
    for block, mark in zip(table, marks, strict=True):
        block["unseen"] = not found[np.searchsorted(held, mark)].any()


def _header(file, length):
    """The .npy header; numpy pads it so that a longer length fits in the same place."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<u2", "fortran_order": False, "shape": (length,)}
    )
