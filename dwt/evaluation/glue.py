"""Loads the tasks that `dwt.config.tasks.GLUE` lists, from the hub or from parquet files.

`glue_note` says how much of GLUE was used.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from dwt.config.tasks import GLUE
from dwt.evaluation.metrics import Task
from dwt.evaluation.sources import BenchmarkError, check_columns, read_hub, read_parquet

STSB_MAX = 5.0  # STS-B's scores go from 0 to 5


def load_glue(
    names: list[str], *, where: str, examples: int | None = None, validation: int | None = None,
    root: Path = Path(), seed: int = 0,
) -> list[Task]:  # fmt: skip
    """Load tasks of GLUE, at most `examples` and `validation` rows of each set.

    `where` is a hub dataset (nyu-mll/glue) or a folder, relative to `root`, with TASK/train.parquet
    and TASK/validation.parquet (MNLI: validation_matched, validation_mismatched) in its columns.
    """
    tasks = []
    for name in names:
        task, rng = GLUE[name], np.random.default_rng([seed, [*GLUE].index(name)])
        rows = partial(_rows, root, where, name, rng)
        train = rows("train", examples)
        sets = {n: rows(f"validation_{n}".removesuffix("_"), validation) for n in task.validation}
        tasks.append(Task(name, task.metrics, task.labels, train, sets))
    return tasks


def _rows(root, where, name, rng, split, limit):
    """At most `limit` rows of one split, in its order, checked, as columns text, pair, label."""
    task, file = GLUE[name], root / where / name / f"{split}.parquet"
    if (root / where).is_dir():
        source = f"{where}/{name}/{split}.parquet"
        if not file.is_file():
            present = [n for n in GLUE if (root / where / n / "train.parquet").is_file()]
            raise BenchmarkError(
                f"evaluate.tasks: '{name}' needs {source}, which does not exist; tasks with a "
                f"train.parquet: {', '.join(present) or 'none'}. Add the file, remove the task, or "
                "name a hub dataset under evaluate.glue (params.yaml)"
            )
        rows = read_parquet(file, "evaluate.glue")
    else:
        source, local = f"{where}, {name}, {split}", "a folder of TASK/train.parquet and so on"
        rows = read_hub(where, name, split, "evaluate.glue", local)
    rows = check_columns(rows, [*task.columns, "label"], source)
    _check_labels(rows["label"], task, source)
    rows = rows.astype({"label": "int64" if task.labels else "float64"}).reset_index(drop=True)
    if limit is not None and limit < len(rows):
        rows = rows.sample(limit, random_state=rng).sort_index().reset_index(drop=True)
    text, *pair = (rows[column].astype(str) for column in task.columns)
    return pd.DataFrame({"text": text, "pair": pair[0] if pair else None, "label": rows["label"]})


def _check_labels(labels, task, source):
    """Refuse labels that are not the task's: other codes, a test split's -1, another range."""
    codes = ", ".join(f"{code} ({label})" for code, label in enumerate(task.labels))
    allowed = f"allowed are {codes or f'scores from 0 to {STSB_MAX:g}'}"
    wrong = f"{source}: column label has"
    if not pd.api.types.is_numeric_dtype(labels):
        raise BenchmarkError(f"{wrong} {labels.iloc[0]!r}; {allowed}")
    present = sorted({*labels})
    if task.labels and present != [*range(len(task.labels))]:
        hidden = ": -1 hides the labels of a test split" if -1 in present else ""
        codes = ", ".join(f"{code:g}" for code in present[:10])
        raise BenchmarkError(f"{wrong} {codes}; {allowed}, each at least once{hidden}")
    if not task.labels and not labels.between(0, STSB_MAX).all():
        raise BenchmarkError(f"{wrong} {labels[~labels.between(0, STSB_MAX)].iloc[0]}; {allowed}")
    if not task.labels and labels.max() <= STSB_MAX / 5:  # scaled to [0, 1]
        raise BenchmarkError(f"{wrong} nothing above {labels.max():g}; {allowed}")


def glue_note(scores: pd.DataFrame) -> str:
    """One sentence on the GLUE tasks of a table of scores: which are reduced, which left out."""
    rows = scores[scores["task"].isin([*GLUE])]
    if rows.empty:
        return ""
    notes = {"reduced training sets": [], "reduced validation sets": [], "left out": []}
    for name, task in GLUE.items():
        of_task = rows[rows["task"] == name]
        if of_task.empty:
            notes["left out"].append(task.title)
            continue
        if (used := of_task["train_examples"].dropna()).size and used.max() < task.train:
            counts = f"{used.max():,} of {task.train:,}"
            notes["reduced training sets"].append(f"{task.title} ({counts})")
        for part, official in task.validation.items():
            of_set = of_task[of_task["metric"].str.endswith(f"({part})")] if part else of_task
            if (used := of_set["examples"].max()) < official:
                shown = f"{task.title} {part}".strip()
                notes["reduced validation sets"].append(f"{shown} ({used:,} of {official:,})")
    text = "; ".join(f"{what}: {', '.join(which)}" for what, which in notes.items() if which)
    return f"GLUE: {text or 'all tasks, complete'}."
