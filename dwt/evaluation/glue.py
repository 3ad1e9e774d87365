"""GLUE's examples from the hub or from parquet files, and a note on how much of GLUE was used."""

from pathlib import Path

import numpy as np
import pandas as pd

from dwt.config.tasks import GLUE, GlueTask
from dwt.evaluation.sources import BenchmarkError, check_columns, read_hub, read_parquet
from dwt.evaluation.tasks import Task

STSB_MAX = 5.0  # STS-B's scores go from 0 to 5


def load_glue(
    names: list[str], *, where: str, examples: int | None = None, validation: int | None = None,
    root: Path = Path(), seed: int = 0,
) -> list[Task]:  # fmt: skip
    """Load tasks of GLUE, complete or sampled.

    Parameters
    ----------
    names : list of str
        Keys of `dwt.config.tasks.GLUE`.
    where : str
        A folder with TASK/train.parquet and TASK/validation.parquet (MNLI: validation_matched,
        validation_mismatched) in the columns and label codes of the hub's dataset, or the name of
        a hub dataset (``nyu-mll/glue``).
    examples, validation : int, optional
        Limits on the rows of each training and each validation set, sampled at random, the same
        rows for every model. By default all rows.
    root : Path
        Base of a relative folder.
    seed : int
        Of the sampling.

    Raises
    ------
    BenchmarkError
        For a missing task, a truncated file, a missing column or an invalid label.
    """
    tasks = []
    for name in names:
        facts, rng = GLUE[name], np.random.default_rng([seed, [*GLUE].index(name)])
        train = _sample(_rows(root, where, name, "train"), examples, rng)
        splits = {part: f"validation_{part}" if part else "validation" for part in facts.validation}
        sets = {
            part: _sample(_rows(root, where, name, split), validation, rng)
            for part, split in splits.items()
        }
        tasks.append(Task(name, facts.metrics, facts.labels, train, sets))
    return tasks


def _sample(rows, limit, rng):
    """At most `limit` rows, in the order of the file."""
    if limit is None or limit >= len(rows):
        return rows
    return rows.iloc[np.sort(rng.choice(len(rows), limit, replace=False))].reset_index(drop=True)


def _rows(root, where, name, split):
    """One split, checked, as columns text, pair, label."""
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
    texts = [rows[column].astype(str) for column in task.columns]
    return pd.DataFrame({
        "text": texts[0], "pair": texts[1] if len(texts) > 1 else None,
        "label": rows["label"].astype("int64" if task.labels else "float64"),
    }).reset_index(drop=True)  # fmt: skip


def _check_labels(labels: pd.Series, task: GlueTask, source: str) -> None:
    """Refuse labels that are not the task's: other codes, a test split's -1, another range."""
    codes = ", ".join(f"{code} ({label})" for code, label in enumerate(task.labels))
    allowed = f"allowed are {codes or f'scores from 0 to {STSB_MAX:g}'}"
    wrong = f"{source}: column label has"
    if not pd.api.types.is_numeric_dtype(labels):
        raise BenchmarkError(f"{wrong} {labels.iloc[0]!r}; {allowed}")
    if not task.labels:
        outside = labels[~labels.between(0, STSB_MAX)]
        if len(outside):
            raise BenchmarkError(f"{wrong} {outside.iloc[0]}; {allowed}")
        if labels.max() <= STSB_MAX / 5:  # scaled to [0, 1]
            raise BenchmarkError(f"{wrong} nothing above {labels.max():g}; {allowed}")
        return
    present = {*labels.unique()}
    if present != {*range(len(task.labels))}:
        hidden = ": -1 hides the labels of a test split" if -1 in present else ""
        shown_codes = ", ".join(f"{code:g}" for code in sorted(present)[:10])
        raise BenchmarkError(f"{wrong} {shown_codes}; {allowed}, each at least once{hidden}")


def glue_note(scores: pd.DataFrame) -> str:
    """One sentence on which GLUE tasks a table of scores has, and which of them are reduced.

    Parameters
    ----------
    scores : DataFrame
        As `dwt.analysis.tables.table` returns it: columns task, metric, examples, train_examples.

    Returns
    -------
    str
        Tasks with reduced training or validation sets, and tasks left out. Empty if the table has
        no GLUE task.
    """
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
            notes["reduced training sets"].append(
                f"{task.title} ({used.max():,} of {task.train:,})"
            )
        for part, official in task.validation.items():
            of_set = of_task[of_task["metric"].str.endswith(f"({part})")] if part else of_task
            if (used := of_set["examples"].max()) < official:
                shown = f"{task.title} {part}".strip()
                notes["reduced validation sets"].append(f"{shown} ({used:,} of {official:,})")
    text = "; ".join(f"{what}: {', '.join(which)}" for what, which in notes.items() if which)
    return f"GLUE: {text or 'all tasks, complete'}."
