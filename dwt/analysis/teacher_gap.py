"""What does the extended grid say, in numbers?

All of it is read from the tables of the study and of `make evidence`, one below the other
(`dwt.analysis.tables.extended`); what an arm has cost is in `dwt.analysis.compute`. Losses are nats per masked token;
a gain is above zero where the teacher helps.
"""

from dataclasses import asdict

import numpy as np
import pandas as pd

from dwt.analysis import factorial
from dwt.analysis.comparisons import claim_rows, losses
from dwt.analysis.compute import alone, at_equal_flops
from dwt.analysis.stats import break_even, paired
from dwt.analysis.tables import extended
from dwt.config.params import resolve

SILENT = "weight 0"
LEVELS = {"weight": SILENT, "start": "random"}  # what the factorial compares with
NOTEBOOKS = (
    "04-teacher-quality", "05-loss-weight", "06-parameter-remapping", "09-gap", "10-factorial",
    "11-controls", "12-compute", "14-ledger",
)  # fmt: skip
LINE = 3  # arms from which on a line through them says something
ROUTES = "smaller teacher", "less trained teacher", "longer student"


def arms_of(params, analysis) -> list[str]:
    """The study's models and arms, then what an analysis adds to them."""
    return [*params.names(), *params.evidence.analyses[analysis]]


def taught(params, analysis) -> list[str]:
    """The students among them that hear a teacher."""
    arms = [name for name in arms_of(params, analysis) if name in params.all_arms]
    return [name for name in arms if params.all_arms[name].soft_weight != 0]


def gap_points(params) -> pd.DataFrame:
    """Gain of a constant soft loss of weight 1 against the teacher's gap, by three routes.

    Returns
    -------
    DataFrame
        arm, seed, teacher, start (random or remapped), route (one of `ROUTES`), gap (the teacher's
        loss minus what the student reaches without the soft loss from that start in as many
        steps), gain (the loss without it minus the loss with it).
    """
    runs = extended("runs", params)
    runs = runs[runs["arm"].isin(arms_of(params, "gap"))]
    models = runs[runs["kind"] == "standalone"].set_index(["arm", "seed"])
    usual, rows = models.loc["scratch", "steps"].iloc[0], []
    random = alone(runs).set_index(["steps", "seed"])["loss"]
    weight = pd.to_numeric(runs["soft_weight"], errors="coerce")
    copied = runs[runs["remap"].notna() & (weight == 0)]
    copied = copied.set_index(["teacher", "steps", "seed"])["heldout_loss"]
    for run in runs[runs["teacher"].notna() & (weight == 1)].itertuples():
        remapped = isinstance(run.remap, str)
        key = (run.teacher, run.steps, run.seed) if remapped else (run.steps, run.seed)
        without = (copied if remapped else random)[key]
        teacher = models.loc[(run.teacher, run.seed)]
        route = 2 if run.steps > usual else int(teacher["steps"] < usual)
        rows.append(
            {
                "arm": run.arm, "seed": run.seed, "teacher": run.teacher,
                "start": "remapped" if remapped else "random", "route": ROUTES[route],
                "gap": teacher["heldout_loss"] - without, "gain": without - run.heldout_loss,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def one_curve(points, *, level=0.95):
    """Does one line fit all routes? Its break-even gap, and what each route is off it.

    Parameters
    ----------
    points : DataFrame
        Of `gap_points`, one start; seeds in which an arm is missing are left out.

    Returns
    -------
    BreakEven, dict of str to Paired
        Per route the mean residual from the line of the seed, over its arms. Zero inside every
        interval: the routes are not told apart.
    """
    wide = points.pivot(index="seed", columns="arm", values=["gap", "gain"]).dropna()
    gap, gain = wide["gap"], wide["gain"]
    line = break_even(gap, gain, level=level)
    route = points.drop_duplicates("arm").set_index("arm")["route"]
    off = {}
    fits = [np.polyfit(x, y, 1) for x, y in zip(gap.values, gain.values, strict=True)]
    fitted = [np.polyval(fit, x) for fit, x in zip(fits, gap.values, strict=True)]
    residual = gain - np.array(fitted)
    for name in [name for name in ROUTES if name in {*route}]:
        of_route = residual[[arm for arm in residual if route[arm] == name]].mean(axis=1)
        off[name] = paired(of_route, 0 * of_route, level=level)
    return line, off


def summary_of(points, *, level=0.95) -> pd.DataFrame:
    """Mean gap and gain of each arm of `gap_points`, the gain with its interval."""
    rows = []
    for arm, seeds in points.groupby("arm", sort=False):
        found = paired(seeds["gain"], 0 * seeds["gain"], level=level)
        about = seeds.iloc[0][["start", "route", "teacher"]].to_dict()
        rows.append({"arm": arm, **about, "gap": seeds["gap"].mean(), **_brief(found)})
    return pd.DataFrame(rows)


def _brief(found):
    kept = ("mean", "low", "high", "n", "detectable", "p")
    return {name: value for name, value in asdict(found).items() if name in kept}


def weight_label(weight) -> str:
    """A soft weight in words: "weight 4", "weight 4 to 1"."""
    if isinstance(weight, dict):
        return f"weight {weight['from']:g} to {weight['to']:g}"
    return f"weight {weight:g}"


def crossed(params) -> pd.DataFrame:
    """The factorial, one row a cell and seed: teacher, weight, start, arm, seed, heldout_loss.

    Of teachers that students start from as well as from random weights. A random start without the
    soft loss is `scratch`, whatever the teacher.
    """
    loss, rows = losses(extended("runs", params)), []
    runs = [resolve(name, params.seeds[0], params) for name in arms_of(params, "factorial")]
    students = [run for run in runs if run.kind == "student"]
    for teacher in dict.fromkeys(run.teacher for run in students):
        cells = {(SILENT, "random"): "scratch"}
        for run in students:
            if run.teacher == teacher:
                start = "remapped" if run.remap else "random"
                cells[weight_label(run.soft_weight), start] = run.arm
        if len({start for _, start in cells}) < 2:
            continue  # nothing to cross
        for (weight, start), arm in cells.items():
            rows += [
                (teacher, weight, start, arm, seed, loss.loc[seed, arm]) for seed in params.seeds
            ]
    columns = ["teacher", "weight", "start", "arm", "seed", "heldout_loss"]
    return pd.DataFrame(rows, columns=columns)


def effects_by_teacher(rows, *, level=0.95) -> pd.DataFrame:
    """`dwt.analysis.factorial.effects` of weight and start for each teacher of `crossed`."""
    tables = {
        teacher: factorial.effects(of_teacher, factors=LEVELS, level=level)
        for teacher, of_teacher in rows.groupby("teacher", sort=False)
    }
    return pd.concat(tables, names=["teacher"]).reset_index("teacher").reset_index(drop=True)


def poor_teachers(params, *, level=0.95) -> pd.DataFrame:
    """Gain over (teacher, weight, temperature) for the teachers of the poor-teachers analysis.

    Over the seeds that every setting has: some settings are arms of the study, with more of them.
    """
    names = params.evidence.analyses["poor-teachers"]
    poor = {params.all_arms[name].teacher for name in names}
    usual = [name for name, arm in params.arms.items() if arm.teacher in poor and not arm.remap]
    runs = {name: resolve(name, params.seeds[0], params) for name in [*usual, *names]}
    table = gains(params, [*runs], same_seeds=True, level=level)
    for key in ("teacher", "soft_weight", "temperature"):
        table[key] = [getattr(runs[arm], key) for arm in table["arm"]]
    return table.sort_values(["teacher", "temperature", "soft_weight"], ignore_index=True)


def ledger(params) -> pd.DataFrame:
    """Every claim of the paper and every new one, over all seeds that both its arms have.

    Returns
    -------
    DataFrame
        As `dwt.analysis.comparisons.claims`, with `figure`, in results/<scale>, and the `notebook` that
        explains it.
    """
    runs, curves = (extended(name, params) for name in ("runs", "curves"))
    claims = params.claims | params.evidence.claims
    equal = at_equal_flops(params, runs, "forward").pivot(
        index="seed", columns="arm", values="difference"
    )
    table = claim_rows(claims, runs, curves, level=params.verdict.level, equal_flops=equal)
    table["figure"] = [_figure(params, claim) for claim in claims.values()]
    table["notebook"] = [_notebook(figure) for figure in table["figure"]]
    return table


def _notebook(figure):
    """The notebook that draws a figure: stopping.svg is one of 12-compute's."""
    name = {"stopping": "compute", "poor-teachers": "controls", "claims": "ledger"}
    stem = figure.rpartition("/")[2].removesuffix(".svg")
    return next(n for n in NOTEBOOKS if n.partition("-")[2] == name.get(stem, stem))


def _figure(params, claim):
    if claim.measure == "equal_flops_loss":
        return "evidence/compute.svg"
    arms = {claim.arm, claim.against}
    for factor, names in params.factors.items():
        if arms <= {*names}:
            return f"{factor}.svg"
    for analysis in params.evidence.analyses:
        if arms <= {*arms_of(params, analysis)}:
            return f"evidence/{analysis}.svg"
    return "evidence/claims.svg"


def gains(params, arms, *, against="scratch", same_seeds=False, level=0.95) -> pd.DataFrame:
    """Held-out loss of `against` minus that of each arm, over the seeds that both have.

    With `same_seeds` over those that all arms have: so that arms compare with each other too.
    """
    loss, rows = losses(extended("runs", params)), []
    if same_seeds:
        loss = loss[[against, *arms]].dropna()
    for arm in arms:
        pair = loss[[against, arm]].dropna()
        found = paired(pair[against], pair[arm], level=level)
        rows.append([arm, found.mean, found.low, found.high, found.n, found.detectable, found.p])
    return pd.DataFrame(rows, columns=["arm", "mean", "low", "high", "n", "detectable", "p"])
