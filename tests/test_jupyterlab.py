"""A notebook in JupyterLab runs top to bottom, shows its figure and is saved as git has it."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from conftest import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="no Chromium on this machine"
)


@pytest.fixture
def lab(tmp_path):
    """Address of a JupyterLab on a copy of the notebooks and their committed tables."""
    for name in ("notebooks", "results", "params.yaml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, tmp_path / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
                   "JUPYTER_CONFIG_PATH": str(ROOT / "dwt" / "pipeline" / "jupyter")}  # fmt: skip
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
         "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--notebook-dir=notebooks",
         "--LabApp.news_url=None",
         "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
         "--LabApp.expose_app_in_browser=True"],
        cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/api").close()
            break
        except OSError:
            assert server.poll() is None, "JupyterLab did not start"
            time.sleep(0.5)
    else:
        server.kill()
        pytest.fail("JupyterLab did not start in two minutes")
    yield address
    server.kill()
    server.wait(timeout=20)


def test_a_factor_notebook_runs_top_to_bottom_in_jupyterlab_and_shows_its_figure(lab, tmp_path):
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
            ],
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{lab}/lab/tree/04-teacher-quality.ipynb", wait_until="domcontentloaded")
        expect(page.locator(".jp-NotebookPanel .jp-Cell").first).to_be_visible(timeout=120_000)
        answer_kernel_question(page)
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=120_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
        wait_until_run(page, tmp_path)
        page.wait_for_function(
            "[...document.querySelectorAll('.jp-OutputArea-output img')]"
            ".some(image => image.naturalWidth > 300)"
        )
        page.screenshot(path=str(tmp_path / "jupyterlab.png"))
        notebook = tmp_path / "notebooks" / "04-teacher-quality.ipynb"
        before, saved = notebook.read_bytes(), notebook.stat().st_mtime_ns
        # `void`: awaiting the promise would hang if JupyterLab opens a dialog.
        page.evaluate("() => void window.jupyterapp.commands.execute('docmanager:save')")
        for _ in range(60):
            if notebook.stat().st_mtime_ns != saved:
                break
            time.sleep(0.5)
        assert notebook.stat().st_mtime_ns != saved, "JupyterLab did not save the notebook"
        assert notebook.read_bytes() == before
        browser.close()


def answer_kernel_question(page):
    """Accept the proposed kernel if JupyterLab asks for one."""
    from playwright.sync_api import TimeoutError as NotAsked

    try:
        page.locator(".jp-Dialog .jp-mod-accept").click(timeout=15_000)
    except NotAsked:
        pass


def wait_until_run(page, tmp_path):
    """Wait until the last code cell has run, and fail at an error."""
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    for _ in range(60):
        time.sleep(2)
        assert not page.locator("[data-mime-type='application/vnd.jupyter.error']").count()
        if re.fullmatch(r"\[\d+\]:", prompts.last.inner_text().strip()):
            return
    page.screenshot(path=str(tmp_path / "stuck.png"))
    pytest.fail("the notebook did not finish in two minutes")
