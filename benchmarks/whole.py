"""What does a whole pipeline take, in minutes, memory and disk?

`python benchmarks/whole.py study` times `make study` in this folder, `evidence` what `make
evidence` does once the study is there, and writes it to results/benchmarks/whole.json. What is
finished is not done again, so run it in a fresh clone. Stopped by Ctrl-C and started again, it adds
up its pieces. With `--minutes` it stops by itself after so long, and writes what share of the
operations was done by then. Where `.venv` is made already, the time is without installing.
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
MADE = ("data", "build", "runs", "executed", ".dvc")  # where a pipeline writes what git ignores


def models():
    """Every model that was trained here, once; not those that a kill has left half copied."""
    found = Path("build", "finished").glob("*/run.json")
    return {file.parent for file in found if file.parent.suffix != ".partial"}


def operations(runs):
    """Floating-point operations of the training steps of some runs, teachers' included."""
    return sum(run["student_flops"] + run["teacher_flops"] for run in runs)


def disk(*folders):
    """GB on disk of all files below some folders; one that has several names counts once."""
    files = (file for folder in folders for file in Path(folder).rglob("*") if file.is_file())
    sizes = {(s.st_dev, s.st_ino): 512 * s.st_blocks for s in (f.lstat() for f in files)}
    return sum(sizes.values()) / 1e9


def run(command, minutes=None):
    """Run a command; its exit status, whether time was up, and what it took.

    Parameters
    ----------
    command : list of str
    minutes : float, optional
        Stop it after so long, as Ctrl-C would.
    """
    # A shell's background job ignores Ctrl-C, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    memory, began, before = Memory(every=2), time.monotonic(), models()
    memory.start()
    process, time_is_up = subprocess.Popen(command, start_new_session=True), False
    try:
        process.wait(minutes and 60 * minutes)
    except (KeyboardInterrupt, subprocess.TimeoutExpired) as why:
        time_is_up = isinstance(why, subprocess.TimeoutExpired)
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
    memory.done.set()
    taken, trained = (time.monotonic() - began) / 60, models() - before
    records = [json.loads((folder / "run.json").read_text()) for folder in trained]
    return process.returncode, time_is_up, {
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


def measure(target, params, *, command, minutes=None):
    """Time a command until it is done or time is up; what whole.json says of it."""
    installed = {"installed_before": Path(".venv", ".ready").exists()}
    pieces = Path("build", f"whole-{params.scale}-{target}.json")
    status, time_is_up, found = run(command, minutes)
    if pieces.is_file():
        earlier, installed = json.loads(pieces.read_text())
        found = together(earlier, found)
    pieces.parent.mkdir(exist_ok=True)
    pieces.write_text(json.dumps([found, installed]))
    if status and not time_is_up:
        sys.exit(f"status {status} after {found['minutes']:.1f} minutes; start again to go on")
    if not status:
        status, _, again = run(command)
        if status:
            sys.exit(status)
        pieces.unlink()
        found |= {"again_seconds": 60 * again["minutes"]}
    # The whole grid's table: this run's, or, where time was up, that of whoever ran it all.
    table = params.path("results") / ("" if target == "study" else target) / "runs.csv"
    grid = pd.read_csv(table).to_dict("records")
    found |= {"models": len(grid), "share_of_operations": found["operations"] / operations(grid)}
    if target == "study":  # later, these folders hold both
        found |= {"environment_gb": disk(".venv"), "made_gb": disk(*MADE)}
    return found | installed | {"scale": params.scale, "cores": len(os.sched_getaffinity(0))}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=["study", "evidence"])
    parser.add_argument("--minutes", type=float, help="stop after so many")
    asked, make = parser.parse_args(), ["make", "--no-print-directory"]
    if asked.target == "evidence":  # it starts from the study's runs, which are not to be timed
        subprocess.run([*make, "study"], check=True)
    command = [*make, asked.target]
    found = measure(asked.target, load_params(), command=command, minutes=asked.minutes)
    kept = json.loads(FILE.read_text()) if FILE.is_file() else {}
    FILE.write_text(json.dumps(kept | {asked.target: found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
