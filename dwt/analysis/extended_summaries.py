"""What does the extended grid say, in sentences?

As `dwt.analysis.summaries`: every sentence is computed, reads right whichever way the numbers fall and carries
its interval.
"""

import math

import numpy as np

from dwt.analysis import compute as spent
from dwt.analysis import factorial
from dwt.analysis import teacher_gap as evidence
from dwt.analysis.stats import paired, plain, signed
from dwt.analysis.summaries import NEITHER, say_break_even, side
from dwt.analysis.tables import extended

VERBS = dict(better="helps", worse="harms", unclear="neither clearly helps nor harms")


def say_gap(params) -> str:
    """The break-even gaps of both starts, and whether the routes are told apart."""
    points, level, said = evidence.gap_points(params), params.verdict.level, []
    for start, rows in points.groupby("start"):
        if rows["arm"].nunique() < evidence.LINE:
            table = evidence.summary_of(rows, level=level).set_index("arm")
            gains = [f"`{arm}` {_interval(row)}" for arm, row in table.iterrows()]
            said.append(f"- from copied weights, gains of the soft loss: {', '.join(gains)}.")
            continue
        line, off = evidence.one_curve(rows, level=level)
        apart = [f"{route} {d}" for route, d in off.items() if d.low > 0 or d.high < 0]
        fits = f"off that line: {'; '.join(apart)}" if apart else "no route is off that line"
        mean = rows.groupby("arm")[["gap", "gain"]].mean()
        helped = f"{(mean['gain'] > 0).sum()} of {len(mean)} arms gain"
        said.append(
            f"- from {'copied weights' if start == 'remapped' else 'random weights'}: "
            f"{say_where_it_helps(line, rows)}; {helped}; "
            f"slope {line.slope} nats of gain per nat of gap; {fits}."
        )
    return "\n".join(sorted(said, reverse=True))


def say_where_it_helps(line, points) -> str:
    """The break-even gap, or that none of the gaps tried is small enough."""
    mean = points.groupby("arm")[["gap", "gain"]].mean()
    if (mean["gain"] <= 0).all():
        low, high = mean["gap"].min(), mean["gap"].max()
        return f"a teacher helps at none of the gaps tried, {plain(low)} to {plain(high)} nats"
    return say_break_even(line, points).replace("A teacher", "a teacher")


def say_factorial(params) -> str:
    """Main effects and the interaction at the weak teacher, in one sentence."""
    rows = evidence.crossed(params)
    weak = rows[rows["teacher"] == "weak-teacher"]
    level = params.verdict.level
    main = factorial.marginal(weak, factors=evidence.LEVELS, level=level)
    effects = factorial.effects(weak, factors=evidence.LEVELS, level=level)
    parts = [f"{row['term']} {_interval(row, 'effect')}" for _, row in main.iterrows()]
    joint = effects[effects["term"].str.contains(" x ")]
    both = [f"{row['term']} {_interval(row, 'effect')}" for _, row in joint.iterrows()]
    return (
        f"Averaged over the other factor, against no soft loss and a random start: "
        f"{'; '.join(parts)}. Interactions: {'; '.join(both)} "
        f"({weak['seed'].nunique()} seeds)."
    )


def _interval(row, value="mean"):
    return f"{signed(row[value])} [{signed(row['low'])}, {signed(row['high'])}]"


def say_controls(params) -> str:
    """What the controls gain beside the weak teacher, and the best setting of poor teachers."""
    level = params.verdict.level
    table = evidence.gains(params, evidence.taught(params, "controls"), level=level)
    table = table.set_index("arm")
    names = ["normal", *params.evidence.analyses["controls"]]
    rows = [(arm, table.loc[arm]) for arm in names]
    parts = [f"`{arm}` {_interval(row)} ({row['n']:g} seeds)" for arm, row in rows]
    poor, said = evidence.poor_teachers(params, level=level), []
    for teacher, rows in poor.groupby("teacher", sort=False):
        best, usual = rows.loc[rows["mean"].idxmax()], _usual(rows)
        helps = rows[rows["low"] > 0]
        said.append(
            f"- `{teacher}`: {_interval(usual)} as it is ({usual['n']:g} seeds); best of "
            f"{len(rows)} settings {_interval(best)}, at weight {best['soft_weight']:g} and "
            f"temperature {best['temperature']:g}; {len(helps)} of them clearly help."
        )
    return "\n".join([f"- gains over the student alone: {', '.join(parts)}.", *said])


def _usual(rows):
    return rows[(rows["soft_weight"] == 1) & (rows["temperature"] == 1)].iloc[0]


def say_compute(params) -> str:
    """Equal operations by three readings, time to the stand-alone loss, and when to stop."""
    level = params.verdict.level
    table = spent.readings(params, level=level).set_index(["arm", "reading"])
    said = []
    for arm in ("normal", "adaptive", "remapped-hard"):
        of_arm = [
            f"{_interval(table.loc[(arm, reading)])} ({words})"
            for reading, words in spent.READINGS.items()
        ]
        said.append(f"- `{arm}` minus the student alone at equal operations: {', '.join(of_arm)}.")
    soon = spent.sooner(params, level=level).set_index("arm")
    for arm in ("normal", "strong", "adaptive", "remapped-hard"):
        row = soon.loc[arm]
        if math.isnan(row["share"]):
            words = f"in {row['reached']:.0f} of {row['seeds']:.0f} seeds only"
        else:
            words = f"after {row['share']:.2f} of its steps ({row['low']:.2f} to {row['high']:.2f})"
        said.append(f"- `{arm}` is as good as the student alone in the end {words}.")
    loss = evidence.losses(extended("runs", params))
    rivals = ("adaptive", "normal"), ("adaptive", "fade"), ("adaptive-4x", "scratch-4x")
    for arm, against in rivals:
        pair = loss[[arm, against]].dropna()
        d = paired(pair[arm], pair[against], level=level)
        ends = side(d, better="ahead of", worse="behind", unclear=NEITHER)
        said.append(f"- `{arm}` ends {ends} `{against}`, {d}.")
    return "\n".join(said)


def say_why(tokens, *, level=0.95) -> str:
    """Gains where the teacher is right and where it is wrong, for every taught arm."""
    said = []
    for arm, rows in tokens.groupby("arm", sort=False):
        parts = []
        for right, of_side in rows.groupby("teacher_right"):
            gain = (of_side["loss_without"] - of_side["loss"]) * of_side["tokens"]
            by_seed = of_side.groupby("seed")["tokens"].sum()
            mean = gain.groupby(of_side["seed"]).sum() / by_seed
            found = paired(mean, 0 * mean, level=level)
            share = by_seed.sum() / rows["tokens"].sum()
            words = "right" if right else "wrong"
            parts.append(f"{found} where the teacher is {words} ({100 * share:.0f} % of tokens)")
        said.append(f"- `{arm}` over `{rows['against'].iloc[0]}`: {'; '.join(reversed(parts))}.")
    return "\n".join(said)


def say_ledger(ledger) -> str:
    """How many claims of each verdict, and the largest number of seeds."""
    found, verdicts = ledger["verdict"], ("supported", "contradicted", "undecided")
    counts = ", ".join(f"{(found == v).sum()} {v}" for v in verdicts)
    seeds = ", ".join(map(str, np.unique(ledger["n"])))
    return f"{len(ledger)} claims: {counts}, at this scale (seeds per claim: {seeds})."


def evidence_answer(params) -> str:
    """The extended grid's answer, as Markdown: one block a question."""
    train = params.settings.train
    head = (
        f"Scale {params.scale}: {train.steps} steps of {train.batch} x {train.length} tokens where "
        "nothing else is said; held-out loss in nats per masked token."
    )
    blocks = {
        "How far behind may a teacher be?": say_gap(params),
        "Do the factors add?": say_factorial(params),
        "Is it knowledge, and can a poor teacher be mended?": say_controls(params),
        "Is it worth its compute, and when should it stop?": say_compute(params),
        "The ledger": say_ledger(evidence.ledger(params)),
    }
    return "\n\n".join([head, *(f"**{name}**\n\n{said}" for name, said in blocks.items())]) + "\n"
