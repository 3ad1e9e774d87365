"""The claims of params.yaml beside the measured differences, each with its verdict."""

from dataclasses import asdict

import pandas as pd

from dwt.analysis import score_means
from dwt.analysis.bootstrap import hierarchical
from dwt.analysis.comparisons import losses_at
from dwt.analysis.compute import at_equal_flops
from dwt.analysis.stats import Paired, difference, verdict
from dwt.analysis.tables import losses, table
from dwt.config.schema import Claim, Params

COLUMNS = ["claim", *Claim.model_fields, "step", *Paired.__dataclass_fields__, "verdict",
           "analysis"]  # fmt: skip


def claims(params: Params) -> pd.DataFrame:
    """Every claim whose arms were run at this scale, over all seeds that both arms have.

    The claim's own keys, then `step`, the difference `arm - against` (the fields of `Paired`),
    `verdict`, and the `analysis` that shows it.
    """
    runs, curves, rows = table("runs", params), table("curves", params), []
    rivals = at_equal_flops(params, runs, "forward").dropna()
    rivals = rivals.pivot(index="seed", columns="arm", values="difference")
    for name, claim in params.claims.items():
        both = curves[curves["arm"].isin([claim.arm, claim.against])]
        step = runs.loc[runs["arm"] == claim.arm, "steps"].max()
        if claim.measure == "equal_flops_loss":
            wide = rivals.assign(**{claim.against: 0.0})
        elif claim.at < 1 and both["arm"].nunique() == 2:
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
    shown = score_means.headlines(scores).drop_duplicates(["task", "metric"])
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
