"""The scores that figures and tables show: means over tasks, panels, headline measures.

All functions take and return rows of the scores table (`dwt.analysis.tables.table`); higher is
better.
"""

import pandas as pd

from dwt.evaluation import glue

GLUE = {name: task.title for name, task in glue.GLUE.items()}
GLUE_MEAN, BLIMP, PAIRS = "GLUE mean", "BLiMP", "minimal pairs"
RUN = ["kind", "arm", "seed"]


def glue_tasks(scores) -> pd.DataFrame:
    """One score for each run and GLUE task: the mean of its metrics, as GLUE computes it.

    Fine-tuning seeds are averaged first. `task` is the name in print.
    """
    rows = scores[scores["task"].isin(GLUE)]
    metrics = rows.drop_duplicates(["task", "metric"]).groupby("task")["metric"].agg(", ".join)
    means = rows.groupby([*RUN, "task", "metric"], sort=False, dropna=False)["score"].mean()
    means = means.groupby([*RUN, "task"], sort=False, dropna=False).mean().reset_index()
    return means.assign(metric=means["task"].map(metrics), task=means["task"].map(GLUE), tuned=True)


def glue_mean(scores) -> pd.DataFrame:
    """The mean over GLUE's tasks, each counting once, for every run and baseline that has them.

    Only tasks on which every trained model was scored, so that all means are over the same tasks;
    `metric` has their number of the nine. No rows without such a task.
    """
    tasks = glue_tasks(scores)
    wide = tasks.set_index([*RUN, "task"])["score"].unstack("task")  # [runs, tasks]
    trained = wide[wide.index.get_level_values("kind") != "baseline"]
    means = wide[trained.columns[trained.notna().all()]].mean(axis=1, skipna=False).dropna()
    count = trained.notna().all().sum()
    rows = means.rename("score").reset_index()
    return rows.assign(task=GLUE_MEAN, metric=f"{count} of {len(GLUE)} tasks", tuned=True)


def glue_trials(scores) -> pd.DataFrame:
    """One score per run, task and fine-tuning seed, for the tasks that `glue_mean` averages."""
    rows = scores[scores["task"].isin(GLUE) & (scores["kind"] != "baseline")]
    units = [*RUN, "task", "finetune_seed"]
    trials = rows.groupby(units, sort=False)["score"].mean().reset_index()
    met = trials.groupby("task")["arm"].nunique()
    return trials[trials["task"].isin(met.index[met == trials["arm"].nunique()])]


def pairs_mean(scores) -> pd.DataFrame:
    """The mean over the corpus's own kinds of minimal pairs, BLiMP apart."""
    own = (scores["metric"] == "minimal-pair accuracy") & ~scores["task"].str.startswith(BLIMP)
    rows = scores[own].groupby([*RUN, "metric"], sort=False, dropna=False)["score"].mean()
    return rows.reset_index().assign(task=PAIRS, tuned=False)


def measures(scores) -> pd.DataFrame:
    """Every score, then the GLUE mean: the rows of the tables of differences."""
    return pd.concat([scores, *_there(glue_mean(scores))], ignore_index=True)


def panels(scores) -> pd.DataFrame:
    """One score a task: GLUE's means of metrics, the GLUE mean, and BLiMP without its phenomena."""
    rows = scores.assign(tuned=scores["finetune_seed"].notna())
    rows = rows[~rows["task"].isin(GLUE) & ~is_phenomenon(rows)]
    return pd.concat([rows, *_there(glue_tasks(scores), glue_mean(scores))], ignore_index=True)


def headlines(scores) -> pd.DataFrame:
    """The few headline measures.

    GLUE mean and BLiMP where they were scored, the corpus's own minimal pairs, and its own
    fine-tuned tasks.
    """
    rows = scores.assign(tuned=scores["finetune_seed"].notna())
    blimp = rows[rows["task"] == BLIMP]
    tuned = rows.loc[rows["tuned"], "task"].unique()
    own = rows[rows["task"].isin(tuned) & ~rows["task"].isin(GLUE)]
    parts = _there(glue_mean(scores), blimp, pairs_mean(scores), own)
    return pd.concat(parts, ignore_index=True)


def phenomena(scores) -> pd.DataFrame:
    """BLiMP by linguistic phenomenon, named in words; no rows where it was not scored."""
    rows = scores[is_phenomenon(scores)]
    names = rows["task"].str.removeprefix(f"{BLIMP}, ").str.replace("_", " ")
    return rows.assign(task=names, tuned=False)


def is_phenomenon(scores):
    """True for the rows of one of BLiMP's phenomena."""
    return scores["task"].str.startswith(f"{BLIMP}, ")


def by_seed(rows) -> pd.DataFrame:
    """Scores of one measure, [seeds, arms]; fine-tuning seeds averaged."""
    return rows.pivot_table(index="seed", columns="arm", values="score")


def _there(*frames):
    """Those with rows; an empty one would change the types of the columns."""
    return [frame for frame in frames if len(frame)]


def note(scores) -> str:
    """Which part of a benchmark the scores cover, where it is not the whole."""
    parts = [glue.glue_note(scores)]
    pairs = scores.loc[scores["task"] == BLIMP, "examples"]
    if len(pairs):
        parts.append(f"BLiMP: {pairs.max():,} of its 67,000 minimal pairs.")
    return " ".join(filter(None, parts))
