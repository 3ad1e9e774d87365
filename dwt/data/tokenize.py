"""How does text of any size become token ids? In shards, on all cores, going on where it stopped.

A shard holds the ids of some documents, what the held-out table needs of them, and fingerprints of
their training sentences. It is named after all that decides its content: a build that was killed
finds the shards it had finished, and any number of processes writes the same ones. Each process
imports this module, so it imports little.
"""

import hashlib
import itertools
import json
import os
from collections import Counter
from functools import lru_cache
from pathlib import Path

import joblib
import numpy as np
import tokenizers
from joblib.externals.loky import get_reusable_executor
from tokenizers import Tokenizer

from dwt.data import prose
from dwt.data.progress import Progress
from dwt.data.prose import letters_of, sentences

SPLITS = ("train", "heldout", "out-of-domain")
COUNTS = ("documents", "words", "characters", "tokens", "unknown")
SHARD = 4_000_000  # bytes of text
WORDS = 2**18  # whose ids a process remembers: some 50 MB


def tokenise(rows, folder, *, tokenizer, heldout, sample=None, total=None, workers=None):
    """Write the shards of a text; a shard that is there already is not made again.

    Parameters
    ----------
    rows : iterator of dict
        Documents `{source, size, text}`, and `blocks` where these are not the lines of `text`.
    folder : Path
        Of the shards; made if need be.
    tokenizer : Path
        A tokenizer.json.
    heldout : float or None
        Share of documents that is held out; None for out-of-domain text.
    sample : float, optional
        Share of sentences that is kept.
    total : float, optional
        Megabytes of text to come, if that is known.
    workers : int, optional
        Processes; by default one per core to be had. No byte depends on it.

    Returns
    -------
    list of Path
        The shards, in the order of the text.
    """
    recipe = {"tokenizer": str(tokenizer), "heldout": heldout, "sample": sample}
    stamp = _stamp(recipe)
    batches = _batches(rows)
    first = list(itertools.islice(batches, 2))  # refuses what is wrong at once
    batches = itertools.chain(first, batches)
    workers = 1 if len(first) < 2 else workers or joblib.cpu_count(only_physical_cores=True)
    folder.mkdir(parents=True, exist_ok=True)
    shards, megabytes, progress = [], 0.0, Progress("MB of text tokenised", total)

    def jobs():
        for batch in batches:
            shard = folder / f"{_name(stamp, batch)}.npz"
            shards.append(shard)
            size = sum(row["size"] for row in batch) / 1e6
            yield joblib.delayed(_ensure)(batch, size, shard, stamp, recipe, workers)

    pool = joblib.Parallel(n_jobs=workers, return_as="generator", pre_dispatch="2*n_jobs")
    try:
        for size in pool(jobs()):
            megabytes += size
            progress.update(round(megabytes))
    finally:
        progress.close()
        if workers > 1:  # joblib keeps its processes for minutes, and they their words
            get_reusable_executor().shutdown()
    return shards


def _batches(rows):
    """Lists of rows of `SHARD` bytes each, or just above."""
    batch, size = [], 0
    for row in rows:
        batch.append(row)
        size += row["size"]
        if size >= SHARD:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _stamp(recipe):
    """Digest of all that decides a shard, but for its text."""
    code = [Path(module).read_bytes() for module in (__file__, prose.__file__, recipe["tokenizer"])]
    rest = [tokenizers.__version__, recipe["heldout"], recipe["sample"]]
    return hashlib.blake2b(b"".join([*code, json.dumps(rest).encode()]), digest_size=16).digest()


def _name(stamp, batch):
    """Digest of a shard's settings and text."""
    digest = hashlib.blake2b(stamp, digest_size=16)
    for row in batch:
        for part in (row["source"], row["text"], json.dumps(row.get("blocks"))):
            digest.update(part.encode())
            digest.update(b"\0")
    return digest.hexdigest()


def _ensure(batch, size, shard, stamp, recipe, workers):
    """Make a shard if it is not there; returns the megabytes of text it is made from."""
    if shard.exists():
        return size
    if workers > 1:  # the processes are the parallelism
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
    content = _make(batch, _words(recipe["tokenizer"], stamp), recipe)
    unfinished = shard.with_suffix(f".{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, **content)
        unfinished.replace(shard)
    finally:
        unfinished.unlink(missing_ok=True)
    return size


@lru_cache(maxsize=1)
def _words(path, stamp):
    """A tokenizer's `Words`, made once by each process; another `stamp` makes them again."""
    return Words(Tokenizer.from_file(path))


class Words:
    """Token ids of texts, word by word.

    A WordPiece tokenizer cuts at every space, so the ids of a text are those of its words, and
    most words were seen before: several times as fast as the tokenizer on whole texts.
    """

    def __init__(self, tokenizer):
        self.tokenizer, self.known = tokenizer, {}

    def ids(self, text):
        """Token ids of a text without special tokens around it, `[T]` uint16."""
        words = text.replace("\n", " ").split(" ")
        if len(self.known) > WORDS:
            self.known.clear()
        if new := [word for word in set(words) if word not in self.known]:
            encodings = self.tokenizer.encode_batch_fast(new, add_special_tokens=False)
            ids = (np.array(encoding.ids, np.uint16).tobytes() for encoding in encodings)
            self.known.update(zip(new, ids, strict=True))
        return np.frombuffer(b"".join(map(self.known.__getitem__, words)), np.uint16)


def _make(batch, words, recipe):
    """The arrays of one shard."""
    sep, unknown = (words.tokenizer.token_to_id(token) for token in ("[SEP]", "[UNK]"))
    counts = {split: dict.fromkeys(COUNTS, 0) for split in SPLITS}
    ids, held, seen, sources = {split: [] for split in SPLITS}, [], [], Counter()
    for row in batch:
        text, split = row["text"], SPLITS[2]
        # Whole documents are held out: which ones does not depend on the sentences drawn.
        if recipe["heldout"] is not None:
            split = SPLITS[is_below(text, recipe["heldout"])]
        if recipe["sample"] is not None and not (text := sampled(text, recipe["sample"])):
            continue
        if split == "heldout":
            blocks = row.get("blocks") or [{"text": line} for line in text.split("\n")]
            held.append({"source": row["source"], "blocks": blocks})
        elif split == "train":
            seen += fingerprints(text)
            sources[row["source"]] += len(text)
        found = np.append(words.ids(text), np.uint16(sep))
        ids[split].append(found)
        count = counts[split]
        count["documents"] += 1
        count["words"] += len(text.split())
        count["characters"] += len(text)
        count["tokens"] += len(found)
        count["unknown"] += int((found == unknown).sum())
    rest = {"counts": counts, "heldout": held, "sources": sources, "sentences": len(seen)}
    return {
        **{s: np.concatenate(found or [np.empty(0, np.uint16)]) for s, found in ids.items()},
        "seen": np.unique(np.frombuffer(b"".join(seen), np.uint64)),
        "rest": np.frombuffer(json.dumps(rest).encode(), np.uint8),
    }


def is_below(text, share, *, kind=b""):
    """Whether a text is in a share of all texts: by its hash, so on any machine, at any time.

    `kind` makes choices that are independent of each other.
    """
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=kind).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def sampled(text, share):
    """A text's lines with only the sentences whose hash is below the share; "" when none is."""
    lines = (
        " ".join(s for s in sentences(line) if is_below(s, share, kind=b"sentence"))
        for line in text.splitlines()
    )
    return "\n".join(filter(None, lines))


_OTHERS = bytes(c for c in range(128) if not chr(c).isalpha())


def fingerprints(text):
    """8 bytes per sentence, blind to case, digits and punctuation."""
    found = []
    for line in text.splitlines():
        for sentence in sentences(line):
            if sentence.isascii():  # the same as below, and several times as fast
                letters = sentence.encode().lower().translate(None, _OTHERS)
            else:
                letters = letters_of(sentence).encode()
            found.append(hashlib.blake2b(letters, digest_size=8).digest())
    return found
