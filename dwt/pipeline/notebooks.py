"""Copies of the notebooks: without outputs for DVC and git, and executed ones to be read.

Saving a notebook in JupyterLab changes outputs, counts and metadata. If stages read that file,
saving would retrain the study; they read the copies that this module writes.

    python -m dwt.pipeline.notebooks clean FILE ...        in place, as `make lab` does on saving
    python -m dwt.pipeline.notebooks copy FOLDER FOLDER    clean copies for the stages
    python -m dwt.pipeline.notebooks publish FILE FILE     an executed notebook, to be read
"""

import base64
import io
import shutil
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from PIL import Image

from dwt.config.files import atomic_path
from dwt.config.params import ParamsError, load_params
from dwt.data.fetch import missing_data
from dwt.pipeline.cells import assigned

KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
COLOURS = 64  # of a published figure: a third of the bytes, and no difference to the eye


def clean(notebook: NotebookNode) -> NotebookNode:
    """A copy with cells and their tags only, in format 4.4, which has no cell ids."""
    cells = []
    for cell in notebook.cells:
        copy = {"cell_type": cell.cell_type, "source": cell.source, "metadata": {}}
        if tags := cell.metadata.get("tags"):
            copy["metadata"] = {"tags": list(tags)}
        if "attachments" in cell:  # images pasted into text
            copy["attachments"] = cell.attachments
        if cell.cell_type == "code":
            copy |= {"outputs": [], "execution_count": None}
        cells.append(copy)
    return nbformat.from_dict(
        {"nbformat": 4, "nbformat_minor": 4, "metadata": {"kernelspec": KERNEL}, "cells": cells}
    )


def clean_on_save(model: dict, **_: object) -> None:
    """JupyterLab's hook before a file is saved: outputs stay in the browser, not in the file."""
    if model["type"] == "notebook":
        model["content"] = clean(nbformat.from_dict(model["content"]))


def copy_all(source: Path, target: Path) -> None:
    """Write clean copies of the notebooks of a folder into `target`, which is emptied first.

    Copies have no number in their names: 04-teacher-quality.ipynb -> teacher-quality.ipynb. Their
    parameters are None, since each stage passes its own: choosing another arm or seed in JupyterLab
    must not make the trained ones out of date.

    Raises
    ------
    SystemExit
        Naming a file that is not a notebook; nothing is written then.
    """
    copies = {}
    for path in sorted(source.glob("[0-9][0-9]-*.ipynb")):  # not JupyterLab's Untitled.ipynb
        try:
            notebook = clean(nbformat.read(path, as_version=4))
        except (nbformat.reader.NotJSONError, nbformat.ValidationError) as error:
            raise SystemExit(f"{path}: not a notebook ({error})") from None
        for cell in notebook.cells:
            if "parameters" in cell.metadata.get("tags", ()):
                cell.source = "\n".join(f"{name} = None" for name in assigned(cell.source))
        if (name := path.name.partition("-")[2]) in copies:
            raise SystemExit(f"{path}: another notebook is called {name}, too; rename one of them")
        copies[name] = notebook
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name, notebook in copies.items():
        nbformat.write(notebook, target / name)


def publish(executed: Path, target: Path) -> None:
    """Write an executed notebook to be read: without times, warnings and papermill's own cell.

    The same tables give the same bytes.
    """
    source = nbformat.read(executed, as_version=4)
    source.cells = [
        c for c in source.cells if "injected-parameters" not in c.metadata.get("tags", ())
    ]
    notebook = clean(source)
    for cell, original in zip(notebook.cells, source.cells, strict=True):
        outputs = [_shown(output) for output in original.get("outputs", ())]
        if outputs := [output for output in outputs if output]:
            cell.outputs = outputs
    with atomic_path(target) as partial:
        nbformat.write(notebook, partial)


def _shown(output):
    """An output without what changes from run to run; None for warnings."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    if png := output.data.get("image/png"):
        image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
        small = io.BytesIO()
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
        output.data = {"image/png": base64.b64encode(small.getvalue()).decode() + "\n"}
    return nbformat.v4.new_output("display_data", data=output.data)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["copy", source, target]:
            try:
                missing = missing_data(load_params())
            except ParamsError as error:
                sys.exit(str(error))
            if missing:  # the first stage refuses what is wrong before anything is built
                sys.exit("\n".join(missing))
            copy_all(Path(source), Path(target))
        case ["publish", source, target]:
            publish(Path(source), Path(target))
        case ["clean", *files]:
            for file in files:
                nbformat.write(clean(nbformat.read(file, as_version=4)), file)
        case _:
            sys.exit(__doc__)
