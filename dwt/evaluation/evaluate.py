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
from dwt.evaluation.metrics import Task, score_predictions
from dwt.evaluation.zero_shot import Pair, blimp_accuracy, cloze_accuracy, pair_scores
from dwt.training.device import set_threads
from dwt.training.models import build_model, load_model

COLUMNS = [
    "kind", "arm", "seed", "step", "finetune_seed", "learning_rate", "epochs", "task", "metric",
    "score", "examples", "train_examples",
]  # fmt: skip
INTEGERS = ["seed", "step", "finetune_seed", "epochs", "examples", "train_examples"]
Pairs = dict[str, list[Pair]]  # by kind
PAIR_ACCURACY = "minimal-pair accuracy"


def load_tasks(settings: dict, corpus: Corpus | None, *, root: Path = Path()) -> list[Task]:
    """The tasks of the section `evaluate`: of held-out text, if there is a corpus, and GLUE's."""
    glue = [name for name in settings["tasks"] if name in GLUE]
    heldout = [name for name in settings["tasks"] if name in HELDOUT_TASKS]
    limits = {key: settings[key] for key in ("examples", "validation")}
    tasks = load_glue(glue, where=settings["glue"], root=root, **limits)
    if corpus is None:
        return tasks
    return make_heldout_tasks(corpus, names=heldout, examples=settings["examples"]) + tasks


def evaluate(
    run: Run, corpus: Corpus, *, pairs: Pairs, tasks: list[Task], settings: dict, train: dict,
    blimp: pd.DataFrame | None = None, weights: str = "trained", device: str | None = None,
) -> pd.DataFrame:  # fmt: skip
    """All scores of one run, as rows of the scores table, in the columns `COLUMNS`.

    step is of pre-training, examples are scored, train_examples fine-tuned on. `pairs`, `tasks` and
    `blimp` are of `minimal_pairs`, `load_tasks` and `read_blimp`, `settings` and `train` the
    sections `evaluate` and `train` of the scale. Every learning rate is combined with every number
    of epochs; ``checkpoints`` scores the weights of the steps in ``train.keep`` too. `weights`
    "random" is the run's initialisation. FileNotFoundError for weights that are missing.
    """
    set_threads(train["threads"])
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    trained, tokenizer = weights == "trained", corpus.tokenizer()
    encoded = [encode(tokenizer, task, length=settings["length"]) for task in tasks]
    names = [task.name for task in tasks]
    models = models_to_score(run, names, settings, train) if trained else [(0, None, names, True)]
    kind, arm = (run.kind, run.arm) if trained else ("baseline", "random")
    per_task = len(settings["learning_rate"]) * len(settings["epochs"]) * settings["seeds"]
    parts = len(pairs) + 1 + (blimp is not None)
    total = sum(zero_shot * parts + len(some) * per_task for *_, some, zero_shot in models)
    progress = Progress(f"evaluate {arm}, seed {run.seed}", total)
    done, rows = itertools.count(1), []
    for step, folder, some, zero_shot in models:
        model = load_model(folder) if trained else build_model(
            run.model, layers=run.layers, vocabulary=corpus.vocabulary,
            max_length=train["length"], seed=run.seed,
        )  # fmt: skip
        chosen = [one for one in encoded if one.task.name in some]
        scores = _fine_tuned(model, chosen, settings, device)
        if zero_shot:
            first = _zero_shot(model, corpus, tokenizer, pairs, blimp, train, device)
            scores = itertools.chain(first, scores)
        for part in scores:  # one kind of pair, or one fine-tuning
            rows += [dict(kind=kind, arm=arm, seed=run.seed, step=step) | row for row in part]
            progress.update(next(done))
    progress.close()
    return _table(rows)


def models_to_score(
    run: Run, names: list[str], settings: dict, train: dict
) -> list[tuple[int, Path, list[str], bool]]:
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


def _zero_shot(model, corpus, tokenizer, pairs, blimp, train, device):
    """Rows of the zero-shot scores, one list for each benchmark."""
    for kind, of_kind in pairs.items():
        score = float(pair_scores(model, tokenizer, of_kind, device=device).mean())
        yield _rows({kind: (score, len(of_kind))}, "task", metric=PAIR_ACCURACY)
    if blimp is not None:
        scores = blimp_accuracy(model, tokenizer, blimp, device=device)
        yield _rows(scores, "task", metric=PAIR_ACCURACY)
    sequences = train["final_sequences"]
    cloze = cloze_accuracy(model, corpus, train=train, sequences=sequences, device=device)
    yield _rows({f"cloze, {name}": cloze[name] for name in cloze}, "task", metric="accuracy")


def _fine_tuned(model, encoded, settings, device):
    """Rows of the fine-tuned scores, one list for each task, setting and seed."""
    grid = itertools.product(settings["learning_rate"], settings["epochs"])
    for one, (rate, epochs), seed in itertools.product(encoded, grid, range(settings["seeds"])):
        setting = dict(learning_rate=rate, epochs=epochs, batch=settings["batch"])
        made = classifier(model, one.task, seed=seed)
        scores = finetune(made, one, settings=setting, seed=seed, device=device)
        keys = dict(task=one.task.name, finetune_seed=seed, train_examples=len(one.train))
        yield _rows(scores, "metric", **keys, **setting)


def _rows(scores, by, **keys):
    """One row for each score of a dict by task or by metric."""
    return [keys | {by: k, "score": score, "examples": n} for k, (score, n) in scores.items()]


def _table(rows):
    """Rows as a scores table; absent values are missing, integers stay integers."""
    return pd.DataFrame(rows).reindex(columns=COLUMNS).astype(dict.fromkeys(INTEGERS, "Int64"))


def trivial_scores(
    pairs: Pairs, tasks: list[Task], blimp: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Baselines without a model: 0.5 on minimal pairs, the commonest label or mean of a task."""
    halves = {kind: (0.5, len(of_kind)) for kind, of_kind in pairs.items()}
    if blimp is not None:
        halves |= by_phenomenon(blimp, np.full(len(blimp), 0.5))
    rows = _rows(halves, "task", arm="chance", metric=PAIR_ACCURACY)
    for task in tasks:
        labels = task.train.label
        constant = labels.mode()[0] if task.labels else labels.mean()
        predictions = {name: np.full(len(part), constant) for name, part in task.validation.items()}
        scores = score_predictions(task, predictions)
        rows += _rows(scores, "metric", arm="majority", task=task.name)
    return _table(rows).assign(kind="baseline")
