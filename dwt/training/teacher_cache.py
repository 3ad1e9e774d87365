"""Disk cache of a teacher's last hidden states, read by every student of its seed.

Batches are functions of (seed, step), and its logits are one product away from these states.
"""

import hashlib
import os
import shutil
import time
import warnings
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dwt.config.files import atomic_path

STEPS_PER_FILE = 50
EVICT_AFTER_S = 600.0  # a folder read or written within so many seconds is not evicted


class TeacherCache:
    """Hidden states of one teacher on the batches of one seed, `STEPS_PER_FILE` steps per file.

    `root` holds a folder per key, the digest of all that decides the numbers, and at most
    `limit_bytes`: folders not used for `EVICT_AFTER_S` make room, what does not fit is not stored.
    Damaged files are reported and made anew. Writes are atomic: processes may share a folder.
    """

    def __init__(
        self, root: str | Path, *, key: str, steps: int, shape: tuple[int, ...],
        dtype: torch.dtype, limit_bytes: float,
    ) -> None:  # fmt: skip
        self.root, self.folder, self.key = Path(root), Path(root) / key, key
        self.steps, self.shape, self.dtype, self.limit = steps, tuple(shape), dtype, limit_bytes
        self.loaded_start: int | None = None
        self.loaded: Tensor | None = None  # the file that `get` reads from, [K, N, D_t]
        self.pending: list[Tensor] | None = None  # that `put` collects for a file, [N, D_t] each
        self.seconds = 0.0  # one forward pass of the teacher, measured when the file was made
        self.hits = self.misses = self.read = self.written = 0
        self.writable = True

    def get(self, step: int) -> Tensor | None:
        """The states of one step, `[N, D_t]` on CPU, or None."""
        start = step - step % STEPS_PER_FILE
        if start != self.loaded_start:
            self.loaded_start, self.loaded = start, self._read(start)
        if self.loaded is None:
            self.misses += 1
            return None
        self.hits += 1
        return self.loaded[step - start]

    def put(self, step: int, hidden: Tensor, *, seconds: float) -> None:
        """Store the states of a step; `seconds` is the time of the teacher's forward pass."""
        start = step - step % STEPS_PER_FILE
        if step == start:
            fits = self.writable and self._make_room(hidden.nbytes * self._length(start))
            self.pending = [] if fits else None
        # A file holds all steps from its first: after a gap (a run resumed in the middle, steps
        # without a soft loss) the remaining steps of the file are not stored.
        if self.pending is None or step - start != len(self.pending):
            self.pending = None
            return
        self.pending.append(hidden)
        if len(self.pending) == self._length(start):
            self._write(start, torch.stack(self.pending).cpu(), seconds)  # [K, N, D_t]
            self.pending = None

    def report(self) -> dict[str, float]:
        """Use of the cache so far; `seconds_saved` is hits times the measured time of one pass."""
        return dict(
            hits=self.hits, misses=self.misses, bytes_read=self.read, bytes_written=self.written,
            seconds_saved=round(self.hits * self.seconds, 1),
        )  # fmt: skip

    def _length(self, start: int) -> int:
        return min(STEPS_PER_FILE, self.steps - start)

    def _file(self, start: int) -> Path:
        return self.folder / f"{start:08d}.safetensors"

    def _read(self, start: int) -> Tensor | None:
        file = self._file(start)
        if not file.is_file():
            return None
        try:
            with safe_open(file, framework="pt") as content:
                about, hidden = content.metadata(), content.get_tensor("hidden")
            if about["key"] != self.key:
                raise ValueError("it belongs to another teacher, text or setting")
            if hidden.shape[1:] != self.shape or hidden.dtype != self.dtype:
                raise ValueError(f"it holds {hidden.dtype} {tuple(hidden.shape)}")
            if _digest(hidden) != about["sha256"]:
                raise ValueError("its content has changed since it was written")
            self.seconds = float(about["seconds"])
            os.utime(self.folder)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{file} is not used and made anew: {error}", stacklevel=2)
            with suppress(OSError):
                file.unlink()
            return None
        if len(hidden) < self._length(start):
            return None  # of a shorter run: this one replaces the file
        self.read += hidden.nbytes
        return hidden

    def _write(self, start: int, hidden: Tensor, seconds: float) -> None:
        about = {"key": self.key, "sha256": _digest(hidden), "seconds": repr(seconds)}
        try:
            with atomic_path(self._file(start)) as partial:
                save_file({"hidden": hidden}, partial, metadata=about)
            self.written += hidden.nbytes
        except (OSError, SafetensorError) as error:
            problem = f"the teacher's states cannot be stored in {self.folder} ({error})"
            warnings.warn(f"{problem}; training continues without", stacklevel=2)
            self.writable = False

    def _make_room(self, need: int) -> bool:
        """Whether `need` more bytes fit, after evicting folders if necessary."""
        folders = sorted(self.root.glob("*/"), key=lambda folder: folder.stat().st_mtime)
        sizes = {f: sum(p.stat().st_size for p in f.glob("*.safetensors")) for f in folders}
        total = sum(sizes.values())
        for folder in folders:
            if total + need <= self.limit:
                break
            idle = time.time() - folder.stat().st_mtime > EVICT_AFTER_S
            if idle and folder != self.folder:
                shutil.rmtree(folder, ignore_errors=True)
                total -= sizes[folder]
        return total + need <= self.limit


def _digest(hidden: Tensor) -> str:
    content = hidden.contiguous().view(torch.uint8).numpy()
    return hashlib.sha256(content).hexdigest()  # type: ignore[arg-type]  # arrays are buffers
