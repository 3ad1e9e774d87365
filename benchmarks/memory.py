"""How much memory do a process and its children take at most, together?"""

import threading

import psutil


class Memory(threading.Thread):
    """The largest sum of resident memory of this process and its children, in MB: `peak`.

    Parameters
    ----------
    every : float
        Seconds between two looks.
    """

    def __init__(self, every=0.2):
        super().__init__(daemon=True)
        self.every, self.peak, self.done = every, 0, threading.Event()

    def run(self):
        me = psutil.Process()
        while not self.done.wait(self.every):
            now = 0
            for process in (me, *me.children(recursive=True)):
                try:
                    now += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak = max(self.peak, now / 1e6)
