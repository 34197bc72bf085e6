"""The explorers of data and runs in JupyterLab: they open, follow the keyboard, and leave nothing in the saved notebook."""
# ruff: noqa: F811
import json
import re
import shutil
import time
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

pytest.importorskip("jupyterlab", reason="JupyterLab is not installed (pip install model_ops[lab])")
from lab_server import IN_A_BROWSER, address, browser, open_notebook, page, run_all, shown  # noqa: F401

from model_ops.data import contract as contracts
from model_ops.workbook.history import Run, remember

pytestmark = IN_A_BROWSER
EXPLORE = Path(__file__).parents[2]/"nbs/explore"
HOSTILE = '<img src="https://example.invalid/x" onerror="alert(1)">'


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    "A workbook with windows, a contract and notes of runs; no pipeline has run here."
    root, rng, n = tmp_path_factory.mktemp("explore")/"orders", np.random.default_rng(0), 3_000
    for folder in ("data", "records", "nbs/explore"): (root/folder).mkdir(parents=True)
    (root/"settings.ini").write_text("[workbook]\nname = orders\nnoun = orders\n")
    for name in ("data", "runs"): shutil.copy(EXPLORE/f"{name}.ipynb", root/"nbs/explore")
    frame = pl.DataFrame({"ordered": [datetime(2024, 1, 1) + timedelta(hours=i) for i in range(n)], "returned": rng.random(n) < 0.3, "amount": rng.gamma(2, 30, n),
                          "channel": rng.choice(["web", HOSTILE, "shop"], n), "ddd": rng.normal(size=n), HOSTILE: rng.integers(0, 50, n)})
    for window, rows in {"train": frame[:2_000], "current": frame[2_000:]}.items(): rows.write_parquet(root/"data"/f"{window}.parquet")
    contracts.learn(frame[:2_000], target="returned", time="ordered").save(root/"records/contract.json")
    (root/"records/prepare.json").write_text(json.dumps({"kind": "prepared", "rejected": {}, "leaks": []}))
    for i in range(4): remember(Run("train", "by hand", f"2026-01-0{i + 1}T10:00:00", f"run {i}", {"max_iter": 50*i, "note": HOSTILE}, {"roc_auc": 0.7 + i/100}, {}), root)
    return SimpleNamespace(root=root)


def said(page, text: str) -> None:
    "Wait until the panel has said so."
    page.locator(".mo-panel [role=status]").get_by_text(re.compile(text)).wait_for(timeout=20_000)


def tab_to(page, description: str) -> None:
    "Tab from the control in focus to another one."
    for _ in range(12):
        page.keyboard.press("Tab")
        label = page.evaluate("() => { const e = document.activeElement; return (e.labels?.[0] ?? e.closest('.widget-inline-hbox')?.querySelector('label'))?.innerText ?? e.innerText }")
        if label.strip().startswith(description): return
    raise AssertionError(f"Tab does not reach {description!r}.")


def saved(page, path: Path) -> dict:
    "The notebook's file, after Ctrl+S."
    before = path.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    deadline = time.monotonic() + 20
    while True:  # JupyterLab empties the file before it writes: what is not JSON yet is read again
        assert time.monotonic() < deadline, "JupyterLab did not save the notebook"
        time.sleep(0.1)
        if path.stat().st_mtime_ns == before: continue
        try: return json.loads(path.read_text())
        except json.JSONDecodeError: pass


def test_data_and_runs_are_explored_by_keyboard_and_nothing_is_left_behind(page, book):
    open_notebook(page, "nbs/explore/data.ipynb")
    run_all(page)
    said(page, "amount: train and current are shown")
    cells = shown(page).locator(".jp-Cell").count()
    page.get_by_label("Find").click()
    tab_to(page, "column")
    page.keyboard.press("ArrowDown")
    said(page, "channel: train and current are shown")
    page.keyboard.type("dd")  # in JupyterLab's command mode this would delete the cell
    said(page, "ddd: train and current are shown")
    assert shown(page).locator(".jp-Cell").count() == cells
    tab_to(page, "Reference")
    page.keyboard.press("ArrowDown")
    said(page, "ddd: current and current are shown")
    tab_to(page, "windows")
    tab_to(page, "leaks")
    page.keyboard.press("Enter")
    page.get_by_text("The step prepare found nothing that looks like a leak.").wait_for()
    page.get_by_label("Find").fill("IMG")
    said(page, "<img src=.*: current and current are shown")
    assert page.locator(".mo-panel img").count() == 0 and page.locator(".mo-panel svg").count() > 2
    tab_to(page, "column")  # JupyterLab does not save from a line of text
    file = saved(page, book.root/"nbs/explore/data.ipynb")
    assert file == json.loads((EXPLORE/"data.ipynb").read_text()) and "widgets" not in file["metadata"]

    open_notebook(page, "nbs/explore/runs.ipynb")
    run_all(page)
    said(page, "2 runs of train side by side")
    page.locator(".mo-panel:visible select[multiple]").focus()
    page.keyboard.press("Home")
    for _ in range(2): page.keyboard.press("Shift+ArrowDown")
    said(page, "3 runs of train side by side")
    assert page.locator(".mo-panel:visible tbody b").first.inner_text() == "max_iter" and page.locator(".mo-panel img").count() == 0
    assert saved(page, book.root/"nbs/explore/runs.ipynb") == json.loads((EXPLORE/"runs.ipynb").read_text())
