"""Notebooks in git: clean, in house style; and what cleaning removes."""

import json
import re

import nbformat
import pytest
from conftest import ROOT

from dwt.pipeline.notebooks import clean, clean_all

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_committed_clean_and_in_house_style(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook == clean(notebook), "run `python -m dwt.pipeline.notebooks notebooks`"
    assert "parameters" in notebook.cells[1].metadata.tags
    code = [c.source for c in notebook.cells if c.cell_type == "code"]
    assert len(code) <= len(notebook.cells) - len(code)
    lines = sorted(source.count("\n") + 1 for source in code)
    assert lines[len(lines) // 2] <= 6
    assert not any(re.search(r"^\s*[!%]", source, flags=re.M) for source in code)
    assert "provenance" in code[-1]


def test_notebooks_are_cleaned_in_place_and_copied_under_their_names_without_numbers(tmp_path):
    folder, copies = tmp_path / "notebooks", tmp_path / "copies"
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    notebook.metadata["widgets"] = {}
    folder.mkdir()
    for name in ("01-first.ipynb", "02-second.ipynb"):
        nbformat.write(notebook, folder / name)
    clean_all(folder, copies)
    assert sorted(p.name for p in copies.iterdir()) == ["first.ipynb", "second.ipynb"]
    assert "widgets" in (folder / "01-first.ipynb").read_text()
    clean_all(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["01-first.ipynb", "02-second.ipynb"]
    assert (folder / "01-first.ipynb").read_bytes() == (copies / "first.ipynb").read_bytes()


def test_a_file_that_is_no_notebook_is_named_and_nothing_is_removed(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "first.ipynb").write_text("an earlier copy")
    (tmp_path / "notebooks" / "01-first.ipynb").write_text("{")
    with pytest.raises(SystemExit, match="01-first.ipynb: not a notebook"):
        clean_all(tmp_path / "notebooks", tmp_path / "copies")
    assert (tmp_path / "copies" / "first.ipynb").read_text() == "an earlier copy"


def test_cleaning_removes_all_that_saving_changes():
    notebook = nbformat.read(NOTEBOOKS[1], as_version=4)
    saved = nbformat.from_dict(json.loads(json.dumps(notebook)))
    for i, cell in enumerate(saved.cells):
        cell.metadata["collapsed"] = True
        if cell.cell_type == "code":
            cell.execution_count = i
            cell.outputs = [nbformat.v4.new_output("stream", text="hello")]
    saved.metadata["widgets"] = {"state": {}}
    assert clean(saved) == clean(notebook)
    saved.cells[-1].source += "\n1 + 1"
    assert clean(saved) != clean(notebook)
