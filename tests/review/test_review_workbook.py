"""A real small workbook with two commits: what differs, in all its faces, and in a browser."""
import json
import re
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def book(run_workbook, tmp_path_factory):
    "A second, much smaller model, run and committed; not worth a promotion."
    book = run_workbook.copy(tmp_path_factory.mktemp("diff") / "orders")
    book.told("train", max_iter=2, learning_rate=0.01, folds=3)
    book.ops("run")
    book.git("add", "-A")
    book.git("commit", "-q", "-m", "Second run")
    return book


@pytest.mark.slow
def test_two_commits_of_a_real_workbook(book, tmp_path):
    state = {p: p.read_bytes() for p in sorted(book.root.rglob("*")) if p.is_file() and ".git" not in p.parts and "__pycache__" not in p.parts}
    said = book.ops("diff", "HEAD~1", "--json", tmp_path / "d.json").stdout
    found = json.loads((tmp_path / "d.json").read_text())
    assert re.search(r"train\.max_iter +30 → 2", said) and "HEAD~1" in said and len(said.splitlines()) <= 41
    assert found["how"] == "paired" and found["rows"]["rows"] == 800 and found["rows"]["unit"] == "days" and {m["word"] for m in found["metrics"]} & {"worse", "better"}
    assert [g["changes"] for g in found["groups"] if g["title"] == "Contract"] == [[]] and found["decision"]["outcome"][0] == "promote"
    against = book.ops("diff", "--json", tmp_path / "c.json").stdout
    assert "champion v1" in against and json.loads((tmp_path / "c.json").read_text())["metrics"] == found["metrics"]
    back = book.ops("diff", "HEAD", "HEAD~1", "--fail-on", "worse", check=False)
    assert back.returncode == (3 if found["outcome"] == "better" else 0)
    assert {p: p.read_bytes() for p in state} == state and book.git("status", "--porcelain") == ""
    shutil.rmtree(book.root / ".dvc/cache/files")
    lost = book.ops("diff", "HEAD~1", check=False)
    assert lost.returncode == 1 and "stage 'train'" in lost.stderr and "dvc fetch" in lost.stderr and book.ops("diff").stdout


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_page_in_a_browser(book, tmp_path):
    from playwright.sync_api import sync_playwright
    book.ops("diff", "--html", tmp_path / "d.html")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"])
        for width, scheme in ((1000, "light"), (390, "dark")):
            page, seen = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme), []
            page.on("console", lambda m, seen=seen: seen.append(m.text))
            page.on("request", lambda r, seen=seen: seen.append(r.url) if not r.url.startswith("file:") else None)
            page.goto(f"file://{tmp_path}/d.html")
            assert page.locator("h1").inner_text().startswith("This run is") and page.locator("svg").count() >= 5
            assert page.evaluate("document.documentElement.scrollWidth") <= width and seen == []
        page.emulate_media(media="print")
        assert len(page.pdf()) > 10_000
        browser.close()
