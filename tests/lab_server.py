"""JupyterLab as `model-ops lab` starts it, and Chromium, for tests that use them as a person does.

A module of browser tests imports the fixtures `address`, `browser` and `page` (with `# ruff: noqa: F811` at its top), sets `pytestmark = IN_A_BROWSER`, and defines `book`,
a module's workbook (with a `root`). Without fixtures: `with lab_server(root) as address, chromium() as browser, logged_in(browser, address) as page`.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from model_ops.workbook import lab

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
pytest.importorskip("jupyterlab", reason="JupyterLab is not installed (pip install model_ops[lab])")
IN_A_BROWSER = [pytest.mark.slow, pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")]
TOKEN = "a-token"
FOLDERS = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime", "JUPYTERLAB_SETTINGS_DIR": "settings",
           "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython"}


@contextmanager
def lab_server(root: Path):
    "The address of JupyterLab on a workbook, started by `model-ops lab` for a person who has never used Jupyter; afterwards, its log holds no error."
    with tempfile.TemporaryDirectory(prefix="mo-lab-") as home, pytest.MonkeyPatch.context() as patch:
        for name, folder in FOLDERS.items(): patch.setenv(name, f"{home}/{folder}")
        patch.setenv("JUPYTER_TOKEN", TOKEN)
        patch.delenv("PYTEST_CURRENT_TEST", raising=False)  # it would switch off ipykernel's ear for child processes
        log = Path(home, "jupyter.log")
        with open(log, "w") as out:
            process = subprocess.Popen([Path(sys.executable).with_name("model-ops"), "lab", "--no-browser"], cwd=root, stdout=out, stderr=subprocess.STDOUT)
            try:
                until = time.monotonic() + 90
                while not (found := lab.running(Path(root).resolve())):
                    assert process.poll() is None and time.monotonic() < until, log.read_text()
                    time.sleep(0.2)
                yield found
            finally:
                process.terminate()
                process.wait(60)
        raised = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception)\b.*", log.read_text(), re.MULTILINE)  # the last lines of tracebacks
        assert not [line for line in raised if not line.startswith("tornado.")], log.read_text()  # a page may close while the server still talks to it


@contextmanager
def chromium():
    "A browser without a window."
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        try: yield found
        finally: found.close()


@contextmanager
def logged_in(browser, address: str, width: int = 1400, height: int = 1000):
    "A page of JupyterLab; afterwards: nothing was asked of another host, and nothing went wrong in it."
    one = browser.new_page(viewport={"width": width, "height": height})
    said, asked = [], []
    one.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
    one.on("pageerror", lambda e: said.append(str(e)))
    one.on("request", lambda r: asked.append(r.url))
    one.goto(f"{address}lab?token={TOKEN}")
    one.wait_for_selector("#jp-main-dock-panel")
    one.address = address
    try: yield one
    finally: one.close()
    assert not [url for url in asked if not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))]
    assert not said, said


@pytest.fixture(scope="module")
def address(book):
    "JupyterLab on the module's workbook."
    with lab_server(book.root) as found: yield found


@pytest.fixture(scope="module")
def browser():
    "One browser a module."
    with chromium() as found: yield found


@pytest.fixture
def page(browser, address):
    "A page that has logged in."
    with logged_in(browser, address) as one: yield one


def open_notebook(page, path: str, reset: bool = True) -> None:
    "Go to a notebook (a path from the workbook's root, or a whole address), and wait until its kernel is idle."
    page.goto(path if "://" in path else f"{page.address}lab/tree/{path}{'?reset' if reset else ''}")
    shown(page).locator(".jp-Cell").first.wait_for()
    page.locator("#jp-main-statusbar").get_by_text(re.compile("Idle")).wait_for(timeout=60_000)


def run_all(page) -> None:
    "Run → Run All Cells."
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()


def shown(page):
    "The notebook in front; JupyterLab keeps those of other tabs in the page."
    return page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")


def last_cell(page):
    "The last cell of the notebook in front."
    return shown(page).locator(".jp-Cell").last


def line(page, text: str):
    "The first line of code that holds a text, brought into view."
    found = shown(page).locator(".cm-line").filter(has_text=text).first
    found.scroll_into_view_if_needed()
    return found


def dark(page) -> None:
    "Settings → Theme → JupyterLab Dark."
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.get_by_text("Theme", exact=True).hover()
    page.get_by_text("JupyterLab Dark", exact=True).click()
    page.locator("body[data-jp-theme-light='false']").wait_for(state="attached")
