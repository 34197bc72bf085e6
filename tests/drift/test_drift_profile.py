"Profiles: counts that add up exactly, whatever stands in the columns."
import json
import math
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_ops.data.contract import learn
from model_ops.drift.cells import MOST, ORDERED, Bins, edges_of
from model_ops.drift.profile import Profile
from model_ops.errors import DataError

few = settings(deadline=None, max_examples=30)
numbers = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, width=64), st.sampled_from([0.0, -1.0, 3.5]))
rows = st.lists(st.tuples(numbers, st.sampled_from(["a", "b", "ü", "<b>", None]), st.booleans(), st.integers(0, 9)), min_size=1, max_size=60)


def frame(cells: list[tuple]) -> pl.DataFrame:
    start = datetime(2013, 1, 1)
    schema = {"x": pl.Float64, "c": pl.String, "b": pl.Boolean, "when": pl.Datetime("us")}
    return pl.DataFrame([(x, c, b, start + timedelta(hours=7*d)) for x, c, b, d in cells], schema=schema, orient="row")


def same(a: Profile, b: Profile) -> bool:
    "Equal but for the order of floating-point sums."
    inexact = {n: {"total", "squares"} for n in a.columns}
    return a.model_dump(exclude={"columns": inexact}) == b.model_dump(exclude={"columns": inexact})


@st.composite
def cut(draw) -> tuple[list, list[list], list[int]]:
    "Rows, the same rows in parts, and an order of the parts."
    cells = draw(st.lists(st.tuples(numbers, st.sampled_from(["a", "b", "ü", "<b>", None]), st.booleans(), st.integers(0, 9)), min_size=1, max_size=80))
    places = sorted(draw(st.lists(st.integers(0, len(cells)), max_size=5)))
    parts = [cells[i:j] for i, j in zip([0, *places], [*places, len(cells)], strict=True)]
    return cells, parts, draw(st.permutations(range(len(parts))))


@few
@given(rows, cut(), st.sampled_from([("when", "1d"), ("when", "6h"), ("when", "1mo"), (None, "7 rows"), (None, None)]))
def test_parts_in_any_order_add_up_to_the_whole(first, window, chunks):
    (cells, parts, order), (time, chunk) = window, chunks
    reference = Profile.of(frame(first), time=time, chunk=chunk)
    starts = np.cumsum([0, *(len(p) for p in parts)])
    profiles = [Profile.of(frame(part), like=reference, start=int(start)) for part, start in zip(parts, starts, strict=False)]
    added = profiles[order[0]]
    for i in order[1:]: added = added + profiles[i]
    whole = Profile.of(frame(cells), like=reference)
    assert same(added, whole) and whole.rows == len(cells) and sum(whole.chunk_rows) == (len(cells) if whole.chunks else 0)
    for name, column in whole.columns.items():
        if time or chunk: assert column.table.sum(axis=1).tolist() == whole.chunk_rows
        if column.low is not None and column.total is not None:
            assert math.isclose(added.columns[name].total, column.total, rel_tol=1e-9, abs_tol=1e-9*max(abs(column.low), abs(column.high), 1)*column.count)


@few
@given(rows, cut())
def test_a_list_of_frames_is_one_window(first, window):
    cells, parts, _ = window
    assert Profile.of([frame(p) for p in parts], time="when") == Profile.of(frame(cells), time="when") == Profile.of(frame(cells).lazy(), time="when")
    reference = Profile.of(frame(first))
    assert Profile.of((frame(p) for p in parts), like=reference) == Profile.of(frame(cells), like=reference) or same(Profile.of((frame(p) for p in parts), like=reference), Profile.of(frame(cells), like=reference))


@few
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=300), st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60), st.integers(1, 5))
def test_bins_are_those_of_a_binary_search(values, reference, chunks):
    x, edges, chunk = np.array(values, dtype=float), edges_of(np.sort(reference)), np.arange(len(values)) % chunks
    counting = Bins(dict(edges=edges, shift=0.0), chunks)
    counting.add(x, chunk.astype(np.uint8))
    cell = np.where(np.isnan(x), 0, np.where(np.isinf(x), 1, np.searchsorted(edges, x, side="right") + 2))
    assert (counting.counts == np.bincount(chunk*counting.cells + cell, minlength=chunks*counting.cells).reshape(chunks, -1)).all()


def test_a_large_reference_is_sampled_for_its_edges_and_counted_in_full():
    rng, n = np.random.default_rng(1), 350_000
    x = np.where(rng.random(n) < 0.3, 0.0, rng.lognormal(size=n))
    x[123_456], x[3], x[7] = -50.0, 1e6, np.nan
    column = Profile.of(pl.DataFrame({"x": x})).columns["x"]
    assert column.edges[0] == column.low == -50 and column.high == 1e6 < column.edges[-1] and column.count == n - 1
    cell = np.searchsorted(column.edges, x[~np.isnan(x)], side="right") + 2
    assert column.table[0].tolist() == [1, *np.bincount(cell, minlength=len(column.cells))[1:].tolist()] and column.table[0, 2] == column.table[0, -1] == 0
    assert math.isclose(column.mean, np.nanmean(x), rel_tol=1e-9) and math.isclose(column.deviation, np.nanstd(x, ddof=1), rel_tol=1e-9)
    shares = column.table[0, 3:-1]/n
    zero = column.edges.index(0.0)
    assert abs(shares[zero] - 0.3) < 0.005 and np.delete(shares, zero).max() < 0.056


def test_rows_in_step_with_the_sample_do_not_fool_it():
    x = np.tile([0.0, 100.0, 0.1, 100.1], 100_000) + np.random.default_rng(0).random(400_000)
    shares = Profile.of(pl.DataFrame({"x": x})).columns["x"].table[0]/len(x)
    assert shares.max() < 0.056


def test_a_frequent_whole_number_does_not_hide_what_lies_beside_it():
    reference = Profile.of(pl.DataFrame({"x": [0]*990 + [500]*10}))
    now = Profile.of(pl.DataFrame({"x": [0, 250, 500]}), like=reference).columns["x"]
    assert dict(zip(now.cells, now.counts[0], strict=True)) == {"missing": 0, "infinite": 0, "below": 0, "0.0": 1, "1.0": 1, "500.0": 1, "above": 0}


def test_chunks_of_rows_need_no_time():
    reference = Profile.of(pl.DataFrame({"x": range(2_500), "c": ["a", "b"]*1_250}), chunk="1000 rows")
    assert reference.time is None and reference.chunks == ["0", "1000", "2000"] and reference.chunk_rows == [1_000, 1_000, 500]
    assert reference.columns["x"].table.sum(axis=1).tolist() == reference.columns["c"].table.sum(axis=1).tolist() == [1_000, 1_000, 500]
    part = Profile.of(pl.DataFrame({"x": range(1_500), "c": ["a"]*1_500}), like=reference)
    with pytest.raises(DataError, match="start=…"): part + part
    both = part + Profile.of(pl.DataFrame({"x": range(12_000), "c": ["a"]*12_000}), like=reference, start=1_500)
    assert both.chunks[:4] == ["0", "1000", "2000", "3000"] and both.chunks[-1] == "13000" and both.chunk_rows[1] == 1_000


@pytest.mark.parametrize("chunk, names", [("15m", ["2013-10-31T23:45", "2013-11-03T01:30"]), ("1h", ["2013-10-31T23:00", "2013-11-03T01:00"]), ("1d", ["2013-10-31", "2013-11-03"]),
                                          ("1w", ["2013-10-28"]), ("1mo", ["2013-10-01", "2013-11-01"])])
def test_chunks_of_time(chunk, names):
    whens = pl.Series([datetime(2013, 11, 1, 3, 50), datetime(2013, 11, 3, 5, 40), datetime(2013, 11, 3, 6, 40)]).dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York")
    assert Profile.of(pl.DataFrame({"x": [1, 2, 3], "when": whens}), time="when", chunk=chunk).chunks == names  # the clock shows 1:40 twice


def test_an_iterator_fixes_the_cells_by_its_first_rows():
    rng = np.random.default_rng(0)
    parts = [pl.DataFrame({"x": rng.normal(size=40_000), "c": rng.choice(["a", "b"], 40_000)}) for _ in range(4)]
    parts[3] = parts[3].with_columns(x=pl.col("x") + 50, c=pl.lit("late"))
    streamed, whole = Profile.of(iter(parts)), Profile.of(parts)
    assert streamed.rows == whole.rows == 160_000 and streamed.columns["x"].high == whole.columns["x"].high
    assert streamed.columns["x"].table[0, -1] == 40_000 and streamed.columns["c"].table[0, 1] == 40_000 and streamed.columns["c"].novel == ["late"]
    assert whole.columns["x"].table[0, -1] == 0 and whole.columns["c"].table[0, 1] == 0 and streamed.columns["x"].edges == Profile.of(parts[:3]).columns["x"].edges


def test_a_part_that_cannot_be_counted_makes_the_whole_differ():
    reference = Profile.of(pl.DataFrame({"x": [1.0, 2.0], "y": [1, 2]}))
    good, odd = pl.DataFrame({"x": ["1.5", "2"], "y": [1, 2]}), pl.DataFrame({"x": ["1.5", "many"], "y": [3, 4]})
    added = Profile.of(good, like=reference) + Profile.of(odd, like=reference)
    assert same(added, Profile.of(pl.concat([good, odd]), like=reference)) and [d.rule for d in added.differs] == ["changed type"] and set(added.columns) == {"y"}


@few
@given(rows)
def test_json_round_trip_and_same_bytes(cells):
    profile = Profile.of(frame(cells), time="when", chunk="1h")
    text = profile.to_json()
    assert Profile.from_json(text) == profile and Profile.from_json(text).to_json() == text == Profile.of(frame(cells), time="when", chunk="1h").to_json()


@few
@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=300))
def test_every_reference_value_has_a_bin(values):
    edges = edges_of(np.sort(values))
    assert all(a < b for a, b in zip(edges, edges[1:], strict=False)) and min(values) == edges[0] and max(values) < edges[-1]
    column = Profile.of(pl.DataFrame({"x": values})).columns["x"]
    assert column.table[0, 2] == column.table[0, -1] == 0 and column.low == min(values) and column.high == max(values)


def test_mean_and_deviation_merge_far_from_zero():
    rng = np.random.default_rng(0)
    values = pl.DataFrame({"x": 1e9 + rng.normal(size=50_000)})
    reference = Profile.of(values[:1_000])
    parts = [Profile.of(values[i:i + 1_000], like=reference) for i in range(0, 50_000, 1_000)]
    column = sum(parts[1:], parts[0]).columns["x"]
    assert math.isclose(column.mean, values["x"].mean(), rel_tol=1e-12) and math.isclose(column.deviation, values["x"].std(), rel_tol=1e-6)


def test_cells_fixed_by_the_reference():
    reference = Profile.of(pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "c": ["a", "a", "b", "b"]}))
    now = Profile.of(pl.DataFrame({"x": [0.0, 2.0, None, float("nan"), float("inf"), float("-inf"), 9.0], "c": ["a", "z", "y", None, "b", "b", "z"]}), like=reference)
    assert dict(zip(now.columns["x"].cells, now.columns["x"].counts[0], strict=True)) == {"missing": 2, "infinite": 2, "below": 1, "1.0": 0, "2.0": 1, "3.0": 0, "4.0": 0, "above": 1}
    assert dict(zip(now.columns["c"].cells, now.columns["c"].counts[0], strict=True)) == {"missing": 1, "unseen": 3, "other": 0, "a": 1, "b": 2}
    assert now.columns["c"].novel == ["y", "z"]


def test_rare_categories_are_other_and_still_known():
    names = [f"c{i}" for i in range(80) for _ in range(90 - i)]
    reference = Profile.of(pl.DataFrame({"c": names}))
    column = reference.columns["c"]
    assert len(column.categories) == MOST and len(column.rest) == 30 and not column.open
    counts = Profile.of(pl.DataFrame({"c": ["c79", "c0", "new"]}), like=reference).columns["c"].counts[0]
    assert counts[1] == 1 and counts[2] == 1 and counts[3] == 1


def test_with_more_names_than_can_be_kept_nothing_is_unseen():
    names = [f"c{i}" for i in range(1_500) for _ in range(3)]
    told = learn(pl.DataFrame({"c": names, "y": [0, 1]*2_250}), target="y", dtypes={"c": "category"})
    reference = Profile.of(pl.DataFrame({"c": names, "y": [0, 1]*2_250}), contract=told)
    assert reference.columns["c"].open
    assert Profile.of(pl.DataFrame({"c": ["new"], "y": [0]}), like=reference).columns["c"].counts[0][:3] == [0, 0, 1]


def test_types_are_counted_as_the_table_says():
    table = pl.DataFrame({"i": [1, 2], "f": [0.5, 1.5], "b": [True, None], "t": ["x"*3, "y"], "d": [date(2013, 1, 1), date(2013, 1, 2)], "s": [datetime(2013, 1, 1, 5), None],
                          "h": pl.Series([1, 2]).cast(pl.Time), "u": pl.Series([1, 2]).cast(pl.Duration("ms")), "n": [None, None], "l": [[1], [2]], "k": pl.Series(["p", "q"]).cast(pl.Categorical)})
    profile = Profile.of(table)
    assert {n: c.type for n, c in profile.columns.items()} == {"i": "integer", "f": "number", "b": "boolean", "t": "category", "d": "date", "s": "datetime", "h": "time", "u": "duration", "n": "empty", "k": "category"}
    assert "List" in profile.left_out["l"]
    assert profile.columns["d"].high - profile.columns["d"].low == 86_400
    assert Profile.of(table, like=profile).columns["u"].counts == profile.columns["u"].counts


def test_text_is_counted_by_length():
    texts = [f"{'x'*(i % 7)}{i}" for i in range(200)]
    column = Profile.of(pl.DataFrame({"t": texts})).columns["t"]
    assert column.type == "text" and column.low == 1 and column.type in ORDERED


def test_a_contract_decides_what_is_counted():
    table = pl.DataFrame({"id": [f"r{i}" for i in range(200)], "x": np.arange(200)*1.5, "zip": ["10115", "10117"]*100, "late": [0, 1]*100, "when": ["2013-01-01", "2013-01-02"]*100})
    contract = learn(table, target="late", time="when", roles={"id": "id"})
    profile = Profile.of(table, contract=contract)
    assert set(profile.columns) == {"x", "zip", "late"} and profile.columns["late"].role == "target" and profile.chunks == ["2013-01-01", "2013-01-02"]
    assert profile.left_out["id"] == "Its role is id." and not Profile.of(table, like=profile, contract=contract).differs


def test_columns_that_differ_are_noted():
    reference = Profile.of(pl.DataFrame({"a": [1, 2], "b": ["x", "y"], "c": [1.0, 2.0], "d": ["1", "2"]}))
    now = Profile.of(pl.DataFrame({"a": ["one", "two"], "c": ["1.5", "2"], "e": [1, 1], "d": [1, 2]}), like=reference)
    assert [(d.column, d.rule, d.was, d.now) for d in now.differs] == [("a", "changed type", "integer", "text"), ("b", "vanished", "category", ""), ("e", "new", "", "integer")]
    assert now.columns["c"].count == 2 and now.columns["c"].dtype == "text" and now.columns["d"].counts == reference.columns["d"].counts


def test_no_rows_add_nothing():
    reference = Profile.of(frame([(1.0, "a", True, 0), (2.0, "b", False, 5)]), time="when")
    nothing = Profile.of(frame([]), like=reference)
    assert same(reference + nothing, reference) and nothing.rows == 0 and nothing.chunks == []


@pytest.mark.parametrize("make, wrong", [
    (lambda: Profile.of(pl.DataFrame({"x": []})), "no rows"),
    (lambda: Profile.of(pl.DataFrame({"l": [[1]]})), "No column can be counted"),
    (lambda: Profile.of(pl.DataFrame({"x": [1]}), time="when"), "no time column 'when'"),
    (lambda: Profile.of(pl.DataFrame({"x": [1], "when": ["soon"]}), time="when"), "holds String"),
    (lambda: Profile.of(pl.DataFrame({"x": [1, 2], "when": [datetime(2013, 1, 1), None]}), time="when"), "missing in 1 of 2 rows"),
    (lambda: Profile.of(pl.DataFrame({"x": [1]}), chunk="1 day"), "'1 day'"),
    (lambda: Profile.of(pl.DataFrame({"x": [1]}), chunk="0 rows"), "'0 rows'"),
    (lambda: Profile.of(pl.DataFrame({"x": [1], "when": [datetime(2013, 1, 1)]}), time="when", chunk="10 rows"), "need no time column"),
    (lambda: Profile.of(pl.DataFrame({"x": range(20_000)}), chunk="1 row"), "more than 10,000"),
    (lambda: Profile.of([]), "No column|no rows"),
    (lambda: Profile.of(iter([])), "no part at all"),
    (lambda: Profile.of([pl.DataFrame({"x": [1]}), pl.DataFrame({"y": [1]})]), "another has none"),
    (lambda: Profile.of([pl.DataFrame({"x": [1]}), pl.DataFrame({"x": ["one"]})]), "several types in the parts"),
    (lambda: Profile.of(pl.DataFrame({"x": [1]}), like=Profile.of(pl.DataFrame({"x": [1]})), time="when"), "the reference has None"),
    (lambda: Profile.of(pl.DataFrame({"x": [1]})) + Profile.of(pl.DataFrame({"x": [2]})), "different cells"),
    (lambda: Profile.from_json('{"kind": "contract"}'), "contract"),
])
def test_errors_say_what_is_wrong(make, wrong):
    with pytest.raises(DataError, match=wrong): make()


def test_pandas_and_hostile_names():
    table = pd.DataFrame({"<script>": [1, 2, None], "a" * 10_000: ["\u202ex", "y" * 1_000_000, None]})
    profile = Profile.of(table)
    assert "<script>" not in str(profile.__html__()) and len(profile.to_json()) < 50_000
    assert Profile.from_json(profile.to_json()) == profile


def test_the_json_has_one_line_for_each_column():
    profile = Profile.of(pl.DataFrame({f"x{i}": [1, 2] for i in range(5)}))
    text = profile.to_json()
    assert json.loads(text)["kind"] == "profile" and sum(line.startswith('  "x') for line in text.splitlines()) == 5
