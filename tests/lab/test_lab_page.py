"""The page itself, in JupyterLab: a form for the parameters, another step run from the notebook, and the way to a failed cell."""
# ruff: noqa: F811
import json
import re

import pytest
from lab_server import IN_A_BROWSER, address, browser, last_cell, line, open_notebook, page, playwright, run_all, shown  # noqa: F401

from model_ops.workbook import check

pytestmark = IN_A_BROWSER


def cell(id: str, source: str) -> dict:
    "A cell that a person has added."
    return {"cell_type": "code", "id": id, "metadata": {}, "source": source, "outputs": [], "execution_count": None}


@pytest.fixture(scope="module")
def book(run_workbook, tmp_path_factory):
    "A workbook whose train notebook ends with a cell for %step, and has a form below `take`."
    book = run_workbook.copy(tmp_path_factory.mktemp("page")/"orders")
    path = book.root/"nbs/steps/train.ipynb"
    nb = json.loads(path.read_text())
    at = next(i for i, c in enumerate(nb["cells"]) if "".join(c["source"]).startswith("step = take("))
    nb["cells"].insert(at + 1, cell("form", 'from model_ops.widgets.form import form\nform("train")'))
    path.write_text(check.as_text(check.stripped({**nb, "cells": [*nb["cells"], cell("judge", "1 + 1")]})))
    return book


def type_over(page, text: str) -> None:
    "Replace what the control in focus holds, by keyboard."
    page.keyboard.press("Control+a")
    page.keyboard.type(text)


def idle(page) -> None:
    "Wait until the kernel has nothing to do."
    page.wait_for_timeout(300)
    page.locator("#jp-main-statusbar").get_by_text(re.compile("Idle")).wait_for(timeout=120_000)


def run_last(page, source: str) -> None:
    "Type a line into the last cell, and run it."
    last_cell(page).locator(".jp-InputArea-editor").click()
    type_over(page, source)
    page.keyboard.press("Control+Enter")


def test_the_form_the_other_step_and_the_way_to_a_failed_cell(page, address, book):
    before = book.outputs()
    open_notebook(page, "nbs/steps/train.ipynb")
    run_all(page)
    field = shown(page).get_by_role("textbox", name="max_iter", exact=True)
    field.wait_for(timeout=60_000)
    idle(page)

    # the form, by keyboard alone
    use, write = (shown(page).get_by_role("button", name=name) for name in ("Use in this notebook", "Write to params/train.yaml"))
    field.focus()
    type_over(page, "many <b>")
    shown(page).get_by_role("alert").get_by_text("max_iter is 'many <b>'").wait_for()
    playwright.expect(use).to_be_disabled()
    type_over(page, "12")
    shown(page).get_by_text("params/train.yaml says").wait_for()
    playwright.expect(use).to_be_enabled()
    page.keyboard.press("Tab")
    playwright.expect(shown(page).get_by_role("textbox", name="learning_rate", exact=True)).to_be_focused()
    use.focus()
    page.keyboard.press("Enter")
    shown(page).get_by_text("1 parameter differs from params/train.yaml: max_iter = 12").wait_for()
    run_all(page)  # the choice outlives it
    idle(page)
    assert json.loads((book.root/"scratch/train/records/train.json").read_text())["params"]["max_iter"] == 12
    write.focus()
    page.keyboard.press("Enter")
    idle(page)
    assert book.outputs() == before

    # the other step, live, and compared with the champion
    run_last(page, "%step evaluate --set resamples=300")
    last_cell(page).locator("progress").wait_for(timeout=30_000)
    last_cell(page).get_by_text("further numbers").wait_for(timeout=90_000)
    assert re.search(r"done · \d+ cells in", last_cell(page).inner_text())
    head = last_cell(page).locator("table").filter(has_text="champion (v1)").first.inner_text()
    assert re.search(r"by hand\s+\d\d-\d\d", head) and "against the\nchampion" in head and re.search("better, surely|worse, surely|no clear difference", head)
    evaluation = json.loads((book.root/"scratch/evaluate/records/evaluation.json").read_text())
    assert evaluation["models"]["challenger"]["digest"] == json.loads((book.root/"scratch/train/package/manifest.json").read_text())["digest"]
    assert evaluation["models"]["opponent"]["digest"] == json.loads((book.root/"package/manifest.json").read_text())["digest"]
    assert book.outputs() == before

    # a failure, and the way to its cell
    run_last(page, '%step evaluate --set slices=["nowhere"]')
    link = last_cell(page).get_by_role("link", name="Open the run at this cell")
    link.wait_for(timeout=60_000)
    assert "Traceback" not in last_cell(page).inner_text()
    link.click()
    active = shown(page).locator(".jp-Cell.jp-mod-active")
    playwright.expect(active).to_contain_text("nowhere", timeout=30_000)
    playwright.expect(active).to_contain_text("compare.evaluate(")
    playwright.expect(active).to_be_in_viewport()
    assert line(page, "slices = ['nowhere']").is_visible()
