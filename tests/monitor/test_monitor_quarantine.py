"The door of training: sound days enter whatever they look like, broken ones do not; measured on worlds that are known, and on a year of flights."
from functools import cache

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_ops.data import source
from model_ops.data.contract import learn
from model_ops.drift.profile import Profile
from model_ops.errors import DataError
from model_ops.monitor import damage
from model_ops.monitor.quarantine import ALPHA, Quarantine, inspect

pytestmark = pytest.mark.slow

DAYS, ROWS = 60, 300


def world(seed, days=DAYS, rows=ROWS, start="2026-01-01", move=0.0, widen=0.0, more=0.0, forget=0.0, appear=0.0, vanish=0.0, rest=False):
    "Days of rows and the score of a model that knew the truth; each kind of drift grows from nothing to what is told."
    rng, n = np.random.default_rng([seed, days]), days * rows
    t = np.repeat(np.arange(days), rows)
    d = t / (days - 1)
    wind = (rng.normal(size=days)[t] * 0.5 + rng.normal(size=n)) * (1 + widen * d) + move * d  # rows of a day hang together
    kind = np.where(rng.random(n) < appear * d, "new", rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1]))
    rain = np.where(rng.random(days)[t] < 0.5, 0.0, rng.exponential(1, n).round(1))
    tier = np.where(rng.random(n) < (0.2 * np.clip(1 - 1.5 * d, 0, 1) if rest else 0.2), "gold", "plain")
    temp = np.where(rng.random(n) < vanish * d, np.nan, 10 + rng.normal(size=n).round(1))
    score = 1 / (1 + np.exp(1.2 - wind - 0.5 * (kind == "b")))
    truth = 1 / (1 + np.exp(1.2 - more * d - (1 - forget * d) * (wind + 0.5 * (kind == "b"))))
    at = np.datetime64(start) + t.astype("timedelta64[D]") + (rng.random(n) * 86_400).astype("timedelta64[s]")
    return pl.DataFrame({"at": at.astype("datetime64[us]"), "wind": wind, "kind": kind, "rain": rain, "tier": tier, "temp": temp, "late": rng.random(n) < truth, "score": score}, nan_to_null=True).sort("at")


@cache
def learned():
    "Old data, their contract and their profile."
    old = world(10_000, 90, start="2025-10-03").drop("score")
    contract = learn(old, target="late", time="at", positive="true")
    contract = contract.model_copy(update=dict(columns={n: c.model_copy(update=dict(nullable=n == "temp")) for n, c in contract.columns.items()}))
    return old, contract, Profile.of(old, contract=contract)


def ask(frame, **more):
    old, contract, reference = learned()
    return inspect(frame.drop("score"), contract, reference, **{"score": frame["score"].to_numpy(), "old": old, **more})


def on(day): return pl.col("at").dt.strftime("%Y-%m-%d") == day


def found(report): return {(b.day, e.rule, e.column) for b in report.quarantined for e in b.evidence}


STILL, DRIFTS = {}, {"everything": dict(move=1.5, widen=1.0, more=1.5, forget=1.0, appear=0.3, vanish=0.3), "columns move": dict(move=4.0, widen=2.0), "more positives": dict(more=3.0),
                     "the model forgets": dict(forget=1.0), "a level appears": dict(appear=0.9), "values vanish": dict(vanish=0.95), "a column comes to rest": dict(rest=True)}


@pytest.mark.parametrize("how", [STILL, *DRIFTS.values()], ids=["stands still", *DRIFTS])
def test_sound_days_enter(how):
    report = ask(world(1, **how))
    assert not report.quarantined and len(report.clean) == report.rows == DAYS * ROWS and report.badge == "all enter"


@pytest.mark.slow
def test_false_rate_of_many_worlds():
    "Of sound reports, no more have any day held back than alpha allows (binomial, 99 %)."
    reports = [bool(ask(world(100 + seed)).quarantined) for seed in range(60)] + [bool(ask(world(300 + seed, **how)).quarantined) for how in DRIFTS.values() for seed in range(8)]
    assert sum(reports) <= 4 and ALPHA == 0.01  # P(Binomial(116, 0.01) > 4) = 0.7 %


BROKEN = {
    "violations": ("violations", "", lambda f: f.with_columns(wind=pl.when(on("2026-01-20") & (pl.col("wind") > 0.5)).then(None).otherwise("wind"))),
    "copied from new days": ("copied day", "", lambda f: pl.concat([f.filter(~on("2026-01-20")), f.filter(on("2026-01-13")).with_columns(pl.col("at").dt.offset_by("7d"))])),
    "copied in part": ("copied day", "", lambda f: pl.concat([f.filter(~on("2026-01-20")), f.filter(on("2026-01-20"))[:80], f.filter(on("2026-01-13"))[:220].with_columns(pl.col("at").dt.offset_by("7d"))])),
    "copied from old days": ("copied day", "", lambda f: pl.concat([f.filter(~on("2026-01-20")), learned()[0].filter(on("2025-12-20")).with_columns(pl.col("at").dt.offset_by("31d"), score=0.3).select(f.columns)])),
    "a number stands still": ("constant column", "wind", lambda f: f.with_columns(wind=pl.when(on("2026-01-20")).then(0.0).otherwise("wind"))),
    "a category stands still": ("constant column", "kind", lambda f: f.with_columns(kind=pl.when(on("2026-01-20")).then(pl.lit("a")).otherwise("kind"))),
    "a column is missing": ("constant column", "temp", lambda f: f.with_columns(temp=pl.when(on("2026-01-20")).then(None).otherwise("temp"))),
    "no answer is positive": ("constant column", "late", lambda f: f.with_columns(late=pl.when(on("2026-01-20")).then(pl.lit(False)).otherwise("late"))),
    "labels are turned round": ("flipped labels", "", lambda f: f.with_columns(late=pl.when(on("2026-01-20")).then(~pl.col("late")).otherwise("late"))),
}


@pytest.mark.parametrize("drift", [STILL, DRIFTS["columns move"]], ids=["world stands still", "world drifts"])
@pytest.mark.parametrize("what", BROKEN.values(), ids=BROKEN)
def test_damage_is_found_on_its_day(what, drift):
    rule, column, spoil = what
    frame = spoil(world(3, **drift)).sort("at")
    report = ask(frame)
    assert found(report) == {("2026-01-20", rule, column)}
    assert report.clean.filter(on("2026-01-20")).is_empty() and list(report.kept_apart) == ["2026-01-20"] and len(report.kept_apart["2026-01-20"]) == report.held
    assert len(report.clean) + report.held + report.rejected == report.rows == frame.height


@pytest.mark.slow
@pytest.mark.parametrize("what", BROKEN.values(), ids=BROKEN)
def test_damage_is_found_in_many_worlds(what):
    rule, column, spoil = what
    reports = [found(ask(spoil(world(500 + seed)).sort("at"))) for seed in range(10)]
    hits = sum(("2026-01-20", rule, column) in r for r in reports)
    assert hits >= (8 if rule == "flipped labels" else 10)
    assert all(day == "2026-01-20" for r in reports for day, *_ in r)


def test_weeks_of_damage_are_found_whole():
    weeks = pl.col("at").is_between(pl.datetime(2026, 1, 20), pl.datetime(2026, 2, 3), closed="left")
    report = ask(world(4).with_columns(wind=pl.when(weeks).then(0.0).otherwise("wind"), late=pl.when(weeks).then(~pl.col("late")).otherwise("late")))
    assert {b.day for b in report.quarantined} == {f"2026-01-{d}" for d in range(20, 32)} | {"2026-02-01", "2026-02-02"}


def test_a_world_that_turns_round_is_no_flipped_label():
    "What was sure comes true less often, and the rare class stays rare: that is drift."
    frame = world(5)
    rare = 1 / (1 + np.exp(3 - frame["wind"].to_numpy()))
    turned = np.random.default_rng(0).random(frame.height) < np.sort(rare)[::-1][np.argsort(np.argsort(rare))]
    tested = damage.flipped(rare, turned.astype(int), frame["at"].dt.strftime("%Y-%m-%d"), "binary")
    assert tested.tests == DAYS and not tested.signs


def test_rows_of_few_levels_repeat_without_being_copies():
    rng = np.random.default_rng(0)
    days = pl.Series([f"2026-01-{d:02}" for d in range(1, 31) for _ in range(200)])
    few = pl.DataFrame({"a": rng.integers(0, 3, 6_000), "b": rng.integers(0, 2, 6_000)})
    assert not damage.copied(few, days, None, None, ["a", "b"]).signs
    copied = pl.concat([few[:2_000], few[1_000:1_200], few[2_200:]])
    assert [s.day for s in damage.copied(copied, days, None, None, ["a", "b"]).signs] == ["2026-01-11"]


def test_a_copy_that_lost_digits_on_the_way_is_a_copy():
    "Tables often keep 32 bits of a fraction, requests bring decimals."
    old, contract, reference = learned()
    frame = BROKEN["copied from old days"][2](world(3)).sort("at").with_columns(pl.col("wind", "temp", "rain").cast(pl.Float32))
    assert found(ask(frame)) == {("2026-01-20", "copied day", "")}


def test_a_timetable_is_no_copy():
    days = pl.Series([f"2026-01-{d:02}" for d in range(1, 31) for _ in range(40)])
    week = pl.DataFrame({"x": [(i % 40) * (1 + (i // 40) % 7) for i in range(1_200)]})
    tested = damage.copied(week, days, None, None, ["x"])
    assert not tested.signs and "cannot be told" in tested.untested


def test_a_feed_that_got_stuck_is_found_against_old_days():
    frame = world(6)
    stuck = pl.concat([frame.filter(pl.col("at") < pl.datetime(2026, 1, 11)), *(frame.filter(on("2026-01-10")).with_columns(pl.col("at").dt.offset_by(f"{k}d")) for k in range(1, 40))])
    report = ask(stuck)
    assert len(report.quarantined) == 39 and {e.rule for b in report.quarantined for e in b.evidence} == {"copied day"}


def test_a_few_broken_rows_are_left_out_and_accuse_no_day():
    report = ask(world(7).with_columns(wind=pl.when(pl.int_range(pl.len()) % 100 == 0).then(None).otherwise("wind")))
    assert not report.quarantined and report.rejected == 180 and len(report.clean) == DAYS * ROWS - 180 and "180 single rows" in report.summary


def test_what_is_always_broken_holds_every_day_back_only_where_most_of_it_is():
    assert not ask(world(8).with_columns(wind=pl.when(pl.int_range(pl.len()) % 3 == 0).then(None).otherwise("wind"))).quarantined
    assert len(ask(world(8).with_columns(wind=pl.when(pl.int_range(pl.len()) % 5 != 0).then(None).otherwise("wind"))).quarantined) == DAYS


def test_values_that_cannot_be_read_are_broken_rows():
    frame = world(9).with_columns(wind=pl.when(on("2026-01-20")).then(pl.lit("n/a")).otherwise(pl.col("wind").cast(pl.String)))
    report = ask(frame)
    assert found(report) == {("2026-01-20", "violations", "")} and "wind (type, 300)" in report.quarantined[0].evidence[0].sentence and report.clean.schema["wind"] == pl.Float64


def test_a_strange_number_of_rows_only_informs():
    frame = world(10).filter(~on("2026-01-20") | (pl.int_range(pl.len()) % 20 == 0))
    report = ask(frame)
    assert not report.quarantined and [b.day for b in report.batches if b.informs] == ["2026-01-20"] and "Noticed, and let in" in report.display()


def test_a_person_lets_days_and_columns_in():
    spoilt = world(11).with_columns(wind=pl.when(on("2026-01-20")).then(0.0).otherwise("wind"), kind=pl.when(on("2026-01-25")).then(pl.lit("a")).otherwise("kind"))
    report = ask(spoilt, accept=["2026-01-20", "kind"])
    assert not report.quarantined and [b.day for b in report.batches if b.accepted] == ["2026-01-20", "2026-01-25"] and "accepted" in report.display()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1_000_000))
def test_the_order_of_the_rows_says_nothing(seed):
    spoilt = BROKEN["copied from new days"][2](world(12, days=40)).with_columns(late=pl.when(on("2026-01-27")).then(~pl.col("late")).otherwise("late"))
    mixed = spoilt[np.random.default_rng(seed).permutation(spoilt.height)]
    assert ask(mixed).to_json() == ask(spoilt).to_json()


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_flipped_labels_of_other_tasks(task):
    rng, days = np.random.default_rng(0), pl.Series([f"2026-01-{d:02}" for d in range(1, 31) for _ in range(400)])
    day = (days == "2026-01-17").to_numpy()
    if task == "regression":
        said = rng.normal(size=12_000)
        truth = said + rng.normal(size=12_000)
        wrong = np.where(day, -truth, truth)
    else:
        said = rng.dirichlet([0.5] * 3, 12_000)
        truth = (rng.random((12_000, 1)) > said.cumsum(axis=1)[:, :2]).sum(axis=1)
        wrong = np.where(day, (truth + 1) % 3, truth)
    assert not damage.flipped(said, truth, days, task).signs
    assert [s.day for s in damage.flipped(said, wrong, days, task).signs if s.p < 1e-4] == ["2026-01-17"]


def test_what_cannot_be_asked_is_said():
    old, contract, reference = learned()
    weekly = Profile.of(old, contract=contract, chunk="1w")
    report = inspect(world(13, days=3).drop("score"), contract, weekly)
    assert len(report.untested) == 2 and "counted by 1w" in report.untested[0] and "No scores" in report.untested[1]
    short = inspect(world(13, days=3).drop("score"), contract, Profile.of(old.filter(pl.col("at") < pl.datetime(2025, 10, 8)), contract=contract), score=np.full(3 * ROWS, np.nan))
    assert any("fewer than 10 days" in s for s in short.untested) and any("flipped labels cannot be told" in s for s in short.untested) and any("copied" in s or "Only 0 days" in s for s in short.untested)


def test_a_record_comes_back_without_its_rows(tmp_path):
    report = ask(BROKEN["violations"][2](world(14)))
    again = Quarantine.load(report.save(tmp_path / "quarantine.json"))
    assert again == Quarantine.from_json(report.to_json()) and str(again.display()) == str(report.display())
    with pytest.raises(DataError, match="holds no rows"): _ = again.clean


@pytest.mark.parametrize(("change", "words"), [(lambda f: f.drop("at"), "no column 'at'"), (lambda f: f.clear(), "no new rows"), (lambda f: f.with_columns(at=pl.lit(None, pl.Datetime("us"))), "no value that can be read")], ids=["no time", "no rows", "no moment"])
def test_rows_that_belong_to_no_day(change, words):
    old, contract, reference = learned()
    with pytest.raises(DataError, match=words): inspect(change(old), contract, reference)


def test_rows_without_a_time_are_broken_rows():
    report = ask(world(15).with_columns(at=pl.when(pl.int_range(pl.len()) < 7).then(None).otherwise("at")))
    assert not report.quarantined and report.rejected == 7


def test_foreign_names_are_escaped():
    report = ask(BROKEN["a category stands still"][2](world(16)).with_columns(kind=pl.col("kind").replace("a", "<script>a")))
    assert "<script>" not in report.display() and "&lt;script&gt;a" in report.display()


@pytest.mark.slow
def test_a_year_of_flights_enters_but_for_the_day_without_weather():
    flights = source.read("flights").frame
    first, rest = flights.filter(pl.col("departure") < pl.datetime(2013, 4, 1)), flights.filter(pl.col("departure") >= pl.datetime(2013, 4, 1))
    contract = learn(first, target="late", time="departure", positive="true")
    report = inspect(rest, contract, Profile.of(first, contract=contract), old=first)
    assert len(report.batches) == 275 and [b.day for b in report.quarantined] == ["2013-12-31"]
    assert {e.column for e in report.quarantined[0].evidence} == {"temp", "dewp", "humid", "wind_dir", "wind_speed", "pressure"} and rest.filter(pl.col("departure") >= pl.datetime(2013, 12, 31))["temp"].null_count() == 759
