"""Minimal pairs made from held-out text: a real sentence and a copy with one error."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from dwt.data.corpus import Corpus
from dwt.data.sentences import sentences

PAIR_KINDS = ("word-swap", "function-word", "agreement")

DETERMINERS = {*"the a an this these each every its their".split()}
PREPOSITIONS = {*"of in on at for with by from into between over under during".split()}
AUXILIARIES = {
    *"is are was were be been has have had can could will would should must may does".split()
}
FUNCTION_WORDS = DETERMINERS | PREPOSITIONS | AUXILIARIES | {*(
    "and or but nor if then than as because while when where whether although unless until since "
    "so that which who whose what how why there it he she they we you i me him her us them his my "
    "our your to not no do did done being having might shall cannot about after against along "
    "among around before below above beyond upon within without through per via up down out off "
    "onto toward towards across both either neither all any some such only same other another more "
    "most less least many much few several also just very too here now again"
).split()}  # fmt: skip
NUMBER_PAIRS = {"is": "are", "was": "were", "has": "have", "does": "do", "this": "these"}
NUMBER_PAIRS |= {plural: singular for singular, plural in NUMBER_PAIRS.items()}

_ABBREVIATIONS = {*"st mr mrs ms dr prof no vs etc al fig eq ca jr sr inc".split()}
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*,?$")


def minimal_pairs(
    corpus: Corpus, *, kinds: Sequence[str] = PAIR_KINDS, pairs: int = 400, seed: int = 0
) -> dict[str, list[tuple[str, str]]]:
    """At most `pairs` (real, wrong) sentences of each kind; the wrong one has one error.

    Sentences have 6 to 14 words and do not occur in the training text; every word is as frequent
    in the wrong ones as in the real ones. ValueError if no held-out sentence allows one.
    """
    text = list(short_sentences(corpus.heldout()).text)
    made = {kind: draw_pairs(text, kind, pairs, seed) for kind in kinds}
    for kind, of_kind in made.items():
        if not of_kind:
            raise ValueError(
                f"minimal pairs: none of kind {kind!r} in {len(text)} held-out sentences of 6 to "
                "14 plain words; add text or raise corpus.heldout (params.yaml)"
            )
    return made


def unseen_sentences(heldout: pd.DataFrame) -> Iterator[tuple[int, str]]:
    """Document and text of held-out sentences that end with a full stop and are not trained on."""
    unseen = heldout[heldout.unseen]
    for document, paragraph in zip(unseen.document, unseen.text, strict=True):
        yield from ((document, s) for s in sentences(paragraph) if s.endswith("."))


def short_sentences(heldout: pd.DataFrame) -> pd.DataFrame:
    """Plain `unseen_sentences` of 6 to 14 words, each once. Columns document, text."""
    rows = []
    for document, sentence in unseen_sentences(heldout):
        words = sentence[:-1].split()
        if not 6 <= len(words) <= 14:
            continue
        plain = words[0][0].isupper() and all(map(_WORD.match, words))
        # Truncated: "as explained in [1]." without its [1]; "professor of St." continues.
        whole = words[-1].lower() not in FUNCTION_WORDS | _ABBREVIATIONS
        if plain and whole and sum(w[1:] != w[1:].lower() for w in words) < 2:
            rows.append((document, sentence))
    rows = pd.DataFrame(rows, columns=["document", "text"])
    return rows.drop_duplicates("text", ignore_index=True)


def draw_pairs(text: list[str], kind: str, pairs: int, seed: int) -> list[tuple[str, str]]:
    """At most `pairs` (real, wrong) sentences of one kind.

    Each pair that replaces x by y is followed by one that replaces y by x.
    """
    draw = np.random.default_rng([seed, PAIR_KINDS.index(kind)])
    made = defaultdict(list)  # (old word, new word) -> pairs; () for swaps
    for i in draw.permutation(len(text)):
        words = text[i][:-1].split()
        options = []
        for place, wrong in _CORRUPTIONS[kind](words):
            key = (words[place].lower(), wrong[0].lower()) if len(wrong) == 1 else ()
            lead = len(made[key]) - len(made[key[::-1]])
            options.append((lead, draw.random(), key, place, wrong))
        if options:
            _, _, key, place, wrong = min(options)
            copy = " ".join(words[:place] + wrong + words[place + len(wrong) :]) + "."
            made[key].append((text[i], copy))
    if kind == "word-swap":
        return made[()][:pairs]
    balanced = []
    for key in sorted(made):
        if key < key[::-1]:
            balanced += zip(made[key], made[key[::-1]], strict=False)
    return [pair for i in draw.permutation(len(balanced)) for pair in balanced[i]][:pairs]


def _swaps(words):
    """Swaps of two neighbours, one of them a function word that cannot move."""
    for i in range(1, len(words) - 1):
        first, second = words[i : i + 2]
        if not {first, second} & _STRICT or {first, second} & _MOVABLE or first == second:
            continue
        if not any(w.endswith((",", "ly")) or (len(w) == 1 and w != "a") for w in (first, second)):
            yield i, [second, first]


_STRICT = DETERMINERS | PREPOSITIONS | AUXILIARIES | {*"to and or if than that which".split()}
_MOVABLE = {
    *"not also only both either all just even then there here it they now still such".split()
}


def _function_words(words):
    """Replacements of a function word by one of another class that cannot be grammatical."""
    articles, links = ["the", "a", "an", "this"], ["of", "in", "on", "for", "with", "by", "from"]
    verbs, modals = ["is", "are", "has"], ["be", "can", "will"]
    for i in range(1, len(words) - 1):
        before, word, after = words[i - 1 : i + 2]
        if word in articles:
            wrong = verbs + modals + (links if before in links or before == "to" else [])
        elif word in links:
            wrong = modals + (articles if after in DETERMINERS else [])
        elif word in modals:
            wrong = articles + links
        else:
            wrong = articles if word in verbs else []
        yield from ((i, [w]) for w in wrong if w not in (before, after))


def _agreements(words):
    """Verbs and demonstratives changed to the wrong number."""
    for i, word in enumerate(words):
        before = words[i - 1].lower() if i else ""
        after = words[i + 1].lower() if i + 1 < len(words) else ""
        wrong = NUMBER_PAIRS.get(word.lower())
        if wrong is None or before in {"data", "series", "none", "any", "to"} | AUXILIARIES:
            continue
        if word.lower() in ("this", "these"):
            if after not in FUNCTION_WORDS:  # "this should" and "these should" are both right
                yield i, [wrong.capitalize() if i == 0 else wrong]
        elif i and before[-1] != "," and not (word == "were" and "if" in map(str.lower, words)):
            yield i, [wrong]


_CORRUPTIONS = {"word-swap": _swaps, "function-word": _function_words, "agreement": _agreements}
