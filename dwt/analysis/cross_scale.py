"""The claims of several scales side by side.

`compare` in params.yaml names the scales; those without results are left out, with the reason.
"""

import pandas as pd

from dwt.analysis.claims import claims, claims_in_scores
from dwt.analysis.factor_plots import NO_SCALE
from dwt.analysis.stats import flipped, signed
from dwt.analysis.tables import TablesError, table
from dwt.analysis.wording import markdown_table
from dwt.config.schema import Params

COLUMNS = ["scale", "claim", "statement", "paper", "measure", "step", "mean", "low", "high", "n",
           "verdict"]  # fmt: skip


def finished(params: Params) -> tuple[dict[str, Params], dict[str, str]]:
    """The scales of `compare` with results of all declared arms, and why others are left out.

    By scale: the parameters, with those of the declared seeds that it has run; what is missing.
    """
    there, missing = {}, {}
    for name in params.compare:
        at = params.model_copy(update={"scale": name})
        file = at.path("results", "tables", "runs.csv")
        if not file.is_file():
            where = file.relative_to(params.root)
            missing[name] = f"{where} is missing; run the study with `scale: {name}`"
            continue
        run = {*pd.read_csv(file)["seed"]}
        seeds = [seed for seed in params.seeds if seed in run] or params.seeds
        there[name] = at.model_copy(update={"seeds": seeds})
        try:
            for kind in ("runs", "curves", "scores"):
                table(kind, there[name])
        except TablesError as fault:
            missing[name] = str(fault)
            del there[name]
    return there, missing


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
    """`claims_by_scale` with a row per claim and a column per scale: verdict and gain.

    Rows without a verdict (by scores) make a second table.
    """
    if compared.empty:
        return f"{NO_SCALE}\n"
    judged, scored = compared[compared["verdict"].notna()], compared[compared["verdict"].isna()]
    verdicts = judged["verdict"] + ", "
    text = _table(flipped(judged), "gain in nats per masked token", judged["statement"], verdicts)
    if len(scored):
        labels = scored["statement"] + ", by " + scored["measure"].str.partition(" (")[0]
        text += "\n" + _table(scored, "gain in score", labels, "")
    return text


def _table(gains, unit, labels, verdicts):
    spread = [f" ({signed(row.low)} to {signed(row.high)})" if pd.notna(row.low) else ""
              for row in gains.itertuples()]  # fmt: skip
    gains = gains.assign(label=labels, cell=verdicts + gains["mean"].map(signed) + spread)
    by = dict(index="label", columns="scale", values="cell")
    grid = gains.pivot_table(**by, aggfunc="first", sort=False).fillna("not run").reset_index()
    return markdown_table([f"claim ({unit})", *grid.columns[1:]], grid.to_numpy()) + "\n"
