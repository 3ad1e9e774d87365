"""What is left of a notebook where there is no Jupyter? Its text, its outputs, its code folded.

nbconvert renders it; mathematics becomes MathML, so that a page needs no script and no network.
"""

import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import jinja2
import nbformat
import yaml
from latex2mathml.converter import convert
from markupsafe import Markup
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments.formatters import HtmlFormatter

from dwt.analysis.tables import TablesError
from dwt.pipeline.notebooks import clean

HERE = Path(__file__).parent
SITE = HERE / "site"
TABLES = (  # what the notebooks read, of the extended grid where it has run
    "runs.csv", "curves.csv", "scores.csv", "evidence/runs.csv", "evidence/curves.csv",
    "evidence/tokens.csv",
)  # fmt: skip
WRITERS = {HERE / "pages.py", HERE / "report.py"}  # no notebook uses these modules
QUIET = ["--log-level=ERROR"]  # a kernel warns of its sockets, which are local


@dataclass(frozen=True)
class Page:
    """One notebook at one scale, or at none."""

    name: str
    scale: str | None

    @property
    def stem(self):
        return f"{self.name}-{self.scale}" if self.scale else self.name


class Renderer(IPythonRenderer):
    """Markdown as nbconvert has it, with MathML for LaTeX and tables that scroll by themselves."""

    def block_math(self, body):
        return f'<span class="scroll">{convert(body, display="block")}</span>'

    def inline_math(self, body):
        return convert(body)

    def latex_environment(self, name, body):
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")

    def table(self, text):
        region = '<div class="scroll" tabindex="0" role="region" aria-label="Table">'
        return f"{region}<table>{text}</table></div>\n"


def markdown(text) -> Markup:
    """Markdown with LaTeX in it as HTML that needs no script."""
    renderer = Renderer(escape=False, exclude_anchor_links=True)
    return Markup(MarkdownWithMath(renderer=renderer).render(text))


def executed(page, params, scales):
    """The notebook of a page with its outputs: the pipeline's own where it is up to date.

    Up to date is: the cells are those of the notebook, and neither a table nor a module is newer.
    Otherwise it is executed, beside copies of the tables, so that nothing in results/ changes.
    """
    source = clean(nbformat.read(params.root / "notebooks" / f"{page.name}.ipynb", as_version=4))
    tables = [params.root / "results" / scale / file for scale in scales for file in TABLES
              if page.scale in (None, scale)]  # fmt: skip
    read = {*filter(Path.is_file, tables), *HERE.glob("*.py")} - WRITERS
    newest = max(path.stat().st_mtime for path in read)
    kept = params.root / "build" / "report" / f"{page.stem}.ipynb"
    for file in (params.root / "executed" / f"{page.stem}.ipynb", kept):
        if file.is_file() and file.stat().st_mtime >= newest:
            found = nbformat.read(file, as_version=4)
            if [cell.source for cell in found.cells] == [cell.source for cell in source.cells]:
                return found
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        shutil.copytree(params.root / "results", Path(folder, "results"))
        study = scales.get(page.scale, params)
        asked = yaml.safe_load((params.root / "params.yaml").read_text(encoding="utf-8"))
        asked |= {"scale": study.scale, "seeds": study.seeds}
        Path(folder, "params.yaml").write_text(yaml.safe_dump(asked, sort_keys=False))
        try:
            where = {"metadata": {"path": folder}}
            NotebookClient(source, resources=where, extra_arguments=QUIET).execute()
        except CellExecutionError as error:
            where = f"notebooks/{page.name}.ipynb, scale {study.scale}"
            raise TablesError(f"{where}: {error}") from None
    nbformat.write(source, kept)
    return source


def cells(notebook) -> Markup:
    """The cells of an executed notebook as HTML: code folded, outputs shown."""
    heading = ""
    for cell in notebook.cells:
        cell.pop("id", None)  # random: the same notebook would give other bytes
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE) or [heading])[-1]
        else:
            cell.metadata["alt"] = f"Figure: {heading}"
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    exporter = HTMLExporter(
        template_name="basic", template_file="cells.html.jinja", exclude_input_prompt=True,
        exclude_output_prompt=True, filters={"markdown2html": markdown},
        extra_loaders=[jinja2.FileSystemLoader(SITE)],
    )  # fmt: skip
    return Markup(exporter.from_notebook_node(notebook)[0])


def title(notebook):
    return re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)[1]


def number(name) -> int:
    """The number that a notebook's name starts with: 9 is before 10."""
    return int(name.partition("-")[0])


def code_colours():
    """Pygments' colours of code, on light and on dark paper."""
    light, dark = (
        HtmlFormatter(style=style, nobackground=True).get_style_defs(".highlight")
        for style in ("default", "github-dark")
    )
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
