"""JupyterLab as `model-ops lab` starts it, used as a person uses it: in Chromium, with mouse and keyboard."""
# ruff: noqa: F811
import json
import re
import time

import pytest
from lab_server import IN_A_BROWSER, address, browser, last_cell, line, open_notebook, page, playwright, run_all, shown  # noqa: F401

from model_ops.workbook import lab

pytestmark = IN_A_BROWSER
SMALL_TREES = '"small_trees": HistGradientBoostingClassifier(max_iter=max_iter, max_leaf_nodes=4, random_state=seed),'


@pytest.fixture(scope="module")
def book(run_workbook, tmp_path_factory):
    "A workbook of our own."
    return run_workbook.copy(tmp_path_factory.mktemp("lab")/"orders")


def test_a_changed_recipe_is_run_compared_and_saved(page, address, book):
    before = book.outputs()
    open_notebook(page, "nbs/steps/train.ipynb")
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
    table = last_cell(page).locator(".jp-OutputArea table").first
    table.wait_for(timeout=90_000)
    head = table.locator("thead").inner_text()
    assert all(re.search(rf"{how}\s+\d\d-\d\d \d\d:\d\d", head) for how in ("by hand", "pipeline")) and "champion (v1)" in head
    assert re.search(r"against the\s+one before", head) and re.search(r"against the\s+champion", head)
    body = table.locator("tbody").inner_text()
    assert '"small_trees"' in body and '"hist_gradient_boosting"' in body and re.search(r"roc_auc\s+0\.\d+\s+0\.\d+\s+[+−]0\.\d+ (better|worse)\s+0\.\d+", body)
    assert shown(page).locator(".jp-OutputArea svg").count()

    page.keyboard.press("Control+s")
    deadline = time.monotonic() + 20
    while "small_trees" not in (book.root/"nbs/steps/train.ipynb").read_text():
        assert time.monotonic() < deadline, "JupyterLab did not save the notebook"
        time.sleep(0.2)
    assert book.git("status", "--porcelain") == "M nbs/steps/train.ipynb"
    changes = [row for row in book.git("diff").splitlines() if row[:1] in "+-" and row[:3] not in ("+++", "---")]
    assert changes == ['-estimator: str = "hist_gradient_boosting"  # a recipe below, an estimator of scikit-learn by name, or "imported/…"', '+estimator: str = "small_trees"  # a key of the recipes below', f"+    {SMALL_TREES}"]
    assert book.git("diff", "--no-textconv", "--numstat").split() == ["2", "1", "nbs/steps/train.ipynb"]
    assert book.outputs() == before
    assert json.loads((book.root/"scratch/train/records/train.json").read_text())["params"]["estimator"] == "small_trees"


def at_the_failed_cell(page) -> None:
    "The cell that failed is the active one, in view, its error below it."
    active = shown(page).locator(".jp-Cell.jp-mod-active")
    playwright.expect(active).to_contain_text("no_such_column", timeout=20_000)
    playwright.expect(active).to_contain_text("compare.evaluate(")
    playwright.expect(active).to_be_in_viewport()


def test_the_failed_run_opens_at_its_cell_and_is_mended_by_hand(page, address, book):
    book.told("evaluate", slices=["no_such_column"])
    failed = book.ops("run", "evaluate", check=False)
    assert failed.returncode == 1
    before = book.outputs()
    said = book.ops("debug", "evaluate", "--no-browser").stdout  # JupyterLab runs already, so the page opens there
    link = re.search(r"JupyterLab runs already: (http\S+)", said)[1]
    assert f"In the JupyterLab that runs here: {link}" in failed.stdout + failed.stderr

    open_notebook(page, "nbs/index.ipynb")
    run_all(page)
    shown(page).get_by_role("link", name="Open the run at this cell").click(timeout=60_000)
    at_the_failed_cell(page)
    open_notebook(page, link)
    at_the_failed_cell(page)
    assert shown(page).locator("strong", has_text="The run stopped in the next cell.").is_visible()

    line(page, 'slices = ["no_such_column"]').click()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    page.keyboard.type('slices = ["channel"]')
    run_all(page)
    page.get_by_text('1 parameter differs from params/evaluate.yaml: slices = ["channel"]').wait_for(timeout=60_000)
    last_cell(page).locator(".jp-OutputArea table").first.wait_for(timeout=60_000)
    assert book.outputs() == before
    assert (book.root/"scratch/evaluate/records/evaluation.json").exists()


def test_what_the_pipeline_ran_is_shown_with_its_plots_and_cannot_be_overwritten(page, address, book):
    path = book.root/"runs/evaluate.ipynb"
    before = path.read_bytes()
    lab.trust(path)
    open_notebook(page, "runs/evaluate.ipynb")
    shown(page).locator(".jp-OutputArea svg").first.wait_for(state="attached", timeout=20_000)
    assert page.get_by_text("notebook is read-only").is_visible()
    page.keyboard.press("Control+s")
    page.get_by_text("is read-only. Use").wait_for()
    assert path.read_bytes() == before


def test_the_landing_page_is_the_index(page, address, book):
    page.goto(f"{address}?token=a-token")
    page.wait_for_url("**/lab/tree/nbs/index.ipynb*")
    open_notebook(page, "nbs/index.ipynb")
    assert not page.get_by_text("Would you like to get notified").count() and not page.locator(".jp-Dialog").count()
    run_all(page)
    page.get_by_text(re.compile("in charge +version 1")).wait_for(timeout=60_000)
    shown(page).locator("a", has_text="train").first.click()
    page.get_by_role("heading", name="Train").wait_for()
