"""README.md and results/README.md hold the numbers of the committed results."""

import re
import shutil
import sys

import pytest
from conftest import ROOT, run

READMES = "README.md", "results/README.md"
CHECK = (
    sys.executable, "-m", "cogapp", "--check", "-P", "-p", "from dwt.pipeline import readme",
    "--markers=<!--[[[cog ]]]--> <!--[[[end]]]-->", *READMES,
)  # fmt: skip


@pytest.fixture
def copy(tmp_path):
    """The files that the two READMEs are made from."""
    for name in ("results", "dwt", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("README.md", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def check(folder):
    """Exit status of `cog --check` with the library of `folder`."""
    return run("env", f"PYTHONPATH={folder}", *CHECK, cwd=folder).returncode


def test_every_number_is_that_of_the_committed_results(copy):
    assert check(copy) == 0


def test_a_changed_table_makes_the_readme_stale(copy):
    file = copy / "results" / "laptop" / "summary" / "claims.md"
    text = file.read_text()
    file.write_text(text.replace("supported", "undecided", 1))
    assert text != file.read_text()
    assert check(copy) != 0


@pytest.mark.parametrize("name", READMES)
def test_every_file_that_is_linked_to_exists(name):
    file = ROOT / name
    links = re.findall(r"\]\(([^)#]+)\)", file.read_text(encoding="utf-8"))
    local = [link for link in links if not link.startswith("http")]
    assert local
    assert [link for link in local if not (file.parent / link).exists()] == []


def test_the_front_page_has_at_most_1500_words():
    text = re.sub(r"<!--.*?-->", "", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(text.split()) <= 1500


def test_the_tree_names_every_folder_of_the_library():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    folders = [path.name for path in (ROOT / "dwt").iterdir() if (path / "__init__.py").is_file()]
    assert folders and all(f"  {name}/" in text for name in folders)


def test_the_script_of_the_readme_runs_in_a_project(study, tmp_path):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)[1]
    script = tmp_path / "own.py"
    script.write_text(code + "\nprint(float(loss.total) > 0, student.num_parameters())\n")
    done = run("env", f"PYTHONPATH={ROOT}", sys.executable, str(script), cwd=study.root)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-2] == "True"
