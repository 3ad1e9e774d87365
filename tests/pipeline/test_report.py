"""The site shows what the results say, in any browser, on a phone, with no network."""

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

from dwt.config.params import load_params
from dwt.pipeline import report

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


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site of the committed results."""
    root = study(tmp_path_factory.mktemp("study"))
    before = files_of(root / "results")
    report.build(load_params(root / "params.yaml"))
    assert files_of(root / "results") == before
    return root / "report"


def pages_of(site):
    return {path: path.read_text() for path in site.rglob("*.html")}


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
    found = {path.resolve(): Anchors(text) for path, text in pages_of(site).items()}
    for path, page in found.items():
        for link in page.links:
            if link.startswith(("https:", "data:", "mailto:")):
                continue
            file, _, anchor = link.partition("#")
            target = (path.parent / file.partition("?")[0]).resolve() if file else path
            assert target.is_file(), (path, link)
            assert not anchor or anchor in found[target].ids, (path, link)


def test_every_figure_says_what_it_shows_to_one_who_cannot_see_it(site):
    images = [i for text in pages_of(site).values() for i in Anchors(text).images]
    assert images and all(len(image.get("alt", "")) > 20 for image in images)
    assert not [image["alt"] for image in images if ".png" in image["alt"]]


def test_every_executed_notebook_has_a_page_under_its_number(site):
    for scale in SCALES:
        made = {path.stem[3:] for path in (site / scale).glob("[0-9]*.html")}
        assert made == {p.stem for p in (ROOT / "results" / scale / "notebooks").glob("*.ipynb")}
        assert {"teacher-quality", "summary"} <= made


def test_the_first_page_has_the_four_answers_and_every_claim(site):
    text = re.sub(r"<[^>]+>", "", (site / "index.html").read_text())
    answers = (ROOT / "results" / "laptop" / "summary" / "questions.md").read_text()
    assert text.count("Should it teach?") == text.count("Copy its weights?") == 1
    for number in re.findall(r"[+−]\d\.\d{3}", answers):
        assert number in text
    for scale in SCALES:
        claims = pd.read_csv(ROOT / "results" / scale / "summary" / "claims.csv")
        for claim in claims.itertuples():
            assert claim.statement in text
            assert f"{claim.verdict}, {-claim.mean:+.3f}".replace("-", "−") in text


def test_mathematics_is_mathml(site):
    text = (site / "laptop" / "04-teacher-quality.html").read_text()
    assert text.count("<math") == 1 and 'display="block"' in text
    assert "$$" not in text and not re.search("src=[^>]*mathjax", text.lower())


def test_a_page_loads_nothing_from_elsewhere(site):
    for path, text in pages_of(site).items():
        assert not re.search(r"(src|srcset)=[\"']?(https?:)?//", text), path
        assert not re.search(r"<link[^>]+href=[\"'](https?:)?//", text), path
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", path.read_text()), path


def test_the_same_results_give_the_same_pages(tmp_path):
    twice = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        root = study(tmp_path / name)
        shutil.rmtree(root / "results" / "wiki-mini")
        report.build(load_params(root / "params.yaml"))
        twice.append(
            {p.relative_to(root): p.read_bytes() for p in (root / "report").rglob("*.html")}
        )
    assert twice[0] == twice[1]


def test_under_a_changed_setting_the_report_shows_no_old_answer_and_says_so(tmp_path):
    root = study(tmp_path)
    text = (root / "params.yaml").read_text()
    new = text.replace(
        "strong: {teacher: weak-teacher, soft_weight: 4.0}",
        "strong: {teacher: weak-teacher, soft_weight: 2.0}",
    )
    (root / "params.yaml").write_text(new)
    report.build(load_params(root / "params.yaml"))
    assert "Not run at scale laptop: <code" in (root / "report" / "index.html").read_text()
    of_scale = (root / "report" / "laptop" / "index.html").read_text()
    assert "Figures and notebooks are older" in of_scale


def test_a_study_without_results_is_told_what_is_missing(tmp_path):
    shutil.copy2(ROOT / "params.yaml", tmp_path)
    done = run(sys.executable, "-m", "dwt.pipeline.report", cwd=tmp_path)
    assert done.returncode == 1
    assert re.match(r"results/laptop/tables/runs.csv is missing; run the study", done.stderr)


def test_a_scale_that_has_not_run_is_left_out_named_and_its_old_pages_are_gone(tmp_path):
    root = study(tmp_path)
    params = load_params(root / "params.yaml")
    report.build(params)
    shutil.rmtree(root / "results" / "wiki-mini")
    report.build(params)
    text = (root / "report" / "index.html").read_text()
    assert "Scale wiki-mini is left out: results/wiki-mini/tables/runs.csv is missing" in text
    assert not (root / "report" / "wiki-mini").exists()


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
    assert report.figure_text(notebook) == "A line for each arm. Dots are seeds"
    assert report.figure_text(nbformat.v4.new_notebook(cells=cells[:1])) == "The title"


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
        for path in pages_of(site):
            page.goto(path.as_uri())
            broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
            assert page.evaluate(broken) == 0, path
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    assert faults == []
    assert asked and all(url.startswith(("file://", "data:")) for url in asked)


@browser_test
def test_pages_can_be_read_without_scripts_in_the_light_or_dark_that_the_reader_asked_for(site):
    look = "getComputedStyle(document.body).backgroundColor"
    for scheme, dark in (("light", False), ("dark", True)):
        with chromium(viewport=PHONE, java_script_enabled=False, color_scheme=scheme) as page:
            page.goto((site / "index.html").as_uri())
            assert page.get_by_role("table").first.is_visible()
            shade = sum(map(int, re.findall(r"\d+", page.evaluate(look))[:3]))
            assert (shade < 200) == dark
