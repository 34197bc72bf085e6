"""How complete labels are, and the metric as of a day: no label of tomorrow, no alarm without reason, none that is missed."""
import dataclasses
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
import monitored_log
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings as limits, strategies as st
from monitored_window import window
from sklearn.metrics import log_loss, mean_absolute_error
from model_ops.errors import ParameterError
from model_ops.monitor import logged as log
from model_ops.monitor.asof import Sums, course, seen_on, summed
from model_ops.monitor.maturity import Cohorts, Expected, Maturity, cohorts, complete, curve, due, flowing, mature
from model_ops.monitor.window import Span
from model_ops.params import Parameter, check
from model_ops.predictions import labels

pytestmark = pytest.mark.slow

START, END = date(2026, 1, 1), datetime(2026, 2, 10, tzinfo=UTC)


def read(book, until=END, as_of=None, days=40):
    "The log of a workbook up to a moment, with the labels that had come by another."
    return log.read(book, Span(until - timedelta(days), until, as_of or until, "event"), told=None)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    "40 days of 60 orders; labels come late, and every fortieth is put right later."
    made = monitored_log.make(tmp_path_factory.mktemp("maturity") / "book", rows=60, label_delay_days=3, label_share=0.9)
    told = monitored_log.labels(made).filter(pl.int_range(pl.len()) % 40 == 0)
    for day in (15, 30, 42):
        some = told.filter((pl.col("arrived") < monitored_log.moment(START, day)) & (pl.int_range(pl.len()) % 3 == day % 3))
        labels.add(Path(made.section("log")["folder"]), some.select("request_id", "row", label=pl.when(pl.col("label") == "yes").then(pl.lit("no")).otherwise(pl.lit("yes"))), arrived=monitored_log.moment(START, day))
    return made


# ---------------------------------------------------------------- as of a day

def seen(found, last):
    "What was seen on the days up to one, without what only the length of the window decides."
    return [a.model_dump(exclude={"final"}) for a in found if a.day <= last]


@pytest.mark.parametrize("day", [12, 20, 33], ids="day {}".format)
def test_what_was_seen_on_a_day_is_what_the_log_of_that_evening_says(book, day):
    evening = monitored_log.moment(START, day)
    late = mature(read(book, as_of=END + timedelta(20)), Expected())
    then = mature(read(book, until=evening, days=day), Expected())
    assert seen(late.as_of, START + timedelta(day - 1)) == seen(then.as_of, START + timedelta(day - 1)) and len(then.as_of) == day
    assert then.newest.labelled < next(a.labelled for a in late.as_of if a.final)


def test_a_span_that_has_ended_ripens_and_then_stays(book):
    found = mature(read(book, as_of=END + timedelta(12)), Expected()).as_of
    assert [a.final for a in found] == [a.day >= date(2026, 2, 16) for a in found] and found[-1].day == date(2026, 2, 21)
    assert all(a.bias == 0 for a in found if a.final) and found[39].bias > 0 and found[0].bias is None


@limits(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(0, 25))
def test_no_label_of_tomorrow_changes_what_is_seen_today(seed, day):
    rng = np.random.default_rng(seed)
    n = rng.poisson(4, (20, 12))
    loss = n*rng.gamma(2, 0.3, n.shape)
    sums = Sums(START, n.sum(axis=1) + 5.0, n, loss, loss**2)
    tomorrow = np.add.outer(np.arange(20), np.arange(12)) > day
    other = dataclasses.replace(sums, n=n + 7*tomorrow, loss=np.where(tomorrow, 99.0, loss), square=np.where(tomorrow, 999.0, loss**2))
    assert seen_on(sums, day, 7) == seen_on(other, day, 7)


@pytest.mark.filterwarnings("ignore:The y_prob values")  # float32 probabilities
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_newest_value_is_scikit_learns_on_the_joined_table(tmp_path, task):
    made = monitored_log.make(tmp_path, days=20, rows=30, task=task, label_delay_days=2, label_share=0.8)
    found = mature(read(made, until=monitored_log.moment(START, 20), days=20), Expected())
    joined = labels.join(log.log.scan(Path(made.section("log")["folder"])), monitored_log.labels(made), as_of=monitored_log.moment(START, 20)).collect().filter(pl.col("actual").is_not_null())
    if task == "regression": exact = mean_absolute_error(joined["actual_number"], joined["score"])
    elif task == "binary": exact = log_loss(joined["actual"] == "yes", joined["score"])
    else: exact = log_loss(joined["actual"], joined["probabilities"].to_list(), labels=["high", "low", "mid"])
    assert found.newest.value == pytest.approx(exact, rel=1e-5) and found.newest.labelled == joined.height and found.metric == ("mae" if task == "regression" else "log_loss")


def test_days_begin_where_the_contract_says():
    "Seven in the evening in New York is tomorrow in London; labels at nine in the evening are of the same day."
    at = pl.Series([datetime(2026, 1, 2, 0, tzinfo=UTC), datetime(2026, 1, 2, 12, tzinfo=UTC)])
    rows = pl.DataFrame({"time": at, "arrived": at + timedelta(hours=2), "loss": [1.0, 3.0]})
    days = pl.DataFrame({"day": [date(2026, 1, 1), date(2026, 1, 2)], "rows": [1, 1]})
    found = course(summed(days, rows, zone="America/New_York"), datetime(2026, 1, 3, 6, tzinfo=UTC), 1)
    assert [(a.day.day, a.labelled, a.value) for a in found] == [(1, 1, 1.0), (2, 2, 2.0)]
    assert len(course(summed(days, rows, zone="America/New_York"), datetime(2026, 1, 3, 4, tzinfo=UTC), 1)) == 1
    delays = pl.DataFrame({"day": [date(2026, 1, 1)], "delay_days": [0], "labels": [1]})
    assert [cohorts(days, delays, END, datetime(2026, 1, 3, 4, tzinfo=UTC), zone).ages.tolist() for zone in ("", "America/New_York")] == [[1, 0], [0, 0]]


def test_the_bias_covers_where_the_value_ends_up():
    "What goes wrong is known later: the value moves, by no more than is said."
    kept, moved = 0, []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n = rng.poisson(60, 30)
        quick, slow = np.array([.5, .25, .12, .06, .04, .02, .01, 0]), np.array([.05, .1, .15, .2, .2, .15, .1, .05])
        good, bad = (np.stack([rng.multinomial(m, p) for m in rng.binomial(n, share)]) for share, p in ((.7, quick), (.2, slow)))
        loss, square = good*.2 + bad*1.5, good*.04 + bad*2.25
        s = Sums(START, n.astype(float), good + bad, loss, square)
        now, end = seen_on(s, 29, 8), seen_on(s, 45, 8)
        moved.append(abs(end.value - now.value))
        kept += moved[-1] <= now.bias
    assert np.mean(moved) > 0.01 and kept >= 38


# ---------------------------------------------------------------- how labels come

def drawn(rng, days=30, rows=300, share=.95, mean=1.5, weekly=False, wild=0.0, stopped=None) -> Cohorts:
    "Days of predictions; labels after a gamma delay, or each Monday only; days may differ (`wild`); from `stopped` on none arrive."
    n = rng.poisson(rows, days)
    counts = np.zeros((days, days + 1))
    for d in range(days):
        at = d + rng.random(n[d])
        arrives = at + rng.gamma(1.5, mean/1.5, n[d])*np.exp(2*wild*rng.normal())
        if weekly: arrives = np.ceil(arrives/7)*7
        came = (rng.random(n[d]) < share + wild*rng.normal()) & (arrives < (days if stopped is None else stopped))
        np.add.at(counts[d], (arrives - at)[came].astype(int), 1)
    return Cohorts([START + timedelta(d) for d in range(days)], n.astype(float), counts, np.arange(days)[::-1])


STATIONARY = {"plain": {}, "little traffic": dict(rows=30), "slow": dict(mean=4), "weekly": dict(weekly=True), "unequal days": dict(wild=.1, mean=3), "just enough": dict(share=.9)}
BROKEN = {"two days ago": dict(stopped=28), "five days ago": dict(stopped=25), "little traffic": dict(stopped=27, rows=30), "unequal days": dict(stopped=27, wild=.1), "a thin source": dict(share=.8)}


@pytest.mark.parametrize("told", STATIONARY.values(), ids=list(STATIONARY))
def test_a_stationary_year_raises_no_alarm(told):
    rng, expected = np.random.default_rng(1), Expected(within_days=14 if told.get("weekly") or told.get("mean", 0) > 2 else 7)
    alarms = sum(bool(complete(c, expected).missing) or bool(flowing(c, expected).missing) for c in (drawn(rng, **told) for _ in range(52)))
    assert alarms <= (3 if told.get("share") else 0)


@pytest.mark.parametrize("told", BROKEN.values(), ids=list(BROKEN))
def test_missing_labels_are_found(told):
    rng = np.random.default_rng(2)
    for c in (drawn(rng, **told) for _ in range(10)):
        found = [q for q in (complete(c, Expected()), flowing(c, Expected())) if q.missing]
        assert found and ("stopped" not in told or abs((found[-1].since - START).days - told["stopped"]) <= 5)


def test_the_curve_counts_days_only_as_far_as_they_are_old_enough():
    c = Cohorts([START, START + timedelta(1)], np.array([100.0, 100.0]), np.array([[50, 25, 5], [40, 3, 0]]), np.array([2, 1]))
    assert curve(c) == pytest.approx([0, .45, .45 + .55*.5])
    assert curve(c, np.array([0, 0])).tolist() == [0]
    assert due(c, Expected(within_days=2, share=.8)) == pytest.approx([.8, .8*.45/.725])


@limits(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_shares_stay_shares(seed):
    rng = np.random.default_rng(seed)
    c = drawn(rng, days=int(rng.integers(1, 25)), rows=int(rng.integers(0, 40)), mean=float(rng.uniform(.1, 9)))
    found = curve(c)
    assert (np.diff(found) >= 0).all() and 0 <= found[-1] <= 1 and (due(c, Expected()) <= .9).all()


def test_nothing_is_said_from_nothing():
    c = drawn(np.random.default_rng(0), days=5)
    assert complete(c, Expected()).missing is None and "No label is overdue" in complete(c, Expected()).sentence
    assert flowing(drawn(np.random.default_rng(0), days=4, rows=3), Expected()).missing is None


# ---------------------------------------------------------------- the record

def test_the_record_of_a_window():
    found = mature(window(days=30, rows=100, delay=2.0, share=.97), Expected())
    assert not found.missing and .8 < found.share < found.comes <= 1 and found.quick["half"] <= found.quick["most"] <= 7
    assert [d.state for d in found.days] == ["complete"]*23 + ["not complete yet"]*7 and len(found.open) == 7
    again = Maturity.from_json(found.to_json())
    assert again == found and "<script" not in str(again.__html__()) and "not complete yet" in str(again.__html__())


def test_labels_that_stopped_are_named_with_their_days():
    logged = window(days=30, rows=100, delay=1.0)
    cut = monitored_log.moment(START, 24)
    rows = logged.labelled_rows.filter(pl.col("arrived") < cut)
    kept = rows.with_columns(delay_days=(pl.col("arrived") - pl.col("time")).dt.total_days()).group_by("day", "delay_days").agg(labels=pl.len())
    found = mature(dataclasses.replace(logged, labelled_rows=rows, delays=kept), Expected())
    assert found.missing and found.summary.startswith("Labels are missing") and abs((found.since - START).days - 24) <= 2
    assert found.days[-2].state == "labels missing" and found.days[10].state == "complete" and "labels missing" in str(found.__html__())


def test_no_labels_at_all_and_no_predictions():
    logged = window(days=20, rows=50)
    bare = dataclasses.replace(logged, labelled_rows=logged.labelled_rows.clear(), delays=logged.delays.clear(), labelled=None, labels={})
    found = mature(bare, Expected())
    assert found.missing and found.share == 0 and found.newest.value is None and found.comes == 0
    empty = mature(dataclasses.replace(bare, days=logged.days.clear()), Expected())
    assert not empty.missing and empty.share is None and empty.newest is None and "no predictions" in empty.summary


@pytest.mark.parametrize("told", [{"within_days": 0}, {"share": 1.2}, {"within": 3}], ids=str)
def test_the_block_names_what_cannot_be(told):
    with pytest.raises(ParameterError, match=next(iter(told))): check({"labels": told}, {"labels": Parameter("labels", "model_ops.monitor.maturity:Expected", {}, "")}, "params/monitor.yaml")
