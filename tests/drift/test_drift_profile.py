"Profiles: counts that add up exactly, whatever stands in the columns."
import json
import math
import time
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_ops.data.contract import learn
from model_ops.drift.profile import MOST, ORDERED, Profile, _edges
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


@few
@given(rows, rows, rows)
def test_parts_add_up_to_the_whole(first, second, third):
    reference = Profile.of(frame(first), time="when")
    parts = [Profile.of(frame(part), like=reference) for part in (first, second, third)]
    whole = Profile.of(frame(first + second + third), like=reference)
    left, right = (parts[0] + parts[1]) + parts[2], parts[0] + (parts[1] + parts[2])
    assert same(left, whole) and same(right, whole) and same(parts[1] + parts[0], parts[0] + parts[1])
    assert whole.rows == sum(whole.chunk_rows) == len(first) + len(second) + len(third)
    for column in whole.columns.values(): assert column.table.sum(axis=1).tolist() == whole.chunk_rows


@few
@given(rows)
def test_json_round_trip_and_same_bytes(cells):
    profile = Profile.of(frame(cells), time="when", chunk="1h")
    text = profile.to_json()
    assert Profile.from_json(text) == profile and Profile.from_json(text).to_json() == text == Profile.of(frame(cells), time="when", chunk="1h").to_json()


@few
@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=300))
def test_every_reference_value_has_a_bin(values):
    edges = _edges(np.sort(values))
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


@pytest.mark.slow
def test_profiling_is_fast():
    rng, n = np.random.default_rng(0), 300_000
    table = pl.DataFrame({**{f"x{i}": rng.lognormal(size=n) for i in range(20)}, **{f"c{i}": rng.choice([f"v{j}" for j in range(5*(i + 1))], n) for i in range(10)}})
    start = time.process_time()
    Profile.of(table)
    assert time.process_time() - start < 4
