"""Sections measured once per device: memory, growth, compilation, profile."""

import gc
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from contestants import Dwt, Setting, contestant, running, shapes
from timing import ROUNDS, spread
from torch.profiler import ProfilerActivity, profile

from dwt.training.models import count_parameters

MEMORY_BATCH = 64


def memory(setting):
    """Peak memory of every contestant at the paper's shape, each in its own process."""
    precision = "fp32" if setting.device.type == "cpu" else "bf16"
    size = {}
    for kind in running(setting.device.type):
        command = [sys.executable, __file__, "peak", kind, precision]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        size[kind] = int(printed.split()[-1])
    return {"shape": "paper", "batch": MEMORY_BATCH, "precision": precision, "bytes": size}


def peak_memory(kind, precision, *, device):
    """Bytes beyond weights, gradients and optimizer state in two steps, in a new process.

    Resident memory on a CPU, PyTorch's allocations on CUDA.
    """
    shape = shapes(device)["paper"]
    setting = Setting(shape, precision=precision, device=device, batch=MEMORY_BATCH)
    setting.shape["timed"] = 2
    with torch.device("meta"):  # allocates no weights
        student, teacher = (count_parameters(setting.model(layers)) for layers in (6, 4))
    gc.collect()
    start = _resident("VmRSS") if device == "cpu" else 0
    with tempfile.TemporaryDirectory() as folder:
        contestant(setting, kind, folder)(2)
    peak = _resident("VmHWM") if device == "cpu" else torch.cuda.max_memory_allocated()
    # Student: weights, gradients and two moments; teacher: weights. Four bytes each.
    return peak - start - 16 * student - 4 * teacher * (kind != "alone")


def _resident(which):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which):
            return int(line.split()[1]) * 1024


def growth(setting):
    """Time of twice the steps and with twice the text, and memory after more steps."""
    once, twice, text, memory = [], [], [], []
    entry = Dwt(setting, "online", None)
    entry(5)
    for _ in range(ROUNDS):
        memory.append(_memory_in_use(setting))
        once.append(40 * entry(41))
        twice.append(80 * entry(81))
        short, setting.tokens = setting.tokens, np.concatenate([setting.tokens] * 2)
        text.append(40 * entry(41))
        setting.tokens = short
    return {
        "seconds_of_twice_the_steps": spread(np.array(twice) / np.array(once)),
        "seconds_with_twice_the_text": spread(np.array(text) / np.array(once)),
        "memory_after_over_before": spread([memory[-1] / memory[0]])[0],
        "steps_between": (ROUNDS - 1) * 163,
    }


def _memory_in_use(setting):
    cpu = setting.device.type == "cpu"
    return _resident("VmRSS") if cpu else torch.cuda.memory_allocated()


def compiling(setting):
    """Seconds to compile the student without and with cached code, and seconds it saves."""
    measured = {"flops_per_step": 3 * setting.flops(6)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "compile"]
        for name in ("seconds_from_nothing", "seconds_from_disk"):
            printed = subprocess.run(
                command, check=True, capture_output=True, text=True,
                env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": folder},
            )  # fmt: skip
            measured[name] = float(printed.stdout.split()[-1])
    eager, compiled = (Dwt(setting, "alone", None, compile=c) for c in ("off", "on"))
    saved = []
    for entry in (eager, compiled):
        entry(5)
    for _ in range(ROUNDS):
        saved.append(eager(20) - compiled(20))
    measured["seconds_saved_per_step"] = spread(saved)
    measured["seconds_saved_per_1e12_flops"] = float(
        f"{1e12 * np.median(saved) / measured['flops_per_step']:.3g}"
    )
    return measured


def compile_seconds(setting):
    """Seconds to compile the student's forward and backward pass, in a new process."""
    eager = Dwt(setting, "alone", None, compile="off")
    eager(2)
    started = time.perf_counter()
    eager.distiller.compile("student", eager.draw(0))
    return time.perf_counter() - started


def profile_steps(setting, *, limit=8):
    """Share of CPU or GPU time of the most expensive operators, for two contestants."""
    measured = {}
    cuda = setting.device.type == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("naive", "cached"):
            entry = contestant(setting, kind, folder)
            steps = setting.shape["timed"]
            entry(steps)
            activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
            with profile(activities=activities) as profiled:
                entry(steps)
            key = "self_device_time_total" if cuda else "self_cpu_time_total"
            rows = sorted(profiled.key_averages(), key=lambda r: -getattr(r, key))
            total = sum(getattr(r, key) for r in rows)
            measured[kind] = {
                "milliseconds_per_step": float(f"{total / 1e3 / steps:.4g}"),
                "shares": {r.key: round(getattr(r, key) / total, 3) for r in rows[:limit]},
            }
    return measured


SECTIONS = {"growth": growth, "compiling": compiling, "profile": profile_steps, "memory": memory}


if __name__ == "__main__":  # what needs a new process
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if sys.argv[1] == "peak":
        print(peak_memory(*sys.argv[2:], device=device))
    else:
        print(compile_seconds(Setting(shapes(device)["laptop"], precision="fp32", device=device)))
