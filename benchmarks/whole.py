"""What does a whole pipeline take, in minutes and memory?

`python benchmarks/whole.py study` runs `make study` in this folder, and writes what it took to
results/benchmarks/whole.json; `evidence` likewise. What is finished is not done again, so run it in
a fresh clone. Where `.venv` is made already, the time is without installing.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from memory import Memory

from dwt.params import load_params

KEPT = Path("build", "finished")  # each model that was trained, once
FILE = Path("results", "benchmarks", "whole.json")


def spent(scale, target):
    """Models that are trained, and hours of training that their records add up to."""
    runs = Path("runs", scale if target == "study" else f"{scale}-evidence")
    records = [json.loads(file.read_text()) for file in runs.glob("*/*/*/run.json")]
    return {"models": len(records), "model_hours": sum(run["seconds"] for run in records) / 3600}


def run(command):
    """Run a command; models it trained, minutes and peak GB."""
    memory, began, before = Memory(every=2), time.monotonic(), {*KEPT.glob("*")}
    memory.start()
    done = subprocess.run(command)
    memory.done.set()
    if done.returncode:
        sys.exit(done.returncode)
    minutes, trained = (time.monotonic() - began) / 60, len({*KEPT.glob("*")} - before)
    return {"trained": trained, "minutes": minutes, "peak_gb": memory.peak / 1e3}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=["study", "evidence"])
    target, params = parser.parse_args().target, load_params()
    installed = Path(".venv", ".ready").exists()
    found = run(["make", "--no-print-directory", target])
    again = run(["make", "--no-print-directory", target])
    found |= {"again_seconds": 60 * again["minutes"], "installed_before": installed}
    found |= {"scale": params.scale, "cores": len(os.sched_getaffinity(0))}
    found |= spent(params.scale, target)
    kept = json.loads(FILE.read_text()) if FILE.is_file() else {}
    FILE.write_text(json.dumps(kept | {target: found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
