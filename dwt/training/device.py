"""The machine's threads and compiler, copies to its accelerator, batches drawn in advance.

A run uses one device, chosen in `dwt.training.train.pretrain`.
"""

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import joblib
import numpy as np
import torch

# FLOPs of a run from which on compiling one of its models pays. On a 2.6 GHz server processor, the
# student of laptop takes 25 to 35 s once, about 4 s in later runs, and saves 3 to 4 s per 10^12
# FLOPs (`compiling` in results/benchmarks/cpu.json); smaller models in proportion. The CUDA value
# is an assumption: a minute of compiling against a tenth of the time at 10^14 FLOP/s.
COMPILING_PAYS = {"cpu": 5e11, "cuda": 5e16}

T = TypeVar("T")


def cores() -> int:
    """Physical cores this process may use; a container's share counts, not the machine's."""
    return joblib.cpu_count(only_physical_cores=True)


def set_threads(threads: int | str) -> None:
    """Set PyTorch's CPU threads: a number, or "auto" for `cores`."""
    torch.set_num_threads(cores() if threads == "auto" else int(threads))


def has_compiler(device: str) -> bool:
    """Whether `torch.compile` finds what it needs to build code for a device type."""
    cxx = any(map(shutil.which, (os.environ.get("CXX", "g++"), "clang++")))
    return cxx and (device == "cpu" or importlib.util.find_spec("triton") is not None)


def should_compile(setting: str, *, flops: float, device: str) -> bool:
    """Whether to compile a model that takes so many `flops` in the whole run; see `train.compile`.

    Never decided by timing: compiled code rounds differently, and all runs must agree.
    """
    if setting == "auto":
        return flops >= COMPILING_PAYS.get(device, float("inf")) and has_compiler(device)
    return setting == "on" and flops > 0


def prefetch(draw: Callable[[int], T], first: int, last: int) -> Iterator[tuple[int, T]]:
    """Yield (step, draw(step)) for each step; a thread draws the next one in the meantime."""
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(draw, first)
        for step in range(first, last):
            drawn = upcoming.result()
            if step + 1 < last:
                upcoming = pool.submit(draw, step + 1)
            yield step, drawn


def to_device(array: np.ndarray | torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """An array as a tensor on a device; to CUDA by an asynchronous copy from pinned memory."""
    tensor = array if isinstance(array, torch.Tensor) else torch.from_numpy(array)
    if torch.device(device).type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
