"""Selection of each task's fine-tuning setting on the models trained alone, never on students."""

import pandas as pd

SETTING = ["learning_rate", "epochs"]


def last_step(scores: pd.DataFrame) -> int:
    """The pre-training step of the final weights."""
    return scores.loc[scores["kind"] != "baseline", "step"].max()


def final_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of final weights, and of baselines."""
    return scores[(scores["kind"] == "baseline") | (scores["step"] == last_step(scores))]


def select_settings(scores: pd.DataFrame) -> pd.DataFrame:
    """The setting of every fine-tuned task: the best mean score of models trained alone.

    The mean is over models, seeds, fine-tuning seeds and the task's metrics, of final weights. The
    first tried setting wins a tie.

    Parameters
    ----------
    scores : DataFrame
        Rows of every setting, as scores.csv has them.

    Returns
    -------
    DataFrame
        task, learning_rate, epochs, score (that mean), tried (settings), scores (in the mean).
    """
    alone = final_rows(scores).query("kind == 'standalone'").dropna(subset=SETTING)
    means = alone.groupby(["task", *SETTING], sort=False)["score"].agg(["mean", "size"])
    means = means.reset_index().rename(columns={"mean": "score", "size": "scores"})
    best = means.loc[means.groupby("task", sort=False)["score"].idxmax()]
    tried = means.groupby("task").size()
    best = best.assign(tried=best["task"].map(tried)).reset_index(drop=True)
    return best[["task", *SETTING, "score", "tried", "scores"]]


def selected_rows(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of the selected settings and all rows without fine-tuning, in their order."""
    best = select_settings(scores).set_index("task")
    tuned = scores["learning_rate"].notna()
    same = tuned & scores["task"].isin(best.index)
    for column in SETTING:
        same &= scores[column] == scores["task"].map(best[column])
    return scores[~tuned | same]
