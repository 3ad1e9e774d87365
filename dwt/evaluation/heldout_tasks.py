"""Fine-tuning tasks that held-out text labels: no annotation is needed."""

import numpy as np
import pandas as pd

from dwt.config.tasks import HELDOUT_TASKS
from dwt.data.corpus import Corpus
from dwt.data.sentences import sentences
from dwt.evaluation.minimal_pairs import draw_pairs, short_sentences
from dwt.evaluation.tasks import Task

MISSING_WORDS = ("the", "a", "of", "to", "and", "is", "for", "in")


def make_heldout_tasks(
    corpus: Corpus, *, names: list[str] = HELDOUT_TASKS, examples: int | None = 1000, seed: int = 0
) -> list[Task]:
    """Make classification tasks from held-out text.

    "missing-word": which of eight function words stood at [MASK]; the label is the author's word.
    "function-words": whether one function word of a sentence is wrong; form and metric are CoLA's
    (Warstadt et al. 2019). No sentence occurs in both versions.

    Parameters
    ----------
    corpus : Corpus
    names : list of str
        Of `dwt.config.tasks.HELDOUT_TASKS`.
    examples : int, optional
        Limit on the training examples; the validation set has at most three times as many. Labels
        are balanced. None uses all.
    seed : int
        Draws the validation documents, the missing words and the wrong sentences.

    Raises
    ------
    ValueError
        If the held-out text is too short for a task.
    """
    heldout = corpus.heldout()
    tasks = []
    for name in names:
        if name == "missing-word":
            rows = _missing_words(heldout, seed)
            tasks.append(_task(name, "accuracy", rows, examples, seed, at_mask=True))
        else:
            rows = _acceptability(short_sentences(heldout), seed)
            tasks.append(_task(name, "matthews", rows, examples, seed))
    return tasks


def _missing_words(heldout, seed):
    """Sentences of 5 to 25 words, [MASK] in place of one of `MISSING_WORDS`; no sentence twice."""
    draw = np.random.default_rng([seed, len(MISSING_WORDS)])
    rows, seen = [], set()
    heldout = heldout[heldout.unseen]
    for document, paragraph in zip(heldout.document, heldout.text, strict=True):
        for sentence in sentences(paragraph):
            words = sentence.split()
            places = [i for i, word in enumerate(words) if word in MISSING_WORDS]
            # "[": text about language models has [MASK] of its own.
            usable = sentence.endswith(".") and "[" not in sentence and sentence not in seen
            if places and usable and 5 <= len(words) <= 25:
                seen.add(sentence)
                place = places[draw.integers(len(places))]
                masked = " ".join([*words[:place], "[MASK]", *words[place + 1 :]])
                rows.append((document, masked, words[place]))
    return pd.DataFrame(rows, columns=["document", "text", "label"])


def _acceptability(text, seed):
    """One sentence of each minimal pair, real or wrong, such that no word tells the label.

    `draw_pairs` alternates word a replaced by b and b replaced by a. The labels real, wrong of two
    such pairs leave a in both sentences, the labels wrong, real leave b in both.
    """
    document = dict(zip(text.text, text.document, strict=True))
    rows = []
    pairs = draw_pairs(list(text.text), "function-word", len(text), seed)
    for i, (real, wrong) in enumerate(pairs):
        label, sentence = ("real", real) if i % 4 in (0, 3) else ("wrong", wrong)
        rows.append((document[real], sentence, label))
    return pd.DataFrame(rows, columns=["document", "text", "label"])


def _task(name, metric, rows, examples, seed, *, at_mask=False):
    """Split by document, half to validation, and balance the labels of each part."""
    labels = tuple(sorted(rows.label.unique()))
    draw = np.random.default_rng([seed, HELDOUT_TASKS.index(name)])
    examples = examples or len(rows)
    documents = draw.permutation(rows.document.unique())
    rows = rows.iloc[draw.permutation(len(rows))]
    validating = rows.document.isin(documents[: len(documents) // 2])
    parts = []
    for part, limit in ((rows[~validating], examples), (rows[validating], 3 * examples)):
        part = part.assign(pair=None, label=part.label.map(labels.index))
        if len(labels) < 2 or part.label.nunique() < len(labels):
            raise ValueError(
                f"task {name!r}: too little held-out text; add text, raise corpus.heldout or "
                "choose other evaluate.tasks (params.yaml)"
            )
        per_label = min(part.label.value_counts().min(), max(1, limit // len(labels)))
        part = part[part.groupby("label").cumcount() < per_label]
        parts.append(part[["text", "pair", "label"]].reset_index(drop=True))
    return Task(name, (metric,), labels, parts[0], {"": parts[1]}, at_mask)
