"""What does a person see who has a browser and nothing else?

`python -m dwt.pipeline.report` writes report/index.html, the findings, the ledger and the figures, and one
page for every notebook that draws results, at every scale of `compare` that has them. The site
asks the network for nothing and runs no script: mathematics is MathML, charts are SVG.
"""

import os
import shutil
import sys

import jinja2
import pandas as pd
from joblib import Parallel, delayed

from dwt.analysis.cross_scale import finished
from dwt.analysis.stats import interval, plain, signed
from dwt.analysis.tables import TablesError
from dwt.config.params import ParamsError, load_params
from dwt.pipeline.notebooks import revision
from dwt.pipeline.pages import SITE, Page, cells, code_colours, executed, markdown, number, title

PAGES = {  # notebook: what it leaves in results/<scale> where it has run; None: of no scale
    "04-teacher-quality": "teacher-quality.csv",
    "05-loss-weight": "loss-weight.csv",
    "06-parameter-remapping": "parameter-remapping.csv",
    "07-summary": "claims.csv",
    "08-scales": None,
    "09-gap": "evidence/gap.csv",
    "10-factorial": "evidence/factorial.csv",
    "11-controls": "evidence/controls.csv",
    "12-compute": "evidence/compute.csv",
    "13-why": "evidence/tokens.csv",
    "14-ledger": "evidence/claims.csv",
}
FIGURES = {  # notebook: its main figure, and what that shows to one who cannot see it
    "04-teacher-quality": (
        "teacher-quality.svg",
        "What the student gains by its teacher against how far the teacher is behind it: points "
        "of each seed, a straight line, and the band of gaps at which the gain is not told from "
        "zero",
    ),
    "05-loss-weight": (
        "loss-weight.svg",
        "Held-out loss over training for constant, strong and decaying weights of the soft loss, "
        "and the difference from the constant one",
    ),
    "06-parameter-remapping": (
        "parameter-remapping.svg",
        "Held-out loss of students that start from random or from the teacher's weights, with "
        "the soft loss and without it",
    ),
    "07-summary": (
        "summary.svg",
        "The three factors: gain against the teacher's gap, held-out loss over training for three "
        "soft-loss weights, and remapping with and without the soft loss",
    ),
    "08-scales": (
        "scales.svg",
        "For each scale a row: gain against the teacher's gap, held-out loss over training for "
        "three soft-loss weights, and remapping with and without the soft loss",
    ),
    "09-gap": (
        "evidence/gap.svg",
        "Gain of the soft loss against how far the teacher is behind the student, a marker for "
        "what made the gap: a smaller teacher, a less trained one, a longer student",
    ),
    "10-factorial": (
        "evidence/factorial.svg",
        "Held-out loss against the weight of the soft loss, from random and from copied weights, "
        "a panel a teacher",
    ),
    "11-controls": (
        "evidence/controls.svg",
        "Gain over the student alone of every taught arm and of the controls: smoothed labels, "
        "token frequencies, shuffled contexts, a teacher as large as the student",
    ),
    "12-compute": (
        "evidence/compute.svg",
        "Held-out loss against operations of training: the student alone at five budgets as a "
        "line, taught students as points",
    ),
    "13-why": (
        "evidence/why.svg",
        "Gain by how frequent the true token is, apart where the teacher's first guess was right "
        "and where it was wrong",
    ),
    "14-ledger": (
        "evidence/claims.svg",
        "Every claim with its difference and interval, to the right where the claim would have it",
    ),
}
LOSSES = {
    "heldout_loss": "held-out loss", "out_of_domain_loss": "out-of-domain loss",
    "equal_flops_loss": "held-out loss at equal operations",
}  # fmt: skip


def build(params, *, pages=tuple(PAGES)):
    """Write the site into `report/`; what was there goes.

    Parameters
    ----------
    params : Params
        The scales shown are those that `dwt.analysis.cross_scale.finished` finds.
    pages : sequence of str
        Which of `PAGES` to make; links lead to these only.

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
    made = [page for name in sorted(pages, key=number) for page in _pages(name, scales, params)]
    notebooks = Parallel(n_jobs=-1, prefer="threads")(
        delayed(executed)(page, params, scales) for page in made
    )
    out = params.root / "report"
    shutil.rmtree(out, ignore_errors=True)
    (out / "figures").mkdir(parents=True)
    site = {
        "revision": revision(params.root), "scales": [*scales], "missing": missing,
        "pages": made,
        "titles": {page.name: title(notebooks[i]) for i, page in enumerate(made)},
    }  # fmt: skip
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(SITE), autoescape=True, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    template = environment.get_template("notebook.html.jinja")
    for page, notebook in zip(made, notebooks, strict=True):
        _write(out / f"{page.stem}.html", template.render(**site, page=page, body=cells(notebook)))
    template = environment.get_template("index.html.jinja")
    answers = {name: markdown(_required(params, name, "answer.md").read_text()) for name in scales}
    extended = {name: params.root / "results" / name / "evidence" / "answer.md" for name in scales}
    extended = {name: markdown(f.read_text()) for name, f in extended.items() if f.is_file()}
    figures = [_figure(page, params, out) for page in made if page.name in FIGURES]
    rows = ledger(params, scales, made)
    page = template.render(**site, answers=answers, extended=extended, ledger=rows, figures=figures)
    _write(out / "index.html", page)
    _write(out / "style.css", (SITE / "style.css").read_text(encoding="utf-8") + code_colours())
    return out / "index.html"


def _required(params, scale, file):
    """The path of a file of results, which is there."""
    path = params.root / "results" / (scale or "") / file
    if not path.is_file():
        command = f"make study with `scale: {scale}` in params.yaml" if scale else "make study"
        raise TablesError(f"{path.relative_to(params.root)} is missing; run {command}")
    return path


def _pages(name, scales, params):
    """A notebook at the scales at which it has run."""
    if PAGES[name] is None:
        return [Page(name, None)]
    ran = [scale for scale in scales if (params.root / "results" / scale / PAGES[name]).is_file()]
    return [Page(name, scale) for scale in ran]


def ledger(params, scales, pages) -> list:
    """The claims of all scales, each with its rows: effect, verdict and where it is from.

    Returns
    -------
    list of (str, list of dict)
        By claim, in the order of params.yaml.
    """
    tables = [pd.read_csv(_claims(params, scale)).assign(scale=scale) for scale in scales]
    claims = pd.concat(tables, ignore_index=True)
    claims["reach"] = claims[["mean", "low", "high"]].abs().max(axis=1)
    reach = claims.groupby("measure")["reach"].transform("max")  # one axis a measure
    claims["reach"] = reach.where(reach > 0, 1)
    rows = [_row(row, params, pages) for row in claims.to_dict("records")]
    names = claims["claim"].unique()
    return [(name, [row for row in rows if row["claim"] == name]) for name in names]


def _claims(params, scale):
    """The ledger of the extended grid where it was run: it has all claims and all seeds."""
    more = params.root / "results" / scale / "evidence" / "claims.csv"
    return more if more.is_file() else _required(params, scale, "claims.csv")


def _row(row, params, pages):
    sure, unit = pd.notna(row["low"]), " nats" if row["measure"] in LOSSES else ""
    row["effect"] = signed(row["mean"])
    row["bounds"] = f"({signed(row['low'])} to {signed(row['high'])})" if sure else ""
    row["sure"], row["verdict"] = sure, row["verdict"] if pd.notna(row["verdict"]) else "none"
    bounds = f" ({interval(row['low'], row['high'], row['level'], sign=True)})" if sure else ""
    row["told"] = (
        f"{row['arm']} − {row['against']}, {LOSSES.get(row['measure'], row['measure'])} at step "
        f"{row['step']:,}: {signed(row['mean'])}{unit}{bounds}, {row['n']} seed"
        f"{'' if row['n'] == 1 else 's'}"
    )
    if pd.notna(row.get("detectable")):
        row["told"] += f"; a true difference of {plain(row['detectable'])} is found 4 times in 5"
    row["page"] = next((page for page in pages if page == _where(row, params)), None)
    return row


def _where(row, params):
    """The page that a claim's numbers are explained on: that of the first factor with both arms."""
    name = row.get("notebook")
    if not isinstance(name, str):
        both = {row["arm"], row["against"]}
        factor = next((f for f, arms in params.factors.items() if both <= {*arms}), "summary")
        name = next((page for page in PAGES if page.partition("-")[2] == factor), "07-summary")
    return Page(name.removesuffix(".ipynb"), row["scale"])


def _figure(page, params, out):
    name, alt = FIGURES[page.name]
    path = _required(params, page.scale, name)
    target = f"figures/{page.scale or 'all'}-{path.name}"
    shutil.copyfile(path, out / target)
    return {"page": page, "source": target, "alt": alt}


def _write(path, text):
    path.write_text(text.rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        print(os.path.relpath(build(load_params())))
    except (ParamsError, TablesError) as fault:
        sys.exit(str(fault))
