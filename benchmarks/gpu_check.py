"""Check a CUDA device: tests, throughput and memory, then the study at the scale `gpu-short`.

`python benchmarks/gpu_check.py tests speed study --out FOLDER` runs the named parts and writes at
most eight small files to FOLDER. It needs the project's dependencies, pytest and data/gpu-short,
but no network.
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
from contestants import ROOT, Setting, shapes
from throughput import versions
from timing import ROUNDS, time_setting

from dwt.analysis.tables import COLUMNS, save
from dwt.config.params import load_params, resolve
from dwt.data.corpus import load_corpus
from dwt.evaluation.blimp import read_blimp
from dwt.evaluation.zero_shot import blimp_accuracy
from dwt.training.models import load_model
from dwt.training.train import pretrain

SCALE = "gpu-short"
TESTS = ("tests/training/test_cuda.py", "tests/training/test_loss.py")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def describe_device(out):
    """Name, memory and versions of the device."""
    names = ("torch", "transformers", "numpy")
    device = {
        "device": _device_name(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {name: metadata.version(name) for name in names},
    }
    if DEVICE == "cuda":
        device["cuda"] = torch.version.cuda
        device["memory_gb"] = round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1)
    _write(out / "device.json", device)


def run_tests(out):
    """Run the tests whose result depends on the device; pytest's report goes to tests.xml."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run([*command, f"--junitxml={out / 'tests.xml'}"], cwd=ROOT)
    print(f"tests: exit status {done.returncode}", flush=True)


def measure_speed(out, *, names=("paper", "gpu"), rounds=ROUNDS):
    """Tokens per second, memory and share of the matrix rate in bf16, eager and compiled."""
    results = {"device": _device_name(), "shapes": {}, "versions": versions(DEVICE)}
    for name in names:
        for key, compile in {"bf16": "off", "bf16, compiled": "on"}.items():
            started = time.perf_counter()
            setting = Setting(shapes(DEVICE)[name], precision="bf16", device=DEVICE)
            try:
                timed = time_setting(setting, rounds=rounds, compile=compile)
            except Exception as error:  # the other settings are still measured
                print(f"{name} {key}: {type(error).__name__}: {error}", flush=True)
                continue
            results["shapes"].setdefault(name, {})[key] = timed
            _write(out / "speed.json", results)
            seconds = time.perf_counter() - started
            print(f"{name} {key} ({seconds:.0f} s): {json.dumps(timed)}", flush=True)
            del setting
            gc.collect()


def train_study(out, *, seeds, jobs, train, pairs=None):
    """Train and score every model and arm of the study, `jobs` at once; rewrite tables after each.

    `train` replaces settings of the scale's section `train`, `pairs` its `blimp_pairs`.
    """
    params, started = _params(), time.perf_counter()
    waiting = [(arm, seed) for seed in seeds for arm in params.names()]
    running, ended, results = {}, set(), {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        while waiting or running:
            for arm, seed in list(waiting):
                teacher = params.arms[arm].teacher if arm in params.arms else None
                ready = teacher not in params.models or (teacher, seed) in ended
                if ready and len(running) < jobs:
                    waiting.remove((arm, seed))
                    running[pool.submit(train_one, arm, seed, train, pairs)] = arm, seed
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                ended.add(key := running.pop(future))
                try:
                    results[key] = future.result()
                except Exception as error:  # the other runs are still trained
                    print(f"{key}: {type(error).__name__}: {error}", flush=True)
            _write_tables(out, params, results)
    in_steps = sum(row["seconds"] for row, *_ in results.values())
    summary = {
        "device": _device_name(), "jobs": jobs, "runs": len(results),
        "minutes": round((time.perf_counter() - started) / 60, 2),
        "minutes_in_steps": round(in_steps / 60, 2),
    }  # fmt: skip
    _write(out / "study.json", summary)
    print(json.dumps(summary), flush=True)


def train_one(arm, seed, train, pairs):
    """Train one run and score it on BLiMP: its row of runs, its curve, its rows of scores."""
    params = _params()
    run = resolve(arm, seed, params)
    # A GPU computes a teacher's hidden states as fast as a disk reads them.
    run = replace(run, train=run.train | train, cache=run.cache | {"teacher": "off"})
    started = time.perf_counter()
    record = pretrain(run)
    trained = time.perf_counter()
    keys = dict(kind=run.kind, arm=arm, seed=seed)
    row = {**record, **keys, "soft_weight": json.dumps(run.soft_weight)}
    curve = pd.read_csv(run.directory / "history.csv").assign(**keys)
    settings = params.settings.evaluate
    blimp = read_blimp(settings.blimp, pairs=pairs or settings.blimp_pairs, root=params.root)
    tokenizer = load_corpus(run.corpus_directory).tokenizer()
    accuracies = blimp_accuracy(load_model(run.directory), tokenizer, blimp, device=DEVICE)
    scores = [
        keys | dict(step=record["steps"], task=task, metric="minimal-pair accuracy", score=score,
                    examples=count)
        for task, (score, count) in accuracies.items()
    ]  # fmt: skip
    print(
        f"{arm}, seed {seed}: held-out loss {record['heldout_loss']:.4f}, BLiMP "
        f"{accuracies['BLiMP'][0]:.4f}; {trained - started:.0f} s of training "
        f"({record['seconds']:.0f} s in steps), {time.perf_counter() - trained:.0f} s of scoring",
        flush=True,
    )
    return row, curve, scores


def _write_tables(out, params, results):
    """The tables of finished runs, in the order of params.yaml."""
    keys = sorted(results, key=lambda key: (params.names().index(key[0]), key[1]))
    if not keys:
        return
    rows, curves, scores = zip(*(results[key] for key in keys), strict=True)
    tables = {
        "runs": pd.DataFrame(rows),
        "curves": pd.concat(curves),
        "scores": pd.DataFrame([row for of_run in scores for row in of_run]),
    }
    for name, table in tables.items():
        save(table.reindex(columns=COLUMNS[name]), out / f"{name}.csv")


def _params():
    params = load_params(ROOT / "params.yaml")
    return params.model_copy(update={"scale": SCALE})


def _device_name():
    return torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu"


def _write(file, content):
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=["tests", "speed", "study"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--shapes", nargs="+", default=["paper", "gpu"])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--jobs", type=int, default=3, help="runs at once")
    parser.add_argument("--steps", type=int, help="by default as in params.yaml")
    parser.add_argument("--pairs", type=int, help="BLiMP pairs a set; by default as in params.yaml")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    describe_device(given.out)
    if "tests" in given.parts:
        run_tests(given.out)
    if "speed" in given.parts:
        measure_speed(given.out, names=given.shapes, rounds=given.rounds)
    if "study" in given.parts:
        train = {} if given.steps is None else {"steps": given.steps}
        train_study(given.out, seeds=given.seeds, jobs=given.jobs, train=train, pairs=given.pairs)


if __name__ == "__main__":
    main()
