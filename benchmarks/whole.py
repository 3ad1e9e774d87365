"""What does a whole pipeline take, in minutes and memory?

`python benchmarks/whole.py study` runs `make study` in this folder, and writes what it took to
results/benchmarks/whole.json; `evidence` likewise. What is finished is not done again, so run it in
a fresh clone. Where `.venv` is made already, the time is without installing.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from memory import Memory

from dwt.params import load_params

RUN = re.compile(r"(\S+:)?(more-)?(standalone|student)@\S+: started")  # a model begins to train
FILE = Path("results", "benchmarks", "whole.json")


def spent(scale, target):
    """Models that are trained, and hours of training that their records add up to."""
    runs = Path("runs", scale if target == "study" else f"{scale}-evidence")
    records = [json.loads(file.read_text()) for file in runs.glob("*/*/*/run.json")]
    return {"models": len(records), "model_hours": sum(run["seconds"] for run in records) / 3600}


def run(command):
    """Run a command, passing on what it prints; models it trained, minutes and peak GB."""
    memory, began, trained = Memory(every=2), time.monotonic(), 0
    memory.start()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            trained += bool(RUN.match(line))
    memory.done.set()
    if process.returncode:
        sys.exit(process.returncode)
    minutes = (time.monotonic() - began) / 60
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
