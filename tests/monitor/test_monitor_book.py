"The book: append-only, one retraining at a time, and what a process that was killed leaves."
import os
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from model_ops.errors import ConflictError, DataError, LedgerError
from model_ops.monitor import book as books
from model_ops.monitor.book import Book
from model_ops.records import Record
from model_ops.registry.ledger import Ledger

NOW = datetime(2026, 3, 2, 5, tzinfo=UTC)


@pytest.fixture
def book(tmp_path): return Book(f"sqlite:///{tmp_path}/ledger.db")


def begin_elsewhere(book, run, then):
    "Another process that begins a retraining, says so, and then does something."
    code = f"import sys, time\nfrom model_ops.monitor.book import Book\nfrom model_ops.errors import ConflictError\nb = Book({book._database.url!r})\ntry: b.begin({run!r}, {{'summary': 'Began.'}}); print('began', flush=True)\nexcept ConflictError as e: print(e.wrong, flush=True)\n{then}"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_reading_makes_nothing(tmp_path, book):
    assert book.entries() == book.retrainings() == [] and book.running() is None and not list(tmp_path.iterdir())


def test_lines_come_back_as_they_were_written(book):
    one = book.add("health", {"summary": "Fine.", "conclusion": "fine", "metrics": {"auc": 0.7}}, who="cron", now=NOW)
    two = book.add("choice", {"summary": "No."}, now=NOW + timedelta(days=1))
    assert book.entries() == [one, two] and [e.seq for e in book.entries()] == [1, 2]
    assert book.entries("health") == [one] and book.entries(since=NOW + timedelta(hours=1)) == [two]


def test_a_moment_without_a_zone_is_utc(book):
    assert book.add("health", {"summary": "!"}, now=datetime(2026, 3, 2, 5)).at == "2026-03-02T05:00:00.000Z"


def test_an_unknown_kind_is_refused(book):
    with pytest.raises(LedgerError, match="no kind of line 'heath'"): book.add("heath", {"summary": "!"})
    assert book.entries() == []


def test_a_key_is_taken_once(book):
    book.add("choice", {"summary": "Once."}, key="k")
    with pytest.raises(ConflictError, match="'k'"): book.add("choice", {"summary": "Twice."}, key="k")
    assert len(book.entries()) == 1


@pytest.mark.parametrize("sql", ["UPDATE monitor_book SET summary = ''", "DELETE FROM monitor_book"], ids=["update", "delete"])
def test_a_line_is_never_altered(tmp_path, book, sql):
    book.add("health", {"summary": "Fine."})
    with sqlite3.connect(tmp_path / "ledger.db") as raw, pytest.raises(sqlite3.IntegrityError, match="append-only"): raw.execute(sql)


def test_of_a_large_record_the_short_fields_are_kept():
    class Large(Record):
        kind = "large"
        conclusion: str = "fine"
        shape: list[float] = [0.5] * 3000
    kept = books.brief(Large(summary="Large."))
    assert kept["conclusion"] == "fine" and kept["left_out"] == ["shape"] and kept["digest"] == Large(summary="Large.").digest


def test_the_ledger_in_the_same_file_is_not_disturbed(tmp_path, book):
    book.add("health", {"summary": "Before there is a ledger."})
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.register("a" * 64)
    ledger.append("promote", after=0, champion="a" * 64, who="ci", why="the first")
    book.add("health", {"summary": "After."})
    assert len(book.entries()) == 2 and ledger.champion().seq == 1
    with sqlite3.connect(tmp_path / "ledger.db.bak") as copy: assert copy.execute("SELECT count(*) FROM monitor_book").fetchone() == (1,)


def test_a_database_that_is_no_database_is_named(tmp_path, book):
    (tmp_path / "ledger.db").write_bytes(b"not at all" * 500)
    with pytest.raises(LedgerError): book.add("health", {"summary": "!"})


def test_of_processes_that_begin_at_once_one_does(book):
    others = [begin_elsewhere(book, f"r{n}", "time.sleep(60)") for n in range(4)]
    try:
        said = sorted(p.stdout.readline().strip() for p in others)
        assert said[-1] == "began" and all("under way" in line for line in said[:-1]) and len(book.entries("start")) == 1
        assert book.running().run == book.retrainings()[0].run
        with pytest.raises(ConflictError, match="under way"): book.begin("mine", {"summary": "!"})
        with pytest.raises(ConflictError, match="under way"): book.resume(book.running().run)
    finally:
        for p in others: p.kill(), p.wait(), p.stdout.close()


def test_a_process_that_is_killed_lets_go_at_once(book):
    other = begin_elsewhere(book, "theirs", "time.sleep(60)")
    assert other.stdout.readline().strip() == "began" and book.running().run == "theirs"
    os.kill(other.pid, signal.SIGKILL), other.wait(), other.stdout.close()
    assert book.running() is None
    book.begin("mine", {"summary": "Begun anew."})
    assert [(r.run, r.outcome, r.counts) for r in book.retrainings()] == [("theirs", "cut off", False), ("mine", "", True)]
    assert not book.resume("theirs") and book.resume("mine")


def test_a_machine_that_fell_silent_lets_go_after_its_lease(book, monkeypatch):
    elsewhere = {"host": "elsewhere", "process": 1, "began": "1", "root": "/srv/book"}
    book.add("start", {"run": "theirs", "summary": "Began.", "holder": elsewhere}, key="start theirs")
    with pytest.raises(ConflictError, match="process 1 on elsewhere"): book.begin("mine", {"summary": "!"})
    monkeypatch.setattr(books, "LEASE", 0.0)
    assert book.running() is None and book.begin("mine", {"summary": "Begun anew."}).facts["run"] == "mine"


def test_a_stride_renews_the_lease(book, monkeypatch):
    elsewhere, real = {"host": "elsewhere", "process": 1, "began": "1", "root": "/srv/book"}, books._moment
    with monkeypatch.context() as patch:
        patch.setattr(books, "_moment", lambda at: real(datetime.now(UTC) - timedelta(hours=books.LEASE + 1)))
        book.add("start", {"run": "theirs", "summary": "Began.", "holder": elsewhere}, key="start theirs")
    assert book.running() is None
    with monkeypatch.context() as patch:
        patch.setattr(books, "holder", lambda root="": elsewhere)
        assert book.stride("theirs", "The pipeline has run.")
    assert book.running().run == "theirs" and book.elsewhere("theirs") and not book.elsewhere("mine") and not book.stride("mine", "!")


def test_a_retraining_ends_once(book):
    book.begin("r", {"summary": "Began."}, now=NOW)
    book.add("end", {"run": "r", "outcome": "promoted", "summary": "Done."}, key="end r", now=NOW + timedelta(hours=1))
    with pytest.raises(ConflictError): book.add("end", {"run": "r", "outcome": "failed", "summary": "No."}, key="end r")
    (only,) = book.retrainings()
    assert only.outcome == "promoted" and only.ended - only.began == timedelta(hours=1) and book.running() is None
    book.begin("s", {"summary": "The next."})


def test_it_shows_itself_escaped(book):
    assert "empty" in str(book.__html__())
    book.add("choice", {"summary": "<script>alert(1)</script>", "badge": "wait"})
    assert "<script>alert" not in str(book.__html__()) and "wait" in books.text(book.entries())


def test_a_record_of_another_kind_does_not_pass_for_a_choice():
    from model_ops.monitor.policy import Choice
    with pytest.raises(DataError): Choice.from_json('{"kind": "health", "version": 1}')
