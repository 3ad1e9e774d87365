"""What notebooks call first and last: parameters, missing runs, versions."""

import ast
import platform
from importlib import metadata

import pandas as pd
from IPython import get_ipython

from dwt.config.params import ParamsError, Run, load_params, resolve
from dwt.config.schema import Params


def open_study(scale: str | None = None) -> Params:
    """Check the notebook's parameters and read params.yaml; tables are shown with whole texts.

    Parameters
    ----------
    scale : str, optional
        By default the scale that params.yaml names.

    Raises
    ------
    ParamsError
        If params.yaml or the scale is wrong, or papermill passed a parameter that the notebook
        does not have; papermill itself only warns.
    """
    shell = get_ipython()
    check_parameters(shell.user_ns["In"] if shell else [])
    pd.set_option("display.max_colwidth", None, "display.precision", 3)
    return load_params(scale=scale)


def check_parameters(cells: list[str]) -> None:
    """Refuse names that papermill's cell sets and the parameters cell, the first one, does not."""
    first, *rest = [cell for cell in cells if cell.strip()] or [""]
    known = assigned(first)
    for cell in rest:
        if cell.startswith("# Parameters\n") and (unknown := set(assigned(cell)) - set(known)):
            raise ParamsError(
                f"{min(unknown)!r} is not a parameter of this notebook; it has {', '.join(known)}"
            )


def assigned(code: str) -> list[str]:
    """The names that a cell of plain assignments sets."""
    statements = [node for node in ast.parse(code).body if isinstance(node, ast.Assign)]
    targets = [target for node in statements for target in node.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def prepare(run: Run, params: Params) -> None:
    """Build the corpus and train the teacher of a run where they are missing."""
    from dwt.data.corpus import build_corpus  # here, as analyses need neither this nor PyTorch
    from dwt.training.train import pretrain

    if not (run.corpus_directory / "card.json").is_file():
        build_corpus(
            params.settings.corpus, directory=run.corpus_directory, root=params.root,
            length=run.train["length"], name=f"params.yaml: scales.{run.scale}.corpus",
        )  # fmt: skip
    if run.teacher is not None and run.teacher_directory is not None:
        pretrain(resolve(run.teacher, run.seed, params))


def provenance(params: Params) -> str:
    """Scale, declared runs, and the versions that executed this notebook, as one Markdown line."""
    names = ("torch", "transformers", "numpy", "pandas")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    study, extended = (len(params.runs_of(grid)) for grid in ("study", "extended"))
    return (
        f"*Scale {params.scale}; {study} runs of the study and {extended} of the extended grid are "
        f"declared; executed with Python {platform.python_version()}, {versions}; "
        f"{platform.machine()}.*"
    )
