"""Tidy tables of the runs that params.yaml declares, results/<scale>/tables, and how to read them.

`dwt.analysis.collect` writes them.
"""

import contextlib
import shutil
from pathlib import Path

import pandas as pd

from dwt.config.files import atomic_path, digest
from dwt.config.params import resolve
from dwt.config.schema import Params
from dwt.evaluation.model_selection import final_rows, select_settings, selected_rows

KEYS = ["kind", "arm", "seed"]
COLUMNS = {
    "runs": [
        *KEYS, "layers", "teacher", "soft_weight", "hard_weight", "temperature", "remap",
        "parameters", "steps", "tokens", "student_flops", "teacher_flops", "heldout_loss",
        "out_of_domain_loss", "settings",
    ],
    "curves": [
        *KEYS, "step", "tokens", "learning_rate", "hard", "soft", "hard_weight", "soft_weight",
        "gradient_norm", "gradient_ratio", "gradient_cosine", "student_flops", "teacher_flops",
        "heldout_loss",
    ],
    "scores": [
        *KEYS, "step", "finetune_seed", "learning_rate", "epochs", "task", "metric", "score",
        "examples", "train_examples",
    ],
}  # fmt: skip
TOKEN_COLUMNS = [
    "arm", "against", "seed", "band", "teacher_right", "tokens", "loss", "loss_without"
]  # fmt: skip
INTEGERS = ["seed", "step", "finetune_seed", "epochs", "examples", "train_examples"]  # or missing


class TablesError(ValueError):
    """A declared run, or a table of results, is missing or is not what params.yaml asks for."""


def settings_digest(params: Params, arm: str) -> str:
    """Digest of all in params.yaml that decides an arm's numbers, its teacher's and text's too."""
    run = resolve(arm, 0, params)
    teacher = resolve(run.teacher, 0, params).settings() if run.teacher_directory else None
    return digest([run.settings(), teacher, params.settings.corpus.model_dump(mode="json")])


def table(name: str, params: Params) -> pd.DataFrame:
    """The declared rows of "runs", "curves" or "scores": the study, then the extended grid.

    Only rows of runs with the settings of params.yaml; `missing_runs` names the others. Scores are
    those of final weights and of baselines, fine-tuned with the setting chosen for the task. A
    TablesError if a table is missing, has a run twice or a curve that is not whole, or `scratch`,
    with which all is compared, has no rows. The settings `evaluate` of scores are not compared.
    """
    rows = _table(name, params)
    return final_rows(selected_rows(rows)).reset_index(drop=True) if name == "scores" else rows


def scores_by_step(params: Params) -> pd.DataFrame:
    """`table("scores")` with the checkpoints along the runs; empty where none was scored."""
    rows = selected_rows(_table("scores", params))
    early = rows.loc[rows["kind"] != "baseline"].groupby("task")["step"].nunique()
    return rows[rows["task"].isin(early.index[early > 1])].reset_index(drop=True)


def fine_tuning(params: Params) -> pd.DataFrame:
    """The setting of each fine-tuned task, and the number tried; see `model_selection`."""
    return select_settings(_table("scores", params))


def token_losses(params: Params) -> pd.DataFrame:
    """What `dwt.analysis.token_gains` wrote of current runs; no rows where it has not run."""
    if not (file := tokens_file(params)).is_file():
        return pd.DataFrame(columns=TOKEN_COLUMNS)
    rows = pd.read_csv(file)
    return rows[rows["arm"].isin(table("runs", params)["arm"])]


def tokens_file(params: Params) -> Path:
    """results/<scale>/tables/tokens.csv"""
    return params.path("results", "tables", "tokens.csv")


def not_run(params: Params, names: list[str]) -> list[str]:
    """Those of some models and arms that have no run in the tables of this scale."""
    there = {*table("runs", params)["arm"]}
    return [name for name in names if name not in there]


def missing_runs(params: Params, names: list[str]) -> str:
    """Those of some models and arms that lack runs with these settings, with the seeds, as text.

    Further seeds of the extended grid count where that grid was run at this scale.
    """
    runs, kept = table("runs", params), []
    extended = table_file("runs", params, "extended").is_file()
    for name in names:
        there = {*runs.loc[runs["arm"] == name, "seed"]}
        further = extended or name not in params.names()
        grids = ("study", "extended") if further else ("study",)
        declared = {run for grid in grids for run in params.runs_of(grid)}
        if seeds := sorted(seed for arm, seed in declared if arm == name and seed not in there):
            kept.append(f"`{name}` (seeds {', '.join(map(str, seeds))})")
    return ", ".join(kept)


def losses(runs: pd.DataFrame, measure: str = "heldout_loss") -> pd.DataFrame:
    """Losses at the last step, [seeds, arms]; nan where an arm was not trained with a seed."""
    return runs.pivot(index="seed", columns="arm", values=measure)[runs["arm"].unique()]


def by_step(curves: pd.DataFrame, arms, column: str = "heldout_loss") -> pd.DataFrame:
    """A column of the curves of some arms where it has a value, [seeds x steps, arms]."""
    there = curves[curves["arm"].isin(arms)].dropna(subset=[column])
    wide = there.pivot(index=["seed", "step"], columns="arm", values=column)
    return wide.reindex(columns=arms).dropna(axis=1, how="all")


def with_rows(rows: pd.DataFrame, arms: list[str], least: int = 2) -> list[str]:
    """The arms that have rows in a table; a TablesError names the others if too few have."""
    there = [arm for arm in arms if arm in {*rows["arm"]}]
    if len(there) < least:
        absent = ", ".join(arm for arm in arms if arm not in there)
        raise TablesError(
            f"at least {least} arms are needed; of {', '.join(arms)} not run: {absent}"
        )
    return there


def save(frame: pd.DataFrame, path: Path, *, noise: float = 0.0) -> None:
    """Write a CSV atomically; an existing one with the same numbers, up to `noise`, is kept."""
    with atomic_path(path) as partial:
        frame.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
        if noise and path.is_file():
            with contextlib.suppress(AssertionError, ValueError):
                pd.testing.assert_frame_equal(pd.read_csv(path), pd.read_csv(partial), rtol=noise)
                shutil.copyfile(path, partial)


def _table(name, params):
    """The declared rows, of the study and the extended grid, with the settings of params.yaml."""
    runs = declared_rows(_read("runs", params), "runs", params)
    expected = {arm: settings_digest(params, arm) for arm in runs["arm"].unique()}
    runs = runs[runs["settings"] == runs["arm"].map(expected)].reset_index(drop=True)
    if "scratch" not in {*runs["arm"]}:
        raise TablesError(
            f"{table_file('runs', params).relative_to(params.root)}: no run of 'scratch', the "
            "student without a teacher, with the settings of params.yaml; run make study"
        )
    if name == "runs":
        return runs
    rows, keys = declared_rows(_read(name, params), name, params), ["arm", "seed"]
    if name == "curves":
        last, file = (
            rows.groupby(keys)["step"].max(),
            table_file(name, params).relative_to(params.root),
        )
        for run in runs.itertuples():
            if last.get((run.arm, run.seed)) != run.steps:
                whose = f"{file}: the curve of '{run.arm}', seed {run.seed}"
                raise TablesError(f"{whose}, is not whole; run make study (or make extended)")
    current = rows.set_index(keys).index.isin(runs.set_index(keys).index)
    return rows[current | (rows["kind"] == "baseline")].reset_index(drop=True)


def table_file(name, params, grid="study"):
    prefix = "" if grid == "study" else "extended-"
    return params.path("results", "tables", f"{prefix}{name}.csv")


def require_file(file, params, command, whose=""):
    if not file.is_file():
        raise TablesError(f"{whose}{file.relative_to(params.root)} is missing; run {command}")


def _read(name, params):
    """Both files of a table, of which the second, of the extended grid, may not exist."""
    files = [table_file(name, params), table_file(name, params, "extended")]
    files = [files[0], *(file for file in files[1:] if file.is_file() and name != "scores")]
    command = f"dvc repro collect@{params.scale}"
    return pd.concat([read_table(file, name, params, command) for file in files])


def read_table(file, name, params, command, whose=""):
    require_file(file, params, command, whose)
    types = dict.fromkeys(INTEGERS if name == "scores" else ["seed"], "Int64")
    if name == "runs":
        types["soft_weight"] = str  # a number or a schedule
    try:
        return pd.read_csv(file, dtype=types)
    except ValueError as error:  # of pandas' parser, too
        raise TablesError(f"{file.relative_to(params.root)}: {error}") from error


def declared_rows(frame, name, params, grids=("study", "extended")):
    """The declared rows and columns, in the order of params.yaml."""
    file = table_file(name, params).relative_to(params.root)
    if absent := [column for column in COLUMNS[name] if column not in frame]:
        command = f"run dvc repro collect@{params.scale}"
        raise TablesError(f"{file}: no column {', '.join(absent)}; {command}")
    by_run = dict(list(frame.groupby(KEYS, sort=False)))
    declared = dict.fromkeys(run for grid in grids for run in params.runs_of(grid))
    wanted = [("standalone" if arm in params.all_models else "student", arm, seed)
              for arm, seed in declared]  # fmt: skip
    rows = [by_run[key] for key in wanted if key in by_run]
    if name == "runs" and (twice := [of_run for of_run in rows if len(of_run) > 1]):
        arm, seed = twice[0].iloc[0][["arm", "seed"]]
        raise TablesError(
            f"{file}: '{arm}', seed {seed}, has {len(twice[0])} rows; remove all but one"
        )
    baselines = frame[(frame["kind"] == "baseline") & frame["seed"].isin([pd.NA, *params.seeds])]
    return pd.concat([frame.iloc[:0], *rows, baselines], ignore_index=True)[COLUMNS[name]]
