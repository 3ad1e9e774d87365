"""The factorial design, soft weight x start: main effects and interactions, seed by seed.

Every effect is one contrast of held-out losses per seed, over the seeds that have all of its cells,
with a t-interval over seeds. Effects are gains: positive where the factor lowers the loss.
"""

from typing import NamedTuple

import pandas as pd

from dwt.analysis.comparisons import gain
from dwt.analysis.stats import Paired, as_table, paired
from dwt.analysis.tables import TablesError, losses, table
from dwt.config.params import resolve
from dwt.config.schema import Params

NO_KD = "weight 0"


class TwoByTwo(NamedTuple):
    """The gain of the soft loss from either start, and how the two differ."""

    corners: dict[tuple[bool, bool], str]  # (remapped, soft loss) -> arm
    random: Paired
    remapped: Paired
    interaction: Paired  # remapped - random
    start: Paired  # gain of remapping, both with the soft loss


def two_by_two(runs: pd.DataFrame, arms: list[str], *, level: float = 0.95) -> TwoByTwo:
    """The 2 x 2 of start and soft loss; a TablesError if `arms` do not fill each corner once."""
    rows = runs[runs["arm"].isin(arms)].drop_duplicates("arm")
    soft = rows["teacher"].notna() & (rows["soft_weight"] != "0.0")
    corners = dict(zip(zip(rows["remap"].notna(), soft, strict=True), rows["arm"], strict=True))
    if len(corners) < 4 or len(rows) != 4:
        raise TablesError(
            "analyses.parameter-remapping: needs four arms, remapped or not times with or without "
            f"the soft loss; found {', '.join(rows['arm'])} of {', '.join(arms)} (params.yaml)"
        )
    loss = losses(runs[runs["arm"].isin(arms)])
    random, remapped = (
        gain(loss, corners[start, True], corners[start, False], level=level)
        for start in (False, True)
    )
    start = gain(loss, corners[True, True], corners[False, True], level=level)
    cells = (corners[start, soft] for start in (True, False) for soft in (True, False))
    return TwoByTwo(corners, random, remapped, interaction(loss, *cells, level=level), start)


def interaction(loss, both, first, second, neither, *, level: float = 0.95) -> Paired:
    """By how much the gain of `both` over `first` exceeds that of `second` over `neither`.

    All four are columns of `loss`, [seeds, cells].
    """
    cells = loss[[both, first, second, neither]].dropna()
    return paired(cells[first] - cells[both] - (cells[neither] - cells[second]), level=level)


def weight_label(weight: float | dict) -> str:
    """A soft weight as text: "weight 4", "weight 4 to 1"."""
    if isinstance(weight, dict):
        return f"weight {weight['from']:g} to {weight['to']:g}"
    return f"weight {weight:g}"


def factorial_table(params: Params) -> pd.DataFrame:
    """One row per cell and seed: teacher, weight, start, arm, seed, heldout_loss.

    Of the teachers whose students start both at random and remapped. The random start without the
    soft loss is `scratch`, whichever the teacher.
    """
    names = (*params.arms, *params.analyses["factorial"])
    students = [resolve(name, params.seeds[0], params) for name in names]
    teachers = dict.fromkeys(run.teacher for run in students)
    rows = [(teacher, NO_KD, "random", "scratch") for teacher in teachers]
    for run in students:
        start = "remapped" if run.remap else "random"
        rows.append((run.teacher, weight_label(run.soft_weight), start, run.arm))
    cells = pd.DataFrame(rows, columns=["teacher", "weight", "start", "arm"])
    cells = cells.merge(table("runs", params)[["arm", "seed", "heldout_loss"]], on="arm")
    return cells[cells.groupby("teacher")["start"].transform("nunique") == 2]


def effects(rows: pd.DataFrame, *, level: float = 0.95) -> pd.DataFrame:
    """Simple effects, main effects and interactions for each teacher of `factorial_table`.

    Every effect is against no soft loss or a random start: a simple one at that level of the other
    factor, a main one averaged over the other factor. An interaction is by how much the gain of a
    weight is larger from the remapped start. Columns teacher, term ("weight 4 (random)",
    "weight 4", "weight 4 x remapped"), mean, low, high, n, detectable, p.
    """
    measured = []
    for teacher, cells in rows.groupby("teacher", sort=False):
        loss = cells.pivot(index="seed", columns=["weight", "start"], values="heldout_loss")
        complete = loss.dropna().T
        by_weight, by_start = (complete.groupby(key).mean().T for key in ("weight", "start"))
        weights = [weight for weight in by_weight if weight != NO_KD]
        base = NO_KD, "random"
        pairs = {f"{weight} (random)": [(weight, "random"), base] for weight in weights}
        pairs[f"remapped ({NO_KD})"] = [(NO_KD, "remapped"), base]
        terms = {term: gain(loss, *pair, level=level) for term, pair in pairs.items()
                 if {*pair} <= {*loss}}  # fmt: skip
        terms |= {weight: gain(by_weight, weight, NO_KD, level=level) for weight in weights}
        terms["remapped"] = gain(by_start, "remapped", "random", level=level)
        for weight in weights:
            cells = [(w, s) for s in ("remapped", "random") for w in (weight, NO_KD)]
            if {*cells} <= {*loss}:
                terms[f"{weight} x remapped"] = interaction(loss, *cells, level=level)
        measured += [((teacher, term), effect) for term, effect in terms.items()]
    return as_table(measured, "teacher", "term")
