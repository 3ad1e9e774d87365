"""What does a whole pipeline take, in minutes and memory?

`python benchmarks/whole.py study` runs `make study` in this folder, and writes what it took to
results/benchmarks/whole.json; `evidence` likewise. What is finished is not done again, so run it in
a fresh clone. Stopped by Ctrl-C and started again, it adds up its pieces. Where `.venv` is made
already, the time is without installing.
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

FILE = Path("results", "benchmarks", "whole.json")


def models():
    """Every model that was trained here, once; not those that a kill has left half copied."""
    return {f for f in Path("build", "finished").glob("*") if f.suffix != ".partial"}


def spent(scale, target):
    """Models that are trained, and hours of training that their records add up to."""
    runs = Path("runs", scale if target == "study" else f"{scale}-evidence")
    records = [json.loads(file.read_text()) for file in runs.glob("*/*/*/run.json")]
    return {"models": len(records), "model_hours": sum(run["seconds"] for run in records) / 3600}


def run(command):
    """Run a command; its exit status, models it trained, minutes and peak GB."""
    memory, began, before = Memory(every=2), time.monotonic(), models()
    memory.start()
    process = subprocess.Popen(command)
    try:
        process.wait()
    except KeyboardInterrupt:  # the command has had the same signal, and ends by itself
        process.wait()
    memory.done.set()
    minutes, trained = (time.monotonic() - began) / 60, len(models() - before)
    return process.returncode, {
        "trained": trained,
        "minutes": minutes,
        "peak_gb": memory.peak / 1e3,
        "pieces": 1,
    }


def together(first, then):
    """What two pieces of one job took."""
    peak = max(first["peak_gb"], then["peak_gb"])
    return {key: first[key] + then[key] for key in then} | {"peak_gb": peak}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=["study", "evidence"])
    target, params = parser.parse_args().target, load_params()
    installed = {"installed_before": Path(".venv", ".ready").exists()}
    command = ["make", "--no-print-directory", target]
    pieces = Path("build", f"whole-{params.scale}-{target}.json")
    status, found = run(command)
    if pieces.is_file():
        earlier, installed = json.loads(pieces.read_text())
        found = together(earlier, found)
    if status:
        pieces.parent.mkdir(exist_ok=True)
        pieces.write_text(json.dumps([found, installed]))
        sys.exit(f"status {status} after {found['minutes']:.1f} minutes; start again to go on")
    status, again = run(command)
    if status:
        sys.exit(status)
    pieces.unlink(missing_ok=True)
    found |= {"again_seconds": 60 * again["minutes"]} | installed
    found |= {"scale": params.scale, "cores": len(os.sched_getaffinity(0))}
    found |= spent(params.scale, target)
    kept = json.loads(FILE.read_text()) if FILE.is_file() else {}
    FILE.write_text(json.dumps(kept | {target: found}, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
