"""Times of all contestants at one setting, in turns."""

import math
import tempfile
import time

import numpy as np
import torch
from contestants import contestant, running

from dwt.training.models import count_parameters

ROUNDS = 5


def matrix_rate(setting):
    """FLOPs per second of the fastest square matrix product, at the setting's precision."""
    bf16 = setting.train["precision"] == "bf16"
    best = 0.0
    for n in (2048, 4096) if setting.device.type == "cpu" else (4096, 8192):
        a = torch.randn(n, n, device=setting.device, dtype=torch.bfloat16 if bf16 else None)
        for _ in range(3):
            setting.synchronize()
            started = time.perf_counter()
            a @ a
            setting.synchronize()
            best = max(best, 2 * n**3 / (time.perf_counter() - started))
    return best


def time_setting(setting, *, rounds=ROUNDS, compile="auto"):
    """Time all contestants, one turn each in every round; see `summarise`."""
    torch.compiler.reset()
    with tempfile.TemporaryDirectory() as folder:
        entries = {
            kind: contestant(setting, kind, folder, compile=compile)
            for kind in running(setting.device.type)
        }
        steps = setting.shape["timed"]
        rates = []
        for kind, entry in list(entries.items()):
            try:
                entry(steps)  # warm-up
            except Exception as error:  # whatever a compiler or another library raises
                del entries[kind]
                print(f"{kind} is left out: {type(error).__name__}: {error}", flush=True)
        seconds = {kind: [] for kind in entries}
        memory = {}
        if setting.device.type == "cuda":
            memory = {kind: _allocated(setting, kind, entry) for kind, entry in entries.items()}
        for _ in range(rounds):
            rates.append(matrix_rate(setting))
            for kind, entry in entries.items():
                seconds[kind].append(entry(steps))
    return summarise(setting, seconds, peak=max(rates)) | ({"memory": memory} if memory else {})


def _allocated(setting, kind, entry):
    """Bytes allocated by a contestant's steps beyond weights, gradients and optimizer state."""
    torch.cuda.reset_peak_memory_stats()
    start = torch.cuda.memory_allocated()
    entry(3)
    with torch.device("meta"):
        student = count_parameters(setting.model(6))
    # dwt's AdamW moments were allocated in warm-up; a new Trainer allocates its own. Gradients: 4.
    state = (12 if kind == "naive" else 4) * student
    return torch.cuda.max_memory_allocated() - start - state


def summarise(setting, seconds, *, peak):
    """Medians and extremes over the rounds; ratios are taken within a round."""
    tokens = setting.batch * setting.train["length"]
    student, teacher = 3 * setting.flops(6), setting.flops(4)
    rows = setting.batch * setting.masked
    width, vocabulary = setting.shape["model"]["width"], setting.shape["vocabulary"]
    needed = {
        **dict.fromkeys(("naive", "online", "liger"), student + teacher),
        "cached": student + 2 * rows * width * vocabulary, "alone": student,
    }  # fmt: skip
    results = {}
    for kind, times in seconds.items():
        times = np.array(times)
        results[kind] = {
            "tokens_per_second": spread(tokens / times),
            "speedup": spread(np.array(seconds.get("naive", math.nan)) / times),
            "step_over_alone": spread(times / np.array(seconds["alone"])),
            "flops_share": spread(needed[kind] / times / peak),
        }
    return {
        "batch": setting.batch, "threads": torch.get_num_threads(), "rounds": len(times),
        "matrix_product_flops": float(f"{peak:.3g}"), "contestants": results,
    }  # fmt: skip


def spread(values):
    """Median, minimum and maximum, four digits."""
    return [float(f"{v:.4g}") for v in (np.median(values), min(values), max(values))]
