"""The tables hold the declared grid and nothing else; the numbers come from a made-up study."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT

from dwt.analysis import tables as results
from dwt.analysis.collect import collect
from dwt.analysis.tables import TablesError, table
from dwt.config.params import load_params, resolve

STUDY = ROOT / "params.yaml"
LOSS = {
    "scratch": 4.0, "weak-teacher": 4.1, "very-weak-teacher": 4.2, "extremely-weak-teacher": 4.6,
    "normal": 3.8, "very-weak": 3.9, "extremely-weak": 4.2, "strong": 3.9, "4-to-1": 3.7,
    "remapped": 3.6, "remapped-no-kd": 3.3,
}  # fmt: skip


def write_run(params, arm, seed, noise=0.001):
    """A run whose losses are known: `LOSS`, plus 0.1 a seed, plus a little of its own."""
    run = resolve(arm, seed, params)
    run.directory.mkdir(parents=True, exist_ok=True)
    loss = LOSS[arm] + 0.1 * seed + noise * ((7 * seed + len(arm)) % 5)
    step = np.arange(1, 11) * run.train["steps"] // 10
    taught = run.teacher and run.soft_weight != 0
    history = pd.DataFrame({"step": step, "tokens": step * 64}).assign(
        learning_rate=1e-3, hard=loss, soft=1.0 if taught else np.nan, hard_weight=1.0,
        soft_weight=1.0 if taught else 0.0, gradient_norm=1.0,
        gradient_ratio=0.5 if taught else np.nan, gradient_cosine=0.3 if taught else np.nan,
        student_flops=step * 600, teacher_flops=step * (100 if taught else 0),
        heldout_loss=loss + (100 - step) / 100, out_of_domain_loss=loss + 1, seconds=step * 0.1,
    )  # fmt: skip
    history.to_csv(run.directory / "history.csv", index=False)
    content = dict(
        **run.settings(), parameters=10, tokens=6400, student_flops=60000,
        teacher_flops=10000 if taught else 0, steps=run.train["steps"],
        heldout_loss=loss, out_of_domain_loss=loss + 1, seconds=12.3,
    )  # fmt: skip
    (run.directory / "run.json").write_text(json.dumps(content))


def write_scores(params, arm):
    rows = [
        dict(kind="baseline" if arm == "baseline" else resolve(arm, seed, params).kind,
             arm="random" if arm == "baseline" else arm, seed=seed,
             step=0 if arm == "baseline" else 100, finetune_seed=None, learning_rate=None,
             epochs=None, task="word-swap", metric="accuracy", score=0.5 + 0.01 * seed,
             examples=10, train_examples=None)
        for seed in params.seeds
    ]  # fmt: skip
    tuned = [
        row | dict(task="cola", metric="matthews", finetune_seed=0, learning_rate=rate, epochs=3,
                   step=step, train_examples=8551, score=rate * 1e4 + 0.01 * row["seed"])
        for row in rows for rate in (1e-5, 5e-5)
        for step in ([0] if arm == "baseline" else [100, 50])
    ]  # fmt: skip
    rows += tuned
    if arm == "baseline":
        rows.append({**rows[0], "arm": "chance", "seed": None, "step": None, "score": 0.5})
    directory = params.path("runs", "study", "scores", arm)
    directory.mkdir(parents=True, exist_ok=True)
    whole = ["seed", "step", "finetune_seed", "epochs", "train_examples"]
    frame = pd.DataFrame(rows).astype({name: "Int64" for name in whole})
    frame.to_csv(directory / "scores.csv", index=False)


def change(root, edit):
    """params.yaml of the made-up study, edited."""
    content = yaml.safe_load((root / "params.yaml").read_text())
    edit(content)
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return load_params(root / "params.yaml")


@pytest.fixture
def params(tmp_path):
    shutil.copy(STUDY, tmp_path)
    params = load_params(tmp_path / "params.yaml")
    for arm in params.names():
        for seed in params.seeds:
            write_run(params, arm, seed)
    for arm in [*params.names(), "baseline"]:
        write_scores(params, arm)
    return params


def test_tables_hold_every_declared_run_once_in_order_with_the_agreed_columns(params):
    collect(params)
    runs = table("runs", params)
    grid = [(arm, seed) for arm in params.names() for seed in params.seeds]
    assert [*zip(runs["arm"], runs["seed"], strict=True)] == grid
    for name, columns in results.COLUMNS.items():
        assert [*table(name, params)] == columns


def test_collecting_twice_gives_the_same_bytes_and_no_seconds(params):
    collect(params)
    files = sorted(params.path("results", "tables").iterdir())
    first = [file.read_bytes() for file in files]
    assert [file.name for file in files] == ["curves.csv", "runs.csv", "scores.csv"]
    collect(params)
    assert [file.read_bytes() for file in files] == first
    assert b"seconds" not in b"".join(first)


def test_the_file_holds_every_setting_and_step_the_table_the_chosen_one_of_final_weights(
    params,
):
    collect(params)
    written = pd.read_csv(params.path("results", "tables", "scores.csv"))
    cola = written[written["task"] == "cola"]
    assert {*cola["learning_rate"]} == {1e-5, 5e-5} and {*cola["step"]} == {0, 50, 100}
    scores = table("scores", params)
    cola = scores[scores["task"] == "cola"]
    assert {*cola["learning_rate"]} == {5e-5}
    assert {*cola.loc[cola["kind"] != "baseline", "step"]} == {100}
    assert len(cola) == (len(params.names()) + 1) * len(params.seeds)
    assert {*scores["task"]} == {"word-swap", "cola"} and "chance" in {*scores["arm"]}


def test_scores_along_the_runs_are_those_of_the_chosen_setting_at_every_step(params):
    collect(params)
    along = results.scores_by_step(params)
    assert {*along["task"]} == {"cola"} and {*along["learning_rate"]} == {5e-5}
    assert {*along["step"]} == {0, 50, 100} and "random" in {*along["arm"]}


def test_without_checkpoints_there_are_no_scores_along_the_runs(params):
    for arm in [*params.names(), "baseline"]:
        file = params.path("runs", "study", "scores", arm, "scores.csv")
        rows = pd.read_csv(file)
        rows[rows["step"] != 50].to_csv(file, index=False)
    collect(params)
    assert results.scores_by_step(params).empty


def test_the_chosen_setting_is_said(params):
    collect(params)
    (row,) = results.fine_tuning(params).to_dict("records")
    assert (row["task"], row["learning_rate"], row["epochs"], row["tried"]) == ("cola", 5e-5, 3, 2)


def test_whole_numbers_are_written_whole(params):
    collect(params)
    header, *lines = params.path("results", "tables", "scores.csv").read_text().splitlines()
    place = [header.split(",").index(name) for name in ("seed", "step", "epochs", "train_examples")]
    assert not any("." in line.split(",")[i] for line in lines for i in place)


@pytest.mark.parametrize("missing", ["run.json", "history.csv"])
def test_a_missing_run_is_refused_by_name_and_nothing_is_written(params, missing):
    (resolve("strong", 1, params).directory / missing).unlink()
    with pytest.raises(TablesError, match="arm 'strong', seed '1'.*" + missing) as error:
        collect(params)
    assert str(error.value).endswith("dvc repro student@laptop-strong-1")
    assert str(params.root) not in str(error.value)
    assert not params.path("results").exists()


@pytest.mark.parametrize(
    ("arm", "stage"),
    [
        ("normal", "evaluate-student@laptop-normal"),
        ("scratch", "evaluate-standalone@laptop-scratch"),
        ("baseline", "evaluate-baseline@laptop-baseline"),
    ],
)
def test_missing_scores_are_refused_by_name_with_the_stage_that_makes_them(params, arm, stage):
    params.path("runs", "study", "scores", arm, "scores.csv").unlink()
    with pytest.raises(TablesError, match=f"dvc repro {stage}$"):
        collect(params)


def test_a_run_made_with_other_settings_is_refused(params):
    changed = change(params.root, lambda p: p["arms"]["strong"].update(soft_weight=2.0))
    with pytest.raises(TablesError, match=r"strong, seed 0.*soft_weight = 4\.0.*2\.0"):
        collect(changed)


def test_dropped_arms_and_seeds_leave_every_table_though_their_files_stay(params):
    collect(params)

    def drop(content):
        content["seeds"] = [0, 2]
        del content["arms"]["4-to-1"], content["claims"]["decay-helps"]
        for arms in content["analyses"].values():
            arms[:] = [arm for arm in arms if arm != "4-to-1"]

    changed = change(params.root, drop)
    for recollect in (False, True):
        if recollect:
            collect(changed)
        for name in results.COLUMNS:
            rows = table(name, changed)
            assert "4-to-1" not in {*rows["arm"]} and {*rows["seed"].dropna()} == {0, 2}


def test_of_an_added_seed_and_arm_that_are_not_trained_yet_the_other_rows_stay(params):
    collect(params)
    before = table("runs", params)

    def add(content):
        content["seeds"].append(7)
        content["arms"]["gentle"] = {"teacher": "weak-teacher", "soft_weight": 0.25}

    changed = change(params.root, add)
    assert results.missing_runs(changed, ["scratch", "gentle"]) == (
        "`scratch` (seeds 7), `gentle` (seeds 0, 1, 2, 7)"
    )
    for name in results.COLUMNS:
        pd.testing.assert_frame_equal(table(name, changed), table(name, params))
    pd.testing.assert_frame_equal(table("runs", changed), before)
    with pytest.raises(TablesError, match="arm 'scratch', seed '7'"):
        collect(changed)


@pytest.mark.parametrize(
    ("what", "gone"),
    [
        (lambda p: p["arms"]["strong"].update(soft_weight=2.0), {"strong"}),
        (lambda p: p["defaults"].update(temperature=2.0), "students"),
        (
            lambda p: p["models"]["weak-teacher"].update(layers=3),
            {"weak-teacher", "normal", "strong", "4-to-1", "remapped", "remapped-no-kd"},
        ),
    ],
)
def test_under_a_changed_setting_no_number_of_the_old_one_is_shown(params, what, gone):
    collect(params)
    changed = change(params.root, what)
    gone = {*params.arms} if gone == "students" else gone
    for name in results.COLUMNS:
        assert {*table(name, params)["arm"]} - {*table(name, changed)["arm"]} == gone
    assert all(f"`{arm}` (seeds 0, 1, 2" in results.missing_runs(changed, [arm]) for arm in gone)


def test_under_another_text_or_learning_rate_nothing_old_is_shown(params):
    collect(params)
    for edit in (
        lambda p: p["scales"]["laptop"]["train"].update(learning_rate=1e-3),
        lambda p: p["scales"]["laptop"]["corpus"].update(heldout=0.2),
    ):
        with pytest.raises(TablesError, match="no run of 'scratch'.* with the settings"):
            table("runs", change(params.root, edit))


def test_rounding_of_another_processor_does_not_rewrite_a_table(params):
    collect(params)
    file = params.path("results", "tables", "runs.csv")
    before, run = file.read_bytes(), resolve("strong", 1, params).directory / "run.json"
    record = json.loads(run.read_text())
    for change_of_loss, same in ((1e-5, True), (1e-2, False)):
        run.write_text(
            json.dumps(record | {"heldout_loss": record["heldout_loss"] + change_of_loss})
        )
        collect(params)
        assert (file.read_bytes() == before) == same


def test_tables_that_were_never_made_are_refused_with_their_command(params):
    with pytest.raises(
        TablesError, match="results/laptop/tables/runs.csv is missing; run dvc repro"
    ):
        table("runs", params)


def test_a_schedule_is_kept_as_text_and_a_number_as_a_number_of_one_form(params):
    collect(params)
    weights = table("runs", params).drop_duplicates("arm").set_index("arm")["soft_weight"]
    assert json.loads(weights["4-to-1"])["from"] == 4
    assert (weights["scratch"], weights["strong"]) == ("0.0", "4.0")


def extended_runs(params, arms=("same-size-teacher",)):
    """The study's table of runs, as that of the extended grid with other arms or seeds."""
    rows = pd.read_csv(params.path("results", "tables", "runs.csv"))
    settings = {arm: results.settings_digest(params, arm) for arm in arms}
    rows = pd.concat([rows[rows["arm"] == "normal"].assign(arm=arm, settings=settings[arm])
                      for arm in arms])  # fmt: skip
    results.save(rows, params.path("results", "tables", "extended-runs.csv"))


def test_rows_of_the_extended_grid_follow_those_of_the_study(params):
    collect(params)
    study = table("runs", params)
    extended_runs(params)
    rows = table("runs", params)
    pd.testing.assert_frame_equal(rows.head(len(study)), study, check_dtype=False)
    assert {*rows["arm"].tail(3)} == {"same-size-teacher"} and len(rows) == len(study) + 3
    with pytest.raises(TablesError, match="the curve of 'same-size-teacher', seed 0, is not whole"):
        table("curves", params)


def test_arms_that_have_no_run_are_named(params):
    collect(params)
    asked = ["normal", "same-size-teacher", "adaptive"]
    assert results.not_run(params, asked) == ["same-size-teacher", "adaptive"]
    extended_runs(params)
    assert results.not_run(params, asked) == ["adaptive"]


def test_where_token_losses_were_not_computed_there_are_no_rows(params):
    assert results.token_losses(params).empty


def test_seeds_that_the_extended_grid_ran_are_shown_when_the_study_asks_for_them(params):
    collect(params)
    rows = pd.read_csv(params.path("results", "tables", "runs.csv"))
    results.save(
        rows.assign(seed=rows["seed"] + 3), params.path("results", "tables", "extended-runs.csv")
    )
    six = table("runs", params)
    asked = change(params.root, lambda p: p.update(seeds=[0, 1, 2, 3, 4, 5]))
    assert sorted(table("runs", asked)["seed"].unique()) == [0, 1, 2, 3, 4, 5]
    assert len(table("runs", asked)) == len(six) == 6 * len(params.names())
    assert results.missing_runs(asked, params.names()) == ""


def damage(params, name, change_rows):
    file = params.path("results", "tables", f"{name}.csv")
    change_rows(pd.read_csv(file)).to_csv(file, index=False)


@pytest.mark.parametrize(
    ("name", "change_rows", "message"),
    [
        ("curves", lambda rows: rows.head(len(rows) // 2), "the curve of .* is not whole"),
        ("curves", lambda rows: rows.head(0), "the curve of 'scratch', seed 0, is not whole"),
        ("curves", lambda rows: rows.assign(step=rows["step"] * 2), "is not whole"),
        ("runs", lambda rows: pd.concat([rows, rows]), "'scratch', seed 0, has 2 rows"),
    ],
)
def test_a_damaged_table_is_refused_by_name(params, name, change_rows, message):
    collect(params)
    damage(params, name, change_rows)
    with pytest.raises(TablesError, match=message):
        table("curves", params)
