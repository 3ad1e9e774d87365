"""The claims of several scales side by side.

`compare` in params.yaml names the scales; those without results are left out, with the reason.
"""

import pandas as pd

from dwt.analysis.claims import claims, claims_in_scores
from dwt.analysis.factor_plots import NO_SCALE
from dwt.analysis.stats import signed
from dwt.analysis.tables import TablesError, table
from dwt.config.schema import Params

COLUMNS = ["scale", "claim", "statement", "paper", "measure", "step", "mean", "low", "high", "n",
           "verdict"]  # fmt: skip


def finished(params: Params) -> tuple[dict[str, Params], dict[str, str]]:
    """The scales of `compare` that have results, and the reason why the others are left out.

    Returns
    -------
    dict of str to Params
        By scale: the parameters at that scale, with those of the declared seeds that it has run.
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
    there = params.model_copy(update={"scale": name})
    file = there.path("results", "tables", "runs.csv")
    if not file.is_file():
        where = file.relative_to(params.root)
        raise TablesError(f"{where} is missing; run the study with `scale: {name}`")
    run = set(pd.read_csv(file)["seed"])
    seeds = [seed for seed in params.seeds if seed in run]
    there = there.model_copy(update={"seeds": seeds or params.seeds})
    for kind in ("runs", "curves", "scores"):
        table(kind, there)
    return there


def claims_by_scale(studies: dict[str, Params]) -> pd.DataFrame:
    """Every claim at every scale; then, without a verdict, the same by GLUE mean and BLiMP."""
    frames = []
    for name, params in studies.items():
        judged = claims(params)
        if len(scored := claims_in_scores(params)):
            judged = pd.concat([judged, scored], ignore_index=True)
        frames.append(judged.assign(scale=name).reindex(columns=COLUMNS))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=COLUMNS)


def as_markdown(compared: pd.DataFrame) -> str:
    """One row per claim, one column per scale: verdict and gain with its interval.

    Parameters
    ----------
    compared : DataFrame
        From `claims_by_scale`. Rows without a verdict (by scores) make a second table.
    """
    if compared.empty:
        return f"{NO_SCALE}\n"
    judged, scored = compared[compared["verdict"].notna()], compared[compared["verdict"].isna()]
    text = _table(judged, "gain in nats per masked token", judged["statement"])
    if len(scored):
        measures = scored["measure"].str.partition(" (")[0]
        text += "\n" + _table(scored, "gain in score", scored["statement"] + ", by " + measures)
    return text


def _table(rows, unit, labels):
    grid = rows.assign(label=labels, cell=[_cell(row) for row in rows.itertuples()])
    scales = [*rows["scale"].unique()]
    lines = [f"| claim ({unit}) | {' | '.join(scales)} |", "|---" * (len(scales) + 1) + "|"]
    for name, of_claim in grid.groupby("label", sort=False):
        at = of_claim.set_index("scale")["cell"]
        lines.append(f"| {name} | {' | '.join(at.get(scale, 'not run') for scale in scales)} |")
    return "\n".join(lines) + "\n"


def _cell(row):
    """Verdict and gain: lower losses and higher scores are gains."""
    scored = pd.isna(row.verdict)
    mean, low, high = (row.mean, row.low, row.high) if scored else (-row.mean, -row.high, -row.low)
    bounds = f" ({signed(low)} to {signed(high)})" if pd.notna(low) else ""
    return f"{'' if scored else row.verdict + ', '}{signed(mean)}{bounds}"
