"""The explorers of thresholds and drift, and the promotion desk, in JupyterLab: by keyboard, without an error in the console, and nothing of it saved."""
# ruff: noqa: F811
import shutil
from pathlib import Path
import pytest
from lab_server import IN_A_BROWSER, address, browser, open_notebook, page, playwright, run_all, shown  # noqa: F401

pytestmark = IN_A_BROWSER
EXPLORE = Path(__file__).parents[2]/"nbs"/"explore"

@pytest.fixture(scope="module")
def book(run_workbook, tmp_path_factory):
    "A workbook of our own, with the explorers in it."
    found = run_workbook.copy(tmp_path_factory.mktemp("explore")/"orders")
    (found.root/"nbs/explore").mkdir(exist_ok=True)
    for name in ("threshold", "drift", "promotion"): shutil.copyfile(EXPLORE/f"{name}.ipynb", found.root/f"nbs/explore/{name}.ipynb")
    found.git("add", "-A")
    if found.git("status", "--porcelain"): found.git("commit", "-q", "-m", "Explorers")
    return found

def explored(page, name: str):
    "The panel of an explorer notebook after Run All."
    open_notebook(page, f"nbs/explore/{name}.ipynb")
    run_all(page)
    panel = shown(page).locator(".mo-panel").first
    panel.wait_for(timeout=60_000)
    return panel

def held(page, book, name: str) -> None:
    "Saved, the notebook is as it was: neither outputs nor the state of widgets."
    page.keyboard.press("Control+s")
    page.wait_for_timeout(1_000)
    assert book.git("status", "--porcelain", "--", "nbs") == "" and "widgets" not in book.json(f"nbs/explore/{name}.ipynb")["metadata"]

def test_the_three_pages(page, book):
    expect = playwright.expect
    panel = explored(page, "threshold")
    expect(panel.get_by_text("To keep this threshold")).to_be_visible(timeout=30_000)
    handle = panel.locator(".widget-slider .noUi-handle")
    readout = panel.locator(".widget-readout").first
    before = float(readout.inner_text())
    handle.focus()
    for _ in range(20): page.keyboard.press("ArrowRight")
    after = float(readout.inner_text())
    assert after > before
    expect(panel.locator("[aria-live=polite]")).to_contain_text(f"Threshold {after:.3f} on the validation window")
    expect(panel.get_by_role("columnheader", name=f"at {after:.3f}")).to_be_visible()
    panel.get_by_label("Goal:").select_option("best F1")
    expect(panel.locator("pre")).to_have_text("threshold_goal: f1")
    assert panel.locator("svg[role=img]").count() >= 4
    held(page, book, "threshold")

    panel = explored(page, "drift")
    chooser = panel.locator("select[multiple], .mo-chooser select").first
    expect(chooser).to_be_visible(timeout=30_000)
    first = panel.locator("section h3 code").first.inner_text()
    chooser.focus()
    page.keyboard.press("ArrowDown")
    expect(panel.locator("section h3 code").first).not_to_have_text(first)
    handle = panel.locator(".widget-slider .noUi-handle")
    handle.focus()
    for _ in range(5): page.keyboard.press("ArrowRight")
    expect(panel.get_by_text("A look, not the pipeline's verdict.")).to_be_visible()
    panel.get_by_label("Find:").fill("no such column")
    expect(panel.get_by_text("No column is left.")).to_be_visible()
    held(page, book, "drift")

    entries = len(book.ledger())
    panel = explored(page, "promotion")
    expect(panel.get_by_role("heading", name="What the gates say")).to_be_visible(timeout=30_000)
    assert len(book.ledger()) == entries  # Run All has written nothing
    first, second = ("Approve", "Reject") if panel.get_by_role("button", name="Approve").is_enabled() else ("Reject", "Approve")
    for act, reason in ((first, "The new warehouse opens tomorrow."), (second, "It was a mistake <b>after all</b>.")):
        button = panel.get_by_role("button", name=f"{act} …")
        expect(button).to_be_enabled()
        panel.get_by_label("Your name:").fill("Ada Lovelace")
        button.press("Enter")
        expect(panel.get_by_text("The reason is missing.")).to_be_visible()
        panel.get_by_label("Reason:").fill(reason)
        page.keyboard.press("Tab")
        button.press("Enter")
        expect(panel.get_by_text("you are about to")).to_be_visible()
        yes = panel.get_by_role("button", name="Yes, write it")
        yes.press("Enter")
        expect(panel.get_by_text("To take it back")).to_be_visible(timeout=60_000)
        expect(panel.locator("q").filter(has_text=reason).first).to_be_visible()
        expect(yes).to_be_hidden()
        entries += 1
        assert len(book.ledger()) == entries
    approved = book.ops("status").stdout
    assert "Ada Lovelace" in approved
    assert "by Ada Lovelace" in book.ops("apply").stdout and len(book.ledger()) == entries
    held(page, book, "promotion")

def test_without_a_browser_each_page_shows_its_picture(book, tmp_path):
    before, git = book.ledger(), book.git("status", "--porcelain")
    for name in ("threshold", "drift", "promotion"):
        book.call("papermill", "-k", "python3", "--cwd", "nbs/explore", f"nbs/explore/{name}.ipynb", str(tmp_path/f"{name}.ipynb"))
        import nbformat
        found = nbformat.read(tmp_path/f"{name}.ipynb", 4)
        pages = [o["data"]["text/html"] for c in found.cells for o in c.get("outputs", ()) if "text/html" in o.get("data", {}) and "mo-problem\"" not in o["data"]["text/html"]]
        assert any("<h3" in one and ("<svg" in one or name == "promotion") for one in pages), name
    assert book.ledger() == before and book.git("status", "--porcelain") == git
