"""Encoding: the same bytes for one row or many, and for every form that a table comes in."""
import json
import time
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import example, given, settings, strategies as st
from model_ops.data.contract import Column, Contract, enforce
from model_ops.data.encode import as_float32, Encoder, encode, inputs, target
from model_ops.data.values import read_column, reader
from model_ops.errors import ContractError, DataError

LEVELS = ["<b>", "Köln", "", "日本", "a"]
TARGET = {"late": Column(dtype="boolean", role="target", categories=["false", "true"])}


def make(**columns):
    return Contract(task="binary", positive="true", columns=columns | TARGET)


FULL = make(i=Column(dtype="integer"), n=Column(dtype="number"), b=Column(dtype="boolean"), c=Column(dtype="category", categories=LEVELS),
            d=Column(dtype="date"), t=Column(dtype="datetime"), z=Column(dtype="datetime", timezone="America/New_York"))
SCHEMA = {"i": pl.Int64, "n": pl.Float64, "b": pl.Boolean, "c": pl.String, "d": pl.Date, "t": pl.Datetime("us"), "z": pl.Datetime("us", "America/New_York")}

clocks = st.datetimes(datetime(1971, 1, 1), datetime(2036, 1, 1))
rows_ = st.lists(st.fixed_dictionaries({
    "i": st.none() | st.integers(-2**53, 2**53),  # pandas holds integers with gaps as floats, which are exact up to here
    "n": st.none() | st.floats(), "b": st.none() | st.booleans(),
    "c": st.none() | st.sampled_from(LEVELS) | st.text(max_size=5), "d": st.none() | st.dates(date(1700, 1, 1), date(2200, 1, 1)),
    "t": st.none() | clocks, "z": st.none() | clocks.map(lambda clock: clock.replace(tzinfo=UTC)),
}), min_size=1, max_size=8)


def forms(rows):
    "The same table in every form that is accepted."
    frame = pl.DataFrame(rows, schema=SCHEMA | {"z": pl.Datetime("us", "UTC")}).with_columns(pl.col("z").dt.convert_time_zone("America/New_York"))
    as_json = json.loads(json.dumps(rows, default=lambda moment: moment.isoformat()), parse_constant=float)
    return {"rows": rows, "json": as_json, "texts": [{k: as_text(v) for k, v in row.items()} for row in rows], "dicts": frame.to_dicts(),
            "frame": frame, "lazy": frame.lazy(), "categorical": frame.with_columns(pl.col("c").cast(pl.Categorical)), "series": frame.to_dict(),
            "columns": frame.to_dict(as_series=False), "arrow": frame.to_arrow(), "pandas": frame.to_pandas(), "pandas series": dict(frame.to_pandas().items())}


def as_text(value):
    "A cell as a CSV file has it; what is missing or infinite stays."
    if value is None or isinstance(value, float) and not np.isfinite(value): return value
    return value.isoformat() if isinstance(value, date) else str(value)


@given(rows_)
@settings(deadline=None, max_examples=60)
def test_every_form_gives_the_same_bytes(rows):
    encoder = Encoder(FULL)
    expected = encoder(rows)
    assert expected.X.dtype == np.float32 and expected.X.flags.c_contiguous
    assert expected.X.shape == (len(rows), len(expected.names)) and not np.isinf(expected.X).any()
    for name, table in forms(rows).items():
        assert encoder(table).X.tobytes() == expected.X.tobytes(), name
    for i, row in enumerate(rows): assert encoder([row]).X.tobytes() == expected.X[i:i + 1].tobytes()


# What a cell may hold that is not what it should be: each value is read, or refused, alike by the loop and by the column.
numerals = ["12", "12.0", "1e3", " 1", "1_0", "nan", "inf", "", "TRUE", "yes", "٣", "+5", ".5", "5.", "9" * 30, "1" * 5000]
moments = ["2013-07-04", "2013-07-04T05:15", "2013-07-04 05:15:59.123456789", "2013-03-10T02:30:00", "2013-11-03T01:30:00", "2013-07-04T05:15:00Z",
           "2013-07-04T05:15:00+0200", "2013-W01-1", "20130704", "2013-02-30"]
odd = st.one_of(st.none(), st.booleans(), st.integers(-2**66, 2**66), st.floats(), st.sampled_from(numerals), st.sampled_from(moments),
                st.datetimes(datetime(1971, 1, 1), datetime(2036, 1, 1)), st.dates(date(1971, 1, 1), date(2036, 1, 1)))


@pytest.mark.parametrize("dtype, zone", [("integer", ""), ("number", ""), ("boolean", ""), ("category", ""), ("date", ""), ("datetime", ""),
                                         ("datetime", "UTC"), ("datetime", "America/New_York")])
@given(value=odd)
@settings(deadline=None, max_examples=80)
def test_one_value_and_a_column_are_read_alike(dtype, zone, value):
    read = reader(dtype, zone)
    try: alone = None if value is None or value != value else read(value)
    except ValueError: alone = ValueError
    column, unread = read_column(pl.Series("x", [value]), dtype, zone)
    assert (unread is not None) == (alone is ValueError)
    if alone is not ValueError: assert column.to_list() == [alone]


@example([{"i": -0.0}])
@given(st.lists(st.dictionaries(st.sampled_from(list(FULL.features)), odd | st.sampled_from([*LEVELS, [1], {}, 2**63, -2**63 - 1, 0.5, -0.0, 3.4028235677973366e38, 3.4028235677973362e38])), min_size=1, max_size=4))
@settings(deadline=None, max_examples=300)
def test_all_at_once_and_one_by_one_are_alike(rows):
    encoder = Encoder(FULL.model_copy(update={"severities": FULL.severities | {"presence": "warn"}}))
    def outcome(run, table):
        try: return (run(table) + np.float32(0)).tobytes()  # a zero has no sign: the whole number -0.0 is 0
        except ContractError as e: return e.column, e.row, repr(e.value)
    expected = outcome(lambda table: as_float32(encoder._one_by_one(table)), rows)
    assert outcome(encoder.rows, rows) == expected
    columns = {name: [row.get(name) for row in rows] for name in FULL.features}
    by_column = outcome(lambda table: encoder(table).X, columns)
    assert (by_column == expected) if isinstance(expected, bytes) else isinstance(by_column, tuple)


@pytest.mark.parametrize("values", [np.array([1, 2], dtype=np.uint8), np.array([1, 2], dtype=object), np.array([1.0, 2.0], dtype=np.float32), np.array([1, 2, 3])[::2]], ids=lambda values: str(values.dtype))
def test_arrays_as_columns(values):
    contract = make(i=Column(dtype="integer"), c=Column(dtype="category", categories=["a"]))
    assert encode(contract, {"i": values, "c": np.array(["a", "b"])}).X.tolist() == [[float(values[0]), 0], [float(values[1]), -1]]
    for odd in (np.array([1.5, 2]), np.array([True, False]), np.array([2**63, 1], dtype=np.uint64)):
        with pytest.raises(ContractError, match="Column 'i', row 0"): encode(contract, {"i": odd, "c": ["a", "b"]})


def test_a_value_that_python_cannot_write_is_refused_all_the_same():
    deep = []
    for _ in range(5000): deep = [deep]
    for value in (deep, 10**5000):
        with pytest.raises(ContractError, match="row 0: a (list|int) cannot be read as integer"): encode(make(i=Column(dtype="integer")), [{"i": value}])


@pytest.mark.parametrize("value, code", [("Köln", 1), ("", 2), ("new", -1), (None, np.nan), (np.str_("a"), 4), (pd.NA, np.nan), (float("nan"), np.nan)])
def test_categories(value, code):
    X = encode(make(c=Column(dtype="category", categories=LEVELS)), [{"c": value}]).X
    assert np.array_equal(X, [[code]], equal_nan=True)


@pytest.mark.parametrize("value, number", [
    (1, 1), (2.5, 2.5), ("2.5", 2.5), (np.int8(-3), -3), (np.float32(0.1), np.float32(0.1)), (Decimal("2.50"), 2.5), (None, np.nan), (pd.NaT, np.nan),
    (float("inf"), np.nan), (1e300, np.nan), (-(10**400), np.nan), (2**200, np.nan), (3.4028234e38, np.float32(3.4028234e38)), ("1e400", np.nan), (1e-60, 0)])
def test_numbers(value, number):
    for table in ([{"n": value}], {"n": [value]}):
        X = encode(make(n=Column(dtype="number")), table).X
        assert np.array_equal(X, np.array([[number]], dtype=np.float32), equal_nan=True)


def test_huge_integers():
    contract = make(i=Column(dtype="integer"))
    values = [2**63 - 1, -(2**63), 2**53 + 1]
    expected = np.array(values, dtype=np.float64).astype(np.float32)[:, None]
    for table in ([{"i": v} for v in values], {"i": values}, {"i": [str(v) for v in values]}, pl.DataFrame({"i": values}), pd.DataFrame({"i": values})):
        assert np.array_equal(encode(contract, table).X, expected)
    for table in ({"i": [2**63]}, pl.DataFrame({"i": [2**63]}), pd.DataFrame({"i": [2**64]}), pl.DataFrame({"i": [float(2**63)]})):
        with pytest.raises(ContractError, match="cannot be read as integer"): encode(contract, table)


@pytest.mark.parametrize("dtype, value", [
    ("integer", 1.5), ("integer", "x"), ("integer", True), ("integer", 2**63), ("integer", float("inf")), ("integer", [1]),
    ("number", True), ("number", "1,5"), ("number", {}), ("number", "nan"), ("boolean", 2), ("boolean", "yes"),
    ("category", 1.5), ("category", b"x"), ("category", date(2024, 1, 1)), ("date", 20240101), ("date", "2024-01-01T10:00"), ("datetime", 1.5),
    ("datetime", "2024-01-01T10:00Z"), ("datetime", datetime(2024, 1, 1, tzinfo=UTC))])
def test_what_is_of_another_type_is_refused(dtype, value):
    contract = make(x=Column(dtype=dtype, categories=["a"] if dtype == "category" else None))
    for table in ([{"x": None}, {"x": value}], {"x": [None, value]}):
        with pytest.raises(ContractError) as raised: encode(contract, table)
        assert (raised.value.column, raised.value.row, raised.value.value) == ("x", 1, value) and repr(value) in str(raised.value)


@pytest.mark.parametrize("dtype, values", [("integer", [1.0, 1.5]), ("number", [True, False]), ("boolean", [1, 2]), ("category", [1.0, 1.5]),
                                           ("date", [datetime(2024, 1, 1), datetime(2024, 1, 1, 1)]), ("datetime", ["2024-01-01", "x"])])
def test_columns_of_another_type_are_refused_with_their_row(dtype, values):
    contract = make(x=Column(dtype=dtype, categories=["1"] if dtype == "category" else None))
    with pytest.raises(ContractError, match=r"Column 'x', row [01]: "): encode(contract, pl.DataFrame({"x": values}))
    with pytest.raises(ContractError, match=r"Column 'x', row [01]: "): encode(contract, pd.DataFrame({"x": values}))


def test_mixed_objects_in_pandas_name_the_row():
    contract = make(n=Column(dtype="number"))
    assert encode(contract, pd.DataFrame({"n": [1, "2", None]})).X[:2].tolist() == [[1], [2]]
    with pytest.raises(ContractError, match="row 1: 'x'"): encode(contract, pd.DataFrame({"n": [1, "x", None]}))


def test_the_clock_is_that_of_the_contract():
    contract = make(t=Column(dtype="datetime", timezone="America/New_York"))
    moment = datetime(2013, 7, 4, 3, 30, tzinfo=UTC)
    for value in [moment, moment.isoformat(), moment.astimezone(timezone(timedelta(hours=2))), "2013-07-03T23:30:00", datetime(2013, 7, 3, 23, 30)]:
        for table in ([{"t": value}], {"t": [value]}, pl.DataFrame({"t": [value]}), pd.DataFrame({"t": [value]})):
            assert encode(contract, table).X.tolist() == [[23 * 60 + 30, 3, 184]]


def test_a_time_that_the_clocks_skip_is_refused():
    contract = make(t=Column(dtype="datetime", timezone="America/New_York"))
    for table in ([{"t": "2013-03-10T02:30:00"}], pl.DataFrame({"t": [datetime(2013, 3, 10, 2, 30)]})):
        with pytest.raises(ContractError, match="the clocks of America/New_York skip it"): encode(contract, table)


def test_unknown_zone_names_the_cure():
    with pytest.raises(ContractError, match="tzdata"): Encoder(make(t=Column(dtype="datetime", timezone="Mars/Olympus")))


@pytest.mark.parametrize("rule, table", [("type", [{"x": "heavy"}]), ("type", {"x": ["heavy"]}), ("type", pl.DataFrame({"x": ["heavy"]})),
                                         ("presence", [{}]), ("presence", pl.DataFrame({"y": [1]}))])
def test_warned_rules_make_it_missing(rule, table):
    strict, mild = (make(x=Column(dtype="number", severities={rule: severity})) for severity in ("enforce", "warn"))
    with pytest.raises(ContractError): encode(strict, table)
    assert np.isnan(encode(mild, table).X).all() and encode(mild, table).X.shape == (1, 1)
    everywhere = strict.model_copy(update={"severities": {**strict.severities, rule: "warn"}, "columns": {"x": Column(dtype="number"), **TARGET}})
    assert np.isnan(encode(everywhere, table).X).all()


def test_missing_columns_and_keys():
    contract = make(kilos=Column(dtype="number"), seats=Column(dtype="integer"))
    with pytest.raises(ContractError, match="Column 'seats' is missing in row 1.*Did you mean 'seat'"):
        encode(contract, [{"kilos": 1, "seats": 2}, {"kilos": 1, "seat": 2}])
    with pytest.raises(ContractError, match="Column 'kilos' is missing"): encode(contract, pl.DataFrame({"seats": [1]}))


@pytest.mark.parametrize("table, message", [(5, "int"), ("text", "str"), ([1], "Row 0 is int"), ({"x": 1.5}, "For one row give a list"),
                                            ({"x": [1], "y": [1, 2]}, "different lengths"), ({"x": np.zeros((2, 2))}, "ndarray"), (pd.DataFrame([[1, 2]], columns=["x", "x"]), "same name")])
def test_what_is_no_table(table, message):
    with pytest.raises(DataError, match=message): encode(make(x=Column(dtype="number")), table)


def test_no_rows():
    for table in ([], {"x": []}, pl.DataFrame(schema={"x": pl.Float64})): assert encode(make(x=Column(dtype="number")), table).X.shape == (0, 1)


@pytest.mark.parametrize("columns, message", [({}, "no feature"), (dict(c=Column(dtype="category")), "without categories"),
                                              ({"d": Column(dtype="date"), "d.weekday": Column(dtype="integer")}, "'d.weekday'")])
def test_contracts_that_cannot_be_encoded(columns, message):
    with pytest.raises(ContractError, match=message): Encoder(make(**columns))


@pytest.mark.parametrize("name", ["<script>", "\"'", "x" * 10_000, "\u202eevil", "", "日本"])
def test_hostile_names(name):
    contract = make(**{name: Column(dtype="number")})
    assert encode(contract, [{name: 1}]).X.tolist() == encode(contract, pd.DataFrame({name: [1]})).X.tolist() == [[1]] and inputs(contract) == [(name, "number")]


def test_names_and_kinds():
    encoded = encode(FULL, [{name: None for name in FULL.features}])
    assert encoded.names == ["i", "n", "b", "c", "d.weekday", "d.day_of_year", "t.minute_of_day", "t.weekday", "t.day_of_year",
                             "z.minute_of_day", "z.weekday", "z.day_of_year"]
    assert [name for name, kind in zip(encoded.names, encoded.kinds, strict=True) if kind == "category"] == ["c"] and np.isnan(encoded.X).all()


class TestTarget:
    @pytest.mark.parametrize("column, task, positive, values, expected", [
        (Column(dtype="boolean", role="target", categories=["false", "true"]), "binary", "true", [True, False, "true", 1], [1, 0, 1, 1]),
        (Column(dtype="boolean", role="target", categories=["false", "true"]), "binary", "false", [True, False], [0, 1]),
        (Column(dtype="integer", role="target", categories=["0", "1"]), "binary", "1", [1.0, 0.0], [1, 0]),
        (Column(dtype="category", role="target", categories=["no", "yes"]), "binary", "no", ["yes", "no"], [0, 1]),
        (Column(dtype="category", role="target", categories=["b", "a", "c"]), "multiclass", "", ["a", "b", "c"], [1, 0, 2]),
        (Column(dtype="number", role="target"), "regression", "", [1.5, "2"], [1.5, 2.0]),
    ])
    def test_values(self, column, task, positive, values, expected):
        contract = Contract(task=task, positive=positive, columns={"y": column, "x": Column(dtype="number")})
        for value, wanted in zip(values, expected, strict=True):
            found = target(contract, [{"y": value}])
            assert found.tolist() == [wanted] and found.dtype == {"binary": np.int8, "multiclass": np.int64, "regression": np.float64}[task]

    @pytest.mark.parametrize("values", [[True, None], [None, None]])
    def test_rows_without_one_are_refused(self, values):
        with pytest.raises(ContractError, match="'late', row [01]: 'None'.*Use `enforce`"): target(make(), {"late": values})

    def test_absent_unknown_and_infinite(self):
        with pytest.raises(ContractError, match="missing. Did you mean 'Late'"): target(make(), {"Late": [True]})
        contract = Contract(task="multiclass", columns={"y": Column(dtype="category", role="target", categories=["a", "b"])})
        with pytest.raises(ContractError, match="row 1: 'c' is none. Needed in every row: one of a, b"): target(contract, {"y": ["a", "c"]})
        measure = Contract(task="regression", columns={"y": Column(dtype="number", role="target")})
        with pytest.raises(ContractError, match="row 0: 'inf'"): target(measure, {"y": [float("inf")]})


@given(rows_)
@settings(deadline=None, max_examples=25)
def test_enforcing_first_changes_nothing(rows):
    contract = FULL.model_copy(deep=True)
    for column in contract.columns.values(): column.nullable = True
    for table in forms(rows).values():
        if isinstance(table, list): continue
        clean, _ = enforce(contract, table, labelled=False)
        assert encode(contract, clean).X.tobytes() == encode(contract, table).X.tobytes()


def test_fast():
    rng, n = np.random.default_rng(0), 300_000
    contract = make(**{f"n{i}": Column(dtype="number") for i in range(14)}, **{f"c{i}": Column(dtype="category", categories=["aa", "bb", "cc"]) for i in range(6)})
    frame = pl.DataFrame({f"n{i}": rng.normal(size=n) for i in range(14)} | {f"c{i}": rng.choice(["aa", "bb", "dd"], n) for i in range(6)})
    encoder, row = Encoder(contract), [frame.row(0, named=True)]
    assert best(lambda: encoder(frame), 3) < 1
    assert best(lambda: encoder(row), 200) < 100e-6


def best(run, times):
    "The shortest of several runs, in seconds: a busy machine makes some longer."
    spans = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        spans.append(time.perf_counter() - start)
    return min(spans)
