"""Each cause is found on its incident, and an innocent one is left alone."""
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from monitored_log import moment, world
from monitored_window import START, report, rescored, window

from model_ops.drift.parts import Figure
from model_ops.drift.profile import ColumnProfile
from model_ops.drift.compare import compare
from model_ops.drift.meaning import Meaning
from model_ops.monitor.again import Gap, Paired, compared, judged
from model_ops.monitor.broken import began, hanging, lacking, strange
from model_ops.monitor.cause import Cause, Loss, causes, code, explained, onsets, unfamiliar, wider
from model_ops.monitor.health import worse_of
from model_ops.monitor.logged import Broken
from model_ops.monitor.slices import slices
from model_ops.package.predictor import Prediction

pytestmark = pytest.mark.slow

LATER = pl.col("at") >= moment(START, 10).replace(tzinfo=None)
BROKE = "2026-01-11"


def later(frame): return frame.select(LATER).to_series().to_numpy()


def bad(inputs, score):
    "What a much worse version says."
    odds = np.log(score / (1 - score)) * 0.3 + np.cos(inputs["x0"].fill_null(0).to_numpy() * 20)
    return 1 / (1 + np.exp(-odds))


def worse_package(logged, folder, rows):
    "The second package says what the worse version says."
    said = rescored(logged, folder, rows)
    return said if folder.name != "package-2" else Prediction(bad(rows["inputs"].struct.unnest(), said.score), said.label, said.probabilities)


def narrow():
    "Only cases that are hard to tell apart: a mix of cases as it never was."
    return world(30, 1500, START, seed=5).filter(pl.col("x0").abs() < 0.35, pl.col("x1").abs() < 0.5)


def strangers():
    "Rows of a kind that training had few of, about which the model is wrong."
    frame, rng = world(30, 300, START, seed=5, shift=2.0, from_day=10), np.random.default_rng(5)
    turned = (pl.col("x0") > 2) & pl.Series(rng.random(frame.height) < 0.5)
    return frame.with_columns(returned=pl.when(turned).then(pl.when(pl.col("returned") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes"))).otherwise("returned"))


def spoilt(column, value): return lambda frame: frame.with_columns(pl.when(LATER).then(value).otherwise(column).alias(column))


INCIDENTS = {
    "nulls": (dict(nulls=0.3), "data quality", "watch", BROKE),
    "another unit": (dict(spoil=spoilt("x1", pl.col("x1") * 100)), "data quality", "watch", BROKE),
    "a column hangs": (dict(spoil=spoilt("x0", pl.lit(0.3))), "data quality", "watch", BROKE),
    "another code": (dict(spoil=spoilt("channel", pl.format("{}-x", "channel"))), "data quality", "watch", BROKE),
    "a rule is broken": (dict(violations=[Broken("x2", "range", "enforce", 900, 0.1, date(2026, 1, 11), 99.0)]), "data quality", "watch", BROKE),
    "a harder mix": (dict(frame=narrow), "drift that matters", "retrain", "2026-01-01"),
    "a harder mix, no labels": (dict(frame=narrow, share=0.0), "drift that matters", "retrain", "2026-01-01"),
    "a new kind of rows": (dict(frame=strangers), "drift that matters", "retrain", None),
    "another world": (dict(flip=0.25), "change of the world", "retrain", BROKE),
    "another world from the first day": (dict(flip=0.25, from_day=0), "change of the world", "retrain", "2026-01-01"),
    "another world, numbers": (dict(task="regression", flip=0.3), "change of the world", "retrain", BROKE),
    "another world, classes": (dict(task="multiclass", flip=0.5), "change of the world", "retrain", BROKE),
    "a worse version": (dict(versions=2, answers=lambda f, s: np.where(later(f), bad(f, s), s), score=worse_package), "new version", "roll back", BROKE),
    "a server that says other things": (dict(versions=2, answers=lambda f, s: np.where(later(f), np.clip(s + 0.05, 0, 1), s)), "code or configuration", "roll back", BROKE),
    "the same, nothing to go back to": (dict(answers=lambda f, s: np.where(later(f), np.clip(s + 0.05, 0, 1), s)), "code or configuration", "watch", BROKE),
    "a package that nobody knows": (dict(known=False), "code or configuration", "watch", None),
}


@pytest.mark.parametrize("name", INCIDENTS)
def test_each_incident_has_its_cause_its_day_and_its_conclusion(name):
    told, cause, conclusion, since = INCIDENTS[name]
    score = told.get("score", rescored)
    told = {k: v() if k == "frame" else v for k, v in told.items() if k != "score"}
    health = report(window(seed=5, **told), score=score)
    likely = [c.name for c in health.causes if c.verdict == "likely"]
    assert (health.conclusion, likely) == (conclusion, [cause]), health.summary
    if since is not None and health.cause(cause).since is not None:
        assert abs((date.fromisoformat(health.cause(cause).since) - date.fromisoformat(since)).days) <= 1
    assert health.causes[0].evidence and health.todo and health.reason in health.summary


def test_a_good_new_version_is_not_accused():
    health = report(window(versions=2, seed=4))
    assert health.cause("new version").verdict == "no" and health.paired.loss and not health.paired.worse and health.conclusion in ("fine", "watch")


def test_a_fault_that_is_over_and_touched_few_rows_is_no_conclusion():
    one_day = (pl.col("at") >= moment(START, 4).replace(tzinfo=None)) & (pl.col("at") < moment(START, 5).replace(tzinfo=None))
    spoil = lambda frame: frame.with_columns(x1=pl.when(one_day).then(None).otherwise("x1"))
    cause = report(window(seed=5, spoil=spoil)).cause("data quality")
    assert cause.verdict == "possible" and "over on 2026-01-05" in cause.evidence[0]


def test_a_shift_that_the_model_copes_with_asks_for_no_other_model():
    health = report(window(seed=5, rows=1500, shift=1.0, from_day=0))
    assert health.verdict.columns["x0"].outcome == "drifted" and health.conclusion in ("fine", "watch")
    assert health.cause("data quality").verdict == "no" and health.cause("change of the world").verdict == "no"


@pytest.mark.parametrize("bare", [dict(days=1, rows=50), dict(days=2, rows=15)], ids=["a day", "thirty rows"])
def test_a_regression_without_figures_is_no_crash(bare):
    logged = window(task="regression", seed=3, **bare)
    verdict = compare(logged.reference, logged.profile, contract=logged.served.contract, model=Meaning(outcome="not enough data", judged_by="labels", metrics={}, predictions=None, rows=50, labelled=50, assumption=""))
    lost = Loss({"mae": 0.1}, {}, {"mae": Figure(value=0.9, low=0.5, high=1.3)})
    found = causes(logged, verdict, [], loss=lost, gap=Gap(), paired=Paired())
    assert len(found) == 5 and worse_of(verdict, lost).by == "labels"


def test_a_gap_to_answers_that_are_no_numbers_has_no_size():
    told = code(Gap(rows=900, differing=90, share=0.1, largest=0.0, found=True)).evidence[0]
    assert "by up to" not in told and "no numbers" in told


def test_what_follows_from_a_likely_cause_is_at_most_possible():
    of = lambda name, verdict: Cause(name=name, verdict=verdict, evidence=["So."])
    five = [of("data quality", "likely"), of("code or configuration", "no"), of("new version", "no"), of("drift that matters", "likely"), of("change of the world", "likely")]
    assert [c.verdict for c in explained(five)] == ["likely", "no", "no", "possible", "possible"]
    assert explained(five[1:]) == five[1:]


def test_an_interval_for_more_questions_is_wider_and_around_the_same_value():
    figure = Figure(value=0.1, low=0.05, high=0.2)
    widths = [f.high - f.low for f in (wider(figure, k) for k in (1, 2, 3, 6, 12))]
    assert widths == sorted(widths) and wider(figure, 2).value == 0.1 and wider(figure, 1) == figure


def counted(counts, type="number", **more):
    return ColumnProfile(type=type, dtype=type, counts=counts, **(dict(edges=[0.0, 1.0, 2.0]) if type == "number" else dict(categories=["a", "b"])), **more)


def test_a_column_that_is_constant_within_a_day_by_nature_never_hangs():
    by_day = counted([[0, 0, 0, 90, 0, 0], [0, 0, 0, 0, 90, 0]])
    mixed = counted([[0, 0, 0, 50, 40, 0], [0, 0, 0, 40, 50, 0]])
    assert not hanging(by_day, by_day).any() and hanging(mixed, by_day).all() and not hanging(mixed, mixed).any()
    assert not hanging(mixed, counted([[0, 0, 0, 9, 0, 0]])).any()  # too few rows to say


def test_nulls_are_told_from_the_reference_own_worst_day():
    usual = counted([[5, 0, 0, 50, 45, 0], [20, 0, 0, 40, 40, 0]])
    assert not lacking(usual, usual, 0.02).any()
    assert lacking(usual, counted([[60, 0, 0, 20, 20, 0], [21, 0, 0, 40, 40, 0]]), 0.02).tolist() == [True, False]


def test_what_lies_beyond_the_reference_is_strange():
    assert strange(counted([[0, 0, 30, 30, 30, 10], [0, 0, 0, 1, 1, 0]])).tolist()[0] == 0.4
    assert np.isnan(strange(counted([[0, 0, 0, 1, 1, 0]]))[0]) and strange(counted([[0, 25, 0, 50, 25]], "category"))[0] == 0.25


def test_rows_of_a_new_kind_are_found_among_numbers_categories_and_nulls():
    was, now = counted([[0, 0, 0, 90, 10, 0]]), counted([[0, 0, 0, 50, 40, 10]])
    assert unfamiliar(was, now, pl.Series([0.5, 1.5, 9.0, None])).tolist() == [False, True, True, False]
    assert not unfamiliar(was, now, pl.Series(["x", "y"])).any()
    cells = counted([[0, 0, 0, 99, 1]], "category"), counted([[30, 10, 0, 30, 30]], "category")
    assert unfamiliar(*cells, pl.Series(["a", "b", "c", None])).tolist() == [False, True, True, True]


@pytest.mark.parametrize("day", [0, 1, 12, 29], ids=str)
def test_the_day_of_a_step_is_found(day):
    days = [str(date(2026, 3, 1) + timedelta(d)) for d in range(30)]
    assert began(days, [0.1] * day + [0.5] * (30 - day), [50] * 30, 0.1) == days[day]
    assert began([], [], []) is None


def test_refusals_that_begin_and_stay_are_an_onset_and_others_are_not():
    of = lambda days, **more: [dict(day=date(2026, 3, d), status=400, type="contract", column=more.get("column", "x1"), rule="null", times=30) for d in days]
    frame = lambda rows: pl.DataFrame(rows, schema={"day": pl.Date, "status": pl.Int64, "type": pl.String, "column": pl.String, "rule": pl.String, "times": pl.Int64})
    assert [day for _, day in onsets(frame(of(range(20, 32))), "2026-03-01", "2026-04-01")] == ["2026-03-20"]
    assert onsets(frame(of(range(1, 32)) + of(range(10, 15), column="x2")), "2026-03-01", "2026-04-01") == [] and onsets(None, "2026-03-01", "2026-04-01") == []


def test_rounding_is_no_gap_and_what_is_no_number_is_one():
    x = np.random.default_rng(0).random(5000)
    days = ["2026-03-01"] * 5000
    assert not compared(x.astype(np.float32), x, days).found
    assert compared(np.where(np.arange(5000) < 5, x + 0.1, x), x, days).found is False and compared(np.where(np.arange(5000) < 6, x + 0.1, x), x, days).found is True
    assert compared(np.where(np.arange(5000) < 9, np.nan, x), x, days).found
    assert not compared(1e6 * x + 1, 1e6 * x + 1.5, days).found or (1e6 * x < 5e3).mean() > 1e-3  # of a number, by its size


def test_days_too_few_or_one_class_settle_nothing_between_versions():
    about, rng = dict(version="2", predecessor="1", margin={"roc_auc": 0.03, "log_loss": 0.03}), np.random.default_rng(0)
    y, s = rng.integers(0, 2, 300), rng.random(300)
    few = judged(y, {"before": s, "now": 1 - s}, np.arange(300) // 100, "binary", about)
    assert not few.worse and not few.loss and "3 days" in few.obstacle
    assert "one class" in judged(np.ones(300, int), {"before": s, "now": s}, np.arange(300) // 10, "binary", about).obstacle


def test_slices_share_their_error_rate_and_missing_values_are_one():
    rng, day = np.random.default_rng(1), date(2026, 3, 1)
    row = lambda value, d, more=0.0: dict(column="shop", value=value, day=day + timedelta(d), labelled=40, loss_sum=float(rng.normal(0.5 + more, 0.2, 40).sum()))
    calm = [row(f"s{k}", d) for d in range(30) for k in range(20)]
    assert not any(s.worse for s in slices(pl.DataFrame(calm)))
    found = slices(pl.DataFrame([*calm, *(row(None, d, 0.2) for d in range(30))], schema_overrides={"value": pl.String}))
    assert [s.value for s in found if s.worse] == ["missing"] and found[0].rows == 1200
    assert slices(pl.DataFrame(calm).clear()) == [] and slices(pl.DataFrame(calm[:40])) == []
