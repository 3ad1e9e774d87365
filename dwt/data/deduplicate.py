"""Finds duplicate paragraphs (`packages` drops those of docstrings) and sentences of two splits."""

import hashlib
import re

from dwt.data.sentences import sentences

_ASCII_OTHERS = bytes(c for c in range(128) if not chr(c).isalpha())


def normalized(text: str) -> str:
    """Lower-case letters only, so that case, digits and punctuation make no difference."""
    return re.sub(r"[\W\d_]+", "", text.lower())


def without_duplicates(blocks: list[dict], seen: set[str]) -> list[dict]:
    """Blocks whose normalized text is not yet in `seen`, to which it is added."""
    new = {}  # normalized text -> the first block that has it
    for block in blocks:
        new.setdefault(normalized(block["text"]), block)
    kept = [block for key, block in new.items() if key not in seen]
    seen.update(new)
    return kept


def fingerprints(text: str) -> list[bytes]:
    """An 8-byte hash of each sentence's normalized text."""
    hashes = []
    for sentence in (s for line in text.splitlines() for s in sentences(line)):
        if sentence.isascii():  # equals `normalized`, several times as fast
            letters = sentence.encode().lower().translate(None, _ASCII_OTHERS)
        else:
            letters = normalized(sentence).encode()
        hashes.append(hashlib.blake2b(letters, digest_size=8).digest())
    return hashes
