"""Zero-shot and fine-tuned scores of pre-trained models, as tidy rows."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dwt.config.params import Run
from dwt.config.tasks import GLUE, HELDOUT_TASKS
from dwt.data.corpus import Corpus
from dwt.data.progress import Progress
from dwt.evaluation.blimp import by_phenomenon
from dwt.evaluation.finetune import classifier, encode, finetune
from dwt.evaluation.glue import load_glue
from dwt.evaluation.heldout_tasks import make_heldout_tasks
from dwt.evaluation.tasks import Task, score_predictions
from dwt.evaluation.zero_shot import Pair, blimp_accuracy, cloze_accuracy, pair_scores
from dwt.training.device import set_threads
from dwt.training.models import build_model, load_model

COLUMNS = [
    "kind", "arm", "seed", "step", "finetune_seed", "learning_rate", "epochs", "task", "metric",
    "score", "examples", "train_examples",
]  # fmt: skip
Pairs = dict[str, list[Pair]]  # by kind


def load_tasks(settings: dict, corpus: Corpus | None, *, root: Path = Path()) -> list[Task]:
    """Load the tasks of the section `evaluate`: those of held-out text, then GLUE's.

    Parameters
    ----------
    settings : dict
        ``tasks``, ``examples`` and, for GLUE, ``glue`` and ``validation``.
    corpus : Corpus or None
        None leaves out the tasks of held-out text.
    root : Path
        Base of relative paths.

    Raises
    ------
    ValueError
        For a task that cannot be loaded, before anything is fine-tuned.
    """
    names, examples = settings["tasks"], settings["examples"]
    glue = load_glue(
        [name for name in names if name in GLUE], where=settings["glue"], examples=examples,
        validation=settings["validation"], root=root,
    )  # fmt: skip
    heldout = [name for name in names if name in HELDOUT_TASKS]
    if corpus is None or not heldout:
        return glue
    return make_heldout_tasks(corpus, names=heldout, examples=examples) + glue


def evaluate(
    run: Run, corpus: Corpus, *, pairs: Pairs, tasks: list[Task], settings: dict, train: dict,
    blimp: pd.DataFrame | None = None, weights: str = "trained", device: str | None = None,
) -> pd.DataFrame:  # fmt: skip
    """All scores of one run, as rows of the scores table.

    Parameters
    ----------
    run : Run
    corpus : Corpus
    pairs : dict of str to list of (str, str)
        From `dwt.evaluation.minimal_pairs.minimal_pairs`.
    tasks : list of Task
        From `load_tasks`.
    settings, train : dict
        The sections `evaluate` and `train` of the scale. Every learning rate is combined with
        every number of epochs. With ``checkpoints``, the weights of the steps in ``train.keep``
        are scored too.
    blimp : DataFrame, optional
        From `dwt.evaluation.blimp.read_blimp`.
    weights : {"trained", "random"}
        "random" scores the run's initialisation: a baseline of the architecture alone.
    device : str, optional
        By default "cuda" if available, else "cpu".

    Returns
    -------
    DataFrame
        Columns `COLUMNS`: step is of pre-training, examples are scored, train_examples fine-tuned
        on. Zero-shot scores have no finetune_seed, learning_rate, epochs and train_examples.

    Raises
    ------
    FileNotFoundError
        If weights are missing, before anything is scored.
    """
    set_threads(train["threads"])
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    trained, tokenizer = weights == "trained", corpus.tokenizer()
    encoded = [encode(tokenizer, task, length=settings["length"]) for task in tasks]
    names = [task.name for task in tasks]
    models = _models(run, names, settings, train) if trained else [(0, None, names, True)]
    keys = dict(kind=run.kind if trained else "baseline", arm=run.arm if trained else "random",
                seed=run.seed)  # fmt: skip
    per_task = len(settings["learning_rate"]) * len(settings["epochs"]) * settings["seeds"]
    parts = len(pairs) + 1 + (blimp is not None)
    total = sum(zero_shot * parts + len(some) * per_task for *_, some, zero_shot in models)
    progress = Progress(f"evaluate {keys['arm']}, seed {run.seed}", total)
    done, rows = itertools.count(1), []
    for step, folder, some, zero_shot in models:
        model = load_model(folder) if trained else build_model(
            run.model, layers=run.layers, vocabulary=corpus.vocabulary,
            max_length=train["length"], pad=corpus.pad_id, seed=run.seed,
        )  # fmt: skip
        scores = _fine_tuned(
            model, [one for one in encoded if one.task.name in some],
            settings=settings, device=device,
        )  # fmt: skip
        if zero_shot:
            first = _zero_shot(model, corpus, tokenizer, pairs, blimp, train=train, device=device)
            scores = itertools.chain(first, scores)
        for part in scores:  # one kind of pair, or one fine-tuning
            rows += [keys | {"step": step} | row for row in part]
            progress.update(next(done))
    progress.close()
    return _table(rows)


def _models(run, names, settings, train):
    """The weights to score: (step, folder, tasks to fine-tune on, whether also zero-shot)."""
    checkpoints = settings["checkpoints"]  # True, False or the tasks to score them on
    shares = train["keep"] if checkpoints else []
    steps = sorted({round(share * train["steps"]) for share in shares} - {train["steps"]})
    some = names if checkpoints is True else checkpoints
    models = [(train["steps"], run.directory, names, True)]
    models += [(n, run.directory / f"checkpoint-{n}", some, checkpoints is True) for n in steps]
    for step, folder, *_ in models:
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"{run.arm}, seed {run.seed}: no weights of step {step} in {folder}; "
                "run dvc repro, or remove evaluate.checkpoints (params.yaml)"
            )
    return models


def _zero_shot(model, corpus, tokenizer, pairs, blimp, *, train, device):
    """Rows of the zero-shot scores, one list for each benchmark."""
    for kind, of_kind in pairs.items():
        score = float(pair_scores(model, tokenizer, of_kind, device=device).mean())
        yield [dict(task=kind, metric="minimal-pair accuracy", score=score, examples=len(of_kind))]
    if blimp is not None:
        accuracies = blimp_accuracy(model, tokenizer, blimp, device=device)
        yield [
            dict(task=name, metric="minimal-pair accuracy", score=score, examples=count)
            for name, (score, count) in accuracies.items()
        ]
    by_class = cloze_accuracy(
        model, corpus, train=train, sequences=train["final_sequences"], device=device
    )
    yield [
        dict(task=f"cloze, {name}", metric="accuracy", score=score, examples=count)
        for name, (score, count) in by_class.items()
    ]


def _fine_tuned(model, encoded, *, settings, device):
    """Rows of the fine-tuned scores, one list for each task, setting and seed."""
    grid = itertools.product(settings["learning_rate"], settings["epochs"])
    for one, (rate, epochs), seed in itertools.product(encoded, grid, range(settings["seeds"])):
        setting = dict(learning_rate=rate, epochs=epochs)
        scores = finetune(
            classifier(model, one.task, seed=seed), one,
            settings=setting | {"batch": settings["batch"]}, seed=seed, device=device,
        )  # fmt: skip
        keys = setting | dict(finetune_seed=seed, train_examples=len(one.train))
        yield [
            dict(task=one.task.name, metric=metric, score=score, examples=count) | keys
            for metric, (score, count) in scores.items()
        ]


def _table(rows):
    """Rows as a scores table; absent values are missing, integers stay integers."""
    frame = pd.DataFrame(rows).reindex(columns=COLUMNS)
    integers = ["seed", "step", "finetune_seed", "epochs", "examples", "train_examples"]
    return frame.astype({name: "Int64" for name in integers})


def trivial_scores(
    pairs: Pairs, tasks: list[Task], blimp: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Baselines without a model: 0.5 on minimal pairs, the most frequent label of each task.

    A regression task's mean correlates with nothing: 0.
    """
    rows = []
    counts = {kind: len(of_kind) for kind, of_kind in pairs.items()}
    if blimp is not None:
        counts |= {k: n for k, (_, n) in by_phenomenon(blimp, np.full(len(blimp), 0.5)).items()}
    for kind, count in counts.items():
        rows.append(dict(arm="chance", task=kind, metric="minimal-pair accuracy", score=0.5,
                         examples=count))  # fmt: skip
    for task in tasks:
        labels = task.train.label
        constant = labels.mode()[0] if task.labels else labels.mean()
        predictions = {
            name: np.full(len(of_set), constant) for name, of_set in task.validation.items()
        }
        for metric, (score, count) in score_predictions(task, predictions).items():
            rows.append(dict(arm="majority", task=task.name, metric=metric, score=score,
                             examples=count))  # fmt: skip
    return _table([{"kind": "baseline"} | row for row in rows])
