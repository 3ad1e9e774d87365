"""What can this machine do, and which of it pays?"""

import importlib.util
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import joblib
import torch

# Floating-point operations of a run from which on compiling one of its models pays. At the laptop
# scale, on a 2.6 GHz server processor, compiling the six-layer student takes 25 to 35 s once and
# about 4 s in every later run, which finds the code on disk, and saves 3 to 4 s per 10^12
# operations (`compiling` in results/benchmarks/cpu.json); smaller models compile faster in
# proportion. The CUDA value is a guess: a minute of compiling against a tenth of the time at 10^14
# operations per second.
COMPILING_PAYS = {"cpu": 5e11, "cuda": 5e16}


def cores():
    """Physical cores this process may use; a container's share counts, not the machine's."""
    return joblib.cpu_count(only_physical_cores=True)


def set_threads(threads):
    """Set PyTorch's CPU threads: a number, or "auto" for `cores`."""
    torch.set_num_threads(cores() if threads == "auto" else threads)


def has_compiler(device):
    """Whether `torch.compile` finds what it needs to build code for a device."""
    found = any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++")))
    return found and (device == "cpu" or importlib.util.find_spec("triton") is not None)


def should_compile(setting, *, flops, device):
    """Whether to compile a model.

    Depends on the settings and on there being a compiler, never on a stopwatch: compiled code
    rounds differently, and two runs of one study must agree.

    Parameters
    ----------
    setting : {"auto", "on", "off"}
        `train.compile`; "auto" compiles where `flops` make it pay.
    flops : int
        Of this model in the whole run.
    device : {"cpu", "cuda"}
    """
    if setting == "auto":
        return flops >= COMPILING_PAYS.get(device, float("inf")) and has_compiler(device)
    return setting == "on" and flops > 0


def ahead(draw, first, last):
    """Yield (step, draw(step)) of each step, the next one drawn by another thread meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(draw, first)
        for step in range(first, last):
            drawn = coming.result()
            if step + 1 < last:
                coming = pool.submit(draw, step + 1)
            yield step, drawn


def to_device(array, device):
    """A NumPy array as a tensor on a device; on CUDA by a copy that nobody waits for."""
    tensor = torch.from_numpy(array) if not isinstance(array, torch.Tensor) else array
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
