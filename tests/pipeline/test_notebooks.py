"""Notebooks in git: clean, in house style; and what cleaning removes."""

import base64
import io
import json
import re
import shutil

import nbformat
import pytest
from conftest import ROOT, run
from PIL import Image

from dwt.config.params import ParamsError
from dwt.pipeline.cells import check_parameters
from dwt.pipeline.notebooks import clean, clean_on_save, copy_all, publish

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_committed_clean_and_in_house_style(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook == clean(notebook), (
        "run `python -m dwt.pipeline.notebooks clean notebooks/*.ipynb`"
    )
    assert "parameters" in notebook.cells[1].metadata.tags
    code = [c.source for c in notebook.cells if c.cell_type == "code"]
    assert len(code) <= len(notebook.cells) - len(code)
    lines = sorted(source.count("\n") + 1 for source in code)
    assert lines[len(lines) // 2] <= 6
    assert not any(re.search(r"^\s*[!%]", source, flags=re.M) for source in code)
    assert "provenance" in code[-1]


def test_copies_have_no_numbers_in_their_names_no_outputs_and_no_parameters_of_their_own(tmp_path):
    folder, copies = tmp_path / "notebooks", tmp_path / "copies"
    notebook = nbformat.read(ROOT / "notebooks" / "02-pretrain.ipynb", as_version=4)
    folder.mkdir()
    nbformat.write(notebook, folder / "01-first.ipynb")
    notebook.metadata["widgets"] = {}
    notebook.cells[1].source = notebook.cells[1].source.replace('"normal"', '"strong"')
    nbformat.write(notebook, folder / "02-second.ipynb")
    copy_all(folder, copies)
    assert sorted(p.name for p in copies.iterdir()) == ["first.ipynb", "second.ipynb"]
    assert (copies / "first.ipynb").read_bytes() == (copies / "second.ipynb").read_bytes()
    made = nbformat.read(copies / "first.ipynb", as_version=4)
    assert made.cells[1].source == "arm = None\nseed = None\nscale = None"


def test_a_file_that_is_no_notebook_is_named_and_nothing_is_removed(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "first.ipynb").write_text("an earlier copy")
    (tmp_path / "notebooks" / "01-first.ipynb").write_text("{")
    with pytest.raises(SystemExit, match="01-first.ipynb: not a notebook"):
        copy_all(tmp_path / "notebooks", tmp_path / "copies")
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


def test_a_parameter_that_a_notebook_does_not_have_is_refused_by_name():
    first, passed = 'arm = "normal"\nseed = 0', "# Parameters\narm = 'strong'\nseed = 1"
    check_parameters(["", first, passed, "import os"])
    check_parameters(["", first, "amr = 1"])  # a person's own cell
    with pytest.raises(ParamsError, match="'amr' is not a parameter of this notebook; it has arm"):
        check_parameters(["", first, passed.replace("arm", "amr")])


def test_papermill_is_refused_a_parameter_that_the_notebook_does_not_have(tmp_path):
    path = ROOT / "notebooks" / "02-pretrain.ipynb"
    command = ["papermill", str(path), str(tmp_path / "out.ipynb"), "-r", "amr", "strong"]
    done = run(*command, cwd=ROOT)
    assert done.returncode != 0 and "'amr' is not a parameter of this notebook" in done.stderr


def executed(tmp_path, name, seconds, colour):
    """A notebook as papermill leaves it."""
    image = io.BytesIO()
    Image.new("RGB", (30, 20), colour).save(image, "PNG")
    png = base64.b64encode(image.getvalue()).decode()
    outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="a warning"),
        nbformat.v4.new_output("execute_result", {"text/plain": "1"}, execution_count=seconds),
        nbformat.v4.new_output("display_data", {"image/png": png, "text/plain": "<Figure>"}),
    ]
    cells = [
        nbformat.v4.new_markdown_cell("# A title"),
        nbformat.v4.new_code_cell("scale = 1", metadata={"tags": ["injected-parameters"]}),
        nbformat.v4.new_code_cell("draw()", outputs=outputs, execution_count=seconds),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"papermill": {"duration": seconds}})
    nbformat.write(notebook, tmp_path / name)
    publish(tmp_path / name, tmp_path / f"published-{name}")
    return (tmp_path / f"published-{name}").read_bytes()


def test_a_published_notebook_has_its_outputs_and_nothing_of_when_it_ran(tmp_path):
    first, second = (executed(tmp_path, f"{n}.ipynb", n, "red") for n in (1, 2))
    assert first == second != executed(tmp_path, "3.ipynb", 1, "blue")
    notebook = nbformat.read(tmp_path / "published-1.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert [cell.source for cell in notebook.cells] == ["# A title", "draw()"]
    text, figure = notebook.cells[1].outputs
    assert text.data == {"text/plain": "1"}
    shown = Image.open(io.BytesIO(base64.b64decode(figure.data["image/png"])))
    assert shown.size == (30, 20) and shown.convert("RGB").getpixel((5, 5)) == (255, 0, 0)


def test_committed_executed_notebooks_can_be_read_in_the_web_view_of_a_repository():
    published = sorted((ROOT / "results").glob("*/notebooks/*.ipynb"))
    assert published
    for path in [*published, ROOT / "results" / "scales" / "scales.ipynb"]:
        assert path.stat().st_size <= 400_000, path
        assert any(cell.get("outputs") for cell in nbformat.read(path, as_version=4).cells)


def test_a_new_notebook_of_jupyterlab_disturbs_no_stage(tmp_path):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("02-pretrain.ipynb", "Untitled.ipynb", "my-pretrain.ipynb"):
        shutil.copy(NOTEBOOKS[1], folder / name)
    copy_all(folder, tmp_path / "copies")
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["pretrain.ipynb"]
    shutil.copy(NOTEBOOKS[0], folder / "16-pretrain.ipynb")
    with pytest.raises(SystemExit, match="another notebook is called pretrain.ipynb"):
        copy_all(folder, tmp_path / "copies")


def test_images_pasted_into_text_survive_saving():
    cell = nbformat.v4.new_markdown_cell("![a](attachment:a.png)")
    cell["attachments"] = {"a.png": {"image/png": "iVBORw0KGgo="}}
    model = {"type": "notebook", "content": nbformat.v4.new_notebook(cells=[cell])}
    clean_on_save(model)
    assert model["content"].cells[0].attachments == cell.attachments
