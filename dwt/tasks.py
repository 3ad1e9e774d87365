"""What can a model be taught? Token classes, and fine-tuning tasks that held-out text labels."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dwt.pairs import FUNCTION_WORDS, draw_pairs, short_sentences
from dwt.vocabulary import SPECIAL_TOKENS

TOKEN_CLASSES = (
    "function word",
    "content word",
    "continuation piece",
    "number",
    "punctuation",
    "special",
)

TASKS = ("function-words", "word-order", "section")


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
    for i, (real, wrong) in enumerate(draw_pairs(list(text.text), kind, len(text), seed)):
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
