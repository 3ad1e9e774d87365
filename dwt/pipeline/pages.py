"""Report pages from notebooks: text and outputs as HTML, with the code folded.

nbconvert renders them; mathematics becomes MathML, so that a page needs no script and no network.
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
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from dwt.analysis.tables import TablesError
from dwt.config.schema import Params
from dwt.pipeline.notebooks import clean

SITE = Path(__file__).parent / "site"
CODE = Path(__file__).parents[1]
QUIET = ["--log-level=ERROR"]  # a kernel warns about its sockets, which are local


@dataclass(frozen=True)
class Page:
    """One notebook at one scale, or at none."""

    name: str  # 04-teacher-quality
    scale: str | None

    @property
    def analysis(self) -> str:
        """The name without its number, as in params.yaml and results/."""
        return self.name.partition("-")[2]

    @property
    def stem(self) -> str:
        """The name of the page's file."""
        return f"{self.name}-{self.scale}" if self.scale else self.name

    @property
    def executed(self) -> str:
        """The file that the pipeline leaves in executed/."""
        return f"{self.scale}-{self.analysis}.ipynb" if self.scale else f"{self.analysis}.ipynb"

    def results(self, root: Path) -> Path:
        """The folder that the notebook writes."""
        return root.joinpath("results", *filter(None, [self.scale]), self.analysis)


class Renderer(IPythonRenderer):
    """nbconvert's Markdown, with MathML for LaTeX and tables that scroll on their own."""

    def block_math(self, body):
        return f'<span class="scroll">{convert(body, display="block")}</span>'

    def inline_math(self, body):
        return convert(body)

    def latex_environment(self, name, body):
        return self.block_math(f"\\begin{{{name}}}{body}\\end{{{name}}}")

    def table(self, text):
        region = '<div class="scroll" tabindex="0" role="region" aria-label="Table">'
        return f"{region}<table>{text}</table></div>\n"


def markdown(text: str) -> Markup:
    """Markdown with LaTeX as HTML without scripts."""
    renderer = Renderer(escape=False, exclude_anchor_links=True)
    return Markup(MarkdownWithMath(renderer=renderer).render(text))


def executed(page: Page, params: Params, scales: dict[str, Params]) -> NotebookNode:
    """The notebook of a page with its outputs: the pipeline's own where it is up to date.

    It is up to date if its cells are those of the notebook, and no table or module is newer.
    Otherwise it is executed beside copies of the tables, so that nothing in results/ changes.
    """
    source = clean(nbformat.read(params.root / "notebooks" / f"{page.name}.ipynb", as_version=4))
    shown = [page.scale] if page.scale else [*scales]
    tables = [f for s in shown for f in (params.root / "results" / s / "tables").glob("*.csv")]
    modules = [f for f in CODE.rglob("*.py") if f.parent != SITE.parent]
    newest = max(path.stat().st_mtime for path in (*tables, *modules))
    own = params.root / "build" / "report" / page.executed
    for file in (params.root / "executed" / page.executed, own):
        if file.is_file() and file.stat().st_mtime >= newest:
            notebook = nbformat.read(file, as_version=4)
            if [cell.source for cell in notebook.cells] == [cell.source for cell in source.cells]:
                return notebook
    own.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=own.parent) as folder:
        shutil.copytree(params.root / "results", Path(folder, "results"))
        study = scales.get(page.scale, params)
        content = yaml.safe_load((params.root / "params.yaml").read_text(encoding="utf-8"))
        content |= {"scale": study.scale, "seeds": study.seeds}
        Path(folder, "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
        try:
            where = {"metadata": {"path": folder}}
            NotebookClient(source, resources=where, extra_arguments=QUIET).execute()
        except CellExecutionError as error:
            where = f"notebooks/{page.name}.ipynb, scale {study.scale}"
            raise TablesError(f"{where}: {error}") from None
    nbformat.write(source, own)
    return source


def cells(notebook: NotebookNode) -> Markup:
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


def title(notebook: NotebookNode) -> str:
    """The notebook's first heading."""
    return re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)[1]


def figure_text(notebook: NotebookNode) -> str:
    """The text of the section up to its first figure, without markup; else the title."""
    text = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            section = re.split(r"^#.*$", cell.source, flags=re.MULTILINE)
            text = f"{text} {section[0]}" if len(section) == 1 else section[-1]
        elif any("image/png" in output.get("data", {}) for output in cell.outputs):
            break
    return " ".join(re.sub(r"[*`$]", "", text).split()).rstrip(".") or title(notebook)


def code_colours() -> str:
    """Pygments' colours of code as CSS, on light and on dark paper."""
    light, dark = (
        HtmlFormatter(style=style, nobackground=True).get_style_defs(".highlight")
        for style in ("default", "github-dark")
    )
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"
