"""Copies of modules hold all that can change a result, and nothing else."""

import ast

import pytest
import yaml
from conftest import ROOT

from dwt.pipeline.code import copy_statements, statements

PLAIN = """
def loss(p, q):
    return p - q
"""


@pytest.mark.parametrize(
    "same",
    [
        '"""What is lost?"""\n\n' + PLAIN,
        PLAIN + "# nobody knows\n",
        "def loss(p, q):\n    # first\n    return (\n        p - q  # then\n    )\n",
        'def loss(p, q):\n    """In nats."""\n\n\n    return p - q\n',
    ],
)
def test_a_comment_a_docstring_or_a_line_break_changes_nothing(same):
    assert statements(same) == statements(PLAIN)


@pytest.mark.parametrize(
    "other",
    [
        PLAIN.replace("-", "+"),
        PLAIN.replace("q)", "q=1)"),
        PLAIN + "SIZE = 2\n",
        "from math import *\n" + PLAIN,
        PLAIN.replace("return p - q", "return '# p' and p - q"),
    ],
)
def test_whatever_can_be_run_changes_the_copy(other):
    assert statements(other) != statements(PLAIN)


def test_a_text_that_is_not_a_docstring_stays():
    assert "kept" in statements("def f():\n    x = 1\n    return 'kept'\n")
    assert "kept" in statements("KEY = 'kept'\n")


def test_a_class_of_a_docstring_alone_is_still_python():
    source = 'class Wrong(ValueError):\n    """What is wrong."""\n'
    assert ast.unparse(ast.parse(statements(source))) == "class Wrong(ValueError):\n    pass"


def made(root, text):
    (root / "loss.py").write_text(text)
    stage = {"deps": ["loss.py"], "outs": ["build/code/loss"]}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"loss-code": stage}}))
    copy_statements("loss-code", root)
    return {path.name: path.read_text() for path in (root / "build/code/loss").iterdir()}


def test_the_folder_holds_the_modules_of_the_stage_and_none_of_before(tmp_path):
    (tmp_path / "build/code/loss").mkdir(parents=True)
    (tmp_path / "build/code/loss/gone.py").write_text("")
    assert made(tmp_path, PLAIN + "# a remark") == {"loss.py": statements(PLAIN)}


def test_a_module_that_is_not_python_is_named_with_its_line(tmp_path):
    with pytest.raises(SystemExit, match="loss.py, line 2: "):
        made(tmp_path, "x = 1\ny = (\n")


@pytest.mark.parametrize("module", sorted((ROOT / "dwt").glob("*.py")), ids=lambda p: p.name)
def test_the_copy_of_every_module_runs_the_same_statements(module):
    source = module.read_text(encoding="utf-8")
    copied = ast.parse(statements(source))
    kept = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    assert len(kept) == len([node for node in ast.walk(copied) if isinstance(node, ast.Call)])
