"""What did the teacher say at step k? Computed once, read by every student of its seed.

Batches and masks are functions of (seed, step), so the teacher's last hidden states at the masked
positions can be kept: its logits are one product away, and none of its layers runs again.
"""

import hashlib
import os
import shutil
import time
import warnings
from collections import namedtuple
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

SPAN = 50  # steps per file
IN_USE = 600.0  # seconds since a folder was last read or written for which it is not evicted

Report = namedtuple("Report", "hits misses bytes_read bytes_written seconds_saved")


class TeacherCache:
    """Hidden states of one teacher on the batches of one seed, in files of `SPAN` steps.

    Parameters
    ----------
    root : path-like
        Holds a folder per key.
    key : str
        Digest of all that decides the numbers: teacher, text, seed, masking, precision, device.
    steps : int
        Of the run.
    shape : tuple of int
        [N, D_t] of one step.
    dtype : torch.dtype
    limit_bytes : float
        Of all that `root` holds. What does not fit is not kept; folders that nobody has used
        for ten minutes make room first.

    Notes
    -----
    A file that is cut short, altered or made for another key is reported, dropped and made anew.
    Where nothing can be written a warning says so once, and training goes on without. Several
    processes may share a folder: files appear whole or not at all.
    """

    def __init__(self, root, *, key, steps, shape, dtype, limit_bytes):
        self.root, self.folder, self.key = Path(root), Path(root) / key, key
        self.steps, self.shape, self.dtype, self.limit = steps, tuple(shape), dtype, limit_bytes
        self.span_start, self.span = None, None  # what `get` reads from: [K, N, D_t] or None
        self.fresh, self.fresh_start = [], None  # what `put` collects
        self.seconds = 0.0  # one forward pass of the teacher, as measured by whoever made the file
        self.hits = self.misses = self.read = self.written = 0
        self.writable = True

    def get(self, step):
        """The states of one step, `[N, D_t]` on CPU, or None."""
        start = step - step % SPAN
        if start != self.span_start:
            self.span_start, self.span = start, self._read(start)
        if self.span is None:
            self.misses += 1
            return None
        self.hits += 1
        return self.span[step - start]

    def put(self, step, hidden, *, seconds):
        """Keep the states of a step that `get` did not have; `seconds` is what they cost."""
        start = step - step % SPAN
        if step == start:
            keep = self.writable and self._make_room(hidden.nbytes * self._length(start))
            self.fresh, self.fresh_start = [], start if keep else None
        # A file holds all steps from its first: after a gap (a run taken up in the middle, steps
        # without a soft loss) the rest of the span is not kept.
        if start == self.fresh_start and step - start == len(self.fresh):
            self.fresh.append(hidden)
            if len(self.fresh) == self._length(start):
                self._write(start, seconds)
                self.fresh, self.fresh_start = [], None

    def report(self):
        """Report: hits, misses, bytes read and written, seconds of the teacher's work saved."""
        return Report(
            self.hits, self.misses, self.read, self.written, round(self.hits * self.seconds, 1)
        )

    def _length(self, start):
        return min(SPAN, self.steps - start)

    def _file(self, start):
        return self.folder / f"{start:08d}.safetensors"

    def _read(self, start):
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
            return None  # of a shorter run: the longer one replaces it
        self.read += hidden.nbytes
        return hidden

    def _write(self, start, seconds):
        hidden = torch.stack(self.fresh).cpu()  # [K, N, D_t]
        about = {"key": self.key, "sha256": _digest(hidden), "seconds": repr(seconds)}
        partial = self._file(start).with_suffix(f".{os.getpid()}.partial")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file({"hidden": hidden}, partial, metadata=about)
            os.replace(partial, self._file(start))
            self.written += hidden.nbytes
        except (OSError, SafetensorError) as error:
            warnings.warn(
                f"the teacher's states cannot be kept in {self.folder} ({error}); "
                "training goes on without",
                stacklevel=2,
            )
            self.writable = False
            with suppress(OSError):
                partial.unlink()

    def _make_room(self, need):
        """Whether `need` bytes more fit, after dropping what has long not been used."""
        folders = sorted(self.root.glob("*/"), key=lambda folder: folder.stat().st_mtime)
        sizes = {
            f: sum(p.stat().st_size for p in f.glob("*.safetensors")) for f in folders
        }  # fmt: skip
        total = sum(sizes.values())
        for folder in folders:
            if total + need <= self.limit:
                break
            idle = time.time() - folder.stat().st_mtime > IN_USE
            if idle and folder != self.folder:
                shutil.rmtree(folder, ignore_errors=True)
                total -= sizes[folder]
        return total + need <= self.limit


def _digest(hidden):
    return hashlib.sha256(hidden.contiguous().view(torch.uint8).numpy()).hexdigest()
