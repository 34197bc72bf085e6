"""The record and its conclusion: calm worlds stay calm, and what is said is what is so."""
import dataclasses
from datetime import UTC, datetime

import polars as pl
import pytest
from monitored_log import make, moment
from monitored_window import START, report, rescored, window

from model_ops.drift.compare import compare
from model_ops.drift.meaning import judge
from model_ops.data.contract import Contract
from model_ops.errors import PackageError
from model_ops.monitor.health import CONCLUSIONS, Health, assess, training_of
from model_ops.monitor.levels import Level, Levels, look
from model_ops.monitor.logged import Broken, read
from model_ops.monitor.maturity import Expected, mature
from model_ops.monitor.window import Span

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
