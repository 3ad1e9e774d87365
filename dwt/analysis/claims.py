"""The claims of params.yaml beside the measured differences, at one scale and at several."""

from dataclasses import asdict

import pandas as pd

from dwt.analysis import score_means
from dwt.analysis.bootstrap import hierarchical
from dwt.analysis.comparisons import losses_at
from dwt.analysis.compute import at_equal_flops
from dwt.analysis.stats import Paired, difference, flipped, signed, verdict
from dwt.analysis.tables import TablesError, losses, table
from dwt.analysis.wording import markdown_table
from dwt.config.schema import Claim, Params

COLUMNS = ["claim", *Claim.model_fields, "step", *Paired.__dataclass_fields__, "verdict",
           "analysis"]  # fmt: skip
ACROSS = ["scale", "claim", "statement", "paper", "measure", "step", "mean", "low", "high", "n",
          "verdict"]  # fmt: skip
NO_SCALE = "No scale that `compare` names (params.yaml) has results."


def claims(params: Params) -> pd.DataFrame:
    """Every claim whose arms were run at this scale, over all seeds that both arms have.

    The claim's own keys, then `step`, the difference `arm - against` (the fields of `Paired`),
    `verdict`, and the `analysis` that shows it.
    """
    runs, curves, rows = table("runs", params), table("curves", params), []
    baselines = at_equal_flops(params, runs, "forward").dropna()
    baselines = baselines.pivot(index="seed", columns="arm", values="difference")
    for name, claim in params.claims.items():
        both = curves[curves["arm"].isin([claim.arm, claim.against])]
        step = runs.loc[runs["arm"] == claim.arm, "steps"].max()
        if claim.measure == "equal_flops_loss":
            wide = baselines.assign(**{claim.against: 0.0})
        elif claim.at < 1:
            if both["arm"].nunique() < 2:
                continue
            wide, step = losses_at(both, claim.at)
        else:
            wide = losses(runs, claim.measure)
        if wide.reindex(columns=[claim.arm, claim.against]).dropna().empty:
            continue
        estimate = difference(wide, claim.arm, claim.against, level=params.verdict.level)
        rows.append({
            "claim": name, **claim.model_dump(), "step": int(step), **asdict(estimate),
            "verdict": verdict(estimate, claim.expect), "analysis": analysis_of(params, claim),
        })  # fmt: skip
    return pd.DataFrame(rows, columns=COLUMNS)


def claims_not_run(params: Params) -> list[str]:
    """Statements of the claims that `claims` leaves out at this scale."""
    judged = {*claims(params)["claim"]}
    return [claim.statement for name, claim in params.claims.items() if name not in judged]


def analysis_of(params: Params, claim: Claim) -> str:
    """The first analysis that names both arms of a claim, else one of them beside the study's arms.

    "summary" if there is none.
    """
    if claim.measure == "equal_flops_loss":
        return "compute"
    arms = {claim.arm, claim.against}
    named = {name: {*arms} for name, arms in params.analyses.items() if name != "compute"}
    both = [name for name, compared in named.items() if arms <= compared]
    one = [name for name, compared in named.items()
           if arms & compared and arms <= compared.union(params.names())]  # fmt: skip
    return [*both, *one, "summary"][0]


def claims_in_scores(params: Params) -> pd.DataFrame:
    """The comparisons of the claims at the last step by GLUE mean and BLiMP, where scored.

    Without verdicts, since the rule of params.yaml is for losses; positive where `arm` is better.
    Intervals are those of `dwt.analysis.bootstrap.hierarchical`, over seeds and fine-tuning seeds;
    tasks are fixed. Columns claim, statement, paper, arm, against, measure, mean, low, high, n.
    """
    columns = ["claim", "statement", "paper", "arm", "against", "measure"]
    columns += ["mean", "low", "high", "n"]
    scores, rows = table("scores", params), []
    rows_of = {score_means.GLUE_MEAN: score_means.glue_trials(scores),
               score_means.BLIMP: scores[scores["task"] == score_means.BLIMP]}  # fmt: skip
    shown = score_means.main_measures(scores).drop_duplicates(["task", "metric"])
    for task, metric in shown.loc[shown["task"].isin([*rows_of]), ["task", "metric"]].values:
        by_arm = dict(list(rows_of[task].groupby("arm")))
        for name, claim in params.claims.items():
            final = claim.measure == "heldout_loss" and claim.at == 1
            if final and {claim.arm, claim.against} <= by_arm.keys():
                arms = by_arm[claim.arm], by_arm[claim.against]
                estimate = hierarchical(*arms, level=params.verdict.level)
                measure = {"claim": name, "measure": f"{task} ({metric})"}
                rows.append(claim.model_dump() | asdict(estimate) | measure)
    return pd.DataFrame(rows, columns=columns)


def finished(params: Params) -> tuple[dict[str, Params], dict[str, str]]:
    """The scales of `compare` whose tables have runs of `scratch`, and why others are left out.

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
        try:
            run = {*table("runs", at)["seed"]}
            seeds = [seed for seed in params.seeds if seed in run] or params.seeds
            there[name] = at.model_copy(update={"seeds": seeds})
            for kind in ("curves", "scores"):
                table(kind, there[name])
        except TablesError as fault:
            missing[name] = str(fault)
            there.pop(name, None)
    return there, missing


def claims_by_scale(studies: dict[str, Params]) -> pd.DataFrame:
    """Every claim at every scale; then, without a verdict, the same by GLUE mean and BLiMP."""
    frames = []
    for name, params in studies.items():
        judged = claims(params)
        if len(scored := claims_in_scores(params)):
            judged = pd.concat([judged, scored], ignore_index=True)
        frames.append(judged.assign(scale=name).reindex(columns=ACROSS))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=ACROSS)


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
