"""Writes the tables of a grid from its finished runs: ``python -m dwt.analysis.collect study``."""

import json
import sys

import pandas as pd

from dwt.analysis.tables import (
    TablesError,
    declared_rows,
    read_table,
    require_file,
    save,
    settings_digest,
    table_file,
)
from dwt.config.params import load_params, resolve
from dwt.config.schema import Params

NOISE = 1e-4  # relative: another processor rounds differently, and the file in git stays as it is


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
            require_file(needed, params, command, f"arm '{run.arm}', seed '{run.seed}', ")
        row = json.loads(file.read_text(encoding="utf-8"))
        for name, value in run.settings().items():
            if row.get(name) != value:
                raise TablesError(
                    f"{run.arm}, seed {run.seed}: {file.relative_to(params.root)} has {name} = "
                    f"{row.get(name)!r}, params.yaml asks for {value!r}; run {command}"
                )
        weight = json.dumps(run.soft_weight, sort_keys=True)
        settings = settings_digest(params, run.arm)
        runs.append({**row, **keys, "soft_weight": weight, "settings": settings})
        curves.append(pd.read_csv(history).assign(**keys))
    tables = {"runs": pd.DataFrame(runs), "curves": pd.concat(curves)} if runs else {}
    if grid == "study":
        tables["scores"] = _scores(params)
    declared = {name: declared_rows(frame, name, params, [grid]) for name, frame in tables.items()}
    for name, frame in declared.items():
        there = {*zip(frame["arm"], frame["seed"], strict=True)}
        for arm, seed in params.runs_of(grid):
            if (arm, seed) not in there:
                raise TablesError(f"{name}: no row for '{arm}', seed {seed}; run make study")
    for name, frame in declared.items():
        save(frame, table_file(name, params, grid), noise=NOISE)


def _scores(params):
    kinds = dict.fromkeys(params.models, "standalone") | dict.fromkeys(params.arms, "student")
    frames = []
    for arm, kind in (kinds | {"baseline": "baseline"}).items():
        file = params.path("runs", "study", "scores", arm, "scores.csv")
        command = f"dvc repro evaluate-{kind}@{params.scale}-{arm}"
        frames.append(read_table(file, "scores", params, command, f"arm '{arm}', "))
    return pd.concat(frames)


if __name__ == "__main__":
    try:
        collect(load_params(), *sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
