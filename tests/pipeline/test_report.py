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
import yaml
from conftest import ROOT, run

from dwt.analysis.tables import TablesError
from dwt.config.params import load_params
from dwt.pipeline.notebooks import clean
from dwt.pipeline.pages import Page
from dwt.pipeline.stages import pages, report

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
browser_test = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="no Chromium on this machine"
)
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
EVIDENCE = yaml.safe_load((ROOT / "evidence" / "dvc.yaml").read_text())["stages"]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--disable-background-networking"]  # fmt: skip
PHONE = {"width": 390, "height": 844}


def study(root):
    """A copy of what a clone has of the results, without git."""
    for name in ("notebooks", "results", "params.yaml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, root / name)
    return root


def shown_ledger(scale):
    """The committed claims that the site shows: those of the extended grid where it has run."""
    folder = ROOT / "results" / scale
    more = folder / "evidence" / "claims.csv"
    return pd.read_csv(more if more.is_file() else folder / "claims.csv").set_index("claim")


def minus(text):
    return text.replace("-", "−")


def ran(root, name, scale, said, *, edit=""):
    """Leave an executed notebook in which every code cell has said something, and nothing else."""
    notebook = clean(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text=said)]
    notebook.cells[-1].source += edit
    path = root / "executed" / f"{name}-{scale}.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Three notebook pages: one executed, one of another edition, one as the pipeline left it."""
    root = study(tmp_path_factory.mktemp("study"))
    ran(root, "04-teacher-quality", "laptop", "OF ANOTHER EDITION", edit="\n1 + 1")
    ran(root, "04-teacher-quality", "wiki-mini", "LEFT BY THE PIPELINE")
    ran(root, "07-summary", "laptop", "LEFT BY THE PIPELINE")
    ran(root, "07-summary", "wiki-mini", "LEFT BY THE PIPELINE")
    before = {path: path.read_bytes() for path in (root / "results").rglob("*.*")}
    report.build(load_params(root / "params.yaml"), pages=("07-summary", "04-teacher-quality"))
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


def test_notebooks_are_in_order_of_their_numbers(site):
    assert sorted(["10-gap", "9-factorial"], key=pages.number) == ["9-factorial", "10-gap"]
    text = (site / "index.html").read_text()
    listed = text[text.index('id="notebooks"') :]
    assert listed.index("04-teacher-quality-laptop") < listed.index("07-summary-laptop")


def test_an_executed_notebook_is_shown_only_if_its_cells_are_the_notebooks(site):
    assert "LEFT BY THE PIPELINE" in (site / "04-teacher-quality-wiki-mini.html").read_text()
    fresh = (site / "04-teacher-quality-laptop.html").read_text()
    assert "OF ANOTHER EDITION" not in fresh
    assert "A teacher helps while it is less than 0.47 nats" in fresh
    assert fresh.count("data:image/png;base64,") >= 2


def test_an_executed_notebook_older_than_its_tables_is_not_shown(tmp_path, monkeypatch):
    root = study(tmp_path)
    params, page = load_params(root / "params.yaml"), Page("07-summary", "laptop")
    path = ran(root, "07-summary", "laptop", "HERE")
    monkeypatch.setattr(pages.NotebookClient, "execute", lambda self: None)
    shown = pages.executed(page, params, {"laptop": params})
    assert shown.cells[-1].outputs[0].text == "HERE"
    table = root / "results" / "laptop" / "runs.csv"
    os.utime(table, (path.stat().st_mtime + 1,) * 2)
    assert pages.executed(page, params, {"laptop": params}).cells[-1].outputs == []


def test_mathematics_is_mathml(site):
    text = (site / "04-teacher-quality-laptop.html").read_text()
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


def test_the_answer_holds_that_of_the_extended_grid_where_it_has_run(tmp_path):
    root = study(tmp_path)
    for scale in ("laptop", "wiki-mini"):
        ran(root, "07-summary", scale, "same")
    answer = root / "results" / "laptop" / "evidence" / "answer.md"
    answer.write_text("**What did it say?**\n\nThis and no more.\n")
    report.build(load_params(root / "params.yaml"), pages=("07-summary",))
    text = (root / "report" / "index.html").read_text()
    assert "<p>This and no more.</p>" in text
    titles = re.findall(r"<h3>(.*?)</h3>", text[: text.index('id="ledger-title"')])
    assert titles == ["Scale laptop", "Scale laptop, the extended grid", "Scale wiki-mini"]


def test_the_same_tables_give_the_same_bytes(tmp_path):
    root = study(tmp_path)
    for scale in ("laptop", "wiki-mini"):
        ran(root, "07-summary", scale, "same")
    params, twice = load_params(root / "params.yaml"), []
    for _ in range(2):
        report.build(params, pages=("07-summary",))
        twice.append({p.name: p.read_bytes() for p in (root / "report").rglob("*.*")})
    assert twice[0] == twice[1]


@pytest.mark.parametrize("file", ["claims.csv", "answer.md", "summary.svg"])
def test_a_missing_table_is_named_with_the_command_that_makes_it(file, tmp_path):
    root = study(tmp_path)
    for scale in ("laptop", "wiki-mini"):
        ran(root, "07-summary", scale, "same")
    (root / "results" / "wiki-mini" / file).unlink()
    said = f"results/wiki-mini/{file} is missing; run make study with `scale: wiki-mini`"
    with pytest.raises(TablesError, match=re.escape(said)):
        report.build(load_params(root / "params.yaml"), pages=("07-summary",))


def test_a_study_without_results_is_told_what_is_missing(tmp_path):
    shutil.copy2(ROOT / "params.yaml", tmp_path)
    done = run(sys.executable, "-m", "dwt.pipeline.report", cwd=tmp_path)
    assert done.returncode == 1
    assert re.match(r"results/laptop/runs.csv is missing; run the study", done.stderr)


def test_a_scale_that_has_not_run_is_left_out_and_named(tmp_path):
    root = study(tmp_path)
    shutil.rmtree(root / "results" / "wiki-mini")
    ran(root, "07-summary", "laptop", "same")
    report.build(load_params(root / "params.yaml"), pages=("07-summary",))
    text = (root / "report" / "index.html").read_text()
    assert "Scale wiki-mini is left out: results/wiki-mini/runs.csv is missing" in text
    assert 'data-scale="wiki-mini"' not in text and 'data-scale="laptop"' in text


def test_claims_of_one_seed_and_without_a_verdict_are_shown_without_an_interval(tmp_path):
    root = study(tmp_path)
    for path in root.rglob("claims.csv"):
        lone = {"low": None, "high": None, "n": 1, "verdict": None, "notebook": "9-factorial"}
        pd.read_csv(path).assign(**lone).to_csv(path, index=False)
    params = load_params(root / "params.yaml")
    made = [Page("9-factorial", scale) for scale in params.compare]
    (_, (row, _)), *_ = report.ledger(params, params.compare, made)
    effect = minus(f"{shown_ledger('laptop').loc['weak-helps', 'mean']:+.3f}")
    assert (row["effect"], row["bounds"], row["verdict"]) == (effect, "", "none")
    said = f"normal − scratch, held-out loss at step 600: {effect} nats, 1 seed;"
    assert row["told"].startswith(said)
    assert row["page"] == made[0]


def test_the_stage_depends_on_all_that_the_site_shows():
    deps, (out,) = {*EVIDENCE["report"]["deps"]}, EVIDENCE["report"]["outs"]
    assert out == "report"
    assert {f"build/notebooks/{name}.ipynb" for name in report.PAGES} <= deps
    scales = yaml.safe_load((ROOT / "params.yaml").read_text())["compare"]
    assert {dep for dep in deps if re.fullmatch(r"results/[^.]+", dep)} == {
        f"results/{scale}" for scale in scales
    }
    drawing = {d for s in ("summary", "scales") for d in DVC[s]["deps"] if d.startswith("dwt/")}
    assert (
        drawing | {"dwt/pipeline/pages.py", "dwt/pipeline/report.py", "dwt/pipeline/site"} <= deps
    )


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
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
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
def test_the_ledger_has_every_claim_of_every_scale_with_its_numbers(site):
    with chromium(viewport=PHONE) as page:
        page.goto((site / "index.html").as_uri())
        shown = {
            (row.get_attribute("data-claim"), row.get_attribute("data-scale")): [
                " ".join(row.locator(cell).first.inner_text().split())
                for cell in (".effect > span:last-child", ".verdict", ".number")
            ]
            for row in page.locator("#ledger tbody tr").all()
        }
        statements = page.locator("#ledger tbody th").all_inner_texts()
    wanted = set()
    for scale in ("laptop", "wiki-mini"):
        for claim in shown_ledger(scale).itertuples():
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
        told = row.locator(".told")
        assert not told.is_visible()
        getattr(row.locator(".interval"), how)()
        assert told.is_visible()
        claim = shown_ledger("laptop").loc["weak-helps"]
        bounds = f"{claim['low']:+.3f} to {claim['high']:+.3f}"
        said = f"{claim['mean']:+.3f} nats (95 % interval {bounds}), {claim['n']} seeds"
        assert minus(said) in told.inner_text()


@browser_test
def test_dark_and_light_are_those_that_the_reader_has_asked_for(site):
    def papers(path):
        page.goto(path.as_uri())
        look = "getComputedStyle(document.body).backgroundColor"
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            yield page.evaluate(look)

    with chromium(viewport=PHONE) as page:
        for path in (site / "index.html", site / "04-teacher-quality-laptop.html"):
            assert [*papers(path)] == ["rgb(255, 255, 255)", "rgb(21, 23, 26)"]
