"""Where do GLUE's examples come from, and are they sound? The hub, or parquet files."""

from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa

from dwt.evaluation.glue import GLUE, MOST
from dwt.evaluation.heldout_tasks import TASKS, Task, finetune_tasks


class GlueError(ValueError):
    """GLUE cannot be read or is not what it should be: names the file, and what is allowed."""


def asked_tasks(settings, corpus, *, root=Path()):
    """The tasks that the section `evaluate` names: those of held-out text, then GLUE's.

    Parameters
    ----------
    settings : dict
        ``tasks``, ``examples`` and, for GLUE, ``glue`` and ``validation``.
    corpus : dwt.data.corpus.Corpus or None
        None leaves out the tasks of held-out text.
    root : path-like
        What relative paths start from.

    Returns
    -------
    list of dwt.evaluation.heldout_tasks.Task

    Raises
    ------
    GlueError, ValueError
        For any task that cannot be had, before anything is fine-tuned.
    """
    names, examples = settings["tasks"], settings["examples"]
    glue = glue_tasks(
        [name for name in names if name not in TASKS], where=settings["glue"], examples=examples,
        validation=settings["validation"], root=root,
    )  # fmt: skip
    own = [name for name in names if name in TASKS]
    return (finetune_tasks(corpus, names=own, examples=examples) if corpus and own else []) + glue


def glue_tasks(names, *, where, examples=None, validation=None, root=Path(), seed=0):
    """Tasks of GLUE, all rows or a draw of them.

    Parameters
    ----------
    names : sequence of str
        Keys of `dwt.evaluation.glue.GLUE`.
    where : str
        A folder with TASK/train.parquet and TASK/validation.parquet (MNLI: validation_matched,
        validation_mismatched) in the columns and label codes of the hub's dataset, or the name of
        a hub dataset (``nyu-mll/glue``).
    examples, validation : int, optional
        At most so many rows of each train and of each validation set, drawn at random, the same
        for every model; by default all.
    root : path-like
        What a relative folder starts from.
    seed : int
        Of the draw.

    Returns
    -------
    list of dwt.evaluation.heldout_tasks.Task

    Raises
    ------
    GlueError
        For an unknown or absent task, a file cut short, a missing column, a label that is none of
        the task's: with file, column and what is allowed.
    """
    if unknown := [name for name in names if name not in GLUE]:
        raise GlueError(
            f"evaluate.tasks: {unknown[0]!r} is not a task; choose from {', '.join(GLUE)}"
        )
    tasks = []
    for name in names:
        task, rng = GLUE[name], np.random.default_rng([seed, [*GLUE].index(name)])
        train = _drawn(_rows(Path(root), where, name, "train"), examples, rng)
        splits = {part: f"validation_{part}" if part else "validation" for part in task.validation}
        scored = {
            part: _drawn(_rows(Path(root), where, name, split), validation, rng)
            for part, split in splits.items()
        }
        tasks.append(Task(name, task.metrics, task.labels, train, scored))
    return tasks


def _drawn(rows, most, rng):
    """At most so many rows, in the order of the file."""
    if most is None or most >= len(rows):
        return rows
    return rows.iloc[np.sort(rng.choice(len(rows), most, replace=False))].reset_index(drop=True)


def _rows(root, where, name, split):
    """One split as columns text, pair, label; refused if anything in it is not as it should be."""
    local, task = (root / where).is_dir(), GLUE[name]
    shown = f"{where}/{name}/{split}.parquet" if local else f"{where}, {name}, {split}"
    if local:
        rows = _read_parquet(root / where, name, split, shown)
    else:
        rows = _read_hub(where, name, split)
    needed = [*task.texts, "label"]
    if absent := [column for column in needed if column not in rows]:
        raise GlueError(
            f"{shown}: no column {', '.join(absent)}; {task.title} has {', '.join(needed)}, "
            f"found {', '.join(rows)}"
        )
    if rows.empty:
        raise GlueError(f"{shown}: no rows; fetch it again")
    for column in needed:
        if missing := int(rows[column].isna().sum()):
            raise GlueError(f"{shown}: column {column}: {missing} of {len(rows)} rows are empty")
    texts = [rows[column].astype(str) for column in task.texts]
    _check_labels(rows["label"], task, shown)
    return pd.DataFrame({
        "text": texts[0], "pair": texts[1] if len(texts) > 1 else None,
        "label": rows["label"].astype("int64" if task.labels else "float64"),
    }).reset_index(drop=True)  # fmt: skip


def _read_parquet(folder, name, split, shown):
    file = folder / name / f"{split}.parquet"
    if not file.is_file():
        whole = [n for n in GLUE if (folder / n / "train.parquet").is_file()]
        raise GlueError(
            f"evaluate.tasks: '{name}' needs {shown}, which is not there; with a train.parquet: "
            f"{', '.join(whole) or 'none'}. Add the file, leave the task out, or name a hub "
            "dataset under evaluate.glue (params.yaml)"
        )
    try:
        return pd.read_parquet(file)
    except (OSError, pa.ArrowException) as error:
        raise GlueError(f"{shown} is not a whole parquet file ({error}); fetch it again") from None


def _read_hub(where, name, split):
    try:
        return datasets.load_dataset(where, name, split=split).to_pandas()
    except Exception as error:  # whatever the hub or the network raises
        raise GlueError(
            f"evaluate.glue: {where!r} is no folder here, and as a hub dataset its {name}, {split} "
            f"could not be loaded ({type(error).__name__}: {error}). Check the name; without a "
            "network give a folder of TASK/train.parquet and TASK/validation.parquet"
        ) from error


def _check_labels(labels, task, shown):
    """Refuse labels that are not the task's own: other codes, a test split's -1, another range."""
    wrong = f"{shown}: column label: "
    if not pd.api.types.is_numeric_dtype(labels):
        raise GlueError(f"{wrong}found {labels.iloc[0]!r}; allowed are {_allowed(task)}")
    if not task.labels:
        outside = labels[~labels.between(0, MOST)]
        if len(outside) or labels.max() <= MOST / 5:
            found = outside.iloc[0] if len(outside) else f"nothing above {labels.max():g}"
            raise GlueError(f"{wrong}found {found}; allowed are {_allowed(task)}")
        return
    found, allowed = {*labels.unique()}, {*range(len(task.labels))}
    if found != allowed:
        hidden = ": -1 hides the labels of a test split" if -1 in found else ""
        codes = ", ".join(f"{code:g}" for code in sorted(found)[:10])
        raise GlueError(f"{wrong}found {codes}; needed are {_allowed(task)}{hidden}")


def _allowed(task):
    if not task.labels:
        return f"scores from 0 to {MOST:g}"
    return ", ".join(f"{code} ({label})" for code, label in enumerate(task.labels))
