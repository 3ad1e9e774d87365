"""What has a pre-trained model learned? Zero-shot and fine-tuned scores, as tidy rows."""

import itertools

import numpy as np
import pandas as pd
import torch

from dwt.data.progress import Progress
from dwt.evaluation.blimp import by_phenomenon
from dwt.evaluation.finetune import classifier, encode, finetune, scores_of
from dwt.evaluation.zero_shot import blimp_accuracy, cloze_accuracy, minimal_pair_accuracy
from dwt.training.device import set_threads
from dwt.training.models import build_model, load_model

COLUMNS = [
    "kind", "arm", "seed", "step", "finetune_seed", "learning_rate", "epochs", "task", "metric",
    "score", "examples", "train_examples",
]  # fmt: skip


def evaluate(
    run, corpus, *, pairs, tasks, settings, train, blimp=None, weights="trained", device=None
):  # fmt: skip
    """All scores of one run, as rows of the scores table.

    Parameters
    ----------
    run : dwt.config.params.Run
        Trained, unless ``weights`` is "random".
    corpus : dwt.data.corpus.Corpus
    pairs : dict of str to list of (str, str)
        From `dwt.evaluation.minimal_pairs.minimal_pairs`; made once for all runs.
    tasks : list of dwt.evaluation.heldout_tasks.Task
        From `dwt.evaluation.glue_data.asked_tasks`.
    settings, train : dict
        The sections `evaluate` and `train` of the scale. Each learning rate with each number of
        epochs is a fine-tuning of its own, with its own schedule. With ``checkpoints`` the weights
        that ``train.keep`` kept along the run are scored too.
    blimp : DataFrame, optional
        From `dwt.evaluation.blimp.read_blimp`.
    weights : {"trained", "random"}
        "random" scores the run's initialisation: what a task owes to the architecture alone.
    device : str, optional
        By default "cuda" where there is one, else "cpu".

    Returns
    -------
    DataFrame
        Columns kind, arm, seed, step (of pre-training), finetune_seed, learning_rate, epochs,
        task, metric, score, examples (scored), train_examples (fine-tuned on). Missing for
        zero-shot scores: finetune_seed, learning_rate, epochs, train_examples.

    Raises
    ------
    FileNotFoundError
        Before anything is scored, where weights are missing.
    """
    set_threads(train["threads"])
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    trained, tokenizer = weights == "trained", corpus.tokenizer()
    encoded = [encode(tokenizer, task, length=settings["length"]) for task in tasks]
    names = [task.name for task in tasks]
    stages = _weights(run, names, settings, train) if trained else [(0, None, names, True)]
    who = dict(kind=run.kind if trained else "baseline", arm=run.arm if trained else "random",
               seed=run.seed)  # fmt: skip
    each = len(settings["learning_rate"]) * len(settings["epochs"]) * settings["seeds"]
    parts = len(pairs) + 1 + (blimp is not None)
    total = sum(zero_shot * parts + len(some) * each for *_, some, zero_shot in stages)
    progress = Progress(f"evaluate {who['arm']}, seed {run.seed}", total)
    steps, rows = itertools.count(1), []
    for step, folder, some, zero_shot in stages:
        model = load_model(folder) if trained else build_model(
            run.model, layers=run.layers, vocabulary=corpus.vocabulary,
            max_length=train["length"], pad=corpus.pad_id, seed=run.seed,
        )  # fmt: skip
        found = _fine_tuned(
            model, [one for one in encoded if one.task.name in some],
            settings=settings, device=device,
        )  # fmt: skip
        if zero_shot:
            first = _zero_shot(model, corpus, tokenizer, pairs, blimp, train=train, device=device)
            found = itertools.chain(first, found)
        for some_rows in found:  # of one kind of pair, or of one fine-tuning
            rows += [who | {"step": step} | row for row in some_rows]
            progress.update(next(steps))
    progress.close()
    return _rows(rows)


def _weights(run, names, settings, train):
    """What is scored: step, folder, tasks to fine-tune on, whether zero-shot too."""
    early = settings["checkpoints"]
    shares = train["keep"] if early else []
    steps = sorted({round(share * train["steps"]) for share in shares} - {train["steps"]})
    some = names if early is True else early
    found = [(train["steps"], run.directory, names, True)]
    found += [(n, run.directory / f"checkpoint-{n}", some, early is True) for n in steps]
    for step, folder, *_ in found:
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"{run.arm}, seed {run.seed}: no weights of step {step} in {folder}; "
                "run dvc repro, or leave out evaluate.checkpoints (params.yaml)"
            )
    return found


def _zero_shot(model, corpus, tokenizer, pairs, blimp, *, train, device):
    """Rows of what needs no fine-tuning, part by part."""
    for kind, of_kind in pairs.items():
        score = minimal_pair_accuracy(model, tokenizer, of_kind, device=device)
        yield [dict(task=kind, metric="minimal-pair accuracy", score=score, examples=len(of_kind))]
    if blimp is not None:
        right = blimp_accuracy(model, tokenizer, blimp, device=device)
        yield [
            dict(task=name, metric="minimal-pair accuracy", score=score, examples=count)
            for name, (score, count) in right.items()
        ]
    of_class = cloze_accuracy(
        model, corpus, train=train, sequences=train["final_sequences"], device=device
    )
    yield [
        dict(task=f"cloze, {name}", metric="accuracy", score=score, examples=count)
        for name, (score, count) in of_class.items()
    ]


def _fine_tuned(model, encoded, *, settings, device):
    """Rows of every task, setting and seed, one fine-tuning at a time."""
    grid = itertools.product(settings["learning_rate"], settings["epochs"])
    for one, (rate, epochs), seed in itertools.product(encoded, grid, range(settings["seeds"])):
        setting = dict(learning_rate=rate, epochs=epochs)
        scores = finetune(
            classifier(model, one.task, seed=seed), one,
            settings=setting | {"batch": settings["batch"]}, seed=seed, device=device,
        )  # fmt: skip
        about = setting | dict(finetune_seed=seed, train_examples=len(one.train))
        yield [
            dict(task=one.task.name, metric=metric, score=score, examples=count) | about
            for metric, (score, count) in scores.items()
        ]


def _rows(rows):
    """The scores table of some rows; what a row lacks is missing, whole numbers stay whole."""
    frame = pd.DataFrame(rows).reindex(columns=COLUMNS)
    whole = ["seed", "step", "finetune_seed", "epochs", "examples", "train_examples"]
    return frame.astype({name: "Int64" for name in whole})


def trivial_scores(pairs, tasks, blimp=None):
    """What needs no model: a coin on minimal pairs, the commonest label of each task.

    Where a number is to be predicted, every guess is the same and so correlates with nothing: 0.
    """
    rows = []
    counts = {kind: len(of_kind) for kind, of_kind in pairs.items()}
    if blimp is not None:
        counts |= {k: n for k, (_, n) in by_phenomenon(blimp, np.full(len(blimp), 0.5)).items()}
    for kind, count in counts.items():
        rows.append(dict(arm="chance", task=kind, metric="minimal-pair accuracy", score=0.5,
                         examples=count))  # fmt: skip
    for task in tasks:
        truth = task.train.label
        guess = truth.mode()[0] if task.labels else truth.mean()
        found = {part: np.full(len(frame), guess) for part, frame in task.validation.items()}
        for metric, (score, count) in scores_of(task, found).items():
            rows.append(dict(arm="majority", task=task.name, metric=metric, score=score,
                             examples=count))  # fmt: skip
    return _rows([{"kind": "baseline"} | row for row in rows])
