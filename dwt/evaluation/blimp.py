"""Does a model prefer the grammatical sentence? BLiMP: sets of minimal pairs by phenomenon.

Warstadt et al. 2020, *BLiMP: The Benchmark of Linguistic Minimal Pairs for English*. Read from the
hub or from parquet files of the same columns; scored by pseudo-log-likelihood, without fine-tuning.
"""

from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa

COLUMNS = ["UID", "linguistics_term", "sentence_good", "sentence_bad"]
PHENOMENA = (
    "anaphor_agreement", "argument_structure", "binding", "control_raising",
    "determiner_noun_agreement", "ellipsis", "filler_gap_dependency", "irregular_forms",
    "island_effects", "npi_licensing", "quantifiers", "s-selection", "subject_verb_agreement",
)  # fmt: skip


class BlimpError(ValueError):
    """BLiMP cannot be read; the message names what was given and what is allowed."""


def read_blimp(where, *, pairs, root=Path(), name="evaluate.blimp"):
    """The first pairs of every set: the same for every model.

    Parameters
    ----------
    where : str or None
        A parquet file, a folder of them, or the name of a hub dataset (``nyu-mll/blimp``); None
        gives None.
    pairs : int or None
        Of each set, None for all; a set that holds fewer is refused.
    root : path-like
        What a relative path starts from.
    name : str
        What messages call the setting.

    Returns
    -------
    DataFrame or None
        Columns UID (the set), linguistics_term (its phenomenon), sentence_good, sentence_bad;
        sorted by set, within a set in the order of the file.

    Raises
    ------
    BlimpError
        For a place that cannot be read, a column or sentence that is missing, an unknown
        phenomenon, or a set that is in two phenomena or too small.
    """
    if where is None:
        return None
    rows = _read(Path(root), where, name)
    if rows[COLUMNS].isna().any(axis=None) or (rows[COLUMNS] == "").any(axis=None):
        column = next(c for c in COLUMNS if rows[c].isna().any() or (rows[c] == "").any())
        raise BlimpError(f"{name}: {where!r} has rows without {column}; fetch the data again")
    if unknown := set(rows.linguistics_term) - set(PHENOMENA):
        raise BlimpError(
            f"{name}: {where!r} has the unknown linguistics_term {min(unknown)!r}; known are "
            f"{', '.join(PHENOMENA)}"
        )
    of_set = rows.groupby("UID")
    if (found := of_set.linguistics_term.nunique()).max() > 1:
        raise BlimpError(
            f"{name}: {where!r} has the set {found.idxmax()!r} under several phenomena "
            "(linguistics_term); a set belongs to one"
        )
    pairs = pairs or of_set.size().max()
    if (sizes := of_set.size()).min() < pairs:
        raise BlimpError(
            f"{name}: the set {sizes.idxmin()!r} of {where!r} has {sizes.min()} pairs, fewer than "
            f"{pairs} asked for by evaluate.blimp_pairs; lower that"
        )
    return of_set.head(pairs).sort_values("UID", kind="stable", ignore_index=True)[COLUMNS]


def _read(root, where, name):
    """All rows of a file, a folder or a hub dataset."""
    path = root / where
    if path.exists() or path.suffix == ".parquet":
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        if not files:
            raise BlimpError(f"{name}: the folder {where!r} holds no .parquet file")
        return pd.concat([_read_file(file, name) for file in files], ignore_index=True)
    try:
        sets = datasets.get_dataset_config_names(where)
        rows = [datasets.load_dataset(where, one, split="train").to_pandas() for one in sets]
    except Exception as error:  # whatever the hub or the network raises
        raise BlimpError(
            f"{name}: {where!r} is no file or folder here, and as a hub dataset it could not be "
            f"loaded ({type(error).__name__}: {error}). Check the name; without a network give a "
            f"parquet file with the columns {', '.join(COLUMNS)}"
        ) from error
    return pd.concat([_checked(part, where, name) for part in rows], ignore_index=True)


def _read_file(file, name):
    try:
        return _checked(pd.read_parquet(file), file, name)
    except FileNotFoundError:
        raise BlimpError(f"{name}: {file} does not exist (paths start from the project)") from None
    except (OSError, pa.ArrowException) as error:
        raise BlimpError(
            f"{name}: {file} is not a whole parquet file ({error}); fetch it again"
        ) from None


def _checked(rows, where, name):
    if missing := [column for column in COLUMNS if column not in rows]:
        raise BlimpError(
            f"{name}: {where} has no column {', '.join(missing)}; needed are {', '.join(COLUMNS)}"
        )
    return rows[COLUMNS]


def by_phenomenon(blimp, right):
    """Accuracies of the benchmark and of its phenomena, each the mean over its sets.

    Parameters
    ----------
    blimp : DataFrame
        From `read_blimp`.
    right : array of float, [len(blimp)]
        1 where the good sentence was the likelier, 0.5 at a tie.

    Returns
    -------
    dict of str to (float, int)
        Score and number of pairs of "BLiMP" and of each "BLiMP, <phenomenon>".
    """
    sets = (
        blimp.assign(right=right).groupby(["linguistics_term", "UID"]).right.agg(["mean", "size"])
    )
    terms = sets.groupby("linguistics_term").agg({"mean": "mean", "size": "sum"})
    scores = {"BLiMP": (float(sets["mean"].mean()), int(sets["size"].sum()))}
    return scores | {
        f"BLiMP, {term}": (float(score), int(count)) for term, score, count in terms.itertuples()
    }
