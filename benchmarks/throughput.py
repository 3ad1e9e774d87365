"""What does a step cost, against what a user would write with transformers alone?

`make bench` times the contestants on this machine's device, in turns, and writes
results/benchmarks/<device>.json, the figure beside it and the tables of benchmarks/README.md.
Names of shapes or sections as arguments measure these again and keep the rest.
"""

import gc
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from contestants import ROOT, Ours, Setting, contestant, running, shapes
from report import draw, write_tables
from torch.profiler import ProfilerActivity, profile

from dwt.training.models import count_parameters

ROUNDS = 5
MEMORY_BATCH = 64


def best_product(setting):
    """Operations per second of the fastest square matrix product, at the setting's precision."""
    bf16 = setting.train["precision"] == "bf16"
    best = 0.0
    for n in (2048, 4096) if setting.device.type == "cpu" else (4096, 8192):
        a = torch.randn(n, n, device=setting.device, dtype=torch.bfloat16 if bf16 else None)
        for _ in range(3):
            setting.wait()
            started = time.perf_counter()
            a @ a
            setting.wait()
            best = max(best, 2 * n**3 / (time.perf_counter() - started))
    return best


def time_setting(setting, *, rounds=ROUNDS, compile="auto"):
    """All contestants, `rounds` turns each, one after the other."""
    torch.compiler.reset()
    with tempfile.TemporaryDirectory() as folder:
        racers = {
            kind: contestant(setting, kind, folder, compile=compile)
            for kind in running(setting.device.type)
        }
        steps = setting.shape["timed"]
        products = []
        for kind, racer in list(racers.items()):
            try:
                racer(steps)  # warm-up
            except Exception as error:  # what a compiler or another library raises
                del racers[kind]
                print(f"{kind} is left out: {type(error).__name__}: {error}", flush=True)
        seconds = {kind: [] for kind in racers}
        memory = {}
        if setting.device.type == "cuda":
            memory = {kind: _allocated(setting, kind, racer) for kind, racer in racers.items()}
        for _ in range(rounds):
            products.append(best_product(setting))
            for kind, racer in racers.items():
                seconds[kind].append(racer(steps))
    return summarise(setting, seconds, peak=max(products)) | ({"memory": memory} if memory else {})


def _allocated(setting, kind, racer):
    """Bytes that one contestant's steps allocate beyond weights, gradients, optimizer state."""
    torch.cuda.reset_peak_memory_stats()
    start = torch.cuda.memory_allocated()
    racer(3)
    with torch.device("meta"):
        student = count_parameters(setting.model(6))
    # AdamW's moments are there before ours starts; a Trainer makes its own. Gradients: 4 bytes.
    held = (12 if kind == "naive" else 4) * student
    return torch.cuda.max_memory_allocated() - start - held


def summarise(setting, seconds, *, peak):
    """Medians and extremes of the turns; ratios are medians of the ratios within each turn."""
    tokens = setting.batch * setting.train["length"]
    student, teacher = 3 * setting.flops(6), setting.flops(4)
    rows = setting.batch * setting.masked
    width, vocabulary = setting.shape["model"]["width"], setting.shape["vocabulary"]
    needed = {
        **dict.fromkeys(("naive", "online", "liger"), student + teacher),
        "cached": student + 2 * rows * width * vocabulary, "alone": student,
    }  # fmt: skip
    found = {}
    for kind, times in seconds.items():
        times = np.array(times)
        found[kind] = {
            "tokens_per_second": _spread(tokens / times),
            "speedup": _spread(np.array(seconds.get("naive", math.nan)) / times),
            "step_over_alone": _spread(times / np.array(seconds["alone"])),
            "flops_share": _spread(needed[kind] / times / peak),
        }
    return {
        "batch": setting.batch, "threads": torch.get_num_threads(), "rounds": len(times),
        "matrix_product_flops": float(f"{peak:.3g}"), "contestants": found,
    }  # fmt: skip


def _spread(values):
    return [float(f"{v:.4g}") for v in (np.median(values), min(values), max(values))]


def peak_memory(name, kind, *, batch, precision, device):
    """Bytes beyond weights, gradients and optimizer state in two steps; call it in a new process.

    On a CPU the resident set, on CUDA what PyTorch allocated.
    """
    setting = Setting(shapes(device)[name], precision=precision, device=device, batch=batch)
    setting.shape["timed"] = 2
    with torch.device("meta"):  # no weights
        student, teacher = (count_parameters(setting.model(layers)) for layers in (6, 4))
    gc.collect()
    start = _resident("VmRSS") if device == "cpu" else 0
    with tempfile.TemporaryDirectory() as folder:
        racer = contestant(setting, kind, folder)
        racer(2)
    peak = _resident("VmHWM") if device == "cpu" else torch.cuda.max_memory_allocated()
    # AdamW: weights, gradients and two moments, four bytes each; the teacher has weights only.
    return peak - start - 16 * student - 4 * teacher * (kind != "alone")


def _resident(which):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which):
            return int(line.split()[1]) * 1024


def growth(setting):
    """How time and memory grow: twice the steps, twice the text; whole runs, not single steps."""
    once, twice, text, memory = [], [], [], []
    racer = Ours(setting, "online", None)
    racer(5)
    for _ in range(ROUNDS):
        memory.append(_in_use(setting))
        once.append(40 * racer(41))
        twice.append(80 * racer(81))
        short, setting.tokens = setting.tokens, np.concatenate([setting.tokens] * 2)
        text.append(40 * racer(41))
        setting.tokens = short
    return {
        "seconds_of_twice_the_steps": _spread(np.array(twice) / np.array(once)),
        "seconds_with_twice_the_text": _spread(np.array(text) / np.array(once)),
        "memory_after_over_before": _spread([memory[-1] / memory[0]])[0],
        "steps_between": (ROUNDS - 1) * 163,
    }


def _in_use(setting):
    cpu = setting.device.type == "cpu"
    return _resident("VmRSS") if cpu else torch.cuda.memory_allocated()


def compiling(setting):
    """What compiling the student costs, from nothing and from code on disk, and what it saves."""
    found = {"flops_per_step": 3 * setting.flops(6)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "compile"]
        for name in ("seconds_from_nothing", "seconds_from_disk"):
            said = subprocess.run(
                command, check=True, capture_output=True, text=True,
                env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": folder},
            )  # fmt: skip
            found[name] = float(said.stdout.split()[-1])
    eager, compiled = (Ours(setting, "alone", None, compile=c) for c in ("off", "on"))
    saved = []
    for racer in (eager, compiled):
        racer(5)
    for _ in range(ROUNDS):
        saved.append(eager(20) - compiled(20))
    found["seconds_saved_per_step"] = _spread(saved)
    found["seconds_saved_per_1e12_flops"] = float(
        f"{1e12 * np.median(saved) / found['flops_per_step']:.3g}"
    )
    return found


def seconds_to_compile(setting):
    """Of the student's forward and backward pass, in a new process."""
    eager = Ours(setting, "alone", None, compile="off")
    eager(2)
    started = time.perf_counter()
    eager.engine.compile("student", eager.draw(0))
    return time.perf_counter() - started


def where_time_goes(setting, *, most=8):
    """Share of the CPU's (or GPU's) time per operation, in steps of two contestants."""
    found = {}
    cuda = setting.device.type == "cuda"
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("naive", "cached"):
            racer = contestant(setting, kind, folder)
            steps = setting.shape["timed"]
            racer(steps)
            what = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
            with profile(activities=what) as watched:
                racer(steps)
            key = "self_device_time_total" if cuda else "self_cpu_time_total"
            rows = sorted(watched.key_averages(), key=lambda r: -getattr(r, key))
            total = sum(getattr(r, key) for r in rows)
            found[kind] = {
                "milliseconds_per_step": float(f"{total / 1e3 / steps:.4g}"),
                "shares": {r.key: round(getattr(r, key) / total, 3) for r in rows[:most]},
            }
    return found


def measure(device, wanted, found):
    """Measure the wanted sections again and put them into `found`; all of them take minutes."""
    found["device"] = torch.cuda.get_device_name() if device == "cuda" else _processor()
    packages = ["torch", "transformers", "accelerate"]
    packages += ["liger-kernel"] if "liger" in running(device) else []
    found["versions"] = {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }
    every = shapes(device)
    for name, shape in every.items():
        for precision in ("fp32", "bf16") if name in wanted else ():
            setting = Setting(shape, precision=precision, device=device)
            by_shape = found.setdefault("shapes", {}).setdefault(name, {})
            by_shape[precision] = time_setting(setting)
            print(name, precision, json.dumps(by_shape[precision]), flush=True)
            gc.collect()
    for name, section in SECTIONS.items():
        if name in wanted:
            found[name] = section(Setting(every["laptop"], precision="fp32", device=device))
    found["shapes"] = {name: found["shapes"][name] for name in every}
    return found


def memory(setting):
    """Of every contestant at the paper's shape, each in a process of its own."""
    precision = "fp32" if setting.device.type == "cpu" else "bf16"
    size = {}
    for kind in running(setting.device.type):
        command = [sys.executable, __file__, "peak", kind, precision]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        size[kind] = int(said.split()[-1])
    return {"shape": "paper", "batch": MEMORY_BATCH, "precision": precision, "bytes": size}


SECTIONS = {"growth": growth, "compiling": compiling, "profile": where_time_goes, "memory": memory}


def _processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name") and line.split(":")[1].strip() not in ("", "unknown"):
            return f"CPU, {line.split(':')[1].strip()}"
    return f"CPU, {platform.machine()}"


def main():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    words = sys.argv[1:]
    if words[:1] == ["peak"]:
        kind, precision = words[1:]
        print(peak_memory("paper", kind, batch=MEMORY_BATCH, precision=precision, device=device))
        return
    if words == ["compile"]:
        setting = Setting(shapes(device)["laptop"], precision="fp32", device=device)
        print(seconds_to_compile(setting))
        return
    sections = [*shapes(device), *SECTIONS]
    if unknown := set(words) - set(sections):
        sys.exit(f"{unknown.pop()!r} is not a section; choose from {', '.join(sections)}")
    name = "cpu" if device == "cpu" else torch.cuda.get_device_name().split()[-1].lower()
    file = ROOT / "results" / "benchmarks" / f"{name}.json"
    found = json.loads(file.read_text(encoding="utf-8")) if words and file.is_file() else {}
    found = measure(device, words or sections, found)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(found, file.with_suffix(".svg"))
    write_tables()
    print(f"written: {file.relative_to(ROOT)}, a figure beside it, tables in benchmarks/README.md")


if __name__ == "__main__":
    main()
