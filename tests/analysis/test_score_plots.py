"""Figures of scores: every task and seed, beside guessing and random weights."""

import re

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from conftest import made_up_scores
from made_up import drawn_points, words

from dwt.analysis import plot_style, score_plots

ARMS = ["scratch", "weak-teacher", "very-weak-teacher"]
RUNS = pd.DataFrame(
    {"kind": "standalone", "arm": ARMS, "layers": [6, 4, 2], "seed": 0}
)  # the columns that `sizes` reads
GLUE = {"cola": {"matthews": 0.2}, "mrpc": {"accuracy": 0.7, "f1": 0.8}}
PHENOMENA = ("binding", "ellipsis")
STUDENTS = ["scratch", "normal", "very-weak", "extremely-weak"]


@pytest.fixture
def figure():
    plot_style.theme()
    figure = plt.figure(figsize=(8.6, 4))
    yield figure
    plt.close(figure)


def shown(figure):
    """Axes that are drawn, by the task in their title."""
    axes = (axis for axis in figure.axes if axis.get_visible())
    titles = ((axis, axis.get_title(loc="left").partition("\n")[0]) for axis in axes)
    return {title.partition(":")[0]: axis for axis, title in titles}


def texts(artist):
    return {text.get_text() for text in artist.findobj(plt.Text)}


def test_every_panel_shows_guessing_and_random_weights(figure):
    score_plots.task_scores(made_up_scores(ARMS, glue=GLUE, phenomena=PHENOMENA), ARMS, figure)
    panels = shown(figure)
    assert panels.keys() == {
        "word-swap (zero-shot)", "agreement (zero-shot)", "BLiMP (zero-shot)",
        "CoLA (fine-tuned)", "MRPC (fine-tuned)", "GLUE mean (fine-tuned)",
    }  # fmt: skip
    for name, axis in panels.items():
        guess = "majority" if "fine-tuned" in name else "chance"
        assert {guess, "random"} <= texts(axis), name
        assert len(drawn_points(axis)) == len(ARMS) * 3, name


def test_the_title_counts_tasks_and_not_their_mean(figure):
    scores = made_up_scores(ARMS, glue=GLUE)
    score_plots.task_scores(scores, ARMS, figure)
    # word-swap, agreement, BLiMP, CoLA, MRPC, of two arms against the first
    assert "of 10 scores" in figure.get_suptitle()


def test_an_arm_without_scores_is_left_out(figure):
    score_plots.task_scores(made_up_scores(ARMS), [*ARMS, "adaptive"], figure)
    assert "adaptive" not in texts(figure) and "scratch" in texts(figure)


def test_size_panels_say_whether_models_are_ordered_and_show_the_baselines(figure):
    scores = made_up_scores(ARMS, glue=GLUE, phenomena=PHENOMENA)
    rising = {"very-weak-teacher": 0.0, "weak-teacher": 0.01, "scratch": 0.02}
    lift = scores["arm"].map(rising).fillna(0)
    scores["score"] += lift.where(scores["task"].isin([*GLUE]), -lift)
    score_plots.by_size(scores, RUNS, figure)
    panels = shown(figure)
    titles = {name: axis.get_title(loc="left") for name, axis in panels.items()}
    assert re.search(r": ordered by size\n2 < 4 < 6 layers, 3 of 3", titles["GLUE mean"])
    assert re.search(r": not ordered by size\n6 < 4 < 2 layers, 0 of 3", titles["BLiMP"])
    assert {"majority", "random"} <= texts(panels["GLUE mean"])
    assert {"chance", "random"} <= texts(panels["BLiMP"])
    for name in ("GLUE mean", "BLiMP", "minimal pairs"):
        assert {x for x, _ in drawn_points(panels[name])} == {2, 4, 6}


def test_phenomena_get_a_panel_where_they_were_scored(figure):
    score_plots.by_size(made_up_scores(ARMS, phenomena=PHENOMENA), RUNS, figure)
    (axis,) = (axis for axis in figure.axes if "phenomena" in axis.get_xlabel())
    assert {"binding", "ellipsis", "chance", "2 layers"} <= texts(axis)
    assert len(drawn_points(axis)) == len(PHENOMENA) * len(ARMS) * 3


@pytest.mark.parametrize("draw", ["task_scores", "by_size"])
def test_a_note_stands_below_the_figure_and_text_is_large_enough(draw, figure):
    second = ARMS if draw == "task_scores" else RUNS
    scores = made_up_scores(ARMS, glue=GLUE, phenomena=PHENOMENA)
    getattr(score_plots, draw)(scores, second, figure, note="GLUE: left out: QNLI.")
    assert "GLUE: left out: QNLI." in texts(figure)
    figure.draw_without_rendering()
    assert min(text.get_fontsize() for text in figure.findobj(plt.Text)) >= 8


@pytest.mark.parametrize("random", [0.48, 0.499, 0.501, 0.52])
@pytest.mark.parametrize("draw", ["task_scores", "by_size", "over_training"])
def test_names_of_baselines_whose_lines_are_close_lie_apart(draw, random, figure):
    if draw == "over_training":
        scores, rest = scores_along().replace({"majority": "chance"}), (STUDENTS, ["cola"])
        scores.loc[scores["arm"] == "chance", "score"] = 0.5
    else:
        scores, rest = made_up_scores(ARMS), (ARMS if draw == "task_scores" else RUNS,)
    scores.loc[scores["arm"] == "random", "score"] = random
    getattr(score_plots, draw)(scores, *rest, figure)
    figure.draw_without_rendering()
    for axis in shown(figure).values():
        names = {t.get_text(): t for t in axis.texts if t.get_text() in ("random", "chance")}
        boxes = [name.get_window_extent() for name in names.values()]
        assert len(boxes) == 2 and not boxes[0].overlaps(boxes[1])


def scores_along(sign=1):
    """Two tasks at three steps; `normal` ends `sign` x 0.1 ahead of the others."""
    rows = [
        ("student", arm, seed, step, task, 0.4 + step / 200 + 0.01 * seed
         + (0.001 * STUDENTS.index(arm) if arm != "normal" else sign * 0.1))
        for task in ("cola", "sst2") for arm in STUDENTS for seed in (0, 1, 2)
        for step in (10, 40, 80)
    ]  # fmt: skip
    for task in ("cola", "sst2"):
        rows += [("baseline", "random", seed, 0, task, 0.31) for seed in (0, 1, 2)]
        rows.append(("baseline", "majority", None, None, task, 0.3))
    columns = ["kind", "arm", "seed", "step", "task", "score"]
    return pd.DataFrame(rows, columns=columns).assign(metric="accuracy")


def test_scores_over_training_show_every_seed_at_every_step_and_the_baselines(figure):
    scores = scores_along()
    score_plots.over_training(scores, STUDENTS, ["cola", "sst2"], figure)
    assert len(figure.axes) == 2
    for task, axis in zip(("cola", "sst2"), figure.axes, strict=True):
        lines = {tuple(np.round(line.get_ydata(), 6)) for line in axis.lines}
        rows = scores[(scores["task"] == task) & (scores["kind"] == "student")]
        for _, seed in rows.groupby(["arm", "seed"]):
            assert tuple(np.round(seed["score"], 6)) in lines
        texts = {text.get_text() for text in axis.findobj(plt.Text)}
        assert {"random", "majority", *STUDENTS} <= texts
        assert axis.get_xlabel() == "step of pre-training" and axis.get_ylabel() == "accuracy"


@pytest.mark.parametrize(("sign", "best"), [(1, "normal"), (-1, "extremely-weak")])
def test_the_title_over_training_names_who_ends_highest(sign, best, figure):
    score_plots.over_training(scores_along(sign), STUDENTS, ["cola"], figure)
    said = words(figure.axes[0])
    assert said.startswith(f"CoLA: {best} ends highest, +") and "3 seeds" in said


@pytest.mark.parametrize(
    ("many", "said"),
    [(4, "all end alike"), (2, "scratch and normal end highest and alike")],
)
def test_the_title_over_training_names_all_who_end_highest(many, said, figure):
    scores = scores_along()
    scores.loc[scores["kind"] == "student", "score"] = 0.1
    for turn, arm in enumerate(STUDENTS[:many]):  # the same scores, of other seeds
        of_arm = scores["arm"] == arm
        scores.loc[of_arm, "score"] = (scores["seed"][of_arm] + turn) % 3 / 10 + 0.7
    score_plots.over_training(scores, STUDENTS, ["cola"], figure)
    assert words(figure.axes[0]) == f"CoLA: {said}"
