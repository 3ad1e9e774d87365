"""Tokenizes text of any size: shard by shard, on all cores, resuming where it stopped."""

# A shard holds the token ids of some documents, the held-out ones as text, and fingerprints of the
# training sentences. Its file name is a digest of all that decides its content, so an interrupted
# build reuses its finished shards. Each process imports this module, so it imports little.

import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from pathlib import Path

import joblib
import numpy as np
import tokenizers
from joblib.externals.loky import get_reusable_executor
from tokenizers import Tokenizer

from dwt.config.files import atomic_path, digest, file_digest
from dwt.data import deduplicate, sentences, splits
from dwt.data.deduplicate import fingerprints
from dwt.data.documents import Document, grouped
from dwt.data.progress import Progress
from dwt.data.splits import SPLITS, in_share, sample_sentences

SHARD_BYTES = 4_000_000  # of text
CACHED_WORDS = 2**18  # whose ids a process caches: some 50 MB


def tokenize(
    documents: Iterable[Document], folder: Path, *, tokenizer: Path, heldout: float | None,
    sample: float | None = None, total: int | None = None, workers: int | None = None,
) -> list[Path]:  # fmt: skip
    """Write the shards of a text and return them in its order; existing ones are not made again.

    `heldout` is the share of documents that is held out (None: out-of-domain text), `sample` the
    share of sentences that is used, `total` the megabytes of text to come, if known.
    """
    code = [__file__, deduplicate.__file__, sentences.__file__, splits.__file__]
    files = [file_digest(Path(path)) for path in (*code, tokenizer)]
    key = digest([files, tokenizers.__version__, heldout, sample])  # what decides, but for the text
    batches = grouped(documents, SHARD_BYTES, itemgetter("size"))
    first = list(itertools.islice(batches, 2))  # unreadable text is refused at once
    workers = 1 if len(first) < 2 else workers or joblib.cpu_count(only_physical_cores=True)
    shards, megabytes, progress = [], 0.0, Progress("MB of text tokenized", total)

    def jobs():
        for batch in itertools.chain(first, batches):
            shards.append(folder / f"{digest([key, batch])}.npz")
            recipe = (batch, str(tokenizer), key, heldout, sample)
            yield joblib.delayed(_ensure)(shards[-1], recipe, workers)

    pool = joblib.Parallel(n_jobs=workers, return_as="generator", pre_dispatch="2*n_jobs")
    try:
        for size in pool(jobs()):
            megabytes += size
            progress.update(round(megabytes))
    finally:
        progress.close()
        if workers > 1:  # joblib keeps its processes, and their caches, for minutes
            get_reusable_executor().shutdown()
    return shards


def _ensure(shard: Path, recipe: tuple, workers: int) -> float:
    """Write a shard if it does not exist, and return the megabytes of its text."""
    if not shard.exists():
        if workers > 1:  # one thread per process
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
        with atomic_path(shard) as path, path.open("wb") as file:
            np.savez(file, **_shard(*recipe))
    return sum(document["size"] for document in recipe[0]) / 1e6


class CachedTokenizer:
    """A WordPiece tokenizer that caches the ids of words, as it splits at every space anyway."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer, self.known = tokenizer, {}

    def ids(self, text: str) -> np.ndarray:
        """Token ids of a text without special tokens around it, `[T]` uint16."""
        words = text.replace("\n", " ").split(" ")
        if len(self.known) > CACHED_WORDS:
            self.known.clear()
        if new := [word for word in set(words) if word not in self.known]:
            encodings = self.tokenizer.encode_batch_fast(new, add_special_tokens=False)
            ids = (np.array(encoding.ids, np.uint16).tobytes() for encoding in encodings)
            self.known.update(zip(new, ids, strict=True))
        return np.frombuffer(b"".join(map(self.known.__getitem__, words)), np.uint16)


@lru_cache(maxsize=1)
def _cached_tokenizer(path: str, key: str) -> CachedTokenizer:
    """The tokenizer of this process, read once; a call with another path or key replaces it."""
    return CachedTokenizer(Tokenizer.from_file(path))


def _shard(batch: list[Document], tokenizer: str, key: str, share, sample) -> dict:
    """The arrays of one shard."""
    cached = _cached_tokenizer(tokenizer, key)
    sep, unknown = (cached.tokenizer.token_to_id(token) for token in ("[SEP]", "[UNK]"))
    counts = {split: Counter() for split in SPLITS}
    ids, heldout, seen, sources = {split: [] for split in SPLITS}, [], [], Counter()
    for document in batch:
        split = "out-of-domain"
        if share is not None:  # decided by the whole text, before sentences are drawn
            split = "heldout" if in_share(document["text"], share) else "train"
        text = sample_sentences(document["text"], sample)
        if not text:
            continue
        if split == "heldout":
            blocks = document.get("blocks") or [{"text": line} for line in text.split("\n")]
            heldout.append({"source": document["source"], "blocks": blocks})
        elif split == "train":
            seen += fingerprints(text)
            sources[document["source"]] += len(text)
        ids[split].append(row := np.append(cached.ids(text), np.uint16(sep)))  # [T]
        counts[split].update(
            documents=1, words=len(text.split()), characters=len(text), tokens=len(row),
            unknown=int((row == unknown).sum()),
        )  # fmt: skip
    rest = {"counts": counts, "heldout": heldout, "sources": sources, "sentences": len(seen)}
    return {
        **{s: np.concatenate(rows or [np.empty(0, np.uint16)]) for s, rows in ids.items()},
        "seen": np.unique(np.frombuffer(b"".join(seen), np.uint64)),
        "rest": np.frombuffer(json.dumps(rest).encode(), np.uint8),
    }
