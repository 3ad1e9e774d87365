"""Joins shards into the files of a corpus: a stream of token ids per split, a held-out table."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dwt.config.files import file_digest
from dwt.data.deduplicate import fingerprints
from dwt.data.documents import CorpusError
from dwt.data.splits import SPLITS

COLUMNS = {"document": 0, "source": "", "section": "", "name": "", "type": "", "text": ""}
TABLE_CHARACTERS = 20_000_000  # of held-out text at most; the table leaves out the rest


def pack(shards: Sequence[Path], directory: Path, *, length: int) -> tuple[dict, dict, int]:
    """Write the streams and the held-out table, with one shard at a time in memory.

    Returns counts of each split, characters of training text by source, and training sentences.
    """
    counts = {split: Counter() for split in SPLITS}
    table, left, sources, sentences = [], TABLE_CHARACTERS, Counter(), 0
    for shard in shards:
        rest = json.loads(np.load(shard)["rest"].tobytes())
        for number, document in enumerate(rest["heldout"], counts["heldout"]["documents"]):
            if left > 0:
                row = COLUMNS | {"document": number, "source": document["source"]}
                table += [row | block for block in document["blocks"]]
                left -= sum(len(block["text"]) for block in document["blocks"])
        for split in SPLITS:
            counts[split].update(rest["counts"][split])
        sources.update(rest["sources"])
        sentences += rest["sentences"]
    for split, count in counts.items():
        if count["tokens"] < length - 2:  # [CLS] and a last [SEP] are added to each sequence
            outside = split == "out-of-domain"
            raise CorpusError(
                f"corpus.{'out_of_domain' if outside else 'heldout'}: the {split} split has "
                f"{count['documents']} documents, {count['tokens']} tokens, less than one sequence "
                f"of {length}; give more text{'' if outside else ', or another share'}"
            )
        with (directory / f"{split}.npy").open("wb") as file:
            header = {"descr": "<u2", "fortran_order": False, "shape": (count["tokens"],)}
            np.lib.format.write_array_header_1_0(file, header)
            for shard in shards:
                file.write(np.load(shard)[split].tobytes())
        count["unknown_rate"] = round(count.pop("unknown") / count["tokens"], 6)
        count["sha256"] = file_digest(directory / f"{split}.npy")  # part of each run's digest
    # A paragraph is unseen if none of its sentences is in the training text.
    hashes = [np.frombuffer(b"".join(fingerprints(row["text"])), np.uint64) for row in table]
    every = np.unique(np.concatenate(hashes))  # [H], sorted
    in_training = np.zeros(len(every), bool)
    for shard in shards:
        in_training |= np.isin(every, np.load(shard)["seen"], assume_unique=True)
    for row, own in zip(table, hashes, strict=True):
        row["unseen"] = not in_training[np.searchsorted(every, own)].any()
    pd.DataFrame(table).to_parquet(directory / "heldout.parquet")
    return counts, dict(sources), sentences
