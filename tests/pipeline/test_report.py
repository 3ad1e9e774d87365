"""The site shows what the tables say, in any browser, on a phone, with no network."""

import os
import re
import shutil
import sys
from contextlib import contextmanager
from html.parser import HTMLParser

import nbformat
import pandas as pd
import pytest
from conftest import ROOT, run

from dwt.analysis.tables import TablesError
from dwt.config.params import load_params
from dwt.pipeline import pages, report
from dwt.pipeline.notebooks import clean
from dwt.pipeline.pages import Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
browser_test = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="no Chromium on this machine"
)
SCALES = ("laptop", "wiki-mini")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--disable-background-networking"]  # fmt: skip
PHONE = {"width": 390, "height": 844}


def study(root):
    """A copy of what a clone has of the results, without git."""
    for name in ("notebooks", "results", "params.yaml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, root / name)
    return root


def notebook_named(analysis):
    (path,) = (ROOT / "notebooks").glob(f"*-{analysis}.ipynb")
    return path.stem


SUMMARY, QUALITY = notebook_named("summary"), notebook_named("teacher-quality")


def committed_claims(scale):
    file = ROOT / "results" / scale / "summary" / "claims.csv"
    return pd.read_csv(file).set_index("claim")


def minus(text):
    return text.replace("-", "−")


def leave_executed(root, name, scale, text, *, edit=""):
    """Leave an executed notebook in which every code cell has printed a text."""
    notebook = clean(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text=text)]
    notebook.cells[-1].source += edit
    path = root / "executed" / Page(name, scale).executed
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)
    return path


def study_with_summaries(root):
    """A study whose summary notebooks need not be executed again."""
    for scale in SCALES:
        leave_executed(study(root) if scale == SCALES[0] else root, SUMMARY, scale, "same")
    return root


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Four notebook pages: three as the pipeline left them, one left with other cells."""
    root = study(tmp_path_factory.mktemp("study"))
    leave_executed(root, QUALITY, "laptop", "OF ANOTHER EDITION", edit="\n1 + 1")
    leave_executed(root, QUALITY, "wiki-mini", "LEFT BY THE PIPELINE")
    for scale in SCALES:
        leave_executed(root, SUMMARY, scale, "LEFT BY THE PIPELINE")
    before = {path: path.read_bytes() for path in (root / "results").rglob("*.*")}
    report.build(load_params(root / "params.yaml"), only="summary|teacher-quality")
    assert {path: path.read_bytes() for path in (root / "results").rglob("*.*")} == before
    return root / "report"


class Anchors(HTMLParser):
    """Where a page can be linked to, where it leads, and what stands in for its figures."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.images = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.images += [found] if tag == "img" else []


def test_every_link_leads_to_a_page_that_is_there_and_to_a_place_on_it(site):
    found = {path.name: Anchors(path.read_text()) for path in site.glob("*.html")}
    assert len(found) == 5
    for name, page in found.items():
        assert len(page.ids) == len({*page.ids}), name
        for link in page.links:
            if not link.startswith(("https:", "data:")):
                file, _, anchor = link.partition("#")
                assert (site / (file or name)).is_file(), (name, link)
                assert not anchor or anchor in found[file or name].ids, (name, link)


def test_every_figure_says_what_it_shows_to_one_who_cannot_see_it(site):
    images = [i for path in site.glob("*.html") for i in Anchors(path.read_text()).images]
    assert images and all(len(image.get("alt", "")) > 8 for image in images)


def test_every_notebook_with_figures_has_a_page_in_order_of_the_numbers(tmp_path):
    root = study(tmp_path)
    params = load_params(root / "params.yaml")
    shutil.copy(ROOT / "notebooks" / f"{SUMMARY}.ipynb", root / "notebooks" / "99-mine.ipynb")
    assert "99-mine" not in [page.name for page in report.find_pages(params, ["laptop"])]
    (root / "results" / "laptop" / "mine").mkdir()
    (root / "results" / "laptop" / "mine" / "a.svg").write_text("<svg/>")
    names = [page.name for page in report.find_pages(params, ["laptop"])]
    assert names == sorted(names) and names[-1] == "99-mine"
    assert {SUMMARY, QUALITY} <= {*names}
    assert not [name for name in names if name.startswith(("01", "02", "03"))]


def test_an_executed_notebook_is_shown_only_if_its_cells_are_the_notebooks(site):
    assert "LEFT BY THE PIPELINE" in (site / f"{QUALITY}-wiki-mini.html").read_text()
    fresh = (site / f"{QUALITY}-laptop.html").read_text()
    assert "OF ANOTHER EDITION" not in fresh
    assert fresh.count("data:image/png;base64,") >= 2


def test_an_executed_notebook_older_than_its_tables_is_not_shown(tmp_path, monkeypatch):
    root = study(tmp_path)
    params, page = load_params(root / "params.yaml"), Page(SUMMARY, "laptop")
    path = leave_executed(root, SUMMARY, "laptop", "HERE")
    monkeypatch.setattr(pages.NotebookClient, "execute", lambda self: None)
    shown = pages.executed(page, params, {"laptop": params})
    assert shown.cells[-1].outputs[0].text == "HERE"
    table = root / "results" / "laptop" / "tables" / "runs.csv"
    os.utime(table, (path.stat().st_mtime + 1,) * 2)
    assert pages.executed(page, params, {"laptop": params}).cells[-1].outputs == []


def test_the_text_of_a_figure_is_that_of_its_section_above_it():
    image = nbformat.v4.new_output("display_data", {"image/png": ""})
    cells = [
        nbformat.v4.new_markdown_cell("# The title"),
        nbformat.v4.new_markdown_cell("Of another section.\n\n## Left\n\nA line for\neach *arm*."),
        nbformat.v4.new_code_cell("1"),
        nbformat.v4.new_markdown_cell("Dots are `seeds`."),
        nbformat.v4.new_code_cell("2", outputs=[image]),
        nbformat.v4.new_markdown_cell("Below it."),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    assert pages.figure_text(notebook) == "A line for each arm. Dots are seeds"
    assert pages.figure_text(nbformat.v4.new_notebook(cells=cells[:1])) == "The title"


def test_mathematics_is_mathml(site):
    text = (site / f"{QUALITY}-laptop.html").read_text()
    assert text.count("<math") == 1 and 'display="block"' in text
    assert "$$" not in text and "MathJax" not in text
    inline = pages.markdown("as $a_h = 1$ and\n\\begin{matrix} a & b \\end{matrix}")
    assert inline.count("<math") == 2 and "$" not in inline and "\\" not in inline


def test_a_page_runs_no_script_and_loads_nothing_from_elsewhere(site):
    for path in site.glob("*.html"):
        text = path.read_text()
        assert "<script" not in text
        assert not re.search(r"(src|srcset)=[\"']?(https?:)?//", text)
    assert "@import" not in (site / "style.css").read_text()
    assert "url(" not in (site / "style.css").read_text()


def test_the_answer_of_every_scale_is_shown(tmp_path):
    root = study_with_summaries(tmp_path)
    answer = root / "results" / "laptop" / "summary" / "answer.md"
    answer.write_text("**A question**\n\nThis and no more.\n")
    report.build(load_params(root / "params.yaml"), only="summary")
    text = (root / "report" / "index.html").read_text()
    assert "<p>This and no more.</p>" in text
    titles = re.findall(r"<h3>(.*?)</h3>", text[: text.index('id="claims-title"')])
    assert titles == ["Scale laptop", "Scale wiki-mini"]


def test_the_same_tables_give_the_same_bytes(tmp_path):
    root = study_with_summaries(tmp_path)
    params, twice = load_params(root / "params.yaml"), []
    for _ in range(2):
        report.build(params, only="summary")
        twice.append({p.name: p.read_bytes() for p in (root / "report").rglob("*.*")})
    assert twice[0] == twice[1]


@pytest.mark.parametrize("file", ["claims.csv", "answer.md"])
def test_a_missing_file_is_named_with_the_command_that_makes_it(file, tmp_path):
    root = study_with_summaries(tmp_path)
    (root / "results" / "wiki-mini" / "summary" / file).unlink()
    error = f"results/wiki-mini/summary/{file} is missing; run make study with `scale: wiki-mini`"
    with pytest.raises(TablesError, match=re.escape(error)):
        report.build(load_params(root / "params.yaml"), only="summary")


def test_a_study_without_results_is_told_what_is_missing(tmp_path):
    shutil.copy2(ROOT / "params.yaml", tmp_path)
    done = run(sys.executable, "-m", "dwt.pipeline.report", cwd=tmp_path)
    assert done.returncode == 1
    assert re.match(r"results/laptop/tables/runs.csv is missing; run the study", done.stderr)


def test_a_scale_that_has_not_run_is_left_out_and_named(tmp_path):
    root = study_with_summaries(tmp_path)
    shutil.rmtree(root / "results" / "wiki-mini")
    report.build(load_params(root / "params.yaml"), only="summary")
    text = (root / "report" / "index.html").read_text()
    assert "Scale wiki-mini is left out: results/wiki-mini/tables/runs.csv is missing" in text
    assert 'data-scale="wiki-mini"' not in text and 'data-scale="laptop"' in text


def test_claims_of_one_seed_and_without_a_verdict_are_shown_without_an_interval(tmp_path):
    root = study(tmp_path)
    for path in root.rglob("claims.csv"):
        single = {"low": None, "high": None, "n": 1, "verdict": None, "analysis": "factorial"}
        pd.read_csv(path).assign(**single).to_csv(path, index=False)
    params = load_params(root / "params.yaml")
    shown = [Page("08-factorial", scale) for scale in SCALES]
    (_, (row, _)), *_ = report.claims(params, SCALES, shown)
    effect = minus(f"{committed_claims('laptop').loc['weak-helps', 'mean']:+.3f}")
    assert (row["effect"], row["bounds"], row["verdict"]) == (effect, "", "none")
    text = f"normal − scratch, held-out loss at step 600: {effect} nats, 1 seed;"
    assert row["details"].startswith(text)
    assert row["page"] == shown[0]


@contextmanager
def chromium(**options):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser.new_page(**options)
        browser.close()


@browser_test
def test_every_page_is_whole_on_a_phone_with_no_network_and_no_errors(site):
    faults, asked = [], []
    with chromium(viewport=PHONE) as page:
        page.on("console", lambda text: faults.append(text.text) if text.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        for path in sorted(site.glob("*.html")):
            page.goto(path.as_uri())
            broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
            assert page.evaluate(broken) == 0, path.name
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path.name
    assert faults == []
    assert asked and all(url.startswith(("file://", "data:")) for url in asked)


@browser_test
def test_the_table_has_every_claim_of_every_scale_with_its_numbers(site):
    with chromium(viewport=PHONE) as page:
        page.goto((site / "index.html").as_uri())
        shown = {
            (row.get_attribute("data-claim"), row.get_attribute("data-scale")): [
                " ".join(row.locator(cell).first.inner_text().split())
                for cell in (".effect > span:last-child", ".verdict", ".number")
            ]
            for row in page.locator("#claims tbody tr").all()
        }
        statements = page.locator("#claims tbody th").all_inner_texts()
    wanted = set()
    for scale in ("laptop", "wiki-mini"):
        for claim in committed_claims(scale).itertuples():
            found = minus(f"{claim.mean:+.3f} ({claim.low:+.3f} to {claim.high:+.3f})")
            text = shown[claim.Index, scale]
            assert [found, claim.verdict, str(claim.n)] == text
            assert claim.statement in statements
            wanted.add((claim.Index, scale))
    assert {*shown} == wanted
    assert len(wanted) >= 12


@browser_test
@pytest.mark.parametrize("how", ["hover", "focus"])
def test_an_interval_tells_its_values_when_pointed_at_and_when_focused(how, site):
    with chromium(viewport=PHONE) as page:
        page.goto((site / "index.html").as_uri())
        row = page.locator("tr[data-claim=weak-helps][data-scale=laptop]")
        details = row.locator(".details")
        assert not details.is_visible()
        getattr(row.locator(".interval"), how)()
        assert details.is_visible()
        claim = committed_claims("laptop").loc["weak-helps"]
        bounds = f"{claim['low']:+.3f} to {claim['high']:+.3f}"
        values = f"{claim['mean']:+.3f} nats (95 % interval {bounds}), {claim['n']} seeds"
        assert minus(values) in details.inner_text()


@browser_test
def test_dark_and_light_are_those_that_the_reader_has_asked_for(site):
    def papers(path):
        page.goto(path.as_uri())
        look = "getComputedStyle(document.body).backgroundColor"
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            yield page.evaluate(look)

    with chromium(viewport=PHONE) as page:
        for path in (site / "index.html", site / f"{QUALITY}-laptop.html"):
            assert [*papers(path)] == ["rgb(255, 255, 255)", "rgb(21, 23, 26)"]
