"""`model-ops monitor`: its options, its exit code, its advice; and a look that was cut off between the step and the book."""
import json
import shutil
from datetime import UTC, datetime

import pytest
from monitored_log import make
from monitored_window import report, window
from small_workbook import REPOSITORY
from typer.testing import CliRunner

from model_ops import params
from model_ops.cli.main import app
from model_ops.errors import ParameterError
from model_ops.monitor import gauges, loop
from model_ops.monitor.book import Book
from model_ops.settings import Settings
from model_ops.workbook import pipeline


@pytest.fixture
def book(tmp_path, monkeypatch) -> Settings:
    "A workbook with a log, in which the step leaves a health record and does nothing else."
    settings = make(tmp_path / "book", days=30, rows=100)
    shutil.copytree(REPOSITORY / "nbs/steps", settings.root / "nbs/steps")
    shutil.copy(REPOSITORY / "params/monitor.yaml", settings.path("params", "monitor.yaml") if settings.path("params").is_dir() else settings.path("params").mkdir() or settings.path("params", "monitor.yaml"))
    health = report(window(rows=300, flip=0.4))
    monkeypatch.setattr(pipeline, "run_step", lambda step, settings, **told: health.save(settings.path("records", "health.json")))
    monkeypatch.chdir(settings.root)
    monkeypatch.delenv("MODEL_OPS_ROOT", raising=False)
    return settings


def run(*words: str):
    return CliRunner().invoke(app, ["monitor", *words])


def test_the_conclusion_its_cause_and_what_to_do(book):
    said = run()
    assert said.exit_code == 0 and said.stdout.startswith("Retrain. ") and "likely    change of the world:" in said.stdout and "What to do: " in said.stdout and "model-ops retrain" in said.stdout
    assert json.loads(run("--json").stdout)["conclusion"] == "retrain"


@pytest.mark.parametrize(("limit", "code"), [("watch", 3), ("retrain", 3), ("roll back", 0), ("", 0)])
def test_a_schedule_hears_it_by_the_exit_code(book, limit, code):
    assert run("--fail-on", limit).exit_code == code


def test_what_cannot_be_meant_is_said_before_anything_runs(book):
    for words in (["--fail-on", "bad"], ["--write"], ["--until", "10.02.2026"], ["--as-of", "yesterday"], ["--clock", "wall"], ["--days", "0"]):
        failed = run(*words)
        assert isinstance(failed.exception, ParameterError) and Book(book.ledger_url).entries() == []


def test_the_advice_is_shown_and_written_on_request(book):
    before = book.path("params", "monitor.yaml").read_text()
    shown = run("--advise", "--until", "2026-01-31")
    assert shown.exit_code == 0 and "every" in shown.stdout, shown.output
    assert book.path("params", "monitor.yaml").read_text() == before
    run("--advise", "--write", "--until", "2026-01-31")
    told = params.read_yaml(book.path("params", "monitor.yaml"))
    assert told["days"] != 30 or told["policy"] or told["labels"]


def test_a_look_that_was_cut_off_before_the_book_is_noted_by_the_next(book, monkeypatch):
    pipeline.run_step("monitor", book)  # the step alone
    assert Book(book.ledger_url).entries() == []
    other = report(window(rows=300, seed=9))
    monkeypatch.setattr(pipeline, "run_step", lambda step, settings, **told: other.save(settings.path("records", "health.json")))
    for _ in range(2): loop.look(book)
    conclusions = [e.facts["conclusion"] for e in Book(book.ledger_url).entries("health")]
    assert conclusions[0] == "retrain" and len(conclusions) == 3, "the one that was cut off, and two that were not"


def test_gauges_that_cannot_be_written_lose_no_line_of_the_book(book, monkeypatch):
    def full(*_, **__): raise OSError("no room")
    monkeypatch.setattr(gauges, "write", full)
    with pytest.raises(OSError, match="no room"): loop.look(book, now=datetime(2026, 1, 31, 1, tzinfo=UTC))
    assert len(Book(book.ledger_url).entries("health")) == 1
