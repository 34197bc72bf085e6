"Retraining: one at a time, within its means, on again after a kill at any point, and back where it failed."
import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from retrained_book import NOW, PREPARE, RetrainedBook
from typer.testing import CliRunner

from model_ops import files, params
from model_ops.cli import retrain as commands
from model_ops.errors import ConflictError, DataError, LedgerError, ParameterError, StepError
from model_ops.monitor.retrain import FOLDER, give_up, retrain
from model_ops.workbook import pipeline

TESTS = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "book"
    RetrainedBook(root).fill()
    return root


@pytest.fixture
def book(made, tmp_path):
    shutil.copytree(made, tmp_path / "book")
    return RetrainedBook(tmp_path / "book")


def go(book, **told):
    "Retrain with the stand-ins of the workbook."
    return retrain(book.settings, **{"run": book.run, "release": book.release, "now": NOW, "who": "cron", "told": lambda sentence: None, **told})


class Killed(BaseException): "A kill, as far as a test within one process can have it."


def dies_at(words):
    "Something that is told each stride, and ends it all at one."
    def told(sentence):
        if words in sentence: raise Killed
    return told


def outcomes(book): return [r.outcome for r in book.book.retrainings()]


def test_from_the_health_record_to_a_new_version(book):
    done = go(book)
    assert (done.outcome, done.version, outcomes(book)) == ("promoted", 2, ["promoted"]) and done.choice.retrain and done.notes
    told = params.read_yaml(book.root / "params/prepare.yaml")
    assert told["source"] == "data/source/production.parquet" and list(told["windows"]) == ["train", "validation", "test", "current"] and told["target"] == "returned"
    assert "# Chosen by Ada." in book.prepare() and "# never later" in book.prepare()
    rows = pl.read_parquet(book.root / told["source"])
    assert rows["at"].min().date().isoformat() >= told["windows"]["train"][0] and rows["at"].max().date().isoformat() < told["windows"]["current"][1]
    assert [e.kind for e in book.book.entries()] == ["choice", "start", "end"] and not (book.root / FOLDER).exists() and book.released.read_text() == "cron"


def test_the_end_says_what_it_cost_and_what_it_won(book):
    done = go(book)
    (end,) = book.book.entries("end")
    assert end.facts["gained"] == pytest.approx(0.03) and end.facts["promised"] == pytest.approx(0.06) and end.facts["seconds"] == done.seconds
    assert end.facts["cost"] == pytest.approx(10 + 36 * done.seconds / 3600, abs=0.01) and end.at.startswith("2026-02-12")
    book.look(now=NOW + timedelta(days=9))
    assert go(book, check=True, now=NOW + timedelta(days=9)).choice.value.share == pytest.approx((1 + 0.5) / 2)


def test_that_nothing_is_done_is_written_down_too(book):
    book.look(loss=0.001, conclusion="fine")
    done = go(book)
    assert done.outcome == "not now" and not done.choice.retrain and [e.summary for e in book.book.entries()] == ["Not trained anew: no trigger fired."]
    assert book.prepare() == PREPARE and not book.ran.exists() and not (book.root / "data/source").exists()


def test_a_check_writes_nothing(book):
    before = {p: p.read_bytes() for p in book.root.rglob("*") if p.is_file() and p.parent.name != "scratch"}
    done = go(book, check=True)
    assert done.choice.retrain and done.choice.rows_new > 100 and before == {p: p.read_bytes() for p in book.root.rglob("*") if p.is_file() and p.parent.name != "scratch"}


def test_the_cooldown_and_the_budget_hold_the_next_one_back(book):
    go(book)
    book.look(now=NOW + timedelta(days=1))
    files.write(book.root / "params/monitor.yaml", "policy: {train: 20d, validation: 4d, test: 4d, current: 4d, cooldown_days: 7, budget: 1}\n")
    later = go(book, now=NOW + timedelta(days=1))
    assert later.outcome == "not now" and [h.name for h in later.choice.holds] == ["cooldown", "budget"] and outcomes(book) == ["promoted"]


def test_one_health_record_leads_to_one_retraining(book):
    go(book)
    assert [h.name for h in go(book).choice.holds] == ["health"] and book.ran.read_text() == "1"


def test_a_record_about_another_version_is_not_acted_on(book):
    health = book.look().model_copy(update={"package": "d" * 64})
    assert [h.name for h in go(book, health=health).choice.holds] == ["health"]


def test_too_few_new_rows_are_counted_before_anything_changes(book):
    files.write(book.root / "params/monitor.yaml", "policy: {train: 20d, validation: 4d, test: 4d, current: 4d, least_rows: 90000}\n")
    done = go(book)
    assert [h.name for h in done.choice.holds] == ["rows"] and 0 < done.choice.rows_new < 90_000 and book.prepare() == PREPARE


def test_windows_that_cannot_be_made_are_a_reason_not_to(book):
    files.write(book.root / "params/monitor.yaml", "policy: {train: 20d, validation: 4d, test: 4d, current: 4d}\n")
    done = go(book, now=NOW - timedelta(days=60), force=True)
    assert [h.name for h in done.choice.holds] == ["data"] and not done.choice.retrain and outcomes(book) == []


def test_a_person_may_insist_and_is_named(book):
    book.look(loss=0.001, conclusion="fine")
    done = go(book, force=True, who="Ada")
    assert done.outcome == "promoted" and done.choice.who == "Ada" and book.book.entries("start")[0].who == "Ada" and book.book.entries("start")[0].facts["triggers"] == ["person"]


STRIDES = ["Gathering new rows", "old ones make", "Placing the new rows", "Running the pipeline", "Releasing what", "Writing the end"]

@pytest.mark.parametrize("words", STRIDES)
def test_killed_at_any_stride_it_goes_on(book, words):
    with pytest.raises(Killed): go(book, told=dies_at(words))
    assert book.prepare() == PREPARE or params.read_yaml(book.root / "params/prepare.yaml")["source"].endswith("production.parquet")
    done = go(book)
    assert done.outcome == "promoted" and outcomes(book) == ["promoted"] and book.ran.read_text() == "1" and not (book.root / FOLDER).exists()
    assert (done.choice is None) == (words not in STRIDES[:2]) and len(book.book.entries("resume")) == (words not in STRIDES[:2])


def test_killed_within_the_pipeline_and_within_the_release_it_goes_on(book):
    def run(settings):
        book.run(settings)
        raise Killed
    def release(settings, who=""):
        book.release(settings, who)
        raise Killed
    with pytest.raises(Killed): go(book, run=run)
    assert book.book.retrainings()[0].outcome == "" and (book.root / FOLDER / "state.json").exists()
    with pytest.raises(Killed): go(book, release=release)
    assert book.released.exists() and go(book).outcome == "promoted" and outcomes(book) == ["promoted"] and book.ran.read_text() == "2"


def test_killed_between_the_last_line_and_clearing_away_nothing_is_put_back(book):
    with pytest.raises(Killed): go(book, told=dies_at("Writing the end"))
    run = book.book.retrainings()[0].run
    book.book.add("end", {"run": run, "outcome": "promoted", "summary": "Done."}, key=f"end {run}", now=NOW)
    new = book.prepare()
    done = go(book)
    assert done.outcome == "not now" and [h.name for h in done.choice.holds] == ["health"] and book.prepare() == new != PREPARE and not (book.root / FOLDER).exists()


def test_a_run_that_fails_leaves_every_file_as_it_was(book):
    (book.root / "dvc.yaml").write_text("stages: {}\n")
    def run(settings):
        (book.root / "dvc.yaml").write_text("stages: {prepare: {cmd: false}}\n")
        raise StepError("The step 'train' failed.", "Its cell 12 raised.")
    with pytest.raises(StepError, match="'train' failed"): go(book, run=run)
    assert book.prepare() == PREPARE and (book.root / "dvc.yaml").read_text() == "stages: {}\n" and not (book.root / "data/source/production.parquet").exists()
    (end,) = book.book.entries("end")
    assert end.facts["outcome"] == "failed" and "params/prepare.yaml" in end.summary and "'train' failed" in end.summary and not (book.root / FOLDER).exists()
    assert [h.name for h in go(book).choice.holds] == ["health"]


def test_what_cannot_be_put_back_now_is_put_back_by_the_next_call(book):
    "Another command takes the workbook at the moment in which the run fails."
    hold = pipeline.alone(book.root, "model-ops run")
    def run(settings):
        hold.__enter__()
        raise StepError("The step 'train' failed.")
    with pytest.raises(StepError): go(book, run=run)
    assert "production.parquet" in book.prepare() and json.loads((book.root / FOLDER / "state.json").read_text())["next"] == "put back"
    hold.__exit__(None, None, None)
    assert go(book).outcome == "failed" and book.prepare() == PREPARE and outcomes(book) == ["failed"]


def test_a_workbook_that_is_busy_does_not_fail_it(book):
    with pipeline.alone(book.root, "model-ops run"), pytest.raises(ConflictError, match="busy: model-ops run"): go(book)
    assert outcomes(book) == [""] and go(book).outcome == "promoted" and outcomes(book) == ["promoted"]


def test_it_can_be_given_up(book):
    assert give_up(book.settings) == "No retraining was cut off here."
    with pytest.raises(Killed): go(book, told=dies_at("Releasing"))
    assert "was given up" in give_up(book.settings, who="Ada", now=NOW) and book.prepare() == PREPARE and outcomes(book) == ["given up"] and not book.released.exists()


def test_what_another_machine_has_ended_is_put_back(book):
    with pytest.raises(Killed): go(book, told=dies_at("Running the pipeline"))
    book.book.begin("elsewhere", {"summary": "Begun anew."}, now=NOW)
    book.book.add("end", {"run": "elsewhere", "outcome": "kept", "summary": "Kept."}, key="end elsewhere", now=NOW)
    book.look(now=NOW + timedelta(days=2))
    said = []
    done = go(book, now=NOW + timedelta(days=2), told=said.append)
    assert "was cut off" in said[0] and "Put back: params/prepare.yaml" in said[0] and done.outcome == "promoted" and outcomes(book) == ["cut off", "kept", "promoted"]


def test_the_seam_gets_the_settings_and_a_name(book):
    "A staged rollout takes the decision's place: what it says is what the book says."
    told = []
    def shadow(settings, who):
        told.append((settings.root, who))
        return SimpleNamespace(outcome="in shadow", sentence="Version 2 answers beside version 1.", version=2)
    assert go(book, release=shadow).outcome == "in shadow" and told == [(book.root, "cron")] and outcomes(book) == ["in shadow"]
    assert book.book.entries("end")[0].facts["gained"] == 0.0  # nothing is won before it is in charge


@pytest.mark.slow
def test_quarantined_days_stay_out_and_are_kept(tmp_path):
    book = RetrainedBook(tmp_path / "flipped")
    book.fill(rows=300, flip=1.0, from_day=38)
    files.write(book.root / "params/monitor.yaml", "policy: {train: 20d, validation: 4d, test: 4d, current: 4d, least_rows: 100}\n")
    done = go(book)
    held = sorted(p.stem for p in (book.root / "data/quarantine").glob("*.parquet"))
    assert held == ["2026-02-08", "2026-02-09"] and "quarantine" in (book.root / "reports/quarantine.html").read_text()
    assert pl.read_parquet(book.root / "data/source/production.parquet")["at"].max().date().isoformat() == "2026-02-07" and any("quarantined" in note for note in done.notes)


@pytest.mark.parametrize("text, error", [("policy: {cooldown: 3}\n", ParameterError), ("costs: {hour: -1}\n", ParameterError)], ids=["unknown key", "bad value"])
def test_a_slip_in_the_file_is_named_before_anything_happens(book, text, error):
    files.write(book.root / "params/monitor.yaml", text)
    with pytest.raises(error, match="params/monitor.yaml"): go(book)
    assert book.book.entries() == []


def test_without_a_look_or_a_champion_it_says_what_to_do(book, tmp_path):
    (book.root / "records/health.json").unlink()
    with pytest.raises(DataError, match="health.json"): go(book)
    health = book.look()
    for file in book.root.glob("ledger.db*"): file.unlink()
    with pytest.raises(LedgerError, match="Nobody is in charge"): go(book, health=health)


def test_the_commands(book, monkeypatch):
    import typer
    app = typer.Typer()
    commands.register(app)
    monkeypatch.chdir(book.root)
    ask = lambda *words: CliRunner().invoke(app, words)
    told = json.loads(ask("retrain", "--check", "--json").stdout)
    assert told["choice"]["retrain"] is True and told["outcome"] == "not now"
    book.look(loss=0.001, conclusion="fine")
    assert "No trigger" not in ask("retrain", "--by", "Ada").output.splitlines()[0] and "Not trained anew" in ask("loop").output
    assert [json.loads(line)["who"] for line in ask("loop", "--kind", "choice", "--json").output.splitlines()] == ["Ada"]
    assert "No retraining was cut off" in ask("retrain", "--give-up").output and isinstance(ask("retrain", "--check", "--force").exception, ParameterError)


CHILD = """
import sys, time
sys.path.insert(0, {tests!r})
from retrained_book import NOW, RetrainedBook
from model_ops.monitor.retrain import retrain
book = RetrainedBook({root!r})
def run(settings):
    print("running", flush=True)
    time.sleep(120)
retrain(book.settings, run=run, release=book.release, now=NOW, who="theirs", told=lambda sentence: None)
"""


@pytest.mark.slow
def test_of_two_processes_one_retrains_and_its_kill_lets_the_other_go_on(book):
    child = subprocess.Popen([sys.executable, "-c", CHILD.format(tests=str(TESTS), root=str(book.root))], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline().strip() == "running"
        second = go(book)
        assert second.outcome == "not now" and second.choice.holds[0].name == "running" and f"process {child.pid}" in second.choice.holds[0].sentence and not book.ran.exists()
        assert go(book, force=True).outcome == "not now" and len(book.book.entries("choice")) == 3
        with pytest.raises(ConflictError, match="under way"): give_up(book.settings)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    done = go(book)
    assert done.outcome == "promoted" and [(e.kind, e.who) for e in book.book.entries() if e.kind != "choice"] == [("start", "theirs"), ("resume", "cron"), ("end", "cron")] and book.ran.read_text() == "1"
