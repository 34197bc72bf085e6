"Retraining on a whole workbook, with its own pipeline, gates and ledger: a run that fails, a run that is killed, and the version that comes of it."
import datetime
import json
import os
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from retrained_book import log_orders, looked
from small_workbook import QUIET, write_table

from model_ops import params
from model_ops.errors import StepError
from model_ops.monitor.book import Book
from model_ops.monitor.retrain import FOLDER, retrain
from model_ops.registry import cycle
from model_ops.release.decision import Decision
from model_ops.settings import Settings

NOW = datetime.datetime(2024, 6, 12, tzinfo=datetime.UTC)
COMMAND = "import sys, typer\nfrom model_ops.cli import retrain\napp = typer.Typer()\nretrain.register(app)\napp(sys.argv[1:])"


@pytest.fixture
def book(run_workbook, tmp_path, monkeypatch):
    "The workbook after its first run, with forty days of orders in its log, and a health record that asks for a new version."
    for name, value in QUIET.items(): monkeypatch.setenv(name, value)
    book = run_workbook.copy(tmp_path / "orders")
    for path in ("nbs/steps/diagnose.ipynb", "params/diagnose.yaml"): (book.root / path).unlink()  # it adds nothing here
    settings = Settings.load(book.root)
    write_table(tmp_path / "later.csv", days=160, seed=1)
    later = pl.read_csv(tmp_path / "later.csv", try_parse_dates=True).filter(pl.col("placed").is_between(datetime.datetime(2024, 5, 1), datetime.datetime(2024, 6, 9)))
    log_orders(settings, later, NOW - datetime.timedelta(days=1))
    (book.root / "params/monitor.yaml").write_text(json.dumps({"policy": {"train": "60d", "validation": "14d", "test": "14d", "current": "12d", "least_rows": 500, "cooldown_days": 0}, "labels": {"within_days": 2}}))
    looked(settings, now=NOW, rows=later.height).save(book.root / "records/health.json")
    return book


def files_of(book) -> dict[str, bytes]:
    "What a run that fails must leave as it was: what the pipeline stands on, what it made, and what is in charge."
    kept = [*(book.root / "params").glob("*.yaml"), *(p for d in ("data", "package", "records") for p in (book.root / d).rglob("*") if p.is_file() and "quarantine" not in p.parts and p.name != ".gitignore"), book.root / "dvc.lock", book.root / "dvc.yaml"]
    return {str(p.relative_to(book.root)): p.read_bytes() for p in sorted(kept)}


def killed_while_it_trains(book) -> None:
    "The command in a session of its own, killed with all that it started as soon as the training notebook runs."
    events = book.root / "runs/train.events.jsonl"
    events.unlink(missing_ok=True)
    env = {**{k: v for k, v in os.environ.items() if not k.startswith("MODEL_OPS_")}, **QUIET}
    child = subprocess.Popen([sys.executable, "-c", COMMAND, "retrain", "--by", "theirs"], cwd=book.root, env=env, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not events.exists() and child.poll() is None: time.sleep(0.1)
    os.killpg(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_fails_and_is_put_back_then_is_killed_and_goes_on(book):
    settings, before = Settings.load(book.root), files_of(book)
    with pytest.raises(StepError): retrain(settings, now=NOW, who="cron", run=lambda settings: cycle.run(settings, told={"train": {"params": {"max_depth": "no"}}}, apply_decision=False))
    assert files_of(book) == before and [r.outcome for r in Book(settings.ledger_url).retrainings()] == ["failed"] and len(book.ledger()) == 1

    looked(settings, now=datetime.datetime.now(datetime.UTC)).save(book.root / "records/health.json")  # the command goes by the clock
    killed_while_it_trains(book)
    assert (book.root / FOLDER / "state.json").exists() and params.read_yaml(book.root / "params/prepare.yaml")["windows"]["current"][1] == "2024-06-09" and len(book.ledger()) == 1
    assert Book(settings.ledger_url).running() is None

    done = retrain(settings, now=NOW + datetime.timedelta(hours=2), who="cron")
    (end,) = [e for e in Book(settings.ledger_url).entries("end") if e.facts["outcome"] != "failed"]
    assert done.choice is None and done.outcome in ("promoted", "kept", "not enough data") and done.version == 2 and end.facts["outcome"] == done.outcome and end.facts["decision"] == Decision.load(book.root / "records/decision.json").digest
    assert [kind for _, kind, _ in book.ledger()] == ["promote", {"promoted": "promote", "kept": "keep"}.get(done.outcome, done.outcome)] and not (book.root / FOLDER).exists()
    windows = {w["name"]: w for w in book.json("records/prepare.json")["windows"]}
    assert windows["train"]["from"] == "2024-03-01" and windows["current"]["to"] == "2024-06-09" and windows["train"]["rows"] == 60 * 40
    assert book.json("opponent/pin.json")["opponent"] == book.ledger()[0][2] and book.status()["stale"] == {}
