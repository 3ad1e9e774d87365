"""Which fine-tuning setting counts? One for each task, chosen on models trained alone.

The settings of a grid are never compared on students: a gain must not choose how it is measured.
"""

SETTING = ["learning_rate", "epochs"]


def last_step(scores):
    """The pre-training step of the final weights, of models and of arms."""
    return scores.loc[scores["kind"] != "baseline", "step"].max()


def at_the_end(scores):
    """Only rows of final weights, and baselines."""
    return scores[(scores["kind"] == "baseline") | (scores["step"] == last_step(scores))]


def chosen_settings(scores):
    """The setting of every fine-tuned task: the best mean score of models trained alone.

    The mean is over models, seeds, fine-tuning seeds and the task's metrics, of final weights; of
    equals the one tried first.

    Parameters
    ----------
    scores : DataFrame
        Rows of every setting, as scores.csv holds them.

    Returns
    -------
    DataFrame
        task, learning_rate, epochs, score (that mean), tried (settings), scores (in the mean).
    """
    alone = at_the_end(scores).query("kind == 'standalone'").dropna(subset=SETTING)
    means = alone.groupby(["task", *SETTING], sort=False)["score"].agg(["mean", "size"])
    means = means.reset_index().rename(columns={"mean": "score", "size": "scores"})
    best = means.loc[means.groupby("task", sort=False)["score"].idxmax()]
    tried = means.groupby("task").size()
    best = best.assign(tried=best["task"].map(tried)).reset_index(drop=True)
    return best[["task", *SETTING, "score", "tried", "scores"]]


def chosen(scores):
    """Rows of the chosen settings, and all that were not fine-tuned; in the order they had."""
    best = chosen_settings(scores).set_index("task")
    tuned = scores["learning_rate"].notna()
    same = tuned & scores["task"].isin(best.index)
    for column in SETTING:
        same &= scores[column] == scores["task"].map(best[column])
    return scores[~tuned | same]
