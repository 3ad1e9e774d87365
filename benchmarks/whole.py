"""Minutes, memory and disk of a whole pipeline.

`python benchmarks/whole.py study` times `make study` in this folder, `extended` times
`make extended` after the study; both write to results/benchmarks/whole.json. Run it in a fresh
clone: finished runs are not repeated. Pieces are added up if it is stopped by Ctrl-C and started
again. `--minutes` stops it by itself and writes the share of FLOPs done by then. Installing is not
timed if `.venv` exists.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from memory import Memory

from dwt.config.params import load_params

FILE = Path("results", "benchmarks", "whole.json")
FOLDERS = ("data", "build", "runs", "executed", ".dvc")  # what a pipeline writes outside git
TABLES = {"study": "runs.csv", "extended": "extended-runs.csv"}


def finished_runs():
    """Folders of all finished training runs."""
    return {file.parent for file in Path("runs").rglob("run.json")}


def flops(runs):
    """FLOPs of all training steps, teachers' forward passes included."""
    return sum(run["student_flops"] + run["teacher_flops"] for run in runs)


def disk(*folders):
    """GB on disk of all files in some folders; hard links count once."""
    files = (file for folder in folders for file in Path(folder).rglob("*") if file.is_file())
    sizes = {(s.st_dev, s.st_ino): 512 * s.st_blocks for s in (f.lstat() for f in files)}
    return sum(sizes.values()) / 1e9


def run(command, minutes=None):
    """Run a command: its exit status, whether it ran out of time, and its costs.

    Parameters
    ----------
    command : list of str
    minutes : float, optional
        Interrupt it after this time, as Ctrl-C does.
    """
    # A shell's background job ignores Ctrl-C, and so would all its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    memory, started, before = Memory(every=2), time.monotonic(), finished_runs()
    memory.start()
    process, timed_out = subprocess.Popen(command, start_new_session=True), False
    try:
        process.wait(minutes and 60 * minutes)
    except (KeyboardInterrupt, subprocess.TimeoutExpired) as reason:
        timed_out = isinstance(reason, subprocess.TimeoutExpired)
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
    memory.done.set()
    taken, trained = (time.monotonic() - started) / 60, finished_runs() - before
    records = [json.loads((folder / "run.json").read_text()) for folder in trained]
    return process.returncode, timed_out, {
        "trained": len(trained),
        "flops": flops(records),
        "minutes": taken,
        "model_hours": sum(record["seconds"] for record in records) / 3600,
        "peak_gb": memory.peak / 1e3,
        "pieces": 1,
    }  # fmt: skip


def add(first, second):
    """Costs of two pieces of one job."""
    peak = max(first["peak_gb"], second["peak_gb"])
    return {key: first[key] + second[key] for key in second} | {"peak_gb": peak}


def measure(target, params, *, command, minutes=None):
    """Time a command until it ends or time is up; the entry of whole.json."""
    installed = {"installed_before": Path(".venv", ".ready").exists()}
    pieces = Path("build", f"whole-{params.scale}-{target}.json")
    status, timed_out, costs = run(command, minutes)
    if pieces.is_file():
        earlier, installed = json.loads(pieces.read_text())
        costs = add(earlier, costs)
    pieces.parent.mkdir(exist_ok=True)
    pieces.write_text(json.dumps([costs, installed]))
    if status and not timed_out:
        sys.exit(f"status {status} after {costs['minutes']:.1f} minutes; start again to continue")
    if not status:
        status, _, again = run(command)
        if status:
            sys.exit(status)
        pieces.unlink()
        costs |= {"again_seconds": 60 * again["minutes"]}
    # The table of the whole grid: of this run or, if time was up, the committed one.
    grid = pd.read_csv(params.path("results", "tables", TABLES[target])).to_dict("records")
    costs |= {"models": len(grid), "share_of_flops": costs["flops"] / flops(grid)}
    if target == "study":  # after the extended grid these folders hold both
        costs |= {"environment_gb": disk(".venv"), "made_gb": disk(*FOLDERS)}
    return costs | installed | {"scale": params.scale, "cores": len(os.sched_getaffinity(0))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=[*TABLES])
    parser.add_argument("--minutes", type=float, help="interrupt it after this time")
    given, make = parser.parse_args(), ["make", "--no-print-directory"]
    if given.target == "extended":  # starts from the study, which is not timed
        subprocess.run([*make, "study"], check=True)
    command = [*make, given.target]
    costs = measure(given.target, load_params(), command=command, minutes=given.minutes)
    others = json.loads(FILE.read_text()) if FILE.is_file() else {}
    FILE.write_text(json.dumps(others | {given.target: costs}, indent=1) + "\n")
    print(json.dumps(costs, indent=1))


if __name__ == "__main__":
    main()
