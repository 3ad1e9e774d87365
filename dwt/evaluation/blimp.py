"""BLiMP: sets of minimal pairs by linguistic phenomenon, from the hub or from parquet files.

Warstadt et al. 2020, *BLiMP: The Benchmark of Linguistic Minimal Pairs for English*.
`dwt.evaluation.zero_shot.blimp_accuracy` scores a model on it.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from dwt.evaluation.sources import BenchmarkError, check_columns, read_hub, read_parquet

COLUMNS = ["UID", "linguistics_term", "sentence_good", "sentence_bad"]
PHENOMENA = (
    "anaphor_agreement", "argument_structure", "binding", "control_raising",
    "determiner_noun_agreement", "ellipsis", "filler_gap_dependency", "irregular_forms",
    "island_effects", "npi_licensing", "quantifiers", "s-selection", "subject_verb_agreement",
)  # fmt: skip


def read_blimp(where: str | None, *, pairs: int | None, root: Path = Path()) -> pd.DataFrame | None:
    """Read the first pairs of every set, the same for every model.

    Parameters
    ----------
    where : str or None
        A parquet file, a folder of them, or the name of a hub dataset (``nyu-mll/blimp``). None
        returns None.
    pairs : int or None
        Pairs of each set; None reads all.
    root : Path
        Base of a relative path.

    Returns
    -------
    DataFrame or None
        Columns UID (the set), linguistics_term (its phenomenon), sentence_good, sentence_bad;
        sorted by set, within a set in the order of the file.

    Raises
    ------
    BenchmarkError
        For an unreadable source, a missing column or sentence, an unknown phenomenon, or a set
        that belongs to two phenomena or has fewer than `pairs` pairs.
    """
    if where is None:
        return None
    rows = check_columns(_read(root, where).replace("", None), COLUMNS, f"evaluate.blimp: {where}")
    if unknown := set(rows.linguistics_term) - set(PHENOMENA):
        raise BenchmarkError(
            f"evaluate.blimp: {where!r} has the unknown linguistics_term {min(unknown)!r}; known "
            f"are {', '.join(PHENOMENA)}"
        )
    of_set = rows.groupby("UID")
    if (phenomena := of_set.linguistics_term.nunique()).max() > 1:
        raise BenchmarkError(
            f"evaluate.blimp: {where!r} has the set {phenomena.idxmax()!r} under several phenomena "
            "(linguistics_term); a set must belong to one"
        )
    pairs = pairs or of_set.size().max()
    if (sizes := of_set.size()).min() < pairs:
        raise BenchmarkError(
            f"evaluate.blimp_pairs: {pairs} is more than the {sizes.min()} pairs of the set "
            f"{sizes.idxmin()!r} of {where!r}; choose at most {sizes.min()}"
        )
    return of_set.head(pairs).sort_values("UID", kind="stable", ignore_index=True)[COLUMNS]


def _read(root, where):
    """All rows of a file, a folder or a hub dataset."""
    path, setting = root / where, "evaluate.blimp"
    if path.exists() or path.suffix == ".parquet":
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        if not files:
            raise BenchmarkError(f"{setting}: the folder {where!r} has no .parquet file")
        return pd.concat([read_parquet(file, setting) for file in files], ignore_index=True)
    local = f"a parquet file with the columns {', '.join(COLUMNS)}"
    return read_hub(where, None, "train", setting, local)


def by_phenomenon(blimp: pd.DataFrame, correct: np.ndarray) -> dict[str, tuple[float, int]]:
    """Accuracy of the benchmark and of its phenomena, each the mean over its sets.

    Parameters
    ----------
    blimp : DataFrame
        From `read_blimp`.
    correct : array of float, [len(blimp)]
        From `dwt.evaluation.zero_shot.pair_scores`.

    Returns
    -------
    dict of str to (float, int)
        Score and number of pairs of "BLiMP" and of each "BLiMP, <phenomenon>".
    """
    rows = blimp.assign(correct=correct)
    sets = rows.groupby(["linguistics_term", "UID"]).correct.agg(["mean", "size"])
    terms = sets.groupby("linguistics_term").agg({"mean": "mean", "size": "sum"})
    scores = {"BLiMP": (float(sets["mean"].mean()), int(sets["size"].sum()))}
    return scores | {
        f"BLiMP, {term}": (float(score), int(count)) for term, score, count in terms.itertuples()
    }
