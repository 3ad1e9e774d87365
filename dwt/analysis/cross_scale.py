"""What do the scales say side by side? One row of figures and one column of verdicts each.

`compare` in params.yaml names the scales; those without results are left out, with the reason.
"""

import pandas as pd

from dwt.analysis.comparisons import claims, claims_in_scores
from dwt.analysis.plots import NOTHING
from dwt.analysis.stats import signed
from dwt.analysis.tables import TablesError, table

COLUMNS = ["scale", "claim", "statement", "paper", "measure", "step", "mean", "low", "high", "n",
           "verdict"]  # fmt: skip


def finished(params):
    """The scales of `compare` that have results, and why the others are left out.

    Returns
    -------
    dict of str to Params
        By scale: the parameters at that scale. Of the declared seeds those that it has run.
    dict of str to str
        By scale: what is missing.
    """
    there, missing = {}, {}
    for name in params.compare:
        try:
            there[name] = _at(name, params)
        except TablesError as fault:
            missing[name] = str(fault)
    return there, missing


def _at(name, params):
    """The parameters at another scale, if all declared arms have results there."""
    file = params.root / "results" / name / "runs.csv"
    if not file.is_file():
        raise TablesError(f"results/{name}/runs.csv is missing; run the study at scale {name}")
    run = set(pd.read_csv(file)["seed"])
    seeds = [seed for seed in params.seeds if seed in run]
    there = params.model_copy(update={"scale": name, "seeds": seeds or params.seeds})
    for kind in ("runs", "curves", "scores"):
        table(kind, there)
    return there


def verdicts(studies) -> pd.DataFrame:
    """Every claim at every scale; then, without a verdict, the same by GLUE mean and BLiMP."""
    frames = []
    for name, params in studies.items():
        judged = claims(params)
        if len(scored := claims_in_scores(params)):
            judged = pd.concat([judged, scored], ignore_index=True)
        frames.append(judged.assign(scale=name).reindex(columns=COLUMNS))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)


def as_markdown(found) -> str:
    """One row a claim, one column a scale: verdict and mean difference with its interval.

    Parameters
    ----------
    found : DataFrame
        From `verdicts`. Rows without a verdict (by scores) make a second table.
    """
    if found.empty:
        return f"{NOTHING}\n"
    losses = found[found["verdict"].notna()]
    text = _table(losses, "nats per masked token", lambda row: row.statement)
    scores = found[found["verdict"].isna()]
    if len(scores):
        text += "\n" + _table(
            scores, "score", lambda row: f"{row.statement}, by {row.measure.partition(' (')[0]}"
        )
    return text


def _table(rows, unit, label):
    labels = [label(row) for row in rows.itertuples()]
    cells = [_cell(row) for row in rows.itertuples()]
    grid = rows.assign(label=labels, cell=cells)
    scales = [*rows["scale"].unique()]
    lines = [f"| claim ({unit}) | {' | '.join(scales)} |", "|---" * (len(scales) + 1) + "|"]
    for name, of_claim in grid.groupby("label", sort=False):
        at = of_claim.set_index("scale")["cell"]
        lines.append(f"| {name} | {' | '.join(at.get(scale, 'not run') for scale in scales)} |")
    return "\n".join(lines) + "\n"


def _cell(row):
    found = signed(row.mean)
    if pd.notna(row.low):
        found += f" ({signed(row.low)} to {signed(row.high)})"
    return found if pd.isna(row.verdict) else f"{row.verdict}, {found}"
