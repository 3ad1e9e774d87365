"""Splits text into sentences, removes markup and tells English prose from other text."""

import re

_MARKUP = [  # pattern, replacement
    (re.compile(r"`([^`<]*?)\s*<[^`>]*>`__?"), r"\1"),  # `text <address>`_
    (re.compile(r"\[([^\[\]]*)\]\([^()]*\)"), r"\1"),  # [text](address)
    (re.compile(r":[\w:+-]+:`~[\w.]*?(\w+)`"), r"\1"),  # :func:`~numpy.sum`
    (re.compile(r":[\w:+-]+:`[!.]?([^`]*)`"), r"\1"),  # :func:`sum`
    (re.compile(r"\s*\[[\w#*-]+\]_"), ""),  # footnote [1]_
    (re.compile(r"\[(`[^`]*`)\]"), r"\1"),  # [`BertModel`]
    (re.compile(r"`+([^`]*)`+_{0,2}"), r"\1"),
    (re.compile(r"(?<!\w)(\*{1,2})(?=\S)([^*]+?)(?<=\S)\1(?!\w)"), r"\2"),
    (re.compile(r"\s+"), " "),
]
_CODE = re.compile(
    r"[{}\\|@$^<>#~]|://|%[(sdr]|==|->|\w\(.*?[=,].*?\)|[\w)\]] ?[=/*+] ?[\w(\[]\S*[=(\[*+]"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
_STOPWORDS = {
    *"a an the of to in is are be for and or if by on with that this it as from not will".split(),
    *"at which can has have was when used should its each then than all any no only".split(),
}


def clean(text: str) -> str:
    """A paragraph without markup and without the sentences that contain code or mathematics."""
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return " ".join(s for s in sentences(text) if not _CODE.search(s)).strip()


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph: it is split at `.`, `!` or `?` before a capital or quote."""
    return _SENTENCE_END.split(text.strip())


def is_prose(text: str) -> bool:
    """Whether a paragraph is English prose: enough words, mostly letters, some stop words."""
    words = text.split()
    if len(words) < 4:
        return False
    letters = sum(c.isalpha() and c.isascii() for c in text) / sum(map(len, words))
    plain = sum(w.strip("\"'(),.:;!?").replace("-", "").isalpha() for w in words) / len(words)
    stop = sum(w.lower().strip(".,;:()") in _STOPWORDS for w in words) / len(words)
    return letters > 0.85 and plain > 0.7 and stop > 0.1
