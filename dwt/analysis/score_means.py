"""The scores that figures and tables show: rows of the scores table, and their means over tasks."""

import pandas as pd

from dwt.config.tasks import GLUE as TASKS

GLUE = {name: task.title for name, task in TASKS.items()}
GLUE_MEAN, BLIMP, PAIRS = "GLUE mean", "BLiMP", "minimal pairs"
RUN = ["kind", "arm", "seed"]


def glue_tasks(scores) -> pd.DataFrame:
    """One score for each run and GLUE task (its name in print): the mean of its metrics.

    Fine-tuning seeds are averaged first.
    """
    rows = scores[scores["task"].isin(GLUE)]
    metrics = rows.drop_duplicates(["task", "metric"]).groupby("task")["metric"].agg(", ".join)
    means = _mean(_mean(rows, "task", "metric"), "task")
    return means.assign(metric=means["task"].map(metrics), task=means["task"].map(GLUE))


def glue_mean(scores) -> pd.DataFrame:
    """The mean over GLUE's tasks, each counting once, for every run and baseline that has them.

    Only tasks on which every trained model was scored, so that all means are over the same tasks;
    `metric` has their number of the nine. No rows without such a task.
    """
    wide = glue_tasks(scores).set_index([*RUN, "task"])["score"].unstack("task")  # [runs, tasks]
    trained = wide[wide.index.get_level_values("kind") != "baseline"]
    common = trained.columns[trained.notna().all()]
    rows = wide[common].mean(axis=1, skipna=False).dropna().rename("score").reset_index()
    return rows.assign(task=GLUE_MEAN, metric=f"{len(common)} of {len(GLUE)} tasks")


def glue_trials(scores) -> pd.DataFrame:
    """One score per run, task and fine-tuning seed, for the tasks that `glue_mean` averages."""
    rows = scores[scores["task"].isin(GLUE) & (scores["kind"] != "baseline")]
    trials = _mean(rows, "task", "finetune_seed")
    return trials[trials.groupby("task")["arm"].transform("nunique") == trials["arm"].nunique()]


def pairs_mean(scores) -> pd.DataFrame:
    """The mean over the corpus's own kinds of minimal pairs, BLiMP apart."""
    own = (scores["metric"] == "minimal-pair accuracy") & ~scores["task"].str.startswith(BLIMP)
    return _mean(scores[own], "metric").assign(task=PAIRS)


def measures(scores) -> pd.DataFrame:
    """Every score, then the GLUE mean: the rows of the tables of differences."""
    return _concat(scores, glue_mean(scores))


def panels(scores) -> pd.DataFrame:
    """One score a task, `tuned` or not: GLUE's tasks, their mean, BLiMP without its phenomena."""
    shown = ~scores["task"].isin(GLUE) & ~scores["task"].str.startswith(f"{BLIMP}, ")
    rows = _concat(scores[shown], glue_tasks(scores), glue_mean(scores))
    in_glue = rows["task"].isin([*GLUE.values(), GLUE_MEAN])
    return rows.assign(tuned=rows["finetune_seed"].notna() | in_glue)


def main_measures(scores) -> pd.DataFrame:
    """GLUE mean and BLiMP where scored, the corpus's own minimal pairs and fine-tuned tasks."""
    tuned = scores.loc[scores["finetune_seed"].notna(), "task"].unique()
    own = scores[scores["task"].isin(tuned) & ~scores["task"].isin(GLUE)]
    blimp = scores[scores["task"] == BLIMP]
    return _concat(glue_mean(scores), blimp, pairs_mean(scores), own)


def phenomena(scores) -> pd.DataFrame:
    """BLiMP by linguistic phenomenon, named in words; no rows where it was not scored."""
    rows = scores[scores["task"].str.startswith(f"{BLIMP}, ")]
    return rows.assign(task=rows["task"].str.removeprefix(f"{BLIMP}, ").str.replace("_", " "))


def by_seed(rows) -> pd.DataFrame:
    """Scores of one measure, [seeds, arms]; fine-tuning seeds averaged."""
    return rows.pivot_table(index="seed", columns="arm", values="score")


def note(scores) -> str:
    """Which part of a benchmark the scores cover, where it is not the whole."""
    from dwt.evaluation.glue import glue_note  # here, as it imports scikit-learn

    parts = [glue_note(scores)]
    pairs = scores.loc[scores["task"] == BLIMP, "examples"]
    if len(pairs):
        parts.append(f"BLiMP: {pairs.max():,} of its 67,000 minimal pairs.")
    return " ".join(filter(None, parts))


def _mean(rows, *by):
    """Mean score of every run and baseline, apart by further columns."""
    return rows.groupby([*RUN, *by], sort=False, dropna=False)["score"].mean().reset_index()


def _concat(*frames):
    """The rows of all; an empty frame would change the types of the columns."""
    return pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
