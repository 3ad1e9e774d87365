"""Selection of each task's fine-tuning setting on the models trained alone, never on students."""

import pandas as pd

SETTING = ["learning_rate", "epochs"]


def final_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of final weights, and of baselines."""
    baseline = scores["kind"] == "baseline"
    return scores[baseline | (scores["step"] == scores.loc[~baseline, "step"].max())]


def select_settings(scores: pd.DataFrame) -> pd.DataFrame:
    """The setting of every fine-tuned task: the best mean score of models trained alone.

    The mean is over models, seeds and the task's metrics, of final weights: so many `scores`. The
    first of `tried` settings wins a tie.
    """
    alone = final_rows(scores).query("kind == 'standalone'").dropna(subset=SETTING)
    of_setting = alone.groupby(["task", *SETTING], sort=False)["score"]
    means = of_setting.agg(score="mean", scores="size").reset_index()
    of_task = means.groupby("task", sort=False)["score"]
    best = means.assign(tried=of_task.transform("size")).loc[of_task.idxmax()]
    return best[["task", *SETTING, "score", "tried", "scores"]].reset_index(drop=True)


def selected_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of each task's selected setting, and all rows without fine-tuning, in their order."""
    best = select_settings(scores).set_index("task")
    selected = scores["task"].isin(best.index)
    for column in SETTING:
        selected &= scores[column] == scores["task"].map(best[column])
    return scores[scores["learning_rate"].isna() | selected]
