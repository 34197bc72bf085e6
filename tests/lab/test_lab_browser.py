"""JupyterLab as `model-ops lab` starts it, used as a person uses it: in Chromium, with mouse and keyboard."""
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model_ops.workbook import lab

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (pip install playwright)")
pytest.importorskip("jupyterlab", reason="JupyterLab is not installed (pip install model_ops[lab])")
pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")]
SMALL_TREES = '"small_trees": lambda: HistGradientBoostingClassifier(max_iter=max_iter, max_leaf_nodes=4, random_state=seed),'


@pytest.fixture(scope="module")
def book(run_workbook, tmp_path_factory):
    "A workbook of our own, and a person of our own, who has never used Jupyter."
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime", "JUPYTERLAB_SETTINGS_DIR": "settings",
                             "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython"}.items(): patch.setenv(name, str(home/folder))
        patch.setenv("JUPYTER_TOKEN", "a-token")
        yield run_workbook.copy(tmp_path_factory.mktemp("lab")/"orders")


@pytest.fixture(scope="module")
def address(book, tmp_path_factory):
    "The address of JupyterLab, started by `model-ops lab`."
    log = tmp_path_factory.mktemp("log")/"jupyter.log"
    with open(log, "w") as out:
        process = subprocess.Popen([Path(sys.executable).with_name("model-ops"), "lab", "--no-browser"], cwd=book.root, stdout=out, stderr=subprocess.STDOUT)
        try:
            until = time.monotonic() + 90
            while not (found := lab.running(book.root)):
                assert process.poll() is None and time.monotonic() < until, log.read_text()
                time.sleep(0.2)
            yield found
        finally:
            process.terminate()
            process.wait(60)
    raised = re.findall(r"^(?:\w+\.)*\w*(?:Error|Exception)\b.*", log.read_text(), re.MULTILINE)  # the last lines of tracebacks
    assert not [line for line in raised if not line.startswith("tornado.")], log.read_text()  # a page may close while the server still talks to it


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield found
        found.close()


@pytest.fixture
def page(browser, address):
    "A page that has logged in; afterwards: nothing was asked of another host, and nothing went wrong in it."
    one = browser.new_page(viewport={"width": 1400, "height": 1000})
    said, asked = [], []
    one.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
    one.on("pageerror", lambda e: said.append(str(e)))
    one.on("request", lambda r: asked.append(r.url))
    one.goto(f"{address}lab?token=a-token")
    one.wait_for_selector("#jp-main-dock-panel")
    yield one
    one.close()
    assert not [url for url in asked if not url.startswith((address, address.replace("http", "ws"), "data:", "blob:"))]
    assert not said


def opened(page, url: str) -> None:
    "Go to a notebook, and wait until its kernel is idle."
    page.goto(url)
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


def test_a_changed_recipe_is_run_compared_and_saved(page, address, book):
    before = book.outputs()
    opened(page, f"{address}lab/tree/nbs/steps/train.ipynb?reset")
    line(page, "recipes = {").click()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.keyboard.type(SMALL_TREES)
    line(page, 'estimator: str = "hist_gradient_boosting"').click()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    page.keyboard.type('estimator: str = "small_trees"  # a key of the recipes below')
    run_all(page)

    page.get_by_text('1 parameter differs from params/train.yaml: estimator = "small_trees"').wait_for(timeout=60_000)
    assert page.get_by_text("writes to scratch/train").count()
    table = last_cell(page).locator(".jp-OutputArea table")
    table.wait_for(timeout=90_000)
    head = table.locator("thead").inner_text()
    assert re.search(r"by hand \d\d-\d\d \d\d:\d\d", head) and re.search(r"pipeline \d\d-\d\d \d\d:\d\d", head) and "against the one before" in head
    body = table.locator("tbody").inner_text()
    assert '"small_trees"' in body and '"hist_gradient_boosting"' in body and re.search(r"roc_auc\s+0\.\d+\s+0\.\d+\s+[+−]0\.\d+", body)
    assert shown(page).locator(".jp-OutputArea svg").count()

    page.keyboard.press("Control+s")
    deadline = time.monotonic() + 20
    while "small_trees" not in (book.root/"nbs/steps/train.ipynb").read_text():
        assert time.monotonic() < deadline, "JupyterLab did not save the notebook"
        time.sleep(0.2)
    assert book.git("status", "--porcelain") == "M nbs/steps/train.ipynb"
    changes = [row for row in book.git("diff").splitlines() if row[:1] in "+-" and row[:3] not in ("+++", "---")]
    assert changes == ['-estimator: str = "hist_gradient_boosting"  # a key of the recipes below', '+estimator: str = "small_trees"  # a key of the recipes below', f"+    {SMALL_TREES}"]
    assert book.git("diff", "--no-textconv", "--numstat").split() == ["2", "1", "nbs/steps/train.ipynb"]
    assert book.outputs() == before
    assert json.loads((book.root/"scratch/train/records/train.json").read_text())["params"]["estimator"] == "small_trees"


def test_the_failed_run_opens_at_its_cell_and_is_mended_by_hand(page, address, book):
    book.told("evaluate", slices=["no_such_column"])
    assert book.ops("run", "evaluate", check=False).returncode == 1
    before = book.outputs()
    said = book.ops("debug", "evaluate", "--no-browser").stdout  # JupyterLab runs already, so the page opens there
    opened(page, re.search(r"JupyterLab runs already: (http\S+)", said)[1])

    active = shown(page).locator(".jp-Cell.jp-mod-active")
    playwright.expect(active).to_contain_text("no_such_column", timeout=20_000)  # the error below the cell
    playwright.expect(active).to_contain_text("compare.evaluate(")
    playwright.expect(active).to_be_in_viewport()
    assert shown(page).locator("strong", has_text="The run stopped in the next cell.").is_visible()

    line(page, 'slices = ["no_such_column"]').click()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    page.keyboard.type('slices = ["channel"]')
    run_all(page)
    page.get_by_text('1 parameter differs from params/evaluate.yaml: slices = ["channel"]').wait_for(timeout=60_000)
    last_cell(page).locator(".jp-OutputArea table").wait_for(timeout=60_000)
    assert book.outputs() == before
    assert (book.root/"scratch/evaluate/records/evaluation.json").exists()


def test_what_the_pipeline_ran_is_shown_with_its_plots_and_cannot_be_overwritten(page, address, book):
    path = book.root/"runs/evaluate.ipynb"
    before = path.read_bytes()
    lab.trust(path)
    opened(page, f"{address}lab/tree/runs/evaluate.ipynb?reset")
    shown(page).locator(".jp-OutputArea svg").first.wait_for(state="attached", timeout=20_000)
    assert page.get_by_text("notebook is read-only").is_visible()
    page.keyboard.press("Control+s")
    page.get_by_text("is read-only. Use").wait_for()
    assert path.read_bytes() == before


def test_the_landing_page_is_the_index(page, address, book):
    page.goto(f"{address}?token=a-token")
    page.wait_for_url("**/lab/tree/nbs/index.ipynb*")
    opened(page, f"{address}lab/tree/nbs/index.ipynb?reset")
    assert not page.get_by_text("Would you like to get notified").count() and not page.locator(".jp-Dialog").count()
    run_all(page)
    page.get_by_text(re.compile("in charge +version 1")).wait_for(timeout=60_000)
    shown(page).locator("a", has_text="train").first.click()
    page.get_by_role("heading", name="Train").wait_for()
