"""history: reigns without gaps, every entry once, readable at any width, hostile names escaped, and links that lead somewhere."""
# ruff: noqa: F811
import json, re, sqlite3
from datetime import UTC, datetime
from itertools import pairwise
import pytest
from hypothesis import given, settings as drawn, strategies as st
from model_ops import files
from model_ops.registry import history as module, look
from model_ops.registry.history import History, history, reigns
from model_ops.registry.ledger import Ledger
from test_registry_apply import Book, book, empty_store  # noqa: F401

@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr("model_ops.registry.mirror.differences", lambda *words: [])
    return Book(tmp_path/"a book")

def enter(book, kind, champion, who="ci", why="Because.", **more):
    for digest in {champion, more.get("challenger")} - {None}: book.ledger.register(digest)
    return book.ledger.append(kind, after=(h.seq if (h := book.ledger.head()) else 0), champion=champion, who=who, why=why, **more)

A, B, C = "a"*64, "b"*64, "c"*64

def test_an_empty_ledger_is_told_and_not_created(small):
    found = history(small.settings)
    assert found.summary == "Nobody was ever in charge: the ledger is empty." == found.text() and found.reigns == found.acts == []
    assert "ledger is empty" in found.page() and not small.ledger.file.exists()

def test_reigns_and_entries(small):
    enter(small, "not enough data", None, challenger=C)
    assert history(small.settings).reigns == [] and "let nobody in" in history(small.settings).summary
    enter(small, "promote", A, challenger=A, evidence={"window": "w", "gates": {"outcome": "promote", "pass": ["gain"], "fail": [], "not enough data": []}})
    enter(small, "keep", A, challenger=B, opponent=A, evidence={"window": "w", "earlier": [C]})
    enter(small, "approve", B, who="Ada", why="The airport opens.", challenger=B, opponent=A, decision="d"*64)
    enter(small, "rollback", A, who="Grace", why="Late.", challenger=B)
    found = history(small.settings)
    assert [(r.version, r.entry, r.kind, r.who) for r in found.reigns] == [(2, 5, "rollback", "Grace"), (3, 4, "approve", "Ada"), (2, 2, "promote", "ci")]
    assert all(newer.since == older.until for newer, older in pairwise(found.reigns)) and found.reigns[0].until is None
    assert [a.seq for a in found.acts] == [5, 4, 3, 2, 1] and [a.judged for a in found.acts] == [0, 0, 3, 1, 0] and found.acts[3].gates["pass"] == ["gain"]
    assert found.summary.startswith("Version 2 (aaaaaaaaaaaa) is in charge since ") and "put back by Grace (“Late.”)" in found.summary and "1 other version was in charge" in found.summary
    assert History.from_json(found.to_json()) == found
    enter(small, "rollback", None, who="Grace", why="Off.", challenger=A)
    assert "Nobody is in charge since" in history(small.settings).summary and history(small.settings).reigns[0].digest is None

@pytest.mark.parametrize("width", [40, 60, 80, 140])
def test_it_fits_every_terminal(small, width):
    for digest in (B, A)*8: enter(small, "approve", digest, who="Ada", why="Why not?", challenger=digest)
    enter(small, "promote", C, who="名前"*20, why="long "*150 + "w"*300, challenger=C, evidence={"window": "w"*64, "records": {"evaluation": "e"*64, "verdict": "f"*64}, "run": "r"*32, "commit": "c"*40, "dirty": "yes", "gates": {"outcome": "promote", "pass": [f"gate {i}" for i in range(30)]}})
    text = history(small.settings).text(width)
    assert max(map(look._columns, text.splitlines())) <= width and "… and 7 earlier entries" in text and "… and 7 earlier times" in text and "wwww" in text

@pytest.mark.parametrize("word", ["<script>alert(1)</script>", "</style><img src=x onerror=alert(1)>", "a\u202eb\x1b[2Jc", "名" * 900, "\ud800 half"], ids=["markup", "image", "control", "wide", "half"])
def test_hostile_words_are_text(small, word):
    word = word.encode("utf-8", "replace").decode()
    enter(small, "approve", A, who=word[:100], why=word, challenger=A)
    found = history(small.settings)
    for page in (found.page(), str(found.__html__())): assert "<script" not in page.lower() and "<img" not in page and "\u202e" not in page and "\x1b" not in page
    assert "\x1b" not in found.text() and "\u202e" not in found.text()

def test_a_long_reason_is_kept_whole_on_the_page(small):
    enter(small, "approve", A, who="Ada", why="x"*990 + " end", challenger=A)
    assert "x"*990 + " end" in history(small.settings).page()

def test_links_lead_to_reports_that_are_here(small, monkeypatch):
    files.write(small.root/"mlartifacts"/"run 1"/"artifacts"/"report.html", "old")
    files.write(small.root/"reports"/"promote.html", "new")
    small.decide("2", A)
    digest = files.digest_json(json.loads((small.root/"records"/"decision.json").read_text()))
    told = {"reports": ["reports/promote.html", "reports/gone.html"]}
    enter(small, "promote", A, challenger=A, decision="1"*64, evidence={**told, "run": "run 1"})
    enter(small, "keep", A, challenger=B, opponent=A, decision="2"*64, evidence={**told, "run": "gone"})
    enter(small, "keep", A, challenger=C, opponent=A, decision=digest, evidence={**told, "run": "gone"})
    found = history(small.settings)
    assert [a.reports for a in found.acts] == [["reports/promote.html"], [], ["mlartifacts/run 1/artifacts/report.html"]]
    page = found.page("../here")
    links = re.findall(r'href="([^"]+)"', page)
    assert links == ["../here/reports/promote.html", "../here/mlartifacts/run%201/artifacts/report.html"] and "<script" not in page
    assert "href" not in str(found.__html__())

def test_looking_changes_nothing_and_tells_what_mlflow_says_otherwise(book):
    book.decide("1", None)
    book.apply()
    with sqlite3.connect(book.root/"mlflow.db") as raw: raw.execute("DELETE FROM registered_model_aliases")
    before = book.ledger.file.read_bytes(), (book.root/"mlflow.db").read_bytes()
    found = history(book.settings)
    assert found.mirror and "@champion is nobody" in found.mirror[0] and found.mirror[0] in found.page() and (book.ledger.file.read_bytes(), (book.root/"mlflow.db").read_bytes()) == before
    assert found.acts[0].gates == {"outcome": "promote", "pass": [], "fail": [], "not enough data": []} and found.acts[0].records == {"evaluation": "e"*64}

@drawn(max_examples=10, deadline=None)
@given(moves=st.lists(st.sampled_from([A, B, None]), max_size=7))
def test_at_every_moment_one_answer(tmp_path_factory, moves):
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('any')}/ledger.db")
    for digest in (A, B): ledger.register(digest)
    for i, digest in enumerate(moves): ledger.append("rollback", after=i, champion=digest, who="Ada", why="A move.")
    found = reigns(ledger, datetime.now(UTC))
    assert all(newer.digest != older.digest and newer.since == older.until for newer, older in pairwise(found))
    assert (found[0].digest if found else None) == (moves[-1] if moves else None) and all(r.seconds >= 0 for r in found)
    assert module.History(name="x", at="2026-01-01T00:00:00Z", numbers={A: 1, B: 2}, reigns=found, acts=[]).text().count("Ada: A move.") == len(found)
