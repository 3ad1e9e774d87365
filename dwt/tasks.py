"""What can a model do? Tasks made from held-out text, with labels that the text itself gives."""

import re
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dwt.prose import sentences
from dwt.vocabulary import SPECIAL_TOKENS

PAIR_KINDS = ("word-swap", "function-word", "agreement")
TOKEN_CLASSES = (
    "function word",
    "content word",
    "continuation piece",
    "number",
    "punctuation",
    "special",
)

TASKS = ("function-words", "word-order", "section")

DETERMINERS = frozenset("the a an this these each every its their".split())
PREPOSITIONS = frozenset("of in on at for with by from into between over under during".split())
AUXILIARIES = frozenset(
    "is are was were be been has have had can could will would should must may does".split()
)
OTHER_FUNCTION_WORDS = frozenset(
    (
        "and or but nor if then than as because while when where whether although unless until "
        "since so that which who whose what how why there it he she they we you i me him her us "
        "them his my our your to not no do did done being having might shall cannot about after "
        "against along among around before below above beyond upon within without through per "
        "via up down out off onto toward towards across both either neither all any some such "
        "only same other another more most less least many much few several also just very too "
        "here now again"
    ).split()
)
FUNCTION_WORDS = DETERMINERS | PREPOSITIONS | AUXILIARIES | OTHER_FUNCTION_WORDS
NUMBER_PAIRS = {"is": "are", "was": "were", "has": "have", "does": "do", "this": "these"}
NUMBER_PAIRS |= {plural: singular for singular, plural in NUMBER_PAIRS.items()}

_ABBREVIATIONS = frozenset("st mr mrs ms dr prof no vs etc al fig eq ca jr sr inc".split())
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

    A model is right on a pair when it finds the real sentence likelier. Sentences have 6 to 14
    words and occur nowhere in the training text. Words alone tell nothing: each is as frequent in
    the wrong sentences as in the real ones.

    Parameters
    ----------
    corpus : Corpus
    kinds : sequence of str
        "word-swap" (two neighbours exchanged), "function-word" (a determiner, preposition or
        auxiliary replaced by one of another class), "agreement" (is/are, this/these, ...).
    pairs : int
        At most so many of each kind; fewer where the text has fewer.
    seed : int
        Draws the sentences and the places.

    Returns
    -------
    dict of str to list of (str, str)
        The real and the wrong sentence.
    """
    for kind in kinds:
        if kind not in _CORRUPTIONS:
            raise ValueError(
                f"{kind!r} is not a kind of minimal pair; choose from {', '.join(PAIR_KINDS)}"
            )
    text = list(short_sentences(corpus.heldout()).text)
    return {kind: _draw_pairs(text, kind, pairs, seed) for kind in kinds}


def short_sentences(heldout, *, shortest=6, longest=14):
    """Plain whole sentences of the held-out text, none twice, none from training text.

    Columns document, text.
    """
    rows = []
    heldout = heldout[heldout.unseen]
    for document, paragraph in zip(heldout.document, heldout.text, strict=True):
        for sentence in sentences(paragraph):
            words = sentence[:-1].split()
            if not sentence.endswith(".") or not shortest <= len(words) <= longest:
                continue
            plain = words[0][0].isupper() and all(map(_WORD.match, words))
            # Not cut off: "as explained in [1]." has lost its [1], "professor of St." is not over.
            whole = words[-1].lower() not in FUNCTION_WORDS | _ABBREVIATIONS
            if plain and whole and sum(w[1:] != w[1:].lower() for w in words) < 2:
                rows.append((document, sentence))
    rows = pd.DataFrame(rows, columns=["document", "text"])
    return rows.drop_duplicates("text", ignore_index=True)


def _draw_pairs(text, kind, pairs, seed):
    """At most `pairs` sentences with one corruption each.

    A pair with b for a is followed by one with a for b, so all words are as frequent in the wrong
    sentences as in the real ones.
    """
    draw = np.random.default_rng([seed, PAIR_KINDS.index(kind)])
    found = defaultdict(list)  # (old word, new word) -> pairs; a swap has no words
    for i in draw.permutation(len(text)):
        words = text[i][:-1].split()
        options = []
        for place, wrong in _CORRUPTIONS[kind](words):
            key = (words[place].lower(), wrong[0].lower()) if len(wrong) == 1 else ()
            lead = len(found[key]) - len(found[key[::-1]])
            options.append((lead, draw.random(), key, place, wrong))
        if options:
            _, _, key, place, wrong = min(options)
            copy = " ".join(words[:place] + wrong + words[place + len(wrong) :]) + "."
            found[key].append((text[i], copy))
    if kind == "word-swap":
        return found[()][:pairs]
    twos = [
        two
        for k in sorted(found)
        if k < k[::-1]
        for two in zip(found[k], found[k[::-1]], strict=False)
    ]
    return [pair for i in draw.permutation(len(twos)) for pair in twos[i]][:pairs]


def _swaps(words):
    """Exchanges of two neighbours, one of them a function word whose place is fixed."""
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
    """One function word replaced by one of another class, where that cannot be right."""
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


_CORRUPTIONS = {"word-swap": _swaps, "function-word": _function_words, "agreement": _agreements}


# ---- Fine-tuning ----


def finetune_tasks(corpus, *, names=TASKS, examples=1000, seed=0):
    """Classification tasks on held-out text.

    "function-words" and "word-order": is a sentence as somebody wrote it, or has it a wrong
    function word (two neighbours exchanged)? CoLA's form and metric; word order is SentEval's
    bigram shift (Conneau et al. 2018). No sentence is there in both versions. "section": is a
    paragraph of a docstring its summary, or from its Parameters, Returns or Notes?

    Parameters
    ----------
    corpus : Corpus
    names : sequence of str
        Which tasks; "section" is left out where the text has no sections.
    examples : int
        At most so many in train and in validation, every label equally often.
    seed : int
        Draws the documents that validate, and the wrong sentences.

    Returns
    -------
    list of Task
    """
    heldout = corpus.heldout()
    tasks = []
    for name in names:
        if name == "section":
            if set(heldout.section) >= {"Parameters", "Returns", "Notes"}:
                tasks.append(_task(name, "accuracy", _sections(heldout), examples, seed))
        elif name in TASKS:
            kind = {"function-words": "function-word", "word-order": "word-swap"}[name]
            rows = _acceptability(short_sentences(heldout), kind, seed)
            tasks.append(_task(name, "matthews", rows, examples, seed))
        else:
            raise ValueError(f"{name!r} is not a task; choose from {', '.join(TASKS)}")
    return tasks


def _acceptability(text, kind, seed):
    """Of each minimal pair one sentence; of four in a row two have word a in place, two word b."""
    document = dict(zip(text.text, text.document, strict=True))
    rows = []
    for i, (real, wrong) in enumerate(_draw_pairs(list(text.text), kind, len(text), seed)):
        real_one = i % 4 in (0, 3)
        label = "real" if real_one else "wrong"
        rows.append((document[real], real if real_one else wrong, label))
    return pd.DataFrame(rows, columns=["document", "text", "label"])


def _sections(heldout):
    """Paragraphs of 5 to 25 words and the section they stand in; the summary is the first one."""
    first = ~heldout.duplicated("document")
    section = heldout.section.where((heldout.section != "") | ~first, "Summary")
    rows = heldout[["document", "text"]].assign(label=section)
    rows = rows[heldout.unseen & section.isin(["Summary", "Parameters", "Returns", "Notes"])]
    return rows[rows.text.str.split().str.len().between(5, 25)].drop_duplicates("text")


def _task(name, metric, rows, examples, seed):
    """Split by document, one third to validation; every label equally often in each part."""
    labels = tuple(sorted(rows.label.unique()))
    draw = np.random.default_rng([seed, TASKS.index(name)])
    documents = draw.permutation(rows.document.unique())
    rows = rows.iloc[draw.permutation(len(rows))]
    validating = rows.document.isin(documents[: len(documents) // 3])
    parts = []
    for part in (rows[~validating], rows[validating]):
        part = part.assign(pair=None, label=part.label.map(labels.index))
        if len(labels) < 2 or part.label.nunique() < len(labels):
            raise ValueError(f"task {name!r}: too little held-out text; raise corpus.heldout")
        most = min(part.label.value_counts().min(), max(1, examples // len(labels)))
        part = part[part.groupby("label").cumcount() < most]
        parts.append(part[["text", "pair", "label"]].reset_index(drop=True))
    return Task(name, metric, labels, *parts)
