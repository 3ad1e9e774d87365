"""What do the tables say about each factor, in numbers?

Notebooks, figures and sentences (`dwt.analysis.summaries`) take their differences from here: they agree.
Losses are nats per masked token; a negative difference is a better student.
"""

from dataclasses import asdict

import numpy as np
import pandas as pd

from dwt.analysis import score_means as measures
from dwt.analysis.bootstrap import hierarchical
from dwt.analysis.stats import (
    Paired,
    break_even,
    compare,
    crossing,
    interpolate,
    paired,
    verdict,
)
from dwt.analysis.tables import TablesError, table
from dwt.config.params import Claim


def losses(runs, measure="heldout_loss") -> pd.DataFrame:
    """Losses at the last step, one row a seed, one column an arm (nats per masked token)."""
    return runs.pivot(index="seed", columns="arm", values=measure)[runs["arm"].unique()]


def losses_at(curves, fraction, measure="heldout_loss") -> pd.DataFrame:
    """Losses at the first evaluation at or after a fraction of the steps, as in `losses`."""
    evaluated = curves.dropna(subset=[measure])
    return losses(evaluated[evaluated["step"] == step_at(curves, fraction, measure)], measure)


def step_at(curves, fraction, measure="heldout_loss") -> int:
    """The step of the first evaluation at or after a fraction of the steps."""
    steps = np.sort(curves.dropna(subset=[measure])["step"].unique())
    return int(steps[steps >= fraction * steps[-1] * (1 - 1e-9)][0])


def losses_at_flops(runs, curves, *, reference="scratch", teacher_training=False) -> pd.DataFrame:
    """Held-out losses when each arm has spent what the reference spends in all, as in `losses`.

    The student's forward and backward passes and the teacher's forward passes are counted; with
    `teacher_training`, the teacher's own training too. nan where that alone is over the budget.
    """
    total = runs.set_index(["arm", "seed"])[["student_flops", "teacher_flops"]].sum(axis=1)
    teachers = runs.set_index(["arm", "seed"])["teacher"].to_dict()
    read = {}
    for (arm, seed), curve in curves.groupby(["arm", "seed"], sort=False):
        spent = curve["student_flops"] + curve["teacher_flops"]
        if teacher_training and isinstance(teachers[arm, seed], str):
            spent += total[teachers[arm, seed], seed]
        read[arm, seed] = interpolate(spent, curve["heldout_loss"], total[reference, seed])
    return pd.Series(read).unstack(0)[runs["arm"].unique()].rename_axis("seed")


def sizes(runs) -> pd.Series:
    """Layers of each model trained alone, fewest first."""
    alone = runs[runs["kind"] == "standalone"].drop_duplicates("arm")
    return alone.set_index("arm")["layers"].sort_values(kind="stable")


def crossings(curves, arm, against) -> list[float]:
    """Per seed, the last step at which two arms' held-out curves cross, nan if they do not."""
    wide = curves.pivot(index=["seed", "step"], columns="arm", values="heldout_loss")
    by_seed = wide.reset_index("step").groupby("seed")
    return [crossing(c["step"], c[arm], c[against]) for _, c in by_seed]


def gaps(runs, arms=None) -> pd.DataFrame:
    """Per student and seed: how far its teacher is behind the student alone, and what it gains.

    Returns
    -------
    DataFrame
        arm, seed, teacher, gap (teacher's loss - scratch's), gain (scratch's loss - arm's).
    """
    loss = losses(runs)
    rows = runs[runs["teacher"].notna() & runs["arm"].isin(arms or [*loss])]
    rows = rows[["arm", "seed", "teacher"]].reset_index(drop=True)
    alone = [loss.at[seed, "scratch"] for seed in rows["seed"]]
    gap = [loss.at[row.seed, row.teacher] for row in rows.itertuples()]
    gain = [loss.at[row.seed, row.arm] for row in rows.itertuples()]
    return rows.assign(gap=np.subtract(gap, alone), gain=np.subtract(alone, gain))


def gap_line(runs, arms=None, *, level=0.95):
    """The break-even gap of the arms of `gaps`, see `dwt.analysis.stats.break_even`."""
    points = gaps(runs, arms)
    wide = points.pivot(index="seed", columns="arm", values=["gap", "gain"])
    return break_even(wide["gap"], wide["gain"], level=level)


def square(runs, arms) -> dict:
    """The arm in each corner of the 2 x 2: (remapped or not, soft loss or not) -> name.

    Raises
    ------
    TablesError
        If the arms do not fill the four corners once each.
    """
    rows = runs[runs["arm"].isin(arms)].drop_duplicates("arm")
    soft = rows["teacher"].notna() & (rows["soft_weight"].astype(str) != "0.0")
    corners = dict(zip(zip(rows["remap"].notna(), soft, strict=True), rows["arm"], strict=True))
    if len(corners) < 4 or len(rows) != 4:
        raise TablesError(
            "factors.parameter-remapping: needs four arms, remapped or not times with or without "
            f"the soft loss; found {', '.join(rows['arm'])} (params.yaml)"
        )
    return corners


def soft_effects(runs, arms, *, level=0.95):
    """What the soft loss does to a random start, to a remapped one, and the difference of the two.

    Returns
    -------
    tuple of Paired
        random, remapped, interaction = remapped - random.
    """
    loss, corner = losses(runs), square(runs, arms)
    random, remapped = (
        loss[corner[start, True]] - loss[corner[start, False]] for start in (False, True)
    )
    none = 0 * random
    pairs = (random, none), (remapped, none), (remapped, random)
    return tuple(paired(*pair, level=level) for pair in pairs)


def claims(params, *, factor=None) -> pd.DataFrame:
    """Each claim of params.yaml beside what was found, with its verdict.

    Parameters
    ----------
    factor : str, optional
        Only the claims whose two arms are compared in this factor.
    """
    runs, curves = table("runs", params), table("curves", params)
    among = {*params.factors.get(factor, params.names())}
    chosen = {n: c for n, c in params.claims.items() if {c.arm, c.against} <= among}
    return claim_rows(chosen, runs, curves, level=params.verdict.level)


def claim_rows(claims, runs, curves, *, level=0.95, equal_flops=None) -> pd.DataFrame:
    """Claims beside what some runs say of them; see `claims`.

    Parameters
    ----------
    claims : dict of str to dwt.config.schema.Claim
    runs, curves : DataFrame
    equal_flops : DataFrame, [seeds, arms], optional
        What each arm is off its rival of equal operations, for claims about that.

    Notes
    -----
    A seed that one of the two arms lacks is left out.
    """
    rows = []
    for name, claim in claims.items():
        at, both = claim.at < 1, curves[curves["arm"].isin([claim.arm, claim.against])]
        if claim.measure == "equal_flops_loss":
            pair = equal_flops[[claim.arm]].assign(rival=0.0).dropna()
        else:
            of = losses_at(both, claim.at, claim.measure) if at else losses(runs, claim.measure)
            pair = of[[claim.arm, claim.against]].dropna()
        found = paired(pair.iloc[:, 0], pair.iloc[:, 1], level=level)
        rows.append({"claim": name, **claim.model_dump(), **asdict(found)})
        rows[-1] |= {"found": str(found), "verdict": verdict(found, claim.expect)}
        steps = runs.loc[runs["arm"] == claim.arm, "steps"].max()
        rows[-1]["step"] = step_at(both, claim.at) if at else int(steps)
    columns = [
        "claim",
        *Claim.model_fields,
        "step",
        *Paired.__dataclass_fields__,
        "found",
        "verdict",
    ]
    return pd.DataFrame(rows, columns=columns)


def claims_in_scores(params) -> pd.DataFrame:
    """The comparisons of the claims at the last step, by GLUE mean and BLiMP where scored.

    No verdicts: the rule of params.yaml is on losses. Above zero `arm` is better than `against`.
    Intervals are `dwt.analysis.bootstrap.hierarchical`'s, over seeds and, in them, fine-tuning seeds; tasks
    are taken as given.

    Returns
    -------
    DataFrame
        claim, statement, paper, arm, against, measure, mean, low, high, n.
    """
    scores = table("scores", params)
    shown = measures.headlines(scores).drop_duplicates(["task", "metric"])
    rows_of = {measures.GLUE_MEAN: measures.glue_trials(scores),
               measures.BLIMP: scores[scores["task"] == measures.BLIMP]}  # fmt: skip
    columns = ["claim", "statement", "paper", "arm", "against", "measure"]
    columns += ["mean", "low", "high", "n"]
    rows = []
    for task, metric in shown.loc[shown["task"].isin([*rows_of]), ["task", "metric"]].values:
        by_arm = dict(list(rows_of[task].groupby("arm")))
        for name, claim in params.claims.items():
            if claim.at == 1:
                arms = by_arm[claim.arm], by_arm[claim.against]
                found = hierarchical(*arms, level=params.verdict.level)
                values = {"claim": name, **claim.model_dump(), **asdict(found)}
                values["measure"] = f"{task} ({metric})"
                rows.append({column: values[column] for column in columns})
    return pd.DataFrame(rows, columns=columns)


def differences(params, factor) -> pd.DataFrame:
    """Every measure of a factor: arms against its first arm, then against its second.

    Losses, each task's scores (higher is better), and the mean over GLUE's tasks where it has any.

    Returns
    -------
    DataFrame
        measure, against, arm, mean, low, high, n, detectable, p.
    """
    runs, curves = table("runs", params), table("curves", params)
    tasks = measures.measures(table("scores", params)).groupby(["task", "metric"], sort=False)
    wides = {
        "held-out loss": losses(runs),
        "out-of-domain loss": losses(runs, "out_of_domain_loss"),
        "held-out loss at equal FLOPs": losses_at_flops(runs, curves),
        "held-out loss at equal FLOPs, teacher's training included": losses_at_flops(
            runs, curves, teacher_training=True
        ),
    }
    for (task, metric), rows in tasks:
        wides[f"{task} ({metric})"] = measures.by_seed(rows)
    arms, level, frames = params.factors[factor], params.verdict.level, []
    for measure, wide in wides.items():
        for against, others in ((arms[0], arms[1:]), (arms[1], arms[2:])):
            frame = compare(wide[[against, *others]], against, level=level).reset_index()
            frame.insert(0, "against", against)
            frame.insert(0, "measure", measure)
            frames.append(frame)
    return pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
