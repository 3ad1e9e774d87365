"""Peak memory of a process and its children."""

import threading

import psutil


class Memory(threading.Thread):
    """`peak`: the largest sum of resident memory of this process and its children, in MB.

    Parameters
    ----------
    every : float
        Seconds between two readings.
    """

    def __init__(self, every=0.2):
        super().__init__(daemon=True)
        self.every, self.peak, self.done = every, 0, threading.Event()

    def run(self):
        this = psutil.Process()
        while not self.done.wait(self.every):
            now = 0
            for process in (this, *this.children(recursive=True)):
                try:
                    now += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak = max(self.peak, now / 1e6)
