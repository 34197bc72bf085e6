"Windows: half-open, never overlapping, never empty in silence; every row is in one or counted."
from datetime import date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import assume, given, settings, strategies as st
from model_ops.data.windows import Windows, sample, split, thin
from model_ops.errors import DataError

DAYS = pl.DataFrame({"at": [datetime(2024, 1, 1) + timedelta(hours=h) for h in range(240)], "late": [h % 4 == 0 for h in range(240)], "n": range(240)})
TWO = {"train": ["2024-01-01", "2024-01-08"], "test": ["2024-01-08", "2024-01-11"]}


def test_a_window_contains_its_from_and_not_its_to():
    cut = split(DAYS, TWO, time="at", target="late")
    assert cut.frames["train"]["at"].max() == datetime(2024, 1, 7, 23) and cut.frames["test"]["at"].min() == datetime(2024, 1, 8)
    assert [w.model_dump(mode="json") for w in cut.windows] == [
        {"name": "train", "rows": 168, "from": "2024-01-01", "to": "2024-01-08", "target_share": 0.25, "target_mean": None},
        {"name": "test", "rows": 72, "from": "2024-01-08", "to": "2024-01-11", "target_share": 0.25, "target_mean": None}]
    assert "no row lies outside" in cut.record.summary


def test_every_way_to_write_a_bound_is_the_same():
    expected = split(DAYS, TWO, time="at").record
    for a, b in ((date(2024, 1, 8), date(2024, 1, 11)), (datetime(2024, 1, 8), "2024-01-11T00:00:00"), ("2024-01-08 00:00", datetime(2024, 1, 11))):
        assert split(DAYS, {"train": {"from": "2024-01-01", "to": a}, "test": {"from": a, "to": b}}, time="at").record == expected


def test_open_ends_reach_to_the_ends_of_the_table():
    cut = split(DAYS, {"train": [None, "2024-01-08"], "test": ["2024-01-08", ""]}, time="at")
    assert sum(map(len, cut.frames.values())) == 240 and cut.windows[0].start == "2024-01-01" and cut.windows[1].end == "2024-01-10T23:00:00.000001"
    assert len(split(DAYS, {"test": {"from": "2024-01-08"}}, time="at").frames["test"]) == 72


def test_rows_outside_and_without_a_time_are_counted():
    frame = pl.concat([DAYS, pl.DataFrame({"at": [None], "late": [True], "n": [-1]}, schema=DAYS.schema)])
    cut = split(frame, {"test": ["2024-01-03", "2024-01-05"]}, time="at")
    assert (cut.record.outside, cut.record.untimed) == (192, 1) and "192 lie outside, 1 have no at" in cut.record.summary


def test_rows_are_put_in_order_and_it_is_said():
    cut = split(DAYS.reverse(), TWO, time="at")
    assert cut.frames["train"]["at"].is_sorted() and cut.record.notes == ["The rows were put in the order of at."]
    assert split(DAYS, TWO, time="at").record.notes == []


@pytest.mark.parametrize("windows, words", [
    ({"a": ["2024-01-01", "2024-01-05"], "b": ["2024-01-04", "2024-01-06"]}, "'a' and 'b' overlap: 'b' begins at 2024-01-04, 'a' ends at 2024-01-05"),
    ({"a": ["2024-01-01", "2024-01-05"], "b": ["2024-01-01", "2024-01-05"]}, "overlap"), ({"a": ["2024-01-05", "2024-01-01"]}, "ends .* before it begins"), ({"a": ["2024-01-05", "2024-01-05"]}, "before it begins"),
    ({"a": ["2025-01-01", "2025-02-01"]}, "'a' .2025-01-01 to 2025-02-01. has no rows. The table runs from 2024-01-01 to 2024-01-10T23:00:00"), ({"a": ["2024-13-01", ""]}, "from is '2024-13-01'"),
    ({"a": ["2024-01-01T00:00+02:00", ""]}, "without a zone"), ({"a": ["soon", ""]}, "a date or a time such as"), ({"a": 0.5, "b": ["2024-01-01", ""]}, "mix shares .a. and bounds"),
    ({"a": 0.6, "b": 0.5}, "sum is at most 1"), ({"a": 0, "b": 0.5}, "above 0"), ({"a": ["2024-01-01"]}, "A window is"), ({"a": {"form": "2024-01-01"}}, "A window is"), ({"a": "0.5"}, "A window is"), ({}, "no windows"), ({"a": 0.001, "b": 0.9}, "'a' .* has no rows"),
])
def test_refused(windows, words):
    with pytest.raises(DataError, match=words): split(DAYS, windows, time="at")


def test_wrong_columns():
    with pytest.raises(DataError, match="no column 'att'. Did you mean 'at'"): split(DAYS, TWO, time="att")
    with pytest.raises(DataError, match="no time column is named"): split(DAYS, TWO)
    with pytest.raises(DataError, match="holds String"): split(DAYS.with_columns(pl.col("at").cast(pl.String)), TWO, time="at")
    with pytest.raises(DataError, match="has no value"): split(DAYS.with_columns(at=pl.lit(None, pl.Datetime)), TWO, time="at")
    with pytest.raises(DataError, match="no rows"): split(DAYS.clear(), TWO, time="at")


def test_dates_zones_and_numbers_are_times_too():
    by_day = split(DAYS.with_columns(pl.col("at").dt.date()), TWO, time="at")
    zoned = split(DAYS.with_columns(pl.col("at").dt.replace_time_zone("Europe/Berlin")), TWO, time="at")
    assert [w.rows for w in by_day.windows] == [w.rows for w in zoned.windows] == [168, 72] and by_day.windows[1].end == "2024-01-11"
    assert zoned.windows[0].start.startswith("2024-01-01T00:00:00+01:00")
    numbers = split(DAYS, {"train": [0, 100], "test": [100, None]}, time="n", target="n")
    assert [(w.rows, w.start, w.end, w.target_mean) for w in numbers.windows] == [(100, 0, 100, 49.5), (140, 100, 240, 169.5)]


def test_shares_by_row_order():
    cut = split(DAYS, {"train": 0.6, "validation": 0.2, "test": 0.2}, target="late")
    assert [(w.name, w.rows, w.start, w.end) for w in cut.windows] == [("train", 144, 0, 144), ("validation", 48, 144, 192), ("test", 48, 192, 240)]
    assert pl.concat(cut.frames.values()).equals(DAYS)
    assert split(DAYS, {"train": 0.5}).record.outside == 120


def test_shares_of_a_time_never_part_an_instant():
    frame = pl.DataFrame({"day": [date(2024, 1, 1 + i//10) for i in range(100)]})
    cut = split(frame, {"train": 0.55, "test": 0.45}, time="day")
    assert [w.rows for w in cut.windows] == [50, 50] and not set(cut.frames["train"]["day"]) & set(cut.frames["test"]["day"])


def test_the_target_is_stated():
    words = DAYS.with_columns(answer=pl.when("late").then(pl.lit("yes")).otherwise(pl.lit("no")))
    assert split(words, TWO, time="at", target="answer", positive="yes").windows[0].target_share == 0.25
    assert split(words, TWO, time="at", target="answer").windows[0].target_share is None
    assert split(words, TWO, time="at", target="late", positive="false").windows[0].target_share == 0.75


def test_no_subject_is_in_two_windows():
    frame = DAYS.with_columns(customer=pl.col("n") % 50 + pl.when(pl.col("n") > 160).then(25).otherwise(0))
    cut = split(frame, TWO, time="at", subject="customer")
    seen = set(cut.frames["train"]["customer"])
    assert not seen & set(cut.frames["test"]["customer"]) and cut.record.shared == sum(c in seen for c in frame["customer"][168:]) > 0
    assert cut.frames["train"].height == 168 and f"{cut.record.shared} are left out because their subject is in an earlier window" in cut.record.summary
    by_order = split(frame, {"train": 0.5, "test": 0.5}, subject="customer")
    assert by_order.record.outside == by_order.record.shared == 0 and not set(by_order.frames["train"]["customer"]) & set(by_order.frames["test"]["customer"])
    with pytest.raises(DataError, match="no rows of subjects that no earlier window has"): split(DAYS.with_columns(who=pl.lit(1)), TWO, time="at", subject="who")


def test_the_record_comes_back_and_shows_itself(tmp_path):
    record = split(DAYS, TWO, time="at", target="late").record
    assert Windows.load(record.save(tmp_path/"windows.json")) == record and '"from": "2024-01-01"' in record.to_json()
    hostile = split(DAYS, {"<script>": ["2024-01-01", None]}, time="at")
    assert "<script>" not in str(hostile.__html__()) and "<svg" in str(hostile.__html__())


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.lists(st.integers(0, 31), min_size=2, max_size=6, unique=True), st.booleans())
def test_every_row_is_somewhere_once(times, edges, gap):
    edges = sorted(edges)
    pairs = list(zip(edges, edges[1:], strict=False))[::2 if gap else 1]
    frame = pl.DataFrame({"t": times, "row": range(len(times))})
    assume(all(any(a <= t < b for t in times) for a, b in pairs))
    cut = split(frame, {str(i): list(p) for i, p in enumerate(pairs)}, time="t")
    rows = [r for f in cut.frames.values() for r in f["row"]]
    assert len(rows) == len(set(rows)) and len(rows) + cut.record.outside == len(times)
    assert all(a <= t < b for (a, b), f in zip(pairs, cut.frames.values(), strict=True) for t in f["t"])


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 9))
def test_a_sample_is_even_and_in_order(n, rows, seed):
    frame = pl.DataFrame({"i": range(n)})
    few = sample(frame, rows, seed)
    assert few.height == min(n, rows) and few["i"].is_sorted() and few["i"].is_unique().all() and few.equals(sample(frame, rows, seed))
    if rows < n: assert all(i*n//rows <= v < (i + 1)*n//rows for i, v in enumerate(few["i"]))


def test_every_row_has_a_chance():
    frame = pl.DataFrame({"i": range(7)})
    assert {i for seed in range(60) for i in sample(frame, 3, seed)["i"]} == set(range(7))
    with pytest.raises(DataError, match="At least one"): sample(DAYS, 0)


def test_shuffled_rows_are_all_there_once_and_the_same_at_each_run():
    frame = pl.DataFrame({"y": [0]*80 + [1]*20, "n": range(100)})
    one, again, other = (split(frame, {"train": 0.6, "test": 0.4}, shuffle=seed) for seed in (0, 0, 1))
    rows = [n for f in one.frames.values() for n in f["n"]]
    assert sorted(rows) == list(range(100)) and rows != sorted(rows) and [w.rows for w in one.windows] == [60, 40]
    assert all(one.frames[w].equals(again.frames[w]) and not one.frames[w].equals(other.frames[w]) for w in one.frames)
    assert one.record.notes == ["The rows were put in a random order (seed 0)."] and 0 < one.frames["test"]["y"].mean() < 0.5
    assert split(frame, {"train": 0.6, "test": 0.4}).frames["train"]["n"].to_list() == list(range(60))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([None, *"abcdefghijklmnop"]), min_size=40, max_size=80), st.integers(0, 3))
def test_shuffled_subjects_stay_together(subjects, seed):
    frame = pl.DataFrame({"who": pl.Series(subjects, dtype=pl.String), "n": range(len(subjects))})
    try: frames = split(frame, {"train": 0.5, "test": 0.5}, subject="who", shuffle=seed).frames
    except DataError as e: return assume("has no rows" not in str(e))
    assert not set(frames["train"]["who"].drop_nulls()) & set(frames["test"]["who"].drop_nulls())
    assert sorted([*frames["train"]["n"], *frames["test"]["n"]]) == list(range(len(subjects)))


def test_rows_in_time_are_not_shuffled():
    with pytest.raises(DataError, match="to be shuffled, and at orders them"): split(DAYS, {"train": 0.5, "test": 0.5}, time="at", shuffle=0)
    with pytest.raises(DataError, match="to be shuffled, and at orders them"): split(DAYS, TWO, time="at", shuffle=0)
    with pytest.raises(DataError, match="no time column is named"): split(DAYS, TWO, shuffle=0)


def test_a_thinned_table_keeps_its_order_and_its_shares():
    lazy = pl.LazyFrame({"row": range(10_000), "row_": [i//1_000 for i in range(10_000)]})
    few = thin(lazy, 10_000, 500).collect(engine="streaming")
    assert few.columns == ["row", "row_"] and few["row"].is_sorted() and abs(few.height - 500) <= 2
    assert (few["row_"].value_counts()["count"] - 50).abs().max() <= 2 and thin(lazy, 10_000, 10_000) is lazy
