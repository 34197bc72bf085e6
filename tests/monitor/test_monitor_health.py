"""The record and its conclusion: calm worlds stay calm, and what is said is what is so."""
import dataclasses
from datetime import UTC, datetime
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from monitored_log import make, moment, rewrite, world
from monitored_window import START, report, rescored, window

from model_ops.drift.compare import compare
from model_ops.drift.meaning import judge
from model_ops.data.contract import Contract
from model_ops.errors import PackageError
from model_ops.monitor.again import Gap, Paired
from model_ops.monitor.cause import Cause
from model_ops.monitor.health import CONCLUSIONS, Health, Worse, assess, conclude, training_of, way_back
from model_ops.monitor.levels import Level, Levels, look
from model_ops.monitor.logged import Broken, read
from model_ops.monitor.maturity import Expected, mature
from model_ops.monitor.window import Span
from model_ops.registry import ledger as ledgers

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_calm_month_is_fine_and_says_why():
    health = report(window(rows=600, seed=2))
    assert (health.conclusion, health.because, health.badge, health.since) == ("fine", "nothing", "fine", None)
    assert all(c.verdict == "no" and c.evidence for c in health.causes) and len(health.causes) == 5
    assert health.gap.rows == 18_000 and not health.gap.differing and health.window.days == 30 and health.training.age_days == 30


def alarms(models, months, **told):
    "Conclusions on calm worlds that are neither fine nor for want of data."
    found = [report(window(model=m, seed=100 * m + k, **told)) for m in range(models) for k in range(months)]
    return [h.summary for h in found if h.because not in ("nothing", "not enough data")], len(found)


@pytest.mark.parametrize("told", [{}, {"versions": 2}, {"task": "regression"}], ids=["one version", "a new version", "numbers"])
def test_calm_months_raise_no_alarm(told):
    raised, months = alarms(2, 3, **told)
    assert not raised and months == 6


@pytest.mark.slow
def test_of_a_calm_year_of_monthly_reports_at_most_one_in_twenty_is_an_alarm():
    raised, months = alarms(4, 12)
    assert len(raised) <= 0.05 * months, raised


def test_a_missed_level_and_missing_labels_are_to_be_watched():
    logged = window(rows=600, seed=2)
    slow = dataclasses.replace(logged, latency={**logged.latency, "p99": 900.0})
    health = report(slow)
    assert (health.conclusion, health.because) == ("watch", "service levels") and "900 ms" in health.summary and health.cause("code or configuration").verdict == "possible"
    health = report(window(rows=600, seed=2, share=0.6))
    assert (health.conclusion, health.because) == ("watch", "labels missing") and health.metrics["labels_missing"] == 1


def test_no_labels_at_all_leave_the_scores_to_judge():
    health = report(window(seed=2, share=0.0), expected=Expected(within_days=365))
    assert health.verdict.model.judged_by == "estimate" and health.conclusion in ("fine", "watch") and health.window.labelled == 0
    assert health.cause("change of the world").evidence[0].startswith("Not known")


LABELS = {
    "a constant": (dict(spoil=lambda f: f.with_columns(returned=pl.lit("yes"))), "labels that came say yes"),
    "a constant class": (dict(task="multiclass", spoil=lambda f: f.with_columns(level=pl.lit("mid"))), "labels that came say mid"),
    "a constant number": (dict(task="regression", spoil=lambda f: f.with_columns(amount=pl.lit(0.0))), "labels that came say 0.0"),
    "other names": (dict(unfit=300), "such as 'YES'"),
    "low scores alone": (dict(labelled=lambda f, s: s < 0.3), "not like the rest"),
    "high scores alone": (dict(labelled=lambda f, s: s >= 0.4), "not like the rest"),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_that_are_not_to_be_believed_accuse_nobody(name):
    told, sentence = LABELS[name]
    logged = window(seed=5, **told)
    health = report(dataclasses.replace(logged, unfit_example="'YES'" if told.get("unfit") else ""))
    assert (health.conclusion, health.because) == ("watch", "labels missing") and sentence in health.reason, health.summary
    assert "judged by its scores" in health.todo and all(c.verdict != "likely" for c in health.causes) and not health.metrics["worse_by_labels"]


def test_labels_of_which_nothing_follows_are_said():
    "A rare class: hundreds of labels, hardly one of them positive, as the scores say."
    rare = report(window(rows=60, seed=5, frame=world(30, 60, START, seed=5).filter(pl.col("x0") < -2)), expected=Expected(within_days=365))
    assert rare.conclusion == "watch" and rare.because == "not enough data"
    few = report(window(rows=600, seed=5, labelled=lambda f, s: s < 0.12), expected=Expected(within_days=365))
    assert few.conclusion == "watch", few.summary


def test_what_was_said_is_of_the_rows_whose_labels_came():
    health = report(window(rows=600, seed=5, labelled=lambda f, s: s < 0.3))
    assert all(abs(d.said - d.actual) < 0.15 and d.said < 0.3 for d in health.days if d.labelled)


def test_a_log_that_names_no_version_is_read():
    logged = window(rows=600, seed=2)
    nameless = dataclasses.replace(logged, **{n: getattr(logged, n).with_columns(version=pl.lit(None, pl.String)) for n in ("versions", "days", "labelled_rows", "sample")})
    health = report(nameless)
    assert (health.conclusion, health.because) == ("fine", "nothing") and health.versions[0].version == "" and health.beyond is not None


def gone_back(root, versions):
    "A workbook whose newest version was taken out on the 25th, and a window in which the one before it answers, a tenth of its answers wrong."
    settings = make(root, days=40, rows=100, versions=versions, from_day=10)
    ledger = ledgers.Ledger(settings.ledger_url)
    entries = ledger.entries()
    back, out = entries[-2].champion, entries[-1].champion
    with patch.object(ledgers, "_now", lambda: "2026-01-25T00:00:00.000Z"): ledger.append("rollback", after=entries[-1].seq, champion=back, challenger=out, who="t", why="w")
    return settings, back, out


def test_clocks_that_disagree_are_said():
    logged = window(rows=600, seed=2)
    assert not [n for n in report(logged).notes if "clock" in n]
    note, = [n for n in report(dataclasses.replace(logged, skew={"rows": 12, "hours": 30.0})).notes if "clock" in n]
    assert "12 rows" in note and "30.0 hours" in note


def test_a_version_that_answers_otherwise_is_rolled_back_from_the_log_on(tmp_path):
    settings = make(tmp_path / "book", days=40, rows=300, from_day=20, versions=2)
    rewrite(settings, "log", lambda rows: rows.with_columns(score=pl.when(pl.col("version") == "2").then(1 - pl.col("score")).otherwise("score")))
    contract = Contract.load(settings.root / "records/contract.json")
    logged = read(settings, Span.of(40, moment(START, 40), "event", "", contract=contract), told=None)
    verdict = compare(logged.reference, logged.profile, contract=contract, model=judge(logged.validation, logged.scores, logged.labelled, package=logged.served.digest))
    health = assess(logged, verdict, mature(logged, Expected()), [], now=NOW, settings=settings)
    assert (health.conclusion, health.because) == ("roll back", "other answers than its package") and "model-ops rollback 1" in health.todo, health.summary


@pytest.mark.parametrize("versions", [2, 3])
def test_nobody_is_sent_back_to_a_version_that_was_taken_out(versions, tmp_path):
    settings, back, out = gone_back(tmp_path / "book", versions)
    logged = window(rows=100, versions=2, answers=lambda f, s: np.where(np.arange(f.height) % 10 == 0, 1 - s, s))
    served = dataclasses.replace(logged.served, digest=back, version=str(versions - 1))
    logged = dataclasses.replace(logged, served=served, previous=dataclasses.replace(logged.served, digest=out, version=str(versions)))
    assert way_back(logged) == str(versions)  # without a ledger, what the log says
    assert way_back(logged, settings) == ("" if versions == 2 else "1")
    verdict, calm = compare(logged.reference, logged.profile, contract=logged.served.contract), [Cause(name=n, verdict="no", evidence=["So."]) for n in ("data quality", "code or configuration", "new version", "drift that matters", "change of the world")]
    gap = Gap(rows=900, differing=90, share=0.1, largest=0.5, found=True)
    end = conclude(verdict, calm, Worse(), [], gap, Paired(), None, way_back(logged, settings) if versions == 2 else "1")
    assert (end.conclusion, "model-ops rollback 1" in end.todo, "Stop relying" in end.todo) == (("watch", False, True) if versions == 2 else ("roll back", True, False))


def test_few_rows_are_not_enough_data_and_no_alarm():
    health = report(window(days=10, rows=20))
    assert (health.conclusion, health.because) == ("watch", "not enough data")


def test_a_package_without_scores_and_one_that_cannot_be_asked_are_said():
    logged = window(days=12, rows=60)
    bare = dataclasses.replace(logged, validation=None, labelled=None)
    verdict = compare(logged.reference, logged.profile, contract=logged.served.contract)
    def refuse(*_): raise PackageError("model.onnx is missing.")
    health = assess(bare, verdict, None, [], now=NOW, score=refuse)
    assert health.conclusion == "watch" and health.because == "not enough data" and "keeps no scores" in health.reason
    assert "model.onnx is missing" in health.gap.obstacle and health.gap.rows == 0 and "gap_share" not in health.metrics


def test_the_record_goes_through_json_and_its_page_holds_no_script():
    violations = [Broken("x1", "range", "warn", 140, 0.0156, moment(START, 12).date(), "<script>alert(1)</script>")]
    health = report(window(seed=3, flip=0.25, violations=violations))
    again = Health.from_json(health.to_json())
    assert again == health and again.to_json() == health.to_json() and again.conclusion in CONCLUSIONS
    page = str(again.__html__())
    assert "<script" not in page and "&lt;script&gt;" in page and health.conclusion in page and "http" not in page.replace("http://www.w3.org", "")
    assert len(health.to_json()) < 200_000 and all(isinstance(v, float) for v in health.metrics.values())


def test_the_same_window_gives_the_same_record():
    assert report(window(seed=6, versions=2)).to_json() == report(window(seed=6, versions=2)).to_json()


def test_labels_that_are_still_to_come_can_hold_a_loss_back():
    logged = window(seed=5, flip=0.1)
    maturity = mature(logged, Expected())
    model = judge(logged.validation, logged.scores, logged.labelled, harm={"log_loss": 0.001, "roc_auc": 0.5})
    verdict = compare(logged.reference, logged.profile, contract=logged.served.contract, model=model)
    sure = assess(logged, verdict, maturity, [], now=NOW, score=rescored, harm={"log_loss": 0.001, "roc_auc": 0.5})
    newest = maturity.newest.model_copy(update={"bias": 1.0})
    doubtful = assess(logged, verdict, maturity.model_copy(update={"as_of": [*maturity.as_of[:-1], newest]}), [], now=NOW, score=rescored, harm={"log_loss": 0.001, "roc_auc": 0.5})
    assert sure.because == "worse by labels" and doubtful.because == "not enough data" and "still to come" in doubtful.reason


def test_the_training_of_a_package_is_told_as_far_as_it_is_known(tmp_path):
    logged = window(days=3, rows=50)
    until = datetime(2026, 2, 1, tzinfo=UTC)
    told = training_of(logged.served.manifest, until, tmp_path)
    assert (told.ended, told.age_days, told.seconds) == ("2026-01-01", 31, None) and told.rows and told.note
    (tmp_path / "records").mkdir(), (tmp_path / "runs").mkdir()
    (tmp_path / "records" / "train.json").write_text(f'{{"package": "{logged.served.digest}"}}', encoding="utf-8")
    (tmp_path / "runs" / "train.events.jsonl").write_text('{"event": "started"}\n{"event": "finished", "seconds": 17.5}\n', encoding="utf-8")
    assert training_of(logged.served.manifest, until, tmp_path).seconds == 17.5
    (tmp_path / "records" / "train.json").write_text('{"package": "another"}', encoding="utf-8")
    assert training_of(logged.served.manifest, until, tmp_path).seconds is None


WHOLE = {"calm": ({}, ("fine", "watch"), None), "another world": (dict(flip=0.3), ("retrain",), "change of the world"), "nulls": (dict(nulls=0.3), ("watch",), "data quality")}


@pytest.mark.parametrize("name", WHOLE)
def test_the_whole_way_from_the_log(name, tmp_path):
    told, conclusions, cause = WHOLE[name]
    settings = make(tmp_path / "book", days=40, rows=300, from_day=20, **told)
    contract = Contract.load(settings.root / "records/contract.json")
    logged = read(settings, Span.of(40, moment(START, 40), "event", "", contract=contract), slices=["channel"], told=None)
    model = judge(logged.validation, logged.scores, logged.labelled, importance=logged.served.manifest.importance, package=logged.served.digest)
    verdict = compare(logged.reference, logged.profile, contract=contract, model=model)
    health = assess(logged, verdict, mature(logged, Expected()), look(logged, settings, Levels(), now=moment(START, 40).timestamp()), now=NOW, settings=settings)
    assert health.conclusion in conclusions and [c.name for c in health.causes if c.verdict == "likely"] == ([cause] if cause else []), health.summary
    assert health.gap.rows == 12_000 and not health.gap.found and health.slices and health.window.rows == 12_000 and health.since == (None if cause is None else "2026-01-21")
    assert isinstance(health.levels[0], Level) and health.served == "1" and pl.DataFrame([d.model_dump() for d in health.days])["rows"].sum() == 12_000
