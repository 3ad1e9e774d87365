"""Which scores were finished before the job was stopped? One small file for each of them."""

import json
import os
import shutil
from pathlib import Path

from dwt.config.params import digest


class Kept:
    """Finished scores of one job, in a folder that is dropped when the job is done.

    Parameters
    ----------
    folder : path-like
        Outside the outputs of the job's stage, which DVC deletes before it starts one again.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def get(self, key):
        """What `put` was given for a key, a JSON value that holds all it depends on, or None."""
        try:
            return json.loads(self._file(key).read_text())
        except (FileNotFoundError, ValueError):
            return None

    def put(self, key, value):
        """Keep a JSON value; the file is whole or not there."""
        file = self._file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(value))
        os.replace(part, file)

    def drop(self):
        """The job is done and its scores are saved elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, key):
        return self.folder / f"{digest(key)}.json"
