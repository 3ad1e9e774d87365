"""BLiMP (Warstadt et al. 2020): minimal pairs by linguistic phenomenon, from hub or files."""

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
    """The first `pairs` (None: all) of every set, in the columns `COLUMNS`, sorted by set.

    `where` is a parquet file or a folder of them, relative to `root`, or a hub dataset (or None).
    """
    if where is None:
        return None
    path, setting = root / where, "evaluate.blimp"
    if path.exists() or path.suffix == ".parquet":
        files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
        if not files:
            raise BenchmarkError(f"{setting}: the folder {where!r} has no .parquet file")
        rows = pd.concat([read_parquet(file, setting) for file in files], ignore_index=True)
    else:
        local = f"a parquet file with the columns {', '.join(COLUMNS)}"
        rows = read_hub(where, None, "train", setting, local)
    rows = check_columns(rows.replace("", None), COLUMNS, f"{setting}: {where}")
    if unknown := set(rows.linguistics_term) - set(PHENOMENA):
        raise BenchmarkError(
            f"{setting}: {where!r} has the unknown linguistics_term {min(unknown)!r}; known are "
            f"{', '.join(PHENOMENA)}"
        )
    of_set = rows.groupby("UID")
    if (phenomena := of_set.linguistics_term.nunique()).max() > 1:
        raise BenchmarkError(
            f"{setting}: {where!r} has the set {phenomena.idxmax()!r} under several phenomena "
            "(linguistics_term); a set must belong to one"
        )
    sizes = of_set.size()
    pairs = pairs or sizes.max()
    if sizes.min() < pairs:
        raise BenchmarkError(
            f"evaluate.blimp_pairs: {pairs} is more than the {sizes.min()} pairs of the set "
            f"{sizes.idxmin()!r} of {where!r}; choose at most {sizes.min()}"
        )
    return of_set.head(pairs).sort_values("UID", kind="stable", ignore_index=True)


def by_phenomenon(blimp: pd.DataFrame, correct: np.ndarray) -> dict[str, tuple[float, int]]:
    """Accuracy (a mean over sets) and pairs of "BLiMP" and of each "BLiMP, <phenomenon>"."""
    rows = blimp.assign(correct=correct)
    sets = rows.groupby(["linguistics_term", "UID"]).correct.agg(["mean", "size"])
    terms = sets.groupby("linguistics_term").agg({"mean": "mean", "size": "sum"})
    terms = terms.rename(index="BLiMP, {}".format)
    scores = {"BLiMP": (float(sets["mean"].mean()), int(sets["size"].sum()))}
    return scores | {name: (float(score), int(pairs)) for name, score, pairs in terms.itertuples()}
