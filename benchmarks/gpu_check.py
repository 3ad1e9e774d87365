"""Check a CUDA device in one go: correctness, speed and memory, then one seed of `gpu-short`.

`python benchmarks/gpu_check.py tests speed study --out FOLDER` runs the parts named, in that order,
and writes at most eight small files to FOLDER. It needs torch, transformers, the packages of
pyproject.toml's `dependencies`, pytest, and data/gpu-short; no network.
"""

import argparse
import gc
import json
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pandas as pd
import torch
from contestants import Setting, running, shapes
from throughput import time_setting

from dwt.analysis.tables import COLUMNS, save
from dwt.config.params import load_params, resolve
from dwt.data.corpus import load_corpus
from dwt.evaluation.blimp import read_blimp
from dwt.evaluation.zero_shot import blimp_accuracy
from dwt.training.models import load_model
from dwt.training.train import pretrain

ROOT = Path(__file__).resolve().parents[1]
SCALE = "gpu-short"
TESTS = ("tests/test_cuda.py", "tests/test_loss.py")


def check_device(out):
    """Name, versions and the rate of a large copy."""
    found = {"device": _device(), "cores": len(os.sched_getaffinity(0))}
    names = ("torch", "transformers", "numpy")
    found["versions"] = {name: metadata.version(name) for name in names}
    if torch.cuda.is_available():
        found["cuda"] = torch.version.cuda
        found["memory_gb"] = round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1)
    _write(out / "device.json", found)


def run_tests(out):
    """pytest on the tests that a CUDA device decides; the XML file says what each gave."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run([*command, f"--junitxml={out / 'tests.xml'}"], cwd=ROOT)
    print(f"tests: exit status {done.returncode}", flush=True)


def measure_speed(out, *, names=("paper", "gpu"), rounds=5):
    """Tokens per second, memory and share of the matrix rate, eager and compiled, in bf16."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = {"device": _device(), "shapes": {}}
    packages = ["torch", "transformers", "accelerate"]
    packages += ["liger-kernel"] if "liger" in running(device) else []
    found["versions"] = {name: metadata.version(name) for name in packages}
    for name in names:
        for compile in ("off", "on"):
            started = time.perf_counter()
            setting = Setting(shapes(device)[name], precision="bf16", device=device)
            key = "bf16" if compile == "off" else "bf16, compiled"
            try:
                timed = time_setting(setting, rounds=rounds, compile=compile)
            except Exception as error:  # what is left is still worth its minutes
                print(f"{name} {key}: {type(error).__name__}: {error}", flush=True)
                continue
            found["shapes"].setdefault(name, {})[key] = timed
            _write(out / "speed.json", found)
            seconds = time.perf_counter() - started
            print(f"{name} {key} ({seconds:.0f} s): {json.dumps(timed)}", flush=True)
            del setting
            gc.collect()


def train_one(arm, seed, train, pairs):
    """Train one run of the scale and score it on BLiMP; its rows of the three tables."""
    params = _params()
    run = resolve(arm, seed, params)
    # A GPU computes a teacher's states as fast as a disk gives them.
    run = replace(run, train=run.train | train, cache=run.cache | {"teacher": "off"})
    started = time.perf_counter()
    record = pretrain(run)
    trained = time.perf_counter()
    keys = dict(kind=run.kind, arm=arm, seed=seed)
    row = {**record, **keys, "soft_weight": json.dumps(run.soft_weight)}
    curve = pd.read_csv(run.directory / "history.csv").assign(**keys)
    settings = params.settings.evaluate
    blimp = read_blimp(settings.blimp, pairs=pairs or settings.blimp_pairs, root=params.root)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = load_corpus(run.corpus_directory).tokenizer()
    right = blimp_accuracy(load_model(run.directory), tokenizer, blimp, device=device)
    scores = [
        keys | dict(step=record["steps"], task=task, metric="minimal-pair accuracy", score=score,
                    examples=count)
        for task, (score, count) in right.items()
    ]  # fmt: skip
    print(
        f"{arm}, seed {seed}: held-out loss {record['heldout_loss']:.4f}, BLiMP "
        f"{right['BLiMP'][0]:.4f}; {trained - started:.0f} s of training "
        f"({record['seconds']:.0f} s in steps), {time.perf_counter() - trained:.0f} s of scoring",
        flush=True,
    )
    return row, curve, scores


def train_study(out, *, seeds, jobs, train, pairs=None):
    """Every model and arm of the study at the scale, `jobs` at once; tables grow as they end."""
    params, began = _params(), time.perf_counter()
    waiting = [(arm, seed) for seed in seeds for arm in params.names()]
    rows, curves, scores, coming = [], [], [], {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        trained = set()
        while waiting or coming:
            for arm, seed in list(waiting):
                teacher = params.arms[arm].teacher if arm in params.arms else None
                if len(coming) < jobs and (teacher is None or (teacher, seed) in trained):
                    waiting.remove((arm, seed))
                    coming[pool.submit(train_one, arm, seed, train, pairs)] = arm, seed
            ended, _ = wait(coming, return_when=FIRST_COMPLETED)
            for future in ended:
                trained.add(key := coming.pop(future))
                try:
                    row, curve, score = future.result()
                except Exception as error:
                    print(f"{key}: {type(error).__name__}: {error}", flush=True)
                    continue
                rows.append(row)
                curves.append(curve)
                scores += score
                tables = dict(runs=pd.DataFrame(rows), curves=pd.concat(curves),
                              scores=pd.DataFrame(scores))  # fmt: skip
                for name, table in tables.items():
                    save(table.reindex(columns=COLUMNS[name]), out / f"{name}.csv")
    took = {
        "device": _device(), "jobs": jobs, "runs": len(rows),
        "minutes": round((time.perf_counter() - began) / 60, 2),
        "minutes_in_steps": round(sum(row["seconds"] for row in rows) / 60, 2),
    }  # fmt: skip
    _write(out / "study.json", took)
    print(json.dumps(took), flush=True)


def _params():
    params = load_params(ROOT / "params.yaml")
    return params.model_copy(update={"scale": SCALE})


def _device():
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _write(file, content):
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=["tests", "speed", "study"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shapes", nargs="+", default=["paper", "gpu"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--jobs", type=int, default=3, help="runs at once")
    parser.add_argument("--steps", type=int, help="by default those of params.yaml")
    parser.add_argument("--pairs", type=int, help="BLiMP's of each set; by default as params.yaml")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    check_device(given.out)
    if "tests" in given.parts:
        run_tests(given.out)
    if "speed" in given.parts:
        measure_speed(given.out, names=given.shapes, rounds=given.rounds)
    if "study" in given.parts:
        train = {} if given.steps is None else {"steps": given.steps}
        train_study(given.out, seeds=given.seeds, jobs=given.jobs, train=train, pairs=given.pairs)


if __name__ == "__main__":
    main()
