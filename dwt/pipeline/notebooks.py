"""Which part of a notebook can change a result? Only that part is what a stage depends on.

Saving a notebook in JupyterLab changes outputs, counts and metadata; if stages read that file,
a look at a figure would retrain the study. `python -m dwt.pipeline.notebooks` copies what matters.
"""

import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from dwt.config.params import load_params

KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


def clean(notebook):
    """Cells and their tags only: no outputs, counts, ids or other metadata.

    Parameters
    ----------
    notebook : nbformat.NotebookNode

    Returns
    -------
    nbformat.NotebookNode
        A new one, of format 4.4, which has no cell ids.
    """
    import nbformat  # here, as it takes a second, and every stage imports this module

    cells = []
    for cell in notebook.cells:
        kept = {"cell_type": cell.cell_type, "source": cell.source, "metadata": {}}
        if tags := cell.metadata.get("tags"):
            kept["metadata"] = {"tags": list(tags)}
        if cell.cell_type == "code":
            kept |= {"outputs": [], "execution_count": None}
        cells.append(kept)
    return nbformat.from_dict(
        {"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": KERNEL}, "cells": cells}
    )


def clean_all(source, target):
    """Write the cleaned copy of every notebook of folder `source` into folder `target`, emptied."""
    import nbformat

    target = Path(target)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in sorted(Path(source).glob("*.ipynb")):
        try:
            notebook = nbformat.read(path, as_version=4)
        except (nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
            raise SystemExit(f"{path}: not a notebook ({error})") from None
        # 04-teacher-quality.ipynb -> teacher-quality.ipynb: stages call it by its name.
        nbformat.write(clean(notebook), target / path.name.partition("-")[2])


def revision(root) -> str:
    """What git calls the state of a folder's files."""
    describe = ["git", "describe", "--always", "--dirty"]
    try:
        git = subprocess.run(describe, cwd=root, capture_output=True, text=True)
    except OSError:
        return "unknown (no git program)"
    return git.stdout.strip() or "not a git checkout"


def provenance(params):
    """Where a notebook's numbers come from, as Markdown: revision, versions, device, runs."""
    import torch  # here, as it takes two seconds, and cleaning notebooks does not need it

    names = ("torch", "transformers", "numpy", "pandas")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return (
        f"*Revision {revision(params.root)}; scale {params.scale}; {len(params.names())} arms x "
        f"{len(params.seeds)} seeds; Python {platform.python_version()}, {versions}; {device}.*"
    )


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m dwt.pipeline.notebooks SOURCE_FOLDER TARGET_FOLDER")
    load_params()  # the first stage refuses a bad params.yaml before anything is built
    clean_all(sys.argv[1], sys.argv[2])
