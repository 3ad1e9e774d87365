"""The static site report/index.html: answers, claims, figures and executed notebooks.

`python -m dwt.pipeline.report` writes its pages from results/, for every scale of `compare` that
has results, and builds them with Sphinx and MyST-NB. Nothing is executed, and a second build reads
only what has changed. The site needs no network, and no script to be read.
"""

import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from sphinx.cmd.build import build_main

from dwt.analysis.answers import four_answers
from dwt.analysis.claims import as_markdown, claims, claims_by_scale, finished
from dwt.analysis.summaries import describe, describe_study
from dwt.analysis.tables import TablesError, missing_runs
from dwt.analysis.wording import claims_table
from dwt.config.params import ParamsError, load_params
from dwt.config.schema import Params

SITE = Path(__file__).parent / "site"


def build(params: Params) -> Path:
    """Write the site into report/ and return the path of its first page.

    Raises
    ------
    TablesError
        Naming the file that is missing and the command that makes it.
    """
    scales, missing = finished(params)
    if not scales:
        raise TablesError("\n".join(missing.values()) or "compare: names no scale (params.yaml)")
    pages, figures = {}, {}  # file below build/report -> its text; its source
    for study in scales.values():
        made, copied = _pages_of(study)
        pages, figures = pages | made, figures | copied
    side_by_side = params.root / "results" / "scales" / "scales.ipynb"
    if side_by_side.is_file():
        notebook = nbformat.read(side_by_side, as_version=4)
        pages["scales.ipynb"] = nbformat.writes(with_alt_texts(notebook)) + "\n"
    first = [f"{name}/index" for name in scales] + ["scales"] * side_by_side.is_file()
    pages["index.md"] = _first_page(scales, missing) + "\n\n" + _contents(first)
    folder = params.root / "build" / "report"
    source, html, out = folder / "source", folder / "html", params.root / "report"
    for file in [file for file in source.rglob("*") if file.is_file()]:
        if str(file.relative_to(source)) not in {*pages, *figures}:
            file.unlink()
            shutil.rmtree(html, ignore_errors=True)
    for name, text in pages.items():
        _write(source / name, text)
    for name, figure in figures.items():
        _write(source / name, figure.read_text(encoding="utf-8"))
    options = ["-q", "-b", "html", "-c", str(SITE), "-d", str(folder / "cache")]
    if build_main([*options, str(source), str(html)]):
        raise TablesError("Sphinx could not build the report; its messages are above")
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(html, out)
    return out / "index.html"


def _first_page(scales, missing):
    """The four answers at the first scale, every claim at every scale, and where the rest is."""
    first = next(iter(scales.values()))
    parts = [
        "# Distillation from a weak teacher",
        four_answers(first),
        f"All answers and figures: {', '.join(f'[{name}]({name}/index.md)' for name in scales)}.",
        *(f"Scale {name} is left out: {why}" for name, why in missing.items()),
        "## Every claim at every scale",
        as_markdown(claims_by_scale(scales)),
    ]
    return "\n\n".join(parts)


def _pages_of(params):
    """The pages of one scale by name, and the figures on them."""
    scale, parts, figures, pages = params.scale, [], {}, {}
    for name, notebook in notebooks_of(params).items():
        analysis = name.partition("-")[2]
        pages[f"{scale}/{name}.ipynb"] = nbformat.writes(with_alt_texts(notebook)) + "\n"
        figure = params.path("results", analysis, f"{analysis}.svg")
        if analysis != "summary" and figure.is_file():
            image = f"![{figure_text(notebook)}](figures/{figure.name})"
            parts += [f"## [{title(notebook)}]({name}.ipynb)", describe(params, analysis), image]
            figures[f"{scale}/figures/{figure.name}"] = figure
    head = [f"# Scale {scale}", describe_study(params)]
    if missing := missing_runs(params, params.names()):
        head.append(f"Figures and notebooks are older: not trained with these settings: {missing}.")
    head += ["## Claims", claims_table(claims(params))]
    contents = _contents(Path(name).stem for name in pages)
    pages[f"{scale}/index.md"] = "\n\n".join([*head, *parts, contents])
    return pages, figures


def notebooks_of(params: Params) -> dict[str, NotebookNode]:
    """The executed notebooks of a scale in results/, by the names that they have in notebooks/."""
    names = [path.stem for path in sorted((params.root / "notebooks").glob("*.ipynb"))]
    files = {name: params.path("results", "notebooks", f"{name[3:]}.ipynb") for name in names}
    return {name: nbformat.read(f, as_version=4) for name, f in files.items() if f.is_file()}


def with_alt_texts(notebook: NotebookNode) -> NotebookNode:
    """The notebook with its code folded, and each figure described by the text above it."""
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            alt = figure_text(notebook, until=i)
            cell.metadata |= {"tags": ["hide-input"], "mystnb": {"image": {"alt": alt}}}
    return notebook


def title(notebook: NotebookNode) -> str:
    """The notebook's first heading."""
    return re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)[1]


def figure_text(notebook: NotebookNode, *, until: int | None = None) -> str:
    """The text of the section up to cell `until`, or to the first figure, without markup."""
    text = ""
    for cell in notebook.cells[:until]:
        if cell.cell_type == "markdown":
            section = re.split(r"^#.*$", cell.source, flags=re.MULTILINE)
            text = f"{text} {section[0]}" if len(section) == 1 else section[-1]
        elif until is None and any("image/png" in out.get("data", {}) for out in cell.outputs):
            break
    return " ".join(re.sub(r"[*`$\[\]]", "", text).split()).rstrip(".") or title(notebook)


def _contents(names):
    return "\n".join(["```{toctree}", ":hidden:", *names, "```"])


def _write(path, text):
    """Write a file unless it has that text: Sphinx goes by the time of the last change."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        print(os.path.relpath(build(load_params())))
    except (ParamsError, TablesError) as error:
        sys.exit(str(error))
