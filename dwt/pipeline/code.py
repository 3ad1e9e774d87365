"""Which part of a module can change a result? Its statements: no comment, docstring or line break.

As `dwt.pipeline.notebooks` does for notebooks: stages depend on copies that hold no more than that, so that
a better comment retrains nothing.
"""

import ast
import shutil
import sys
from pathlib import Path

import yaml

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def statements(source) -> str:
    """Python source without comments and docstrings, in one layout.

    Raises
    ------
    SyntaxError
        If it is not Python.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree) + "\n"


def copy_statements(stage, root=Path()):
    """Fill the folder that a stage of dvc.yaml makes with its modules' `statements`.

    Parameters
    ----------
    stage : str
        Its `deps` are the modules, its one `out` is the folder.
    """
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    (out,) = stages[stage]["outs"]
    shutil.rmtree(root / out, ignore_errors=True)
    (root / out).mkdir(parents=True)
    for module in stages[stage]["deps"]:
        try:
            text = statements((root / module).read_text(encoding="utf-8"))
        except SyntaxError as error:
            raise SystemExit(f"{module}, line {error.lineno}: {error.msg}") from None
        (root / out / Path(module).name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m dwt.pipeline.code STAGE")
    copy_statements(sys.argv[1])
