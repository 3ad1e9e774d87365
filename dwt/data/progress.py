"""Shows the progress of a long job: a bar in a terminal or JupyterLab, lines in a log elsewhere."""

import os
import sys
import time

from tqdm.auto import tqdm

SECONDS_PER_LINE = 15.0


def is_interactive() -> bool:
    """True in a terminal and in a notebook opened in Jupyter; false under papermill and DVC."""
    # A Jupyter server names the notebook in a kernel's environment; papermill starts its own.
    return sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ


class Progress:
    """Progress of one job, of `total` steps if that is known; `start` were done before a resume."""

    def __init__(self, name: str, total: float | None, *, start: int = 0):
        self.name, self.total, self.start = name, total, start
        self.began = self.printed = time.monotonic()
        self.bar = tqdm(total=total, initial=start, desc=name) if is_interactive() else None
        if start and not self.bar:
            print(f"{name}: resuming at step {start} of {total}", flush=True)

    def update(self, done: int, **numbers: float) -> None:
        """Show that `done` steps are done, with the numbers that describe them."""
        if self.bar is not None:
            self.bar.set_postfix({k: f"{v:.3f}" for k, v in numbers.items()}, refresh=False)
            self.bar.update(done - self.bar.n)
            return
        now = time.monotonic()
        if now - self.printed < SECONDS_PER_LINE and done != self.total:
            return
        self.printed = now
        of, time_spent = "", f"in {now - self.began:.0f} s"
        if self.total is not None:
            left = (now - self.began) / max(1, done - self.start) * max(0, self.total - done)
            of, time_spent = f"/{self.total}", f"about {left:.0f} s to go"
        shown = "".join(f"  {k} {v:.3f}" for k, v in numbers.items())
        print(f"{self.name}: {done}{of}{shown}  {time_spent}", flush=True)

    def close(self) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
