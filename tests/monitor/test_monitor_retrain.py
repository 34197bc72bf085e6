"Retraining: one at a time, within its means, on again after a kill at any point, and back where it failed."
import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from retrained_book import NOW, PREPARE, RetrainedBook
from typer.testing import CliRunner

from model_ops import files, params
from model_ops.cli import retrain as commands
from model_ops.errors import ConflictError, DataError, LedgerError, ParameterError, StepError
from model_ops.monitor import gauges, intake, loop, placing
from model_ops.monitor.book import Book
from model_ops.monitor.retrain import FOLDER, _alone, give_up, retrain
from model_ops.registry.ledger import Ledger
from model_ops.release.decision import Decision
from model_ops.workbook import pipeline

pytestmark = pytest.mark.slow

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
    assert [e.kind for e in book.book.entries()] == ["choice", "start", "stride", "end"] and not (book.root / FOLDER).exists() and book.released.read_text() == "cron"


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
    assert (give_up(book.settings).outcome, give_up(book.settings).sentence) == ("nothing to do", "No retraining was cut off here.")
    with pytest.raises(Killed): go(book, told=dies_at("Releasing"))
    assert "was given up" in give_up(book.settings, who="Ada", now=NOW).sentence and book.prepare() == PREPARE and outcomes(book) == ["given up"] and not book.released.exists()


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


def decide(book, words="of the retraining"):
    "A decision lies in the files."
    decision = Decision(summary=words, outcome="keep", next="", challenger="c" * 64, opponent=None, gates=[], evidence={})
    decision.save(book.root / "records/decision.json")
    return decision.digest


@pytest.mark.parametrize("day, hold, words", [(12, "data", "before 2026-01-22 are complete"), (23, "rows", "There are 64 new rows")], ids=["test reaches back", "nearly all of train is known"])
def test_what_the_model_in_charge_has_seen_neither_judges_nor_counts(book, day, hold, words):
    files.write(book.root / "params/monitor.yaml", "policy: {train: 30d, validation: 7d, test: 14d, current: 7d, least_rows: 200}\n")
    now = datetime(2026, 1, day, tzinfo=UTC)
    book.look(now=now)
    (held,) = go(book, now=now).choice.holds
    assert held.name == hold and words in held.sentence and book.prepare() == PREPARE


def test_without_a_time_column_nobody_could_tell_what_was_seen(book, monkeypatch):
    monkeypatch.setattr(intake.Contract, "load", lambda path: SimpleNamespace(time=None))
    (held,) = go(book).choice.holds
    assert held.name == "data" and "no time column" in held.sentence and book.prepare() == PREPARE


def test_only_the_own_decision_is_released_and_nobody_runs_beside_it(book):
    made, seen = [], []
    def run(settings):
        book.run(settings)
        made.append(decide(book))
    def release(settings, who=""):
        seen.append(Decision.load(book.root / "records/decision.json").digest)
        with pytest.raises(ConflictError, match="busy: model-ops retrain"), pipeline.alone(settings.root, "model-ops run"): pass
        return book.release(settings, who)
    with pytest.raises(Killed): go(book, run=run, told=dies_at("Releasing"))
    decide(book, "of a person's question")
    assert go(book, run=run, release=release).outcome == "promoted" and seen == [made[0]] and book.ran.read_text() == "2"
    assert book.book.entries("end")[0].facts["decision"] == made[0]


def test_killed_while_it_clears_away_what_it_kept_nothing_fails_for_ever(book, monkeypatch):
    real = shutil.rmtree
    def half(path, **told):
        if Path(path).name != "before" or not (Path(path) / "params_prepare.yaml").exists(): return real(path, **told)
        (Path(path) / "params_prepare.yaml").unlink()
        raise Killed
    def run(settings): raise StepError("The step 'train' failed.")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(placing.shutil, "rmtree", half)
        go(book, run=run)
    assert go(book).outcome == "failed" and book.prepare() == PREPARE and not (book.root / FOLDER).exists()


def test_a_retraining_promises_the_whole_loss_whatever_earlier_ones_won(book):
    go(book)
    later = NOW + timedelta(days=9)
    book.look(now=later)
    assert go(book, now=later).choice.value.share == pytest.approx(0.75)
    assert [e.facts["promised"] for e in book.book.entries("end")] == pytest.approx([0.06, 0.06])


@pytest.mark.parametrize("error", [Killed, OSError], ids=["killed", "failed"])
def test_what_the_book_did_not_let_begin_leaves_nothing_behind(book, monkeypatch, error):
    def begin(*told, **more): raise error
    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(Book, "begin", begin)
        go(book)
    assert (book.root / FOLDER / "state.json").exists() == (error is Killed) and book.book.retrainings() == []
    assert go(book).outcome == "promoted" and [e.kind for e in book.book.entries()] == ["choice", "choice", "start", "stride", "end"]


def put_in_charge(book): Ledger(book.settings.ledger_url).append("rollback", after=1, champion=None, who="Ada", why="Something else.")


@pytest.mark.parametrize("days, then, holds", [(60, lambda book: None, None), (0.5, put_in_charge, LedgerError), (0.5, lambda book: book.look(conclusion="roll back", now=NOW + timedelta(days=0.5)), ["roll back"])], ids=["long ago", "another version", "roll back"])
def test_what_has_been_outlived_is_decided_anew(book, days, then, holds):
    with pytest.raises(Killed): go(book, told=dies_at("Running the pipeline"))
    now, said = NOW + timedelta(days=days), []
    book.look(now=now)
    then(book)
    if holds is LedgerError:
        with pytest.raises(LedgerError, match="Nobody is in charge"): go(book, now=now, told=said.append)
    else:
        done = go(book, now=now, told=said.append)
        assert [h.name for h in done.choice.holds] == holds if holds else done.outcome == "promoted" and done.choice.retrain
    assert "decided anew. Put back: params/prepare.yaml" in said[0] and outcomes(book) == ["cut off", *(["promoted"] if not holds else [])] and (book.prepare() == PREPARE) == bool(holds)


def test_what_was_released_already_only_ends_however_late(book):
    def run(settings):
        book.run(settings)
        decide(book)
    with pytest.raises(Killed): go(book, run=run, told=dies_at("Writing the end"))
    ledger = Ledger(book.settings.ledger_url)
    ledger.append("keep", after=1, champion=ledger.champion().champion, who="cron", why="Kept.", decision=Decision.load(book.root / "records/decision.json").digest)
    assert go(book, run=run, now=NOW + timedelta(days=60)).choice is None and outcomes(book) == ["promoted"] and book.ran.read_text() == "1"


def test_what_another_machine_has_ended_is_not_released(book):
    def run(settings):
        book.run(settings)
        (mine,) = book.book.retrainings()
        book.book.add("end", {"run": mine.run, "outcome": "cut off", "summary": "Taken for dead."}, key=f"end {mine.run}", now=NOW)
    assert go(book, run=run).outcome == "cut off" and not book.released.exists() and book.prepare() == PREPARE and not (book.root / FOLDER).exists()


def test_a_question_shuts_no_door(book):
    doors = []
    def told(sentence):
        with _alone(book.settings) as busy: doors.append(busy)
    assert go(book, check=True, told=told).choice.retrain and set(doors) == {""}
    with _alone(book.settings): assert go(book, check=True).choice.retrain
    with pytest.raises(Killed): go(book, told=dies_at("Running the pipeline"))
    assert "was cut off; it goes on" in go(book, check=True).sentence


@pytest.mark.parametrize("days, held", [(2, False), (3, True)])
def test_a_record_about_days_long_past_is_not_acted_on(book, days, held):
    assert ("health" in [h.name for h in go(book, check=True, now=NOW + timedelta(days=days)).choice.holds]) == held


@pytest.mark.parametrize("now, shown", [(None, "retrain"), (datetime(2025, 3, 1, 12, tzinfo=UTC), "fine")], ids=["into the past", "of a simulated clock"])
def test_a_look_into_the_past_leaves_the_gauges(book, monkeypatch, now, shown):
    log = Path(book.settings.section("log")["folder"])
    gauges.write(book.look(), log, model="orders")
    past = datetime(2025, 3, 1, tzinfo=UTC)
    monkeypatch.setattr(pipeline, "run_step", lambda *words, **told: book.look(conclusion="fine", now=past))
    found = loop.look(book.settings, over={"until": "2025-03-01", "as_of": "2025-03-01"}, now=now)
    assert found.conclusion == "fine" and json.loads((log / "monitor.json").read_text())["conclusion"] == shown and [e.facts["conclusion"] for e in book.book.entries("health")] == ["retrain", "fine"]


def test_a_run_need_not_know_where_alerts_go(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_CHAT", raising=False)
    files.write(tmp_path / "settings.ini", "[workbook]\nname = orders\n")
    files.write(tmp_path / "nbs/steps/monitor.ipynb", (TESTS.parent / "nbs/steps/monitor.ipynb").read_bytes())
    files.write(tmp_path / "params/monitor.yaml", "days: 7\nalerts: {webhook: env:NO_SUCH_CHAT}\n")
    settings = pipeline.Settings.load(tmp_path)
    plan = pipeline.plan("monitor", settings)
    assert (plan.parameters, plan.secrets) == ({"days": 7.0}, {}) and loop.told(settings)["alerts"] == {"webhook": "env:NO_SUCH_CHAT"} and loop.told(settings, {"days": 3})["days"] == 3.0


STOPPED = """
import subprocess, sys
from model_ops.cli import retrain
step = "import time\\ntry: print('up', flush=True); time.sleep(60)\\nexcept KeyboardInterrupt: time.sleep(0.5); print('ended in order', flush=True)"
with retrain._in_order(): subprocess.run([sys.executable, "-c", step])
"""


def test_a_stop_ends_the_step_before_the_command():
    child = subprocess.Popen([sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
    assert child.stdout.readline() == "up\n"
    child.terminate()
    assert child.wait() != 0
    os.set_blocking(child.stdout.fileno(), False)
    assert child.stdout.read() == "ended in order\n"
    child.stdout.close()


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
    for check in (True, False):
        with pytest.raises(DataError, match=r"^Nobody has looked yet: .*health\.json.* model-ops monitor$"): go(book, check=check)
    health = book.look()
    for file in book.root.glob("ledger.db*"): file.unlink()
    with pytest.raises(LedgerError, match="Nobody is in charge"): go(book, health=health)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[]", b'{"kind": "verdict", "version": 1}', b'{"kind": "health", "version": 1}', b'{"kind": "health", "version": 99}'], ids=repr)
def test_a_look_that_is_damaged_is_to_be_taken_again(book, body):
    (book.root / "records/health.json").write_bytes(body)
    for check in (True, False):
        with pytest.raises(DataError, match="^The last look cannot be read: .*model-ops monitor$") as e: go(book, check=check)
        assert "dvc" not in str(e.value) and "model-ops run" not in str(e.value) and book.book.entries() == []


def test_a_kind_without_a_line_is_not_an_empty_book(book, monkeypatch):
    import typer
    app = typer.Typer()
    commands.register(app)
    monkeypatch.chdir(book.root)
    ask = lambda *words: CliRunner().invoke(app, ["loop", *words]).output
    assert ask("--kind", "choice").startswith("The book is empty") and ask("--kind", "choice", "--json") == ""
    book.book.add("health", {"summary": "The model holds.", "conclusion": "fine"})
    assert ask("--kind", "choice") == "The book has no line of the kind 'choice'.\n" and ask("--kind", "choice", "--json") == ""
    assert ask("--kind", "health") == ask() != "" and "The model holds." in ask()


def test_the_commands(book, monkeypatch):
    import typer
    app = typer.Typer()
    commands.register(app)
    monkeypatch.chdir(book.root)
    ask = lambda *words: CliRunner().invoke(app, words)
    book.look(now=datetime.now(UTC))
    told = json.loads(ask("retrain", "--check", "--json").stdout)
    assert told["choice"]["retrain"] is True and told["outcome"] == "not now"
    book.look(loss=0.001, conclusion="fine")
    assert "No trigger" not in ask("retrain", "--by", "Ada").output.splitlines()[0] and "Not trained anew" in ask("loop").output
    assert [json.loads(line)["who"] for line in ask("loop", "--kind", "choice", "--json").output.splitlines()] == ["Ada"]
    assert "No retraining was cut off" in ask("retrain", "--give-up").output and json.loads(ask("retrain", "--give-up", "--json").output)["outcome"] == "nothing to do" and isinstance(ask("retrain", "--check", "--force").exception, ParameterError)


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
    assert done.outcome == "promoted" and [(e.kind, e.who) for e in book.book.entries() if e.kind != "choice"] == [("start", "theirs"), ("resume", "cron"), ("stride", "cron"), ("end", "cron")] and book.ran.read_text() == "1"
