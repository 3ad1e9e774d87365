"""Fine-tuning tasks that held-out text labels: no annotation is needed."""

import numpy as np
import pandas as pd

from dwt.config.tasks import HELDOUT_TASKS
from dwt.data.corpus import Corpus
from dwt.evaluation.metrics import Task
from dwt.evaluation.minimal_pairs import draw_pairs, short_sentences, unseen_sentences

MISSING_WORDS = ("the", "a", "of", "to", "and", "is", "for", "in")


def make_heldout_tasks(
    corpus: Corpus, *, names: list[str] = HELDOUT_TASKS, examples: int | None = 1000, seed: int = 0
) -> list[Task]:
    """Classification tasks from held-out text, with balanced labels.

    `examples` limits the training set, thrice as many the validation set; None uses all. ValueError
    if the held-out text is too short for a task.
    """
    heldout = corpus.heldout()
    tasks = []
    for name in names:
        if name == "missing-word":
            rows, metric = _missing_words(heldout, seed), "accuracy"
        else:
            rows, metric = _acceptability(short_sentences(heldout), seed), "matthews"
        tasks.append(_task(name, metric, rows, examples, seed))
    return tasks


def _missing_words(heldout, seed):
    """Sentences of 5 to 25 words, [MASK] in place of one of `MISSING_WORDS`; no sentence twice."""
    draw = np.random.default_rng([seed, len(MISSING_WORDS)])
    rows, seen = [], set()
    for document, sentence in unseen_sentences(heldout):
        words = sentence.split()
        places = [i for i, word in enumerate(words) if word in MISSING_WORDS]
        # "[": text about language models has [MASK] of its own.
        if places and 5 <= len(words) <= 25 and "[" not in sentence and sentence not in seen:
            seen.add(sentence)
            place = places[draw.integers(len(places))]
            masked = " ".join([*words[:place], "[MASK]", *words[place + 1 :]])
            rows.append((document, masked, words[place]))
    return pd.DataFrame(rows, columns=["document", "text", "label"])


def _acceptability(text, seed):
    """One sentence of each minimal pair, real or wrong, such that no word tells the label.

    Pairs alternate a -> b and b -> a: real, wrong of two leave a in both, wrong, real leave b. Form
    and metric are those of CoLA (Warstadt et al. 2019).
    """
    document = dict(zip(text.text, text.document, strict=True))
    rows = []
    for i, (real, wrong) in enumerate(draw_pairs([*text.text], "function-word", len(text), seed)):
        label, sentence = ("real", real) if i % 4 in (0, 3) else ("wrong", wrong)
        rows.append((document[real], sentence, label))
    return pd.DataFrame(rows, columns=["document", "text", "label"])


def _task(name, metric, rows, examples, seed):
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
        part = part.groupby("label").head(per_label)
        parts.append(part[["text", "pair", "label"]].reset_index(drop=True))
    return Task(name, (metric,), labels, parts[0], {"": parts[1]}, at_mask=name == "missing-word")
