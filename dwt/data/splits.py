"""Assigns documents to splits and draws sentences, each by a hash of its own text.

So a document keeps its split on any machine and when other text is added.
"""

import hashlib

from dwt.data.sentences import sentences

SPLITS = ("train", "heldout", "out-of-domain")


def in_share(text: str, share: float, *, purpose: bytes = b"") -> bool:
    """Whether the hash of a text is in the lowest `share` of all hashes.

    Choices of different `purpose` are independent of each other.
    """
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=purpose).digest()
    return int.from_bytes(digest, "big") < share * 2**64


def sample_sentences(text: str, share: float | None) -> str:
    """The lines of a text with a `share` of its sentences; all of them for None."""
    if share is None:
        return text
    lines = (
        " ".join(s for s in sentences(line) if in_share(s, share, purpose=b"sentence"))
        for line in text.splitlines()
    )
    return "\n".join(filter(None, lines))
