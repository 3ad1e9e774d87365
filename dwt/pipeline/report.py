"""The static site report/index.html: answers, claims, figures and notebooks.

`python -m dwt.pipeline.report` makes one page for every notebook that draws results, at every scale
of `compare` that has them. The site needs no network and no script: mathematics is MathML, charts
are SVG.
"""

import os
import re
import shutil
import sys
from pathlib import Path

import jinja2
import pandas as pd
from joblib import Parallel, delayed

from dwt.analysis.claims import finished
from dwt.analysis.stats import interval, plain, signed
from dwt.analysis.tables import TablesError
from dwt.config.params import ParamsError, load_params
from dwt.config.schema import Params
from dwt.pipeline.notebooks import revision
from dwt.pipeline.pages import (
    SITE,
    Page,
    cells,
    code_colours,
    executed,
    figure_text,
    markdown,
    title,
)

LOSSES = {
    "heldout_loss": "held-out loss", "out_of_domain_loss": "out-of-domain loss",
    "equal_flops_loss": "held-out loss at equal FLOPs",
}  # fmt: skip


def build(params: Params, *, only: str = "") -> Path:
    """Write the site into `report/`, which is emptied first.

    Parameters
    ----------
    params : Params
        The scales shown are those that `dwt.analysis.claims.finished` finds.
    only : str
        A regular expression for the names of the notebooks to show; by default all.

    Returns
    -------
    Path
        report/index.html.

    Raises
    ------
    TablesError
        Naming the file that is missing and the command that makes it.
    """
    scales, missing = finished(params)
    if not scales:
        raise TablesError("\n".join(missing.values()) or "compare: names no scale (params.yaml)")
    pages = [page for page in find_pages(params, scales) if re.search(only, page.name)]
    answers = {name: _read(params, name, "answer.md") for name in scales}
    rows = claims(params, scales, pages)
    notebooks = Parallel(n_jobs=-1, prefer="threads")(
        delayed(executed)(page, params, scales) for page in pages
    )
    out = params.root / "report"
    shutil.rmtree(out, ignore_errors=True)
    (out / "figures").mkdir(parents=True)
    titles = {page.name: title(notebooks[i]) for i, page in enumerate(pages)}
    site = {
        "revision": revision(params.root), "scales": [*scales], "missing": missing,
        "pages": pages, "titles": titles,
    }  # fmt: skip
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(SITE), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    figures = [_figure(page, notebooks[i], params, out) for i, page in enumerate(pages)]
    template = environment.get_template("notebook.html.jinja")
    for page, notebook in zip(pages, notebooks, strict=True):
        _write(out / f"{page.stem}.html", template.render(**site, page=page, body=cells(notebook)))
    template = environment.get_template("index.html.jinja")
    page = template.render(**site, answers=answers, claims=rows, figures=[f for f in figures if f])
    _write(out / "index.html", page)
    _write(out / "style.css", (SITE / "style.css").read_text(encoding="utf-8") + code_colours())
    return out / "index.html"


def find_pages(params: Params, scales: dict[str, Params]) -> list[Page]:
    """Every notebook with figures in its folder of results, at each scale that has them."""
    notebooks = sorted((params.root / "notebooks").glob("*.ipynb"))
    pages = [Page(path.stem, scale) for path in notebooks for scale in (None, *scales)]
    return [page for page in pages if any(page.results(params.root).glob("*.svg"))]


def claims(params: Params, scales: dict[str, Params], pages: list[Page]) -> list:
    """The claims of all scales, each with its rows: effect, verdict and page.

    Returns
    -------
    list of (str, list of dict)
        By claim, in the order of params.yaml.
    """
    tables = [pd.read_csv(_required(params, s, "claims.csv")).assign(scale=s) for s in scales]
    table = pd.concat(tables, ignore_index=True)
    table["reach"] = table[["mean", "low", "high"]].abs().max(axis=1)
    reach = table.groupby("measure")["reach"].transform("max")  # one axis per measure
    table["reach"] = reach.where(reach > 0, 1)
    rows = [_row(row, pages) for row in table.to_dict("records")]
    names = [name for name in params.claims if name in {*table["claim"]}]
    return [(name, [row for row in rows if row["claim"] == name]) for name in names]


def _required(params, scale, file):
    """The path of a file of a scale's summary."""
    path = params.root / "results" / scale / "summary" / file
    if not path.is_file():
        command = f"make study with `scale: {scale}` in params.yaml"
        raise TablesError(f"{path.relative_to(params.root)} is missing; run {command}")
    return path


def _read(params, scale, file):
    return markdown(_required(params, scale, file).read_text(encoding="utf-8"))


def _row(row, pages):
    has_interval = pd.notna(row["low"])
    unit = " nats" if row["measure"] in LOSSES else ""
    row["effect"] = signed(row["mean"])
    row["bounds"] = f"({signed(row['low'])} to {signed(row['high'])})" if has_interval else ""
    row["has_interval"] = has_interval
    row["verdict"] = row["verdict"] if pd.notna(row["verdict"]) else "none"
    bounds = f" ({interval(row['low'], row['high'], row['level'], sign=True)})"
    row["details"] = (
        f"{row['arm']} − {row['against']}, {LOSSES.get(row['measure'], row['measure'])} at step "
        f"{row['step']:,}: {signed(row['mean'])}{unit}{bounds if has_interval else ''}, {row['n']} "
        f"seed{'' if row['n'] == 1 else 's'}"
    )
    if pd.notna(row.get("detectable")):
        row["details"] += f"; smallest effect detected with 80 % power: {plain(row['detectable'])}"
    where = (row["analysis"], row["scale"])
    row["page"] = next((page for page in pages if (page.analysis, page.scale) == where), None)
    return row


def _figure(page, notebook, params, out):
    """The figure that has the analysis's name, copied; None where there is none."""
    folder = page.results(params.root)
    if not (folder / f"{page.analysis}.svg").is_file():
        return None
    source = f"figures/{page.stem}.svg"
    shutil.copyfile(folder / f"{page.analysis}.svg", out / source)
    answer = folder / "answer.md"
    return {
        "page": page, "source": source, "alt": figure_text(notebook),
        "answer": markdown(answer.read_text(encoding="utf-8")) if answer.is_file() else "",
    }  # fmt: skip


def _write(path, text):
    path.write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        print(os.path.relpath(build(load_params())))
    except (ParamsError, TablesError) as error:
        sys.exit(str(error))
