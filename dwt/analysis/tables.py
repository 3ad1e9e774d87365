"""Tidy tables of the runs that params.yaml declares: results/<scale>/tables.

`collect` writes them from finished runs (``python -m dwt.analysis.tables study``, or ``extended``);
`table` reads them back.
"""

import json
import sys
from pathlib import Path

import pandas as pd

from dwt.config.files import atomic_path
from dwt.config.params import load_params, resolve
from dwt.config.schema import Params
from dwt.evaluation.model_selection import final_rows, select_settings, selected_rows

KEYS = ["kind", "arm", "seed"]
COLUMNS = {
    "runs": [
        *KEYS, "layers", "teacher", "soft_weight", "hard_weight", "temperature", "remap",
        "parameters", "steps", "tokens", "student_flops", "teacher_flops", "heldout_loss",
        "out_of_domain_loss",
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
SETTINGS = ["layers", "teacher", "soft_weight", "hard_weight", "temperature", "remap", "context"]


class TablesError(ValueError):
    """A declared run, or a table of results, is missing or is not what params.yaml asks for."""


def collect(params: Params, grid: str = "study") -> None:
    """Write the tables of a grid, "study" or "extended", from the runs that params.yaml declares.

    Nothing is written unless every declared run is finished; other runs are not read. The extended
    grid has no scores. Seconds and dates are left out, so the same runs give the same bytes. A
    TablesError names arm, seed, file and the command that makes it.
    """
    runs, curves = [], []
    for run in (resolve(arm, seed, params) for arm, seed in params.runs_of(grid)):
        keys = dict(kind=run.kind, arm=run.arm, seed=run.seed)
        stage = f"dvc repro {run.kind}@{run.scale}-{run.arm}-{run.seed}"
        command = stage if grid == "study" else "make extended"
        file, history = run.directory / "run.json", run.directory / "history.csv"
        for needed in (file, history):
            _require(needed, params, command, f"arm '{run.arm}', seed '{run.seed}', ")
        row = json.loads(file.read_text(encoding="utf-8"))
        asked = {name: getattr(run, name) for name in SETTINGS} | {"steps": run.train["steps"]}
        for name, value in asked.items():
            if row.get(name) != value:
                raise TablesError(
                    f"{run.arm}, seed {run.seed}: {file.relative_to(params.root)} has {name} = "
                    f"{row.get(name)!r}, params.yaml asks for {value!r}; run {command}"
                )
        weight = json.dumps(run.soft_weight, sort_keys=True)
        runs.append({**row, **keys, "soft_weight": weight})
        curves.append(pd.read_csv(history).assign(**keys))
    tables = {"runs": pd.DataFrame(runs), "curves": pd.concat(curves)} if runs else {}
    if grid == "study":
        tables["scores"] = _scores(params)
    declared = {name: _declared(frame, name, params, grid) for name, frame in tables.items()}
    for name, frame in declared.items():
        save(frame, _file(name, params, grid))


def _scores(params):
    kinds = dict.fromkeys(params.models, "standalone") | dict.fromkeys(params.arms, "student")
    frames = []
    for arm, kind in (kinds | {"baseline": "baseline"}).items():
        file = params.path("runs", "study", "scores", arm, "scores.csv")
        command = f"dvc repro evaluate-{kind}@{params.scale}-{arm}"
        frames.append(_read(file, "scores", params, command, f"arm '{arm}', "))
    return pd.concat(frames)


def table(name: str, params: Params) -> pd.DataFrame:
    """The declared rows of "runs", "curves" or "scores": the study, then the extended grid.

    Scores are those of final weights and of baselines, fine-tuned with the setting chosen for the
    task. A TablesError if the table, or a declared arm and seed of the study in it, is missing.
    """
    rows = _table(name, params)
    if name == "scores":
        return final_rows(selected_rows(rows)).reset_index(drop=True)
    if _file(name, params, "extended").is_file():
        rows = pd.concat([rows, _table(name, params, "extended")], ignore_index=True)
    return rows


def scores_by_step(params: Params) -> pd.DataFrame:
    """`table("scores")` with the checkpoints along the runs; empty where none was scored."""
    rows = selected_rows(_table("scores", params))
    early = rows.loc[rows["kind"] != "baseline"].groupby("task")["step"].nunique()
    return rows[rows["task"].isin(early.index[early > 1])].reset_index(drop=True)


def fine_tuning(params: Params) -> pd.DataFrame:
    """The setting of each fine-tuned task, and the number tried; see `model_selection`."""
    return select_settings(_table("scores", params))


def token_losses(params: Params) -> pd.DataFrame:
    """The rows that `dwt.analysis.token_gains` wrote; none where it has not run."""
    file = tokens_file(params)
    return pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=TOKEN_COLUMNS)


def tokens_file(params: Params) -> Path:
    """results/<scale>/tables/tokens.csv"""
    return params.path("results", "tables", "tokens.csv")


def not_run(params: Params, names: list[str]) -> list[str]:
    """Those of some models and arms that have no run in the tables of this scale."""
    there = {*table("runs", params)["arm"]}
    return [name for name in names if name not in there]


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
        raise TablesError(f"{least} arms are compared; of {', '.join(arms)} not run: {absent}")
    return there


def save(frame: pd.DataFrame, path: Path) -> None:
    """Write a CSV atomically, with the same bytes for the same numbers."""
    with atomic_path(path) as partial:
        frame.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")


def _table(name, params, grid="study"):
    file = _file(name, params, grid)
    frame = _read(file, name, params, f"dvc repro collect@{params.scale}")
    return _declared(frame, name, params, grid)


def _file(name, params, grid):
    prefix = "" if grid == "study" else "extended-"
    return params.path("results", "tables", f"{prefix}{name}.csv")


def _require(file, params, command, whose=""):
    if not file.is_file():
        raise TablesError(f"{whose}{file.relative_to(params.root)} is missing; run {command}")


def _read(file, name, params, command, whose=""):
    _require(file, params, command, whose)
    types = dict.fromkeys(INTEGERS if name == "scores" else ["seed"], "Int64")
    if name == "runs":
        types["soft_weight"] = str  # a number or a schedule
    try:
        return pd.read_csv(file, dtype=types)
    except ValueError as error:  # of pandas' parser, too
        raise TablesError(f"{file.relative_to(params.root)}: {error}") from error


def _declared(frame, name, params, grid):
    """The declared rows and columns, in the order of params.yaml.

    A missing run of the study is an error; of the extended grid the runs that exist are returned.
    """
    file = _file(name, params, grid).relative_to(params.root)
    command = f"run dvc repro collect@{params.scale}"
    if absent := [column for column in COLUMNS[name] if column not in frame]:
        raise TablesError(f"{file}: no column {', '.join(absent)}; {command}")
    by_run = dict(list(frame.groupby(KEYS, sort=False)))
    wanted = [("standalone" if arm in params.all_models else "student", arm, seed)
              for arm, seed in params.runs_of(grid)]  # fmt: skip
    needed = [] if grid == "extended" else [*wanted]
    if name == "scores":
        needed += [("baseline", "random", seed) for seed in params.seeds]
    for kind, arm, seed in (key for key in needed if key not in by_run):
        missing = f"{kind} '{arm}', seed {seed} (declared in params.yaml)"
        raise TablesError(f"{file}: no row for {missing}; {command}")
    rows = [by_run[key] for key in wanted if key in by_run]
    baselines = frame[(frame["kind"] == "baseline") & frame["seed"].isin([pd.NA, *params.seeds])]
    return pd.concat([frame.iloc[:0], *rows, baselines], ignore_index=True)[COLUMNS[name]]


if __name__ == "__main__":
    try:
        collect(load_params(), *sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
