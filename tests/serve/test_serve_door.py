"""The door finds what `check` finds, to the last digit of a bound."""
from datetime import date, datetime
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_ops.data.column import Column
from model_ops.data.contract import Contract, check
from model_ops.data.encode import Encoder
from model_ops.errors import ContractError
from model_ops.serve.door import Door

TARGET = {"late": Column(dtype="boolean", role="target", categories=["false", "true"])}


def make(severities=None, **columns):
    return Contract(task="binary", positive="true", columns=columns | TARGET, **({"severities": severities} if severities else {}))


def look(contract, table):
    return Door(contract).look(Encoder(contract).numbers(table), table)


FULL = make(
    i=Column(dtype="integer", low=-5, high=5), n=Column(dtype="number", low=0.1, high=2.5, nullable=True), free=Column(dtype="number", nullable=True), b=Column(dtype="boolean"),
    c=Column(dtype="category", categories=["", "a", "b"], nullable=True), d=Column(dtype="date", low="2000-01-01", high="2020-12-31"),
    t=Column(dtype="datetime", high="2020-12-31T12:00:00", nullable=True), huge=Column(dtype="integer", high=2**60, nullable=True),
    few=Column(dtype="integer", categories=["1", "2"], nullable=True), yes=Column(dtype="boolean", categories=["true"], nullable=True))
rows_ = st.lists(st.fixed_dictionaries({
    "i": st.none() | st.integers(-9, 9), "n": st.none() | st.sampled_from([0.1, 2.5, *np.nextafter([0.1, 2.5, 0.1, 2.5], [0, 3, 1, 2]).tolist()]) | st.floats(-1, 4),
    "free": st.none() | st.floats(), "b": st.none() | st.booleans(), "c": st.none() | st.sampled_from(["", "a", "b", "new"]), "d": st.none() | st.dates(date(1990, 1, 1), date(2030, 1, 1)),
    "t": st.none() | st.datetimes(datetime(2020, 12, 31), datetime(2021, 1, 1)), "huge": st.none() | st.sampled_from([2**60 - 1, 2**60, 2**60 + 1, 0]),
    "few": st.none() | st.integers(0, 3), "yes": st.none() | st.booleans(),
}), min_size=1, max_size=6)


def expected(contract, rows):
    "What `check` says of the features."
    return {(v.column, v.rule, v.severity, v.count, v.examples[0].row if v.examples else 0) for v in check(contract, rows, labelled=False).found}


@given(rows_)
@settings(deadline=None, max_examples=150)
@pytest.mark.slow
def test_the_door_finds_what_check_finds(rows):
    for table in (rows, {name: [row[name] for row in rows] for name in rows[0]}):
        assert {(b.column, b.rule, b.severity, b.rows, b.row) for b in look(FULL, table)} == expected(FULL, rows)


odd = st.sampled_from([None, 1, 9, "x", "1", 2.5, True, float("nan"), [1], {}])


@given(st.lists(st.dictionaries(st.sampled_from(["i", "c"]), odd, min_size=1), min_size=1, max_size=5))
@settings(deadline=None, max_examples=150)
def test_types_and_columns_that_are_only_warned_of(rows):
    contract = make(dict(type="warn", presence="warn", nulls="enforce", range="warn", categories="warn"), i=Column(dtype="integer", high=5), c=Column(dtype="category", categories=["x"], nullable=True))
    assert {(b.column, b.rule, b.severity, b.rows, b.row) for b in look(contract, rows)} == expected(contract, mixed(rows))


def mixed(rows):
    "A frame whose columns may hold anything."
    return pl.DataFrame([pl.Series(name, [row.get(name) for row in rows], dtype=pl.Object) for name in ("i", "c") if any(name in row for row in rows)])


def test_nothing_broken_nothing_said():
    assert look(FULL, [{"i": 5, "n": 0.1, "free": None, "b": True, "c": "", "d": "2020-12-31", "t": "2020-12-31T12:00:00", "huge": 2**60, "few": 1, "yes": True}]) == []


@pytest.mark.parametrize("value, inside", [(0.1, True), (float(np.nextafter(0.1, 0)), False), (float(np.nextafter(0.1, 1)), True), (float(np.float32(0.1)), True), ("0.1", True), ("1e400", False)], ids=str)
def test_float32_neither_invents_nor_hides_a_breach(value, inside):
    contract = make(n=Column(dtype="number", low=0.1))
    for table in ([{"n": value}], {"n": [value]}): assert (look(contract, table) == []) is inside


def test_a_float32_tensor_is_what_it_is():
    contract = make(n=Column(dtype="number", low=0.1, high=0.3))
    breaches = look(contract, {"n": np.array([0.1, 0.3], dtype=np.float32)})
    assert [(b.row, b.rows) for b in breaches] == [(1, 1)] and breaches[0].value == np.float32(0.3)


def test_a_breach_says_where_and_what():
    contract = make({"range": "enforce"}, n=Column(dtype="number", low=0, high=3), c=Column(dtype="category", categories=["a"]))
    far, new = look(contract, [{"n": 1, "c": "a"}, {"n": 4, "c": "b"}, {"n": 5, "c": "b"}])
    assert far == ("n", "range", "enforce", 2, 1, 4, "0 to 3") and new == ("c", "categories", "warn", 2, 1, "b", "a")


@pytest.mark.parametrize("value, rows", [("2024-01-01T10:00", 0), (None, 0), ("yesterday", 1), (7, 1), ([[]], 1)], ids=str)
def test_columns_that_the_log_keeps_are_read_where_they_are_sent(value, rows):
    contract = make(n=Column(dtype="number"), sent=Column(dtype="datetime", role="time"), parcel=Column(dtype="text", role="id"), who=Column(dtype="text", role="personal"))
    breaches = look(contract, [{"n": 1}, {"n": 2, "sent": value, "who": [1], "parcel": 5}])
    assert [(b.column, b.rule, b.severity, b.row) for b in breaches] == [("sent", "type", "enforce", 1)]*rows


def test_a_column_that_no_row_has_is_missing_and_no_null():
    contract = make({"presence": "warn"}, n=Column(dtype="number"), m=Column(dtype="number"))
    assert [(b.column, b.rule, b.rows) for b in look(contract, [{"m": 1}, {"m": None}])] == [("n", "presence", 2), ("m", "nulls", 1)]
    assert [(b.column, b.rule, b.rows) for b in look(contract, {"m": [1, 2]})] == [("n", "presence", 2)]


def test_no_rows_break_nothing():
    for table in ([], {name: [] for name in FULL.features}): assert look(FULL, table) == []


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3), lambda some: st.lists(some, max_size=2) | st.dictionaries(st.text(max_size=2), some, max_size=2), max_leaves=4))
@settings(deadline=None, max_examples=150)
def test_whatever_json_brings_is_refused_or_looked_at(value):
    base = {"i": 0, "b": True, "d": "2010-01-01"}
    for name in FULL.features:
        for table in ([base | {n: None for n in FULL.features if n not in base} | {name: value}], {n: [base.get(n), value if n == name else base.get(n)] for n in FULL.features}):
            try: look(FULL, table)
            except ContractError as e: assert e.column == name
