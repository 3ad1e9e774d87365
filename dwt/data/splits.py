"""Assigns documents to splits and draws sentences, each by a hash of its own text alone."""

import hashlib
from functools import partial

from dwt.data.sentences import sentences

SPLITS = ("train", "heldout", "out-of-domain")


def in_share(text: str, share: float, *, purpose: bytes = b"") -> bool:
    """Whether a text's hash is in the lowest `share`; each `purpose` draws independently."""
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=purpose).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def sample_sentences(text: str, share: float | None) -> str:
    """The lines of a text with a `share` of its sentences; all of them for None."""
    if share is None:
        return text
    drawn = partial(in_share, share=share, purpose=b"sentence")
    lines = (" ".join(filter(drawn, sentences(line))) for line in text.splitlines())
    return "\n".join(filter(None, lines))
