"""What does a whole pipeline take, in minutes and memory?

`python benchmarks/whole.py study` runs `make study` in this folder, and writes what it took to
results/benchmarks/whole.json; `evidence` likewise. What is finished is not done again, so run it in
a fresh clone. Stopped by Ctrl-C, or by itself after `--minutes`, it writes what share of the
operations was done by then; started again, it adds up its pieces. Where `.venv` is made already,
the time is without installing.
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

from dwt.params import load_params

FILE = Path("results", "benchmarks", "whole.json")


def models():
    """Every model that was trained here, once; not those that a kill has left half copied."""
    found = Path("build", "finished").glob("*/run.json")
    return {file.parent for file in found if file.parent.suffix != ".partial"}


def operations(runs):
    """Floating-point operations of the training steps of some runs, teachers' included."""
    return sum(run["student_flops"] + run["teacher_flops"] for run in runs)


def run(command, minutes=None):
    """Run a command; its exit status, whether it was stopped, and what it took.

    Parameters
    ----------
    command : list of str
    minutes : float, optional
        Stop it after so long, as Ctrl-C does.
    """
    memory, began, before = Memory(every=2), time.monotonic(), models()
    memory.start()
    process, stopped = subprocess.Popen(command, start_new_session=True), False
    try:
        process.wait(minutes and 60 * minutes)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        stopped = True
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
    memory.done.set()
    taken, trained = (time.monotonic() - began) / 60, models() - before
    records = [json.loads((folder / "run.json").read_text()) for folder in trained]
    return process.returncode, stopped, {
        "trained": len(trained),
        "operations": operations(records),
        "minutes": taken,
        "model_hours": sum(record["seconds"] for record in records) / 3600,
        "peak_gb": memory.peak / 1e3,
        "pieces": 1,
    }  # fmt: skip


def together(first, then):
    """What two pieces of one job took."""
    peak = max(first["peak_gb"], then["peak_gb"])
    return {key: first[key] + then[key] for key in then} | {"peak_gb": peak}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=["study", "evidence"])
    parser.add_argument("--minutes", type=float, help="stop after so many")
    asked, params = parser.parse_args(), load_params()
    target, folder = asked.target, params.path("results")
    table = folder / ("" if asked.target == "study" else target) / "runs.csv"
    every = pd.read_csv(table).to_dict("records")  # of an earlier run: what there is to do
    installed = {"installed_before": Path(".venv", ".ready").exists()}
    command = ["make", "--no-print-directory", target]
    pieces = Path("build", f"whole-{params.scale}-{target}.json")
    status, stopped, found = run(command, asked.minutes)
    if pieces.is_file():
        earlier, installed = json.loads(pieces.read_text())
        found = together(earlier, found)
    if status:
        pieces.parent.mkdir(exist_ok=True)
        pieces.write_text(json.dumps([found, installed]))
        if not stopped:
            sys.exit(f"status {status} after {found['minutes']:.1f} minutes; start again to go on")
    else:
        status, _, again = run(command)
        if status:
            sys.exit(status)
        pieces.unlink(missing_ok=True)
        found |= {"again_seconds": 60 * again["minutes"]}
    share = found.pop("operations") / operations(every)
    found |= installed | {"share_of_operations": share, "models": len(every)}
    found |= {"scale": params.scale, "cores": len(os.sched_getaffinity(0))}
    kept = json.loads(FILE.read_text()) if FILE.is_file() else {}
    FILE.write_text(json.dumps(kept | {target: found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
