"""Cleaned copies of the notebooks, which DVC stages depend on, and the provenance line of each.

Saving a notebook in JupyterLab changes outputs, counts and metadata. If stages read that file,
saving would retrain the study; they read the copies of `python -m dwt.pipeline.notebooks` instead.
"""

import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from dwt.config.params import load_params
from dwt.config.schema import Params

KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}


def clean(notebook: Any) -> Any:
    """A copy with cells and their tags only: no outputs, counts, ids or other metadata.

    Parameters
    ----------
    notebook : nbformat.NotebookNode

    Returns
    -------
    nbformat.NotebookNode
        Of format 4.4, which has no cell ids.
    """
    import nbformat  # here, as it takes a second, and every notebook imports this module

    cells = []
    for cell in notebook.cells:
        copy = {"cell_type": cell.cell_type, "source": cell.source, "metadata": {}}
        if tags := cell.metadata.get("tags"):
            copy["metadata"] = {"tags": list(tags)}
        if cell.cell_type == "code":
            copy |= {"outputs": [], "execution_count": None}
        cells.append(copy)
    return nbformat.from_dict(
        {"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": KERNEL}, "cells": cells}
    )


def clean_all(source: Path, target: Path | None = None) -> None:
    """Clean the notebooks of a folder in place, or into `target`, which is emptied first.

    Copies have no number in their names: 04-teacher-quality.ipynb -> teacher-quality.ipynb.

    Raises
    ------
    SystemExit
        Naming a file that is not a notebook; nothing is written then.
    """
    import nbformat

    cleaned = {}
    for path in sorted(source.glob("*.ipynb")):
        try:
            cleaned[path] = clean(nbformat.read(path, as_version=4))
        except (nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
            raise SystemExit(f"{path}: not a notebook ({error})") from None
    if target:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
    for path, notebook in cleaned.items():
        nbformat.write(notebook, target / path.name.partition("-")[2] if target else path)


def revision(root: Path) -> str:
    """The git revision of a folder, with "-dirty" after uncommitted changes."""
    describe = ["git", "describe", "--always", "--dirty"]
    try:
        git = subprocess.run(describe, cwd=root, capture_output=True, text=True)
    except OSError:
        return "unknown (no git program)"
    return git.stdout.strip() or "not a git checkout"


def provenance(params: Params) -> str:
    """Revision, scale, number of runs, versions and device, as one Markdown line."""
    import torch  # here, as it takes two seconds, and cleaning notebooks does not need it

    names = ("torch", "transformers", "numpy", "pandas")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return (
        f"*Revision {revision(params.root)}; scale {params.scale}; {len(params.names())} arms x "
        f"{len(params.seeds)} seeds; Python {platform.python_version()}, {versions}; {device}.*"
    )


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: python -m dwt.pipeline.notebooks FOLDER [FOLDER_FOR_COPIES]")
    load_params()  # the first stage refuses a bad params.yaml before anything is built
    clean_all(*map(Path, sys.argv[1:]))
