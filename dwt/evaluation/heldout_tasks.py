"""What can a model be taught? Token classes, and fine-tuning tasks that held-out text labels."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dwt.data.prose import sentences
from dwt.data.vocabulary import SPECIAL_TOKENS
from dwt.evaluation.minimal_pairs import FUNCTION_WORDS, draw_pairs, short_sentences

TOKEN_CLASSES = (
    "function word",
    "content word",
    "continuation piece",
    "number",
    "punctuation",
    "special",
)

TASKS = ("missing-word", "function-words")
MISSING = ("the", "a", "of", "to", "and", "is", "for", "in")  # the commonest words of this text


@dataclass(frozen=True)
class Task:
    """A fine-tuning task.

    Attributes
    ----------
    name : str
    metrics : tuple of str
        Keys of `dwt.evaluation.finetune.METRICS`.
    labels : tuple of str
        Label k of the frames is `labels[k]`; without any, the label is a number to be predicted.
    train : DataFrame
        Columns text, pair (None where there is one text), label.
    validation : dict of str to DataFrame
        The sets to score, by name; the only one of a task is called "".
    at_mask : bool
        Every text holds one [MASK], and the label is that token's; otherwise the whole text's.
    """

    name: str
    metrics: tuple
    labels: tuple
    train: pd.DataFrame
    validation: dict
    at_mask: bool = False


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

    "missing-word": which of eight function words stood where the sentence has [MASK]? The label
    is what the author wrote. "function-words": is a sentence as somebody wrote it, or has it one
    wrong function word? CoLA's form and metric (Warstadt et al. 2019); no sentence is there in
    both versions.

    Parameters
    ----------
    corpus : Corpus
    names : sequence of str
        Which tasks.
    examples : int, optional
        At most so many in train, and thrice as many in validation; every label equally often. By
        default all there are.
    seed : int
        Draws the documents that validate, the missing words and the wrong sentences.

    Returns
    -------
    list of Task

    Raises
    ------
    ValueError
        For an unknown task, or one that the held-out text is too short for.
    """
    heldout = corpus.heldout()
    tasks = []
    for name in names:
        if name == "missing-word":
            rows = _missing_words(heldout, seed)
            tasks.append(_task(name, "accuracy", rows, examples, seed, at_mask=True))
        elif name == "function-words":
            rows = _acceptability(short_sentences(heldout), seed)
            tasks.append(_task(name, "matthews", rows, examples, seed))
        else:
            raise ValueError(f"{name!r} is not a task; choose from {', '.join(TASKS)}")
    return tasks


def _missing_words(heldout, seed):
    """Sentences of 5 to 25 words, [MASK] in place of one of `MISSING`; no sentence twice."""
    draw = np.random.default_rng([seed, len(MISSING)])
    rows, seen = [], set()
    heldout = heldout[heldout.unseen]
    for document, paragraph in zip(heldout.document, heldout.text, strict=True):
        for sentence in sentences(paragraph):
            parts = sentence.split()
            places = [i for i, part in enumerate(parts) if part in MISSING]
            # Text about language models has [MASK] of its own.
            whole = sentence.endswith(".") and "[" not in sentence and sentence not in seen
            if places and whole and 5 <= len(parts) <= 25:
                seen.add(sentence)
                place = places[draw.integers(len(places))]
                masked = " ".join([*parts[:place], "[MASK]", *parts[place + 1 :]])
                rows.append((document, masked, parts[place]))
    return pd.DataFrame(rows, columns=["document", "text", "label"])


def _acceptability(text, seed):
    """Of each minimal pair one sentence; of four in a row two have word a in place, two word b."""
    document = dict(zip(text.text, text.document, strict=True))
    rows = []
    pairs = draw_pairs(list(text.text), "function-word", len(text), seed)
    for i, (real, wrong) in enumerate(pairs):
        real_one = i % 4 in (0, 3)
        label = "real" if real_one else "wrong"
        rows.append((document[real], real if real_one else wrong, label))
    return pd.DataFrame(rows, columns=["document", "text", "label"])


def _task(name, metric, rows, examples, seed, *, at_mask=False):
    """Split by document, half to validation; every label equally often in each part."""
    labels = tuple(sorted(rows.label.unique()))
    draw = np.random.default_rng([seed, TASKS.index(name)])
    examples = examples or len(rows)
    documents = draw.permutation(rows.document.unique())
    rows = rows.iloc[draw.permutation(len(rows))]
    validating = rows.document.isin(documents[: len(documents) // 2])
    parts = []
    for part, limit in ((rows[~validating], examples), (rows[validating], 3 * examples)):
        part = part.assign(pair=None, label=part.label.map(labels.index))
        if len(labels) < 2 or part.label.nunique() < len(labels):
            raise ValueError(
                f"task {name!r}: too little held-out text; give more text, a larger "
                "corpus.heldout, or other evaluate.tasks (params.yaml)"
            )
        most = min(part.label.value_counts().min(), max(1, limit // len(labels)))
        part = part[part.groupby("label").cumcount() < most]
        parts.append(part[["text", "pair", "label"]].reset_index(drop=True))
    return Task(name, (metric,), labels, parts[0], {"": parts[1]}, at_mask)
