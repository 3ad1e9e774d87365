"""What can a model do? Downstream tasks made from held-out text, with labels the text itself gives."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dwt.corpus import SPECIAL_TOKENS, sentences

PAIR_KINDS = ("word-swap", "function-word", "agreement")
TOKEN_CLASSES = (
    "function word",
    "content word",
    "continuation piece",
    "number",
    "punctuation",
    "special",
)

DETERMINERS = frozenset("the a an this these each every its their".split())
PREPOSITIONS = frozenset(
    "of in on at for with by from into between over under through during".split()
)
AUXILIARIES = frozenset(
    "is are was were be been has have had can could will would should must may does".split()
)
OTHER_FUNCTION_WORDS = frozenset(
    "and or but nor if then than as because while when where whether although unless until since so that which who "
    "whose what how why there it he she they we you i me him her us them his my our your to not no do did done being "
    "having might shall cannot about after against along among around before below above beyond upon within without "
    "per via up down out off onto toward towards across both either neither all any some such only same other another "
    "more most less least many much few several also just very too here now again".split()
)
FUNCTION_WORDS = DETERMINERS | PREPOSITIONS | AUXILIARIES | OTHER_FUNCTION_WORDS
NUMBER_PAIRS = {"is": "are", "was": "were", "has": "have", "does": "do", "this": "these"}
NUMBER_PAIRS |= {plural: singular for singular, plural in NUMBER_PAIRS.items()}

_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*,?$")


@dataclass(frozen=True)
class Task:
    """A fine-tuning task.

    Attributes
    ----------
    name : str
    metric : str
        A GLUE metric: accuracy, f1 or matthews.
    labels : tuple of str
        Label k of the frames is `labels[k]`.
    train, validation : DataFrame
        Columns text, pair (None where there is one text), label; no document is in both.
    """

    name: str
    metric: str
    labels: tuple
    train: pd.DataFrame
    validation: pd.DataFrame


def token_classes(tokenizer):
    """Class of every token of a vocabulary, `[V]` of `TOKEN_CLASSES`."""
    size = len(tokenizer)
    classes = np.empty(size, dtype=object)
    for token, i in tokenizer.get_vocab().items():
        if token in SPECIAL_TOKENS:
            classes[i] = "special"
        elif token.startswith("##"):
            classes[i] = "continuation piece"
        elif token.lower() in FUNCTION_WORDS:
            classes[i] = "function word"
        elif token.isnumeric():
            classes[i] = "number"
        elif any(c.isalpha() for c in token):
            classes[i] = "content word"
        else:
            classes[i] = "punctuation"
    return classes


# ---- Zero-shot: minimal pairs ----


def minimal_pairs(corpus, *, kinds=PAIR_KINDS, pairs=400, seed=0):
    """Real sentences, each with a copy that is wrong in one place.

    A model is right on a pair when it finds the real sentence likelier. Sentences have 6 to 14 words
    and occur nowhere in the training text. Unigram frequencies say nothing: swapping keeps the words,
    and among the other kinds the wrong word is the more frequent one in half of the pairs.

    Parameters
    ----------
    corpus : Corpus
    kinds : sequence of str
        "word-swap" (two adjacent words exchanged), "function-word" (a determiner, preposition or
        auxiliary replaced by one of another class), "agreement" (is/are, was/were, has/have, ...).
    pairs : int
        At most so many of each kind; fewer where the text has fewer.
    seed : int
        Draws the sentences and the places.

    Returns
    -------
    dict of str to list of (str, str)
        The real and the wrong sentence.
    """
    corruptions = {"word-swap": _swaps, "function-word": _function_words, "agreement": _agreements}
    for kind in kinds:
        if kind not in corruptions:
            raise ValueError(
                f"{kind!r} is not a kind of minimal pair; choose from {', '.join(PAIR_KINDS)}"
            )
    text = list(short_sentences(corpus.heldout()).text)
    frequency = Counter(word for sentence in text for word in sentence.lower().strip(".").split())
    found = {}
    for number, kind in enumerate(kinds):
        draw = np.random.default_rng([seed, PAIR_KINDS.index(kind)])
        found[kind] = _draw_pairs(text, corruptions[kind], frequency, pairs, draw)
    return found


def _draw_pairs(text, corruption, frequency, pairs, draw):
    """At most `pairs` sentences with one corruption each, half of them towards the rarer word."""
    buckets = {
        -1: [],
        0: [],
        1: [],
    }  # the wrong word is rarer, as frequent (a swap), or more frequent
    for i in draw.permutation(len(text)):
        words = text[i][:-1].split()
        options = {-1: [], 0: [], 1: []}
        for place, replacement in corruption(words):
            old, new = (
                " ".join(w).lower() for w in (words[place : place + len(replacement)], replacement)
            )
            options[np.sign(frequency[new] - frequency[old])].append((place, replacement))
        sides = sorted(
            (side for side in options if options[side]), key=lambda side: len(buckets[side])
        )
        if not sides:
            continue
        place, replacement = options[sides[0]][draw.integers(len(options[sides[0]]))]
        wrong = words[:place] + replacement + words[place + len(replacement) :]
        wrong = " ".join(wrong) + "."
        buckets[sides[0]].append((text[i], wrong[0].upper() + wrong[1:]))
        if min(len(buckets[-1]), len(buckets[1])) * 2 + len(buckets[0]) >= pairs:
            break
    half = min(len(buckets[-1]), len(buckets[1]), pairs // 2)
    chosen = [
        pair for two in zip(buckets[-1][:half], buckets[1][:half], strict=True) for pair in two
    ]
    return (chosen + buckets[0])[:pairs]


def short_sentences(heldout, *, shortest=6, longest=14):
    """Plain sentences of the held-out text: columns document, text; none twice, none from training text."""
    rows = []
    for document, paragraph in zip(
        heldout.document, heldout.text.where(heldout.unseen, ""), strict=True
    ):
        for sentence in sentences(paragraph):
            words = sentence[:-1].split()
            if not sentence.endswith(".") or not shortest <= len(words) <= longest:
                continue
            plain = words[0][0].isupper() and all(map(_WORD.match, words))
            whole = (
                words[-1].lower() not in FUNCTION_WORDS
            )  # not "as explained in [1]." without its [1]
            if plain and whole and sum(w[1:] != w[1:].lower() for w in words) < 2:
                rows.append((document, sentence))
    return pd.DataFrame(rows, columns=["document", "text"]).drop_duplicates(
        "text", ignore_index=True
    )


def _swaps(words):
    """Exchanges of two neighbours that no English order allows: one of them is a strict function word."""
    for i in range(1, len(words) - 1):
        first, second = words[i : i + 2]
        if not {first, second} & _STRICT or {first, second} & _MOVABLE or first == second:
            continue
        if not any(w.endswith((",", "ly")) or (len(w) == 1 and w != "a") for w in (first, second)):
            yield i, [second, first]


_STRICT = (
    DETERMINERS | PREPOSITIONS | AUXILIARIES | {"to", "and", "or", "if", "than", "that", "which"}
)
_MOVABLE = frozenset(
    "not also only both either all just even then there here it they now still such".split()
)


def _function_words(words):
    """One determiner, preposition or auxiliary replaced by one of another class, where that cannot be right."""
    articles, links, verbs = (
        ["the", "a", "an", "this"],
        ["of", "in", "on", "for", "with", "by", "from"],
        ["is", "are", "has"],
    )
    modals = ["be", "can", "will"]
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
    """One verb or demonstrative in the wrong number."""
    for i, word in enumerate(words):
        before, after = (
            (words[i - 1].lower() if i else ""),
            (words[i + 1].lower() if i + 1 < len(words) else ""),
        )
        wrong = NUMBER_PAIRS.get(word.lower())
        if wrong is None or before in {"data", "series", "none", "any", "to"} | AUXILIARIES:
            continue
        if word.lower() in ("this", "these"):
            if after not in FUNCTION_WORDS:  # "this should" and "these should" are both right
                yield i, [wrong.capitalize() if i == 0 else wrong]
        elif (
            i > 0
            and not before.endswith(",")
            and not (word == "were" and "if" in map(str.lower, words))
        ):
            yield i, [wrong]
