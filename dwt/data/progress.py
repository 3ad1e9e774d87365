"""How far is a long job? A bar where a person watches, now and then a line elsewhere."""

import os
import sys
import time

from tqdm.auto import tqdm

LINE_EVERY = 15.0  # seconds


def person_watches():
    """True in a terminal and in a notebook opened in Jupyter; false under papermill and DVC."""
    # A Jupyter server names the notebook in a kernel's environment; papermill starts its own.
    return sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ


class Progress:
    """Progress of one job: `update` with the steps done, `close` at the end.

    Parameters
    ----------
    name : str
    total : int or None
        Steps in all, if that is known.
    start : int
        Steps done by an earlier attempt.
    """

    def __init__(self, name, total, *, start=0):
        self.name, self.total, self.start = name, total, start
        self.began = self.spoke = time.monotonic()
        self.bar = tqdm(total=total, initial=start, desc=name) if person_watches() else None
        if start and not self.bar:
            print(f"{name}: going on from step {start} of {total}", flush=True)

    def update(self, done, **numbers):
        """Show that `done` steps are done, and the numbers that describe them."""
        if self.bar is not None:
            self.bar.set_postfix({k: f"{v:.3f}" for k, v in numbers.items()}, refresh=False)
            self.bar.update(done - self.bar.n)
            return
        now = time.monotonic()
        if now - self.spoke < LINE_EVERY and done != self.total:
            return
        self.spoke = now
        shown = "".join(f"  {k} {v:.3f}" for k, v in numbers.items())
        if self.total is None:
            print(f"{self.name}: {done}{shown}  in {now - self.began:.0f} s", flush=True)
            return
        left = (now - self.began) / max(1, done - self.start) * max(0, self.total - done)
        print(f"{self.name}: {done}/{self.total}{shown}  about {left:.0f} s to go", flush=True)

    def close(self):
        if self.bar is not None:
            self.bar.close()
