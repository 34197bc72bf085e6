"""The log: read, filtered, typed, exported, kept small; by polars, DuckDB and whoever reads Delta."""
import json
import polars as pl
import pytest
from model_ops.errors import ParameterError
from model_ops.predictions import journal, labels, log, look
from model_ops.predictions.delta import TABLES, LogError, Table, mend, schema
from model_ops.predictions.settle import settle
from written_log import COLUMNS, asked, row, write

@pytest.fixture
def book(tmp_path):
    "Two days and two versions in the table, a third day in the journals."
    write(tmp_path, "w0", asked("a", row(1545)), asked("b", row(725), row(1141), at=86_400, version="4"))
    settle(tmp_path)
    write(tmp_path, "w1", asked("c", row(461), at=2*86_400, version="4"))
    return tmp_path

def ids(folder, **told) -> list[str]: return log.read(folder, **told)["request_id"].to_list()

def test_table_and_journals_are_one(book):
    assert ids(book) == ["a", "b", "b", "c"] and ids(book, journals=False) == ["a", "b", "b"]
    settle(book)
    assert ids(book) == ids(book, journals=False) == ["a", "b", "b", "c"]

def test_an_empty_log(tmp_path):
    assert log.read(tmp_path).schema == schema("log") and labels.history(tmp_path).is_empty()
    assert look.show(tmp_path).summary == ["No prediction is in the log that was asked for."] and log.compact(tmp_path) == log.vacuum(tmp_path) == 0
    assert log.read(tmp_path, typed=True, labels=True).is_empty() and list(tmp_path.iterdir()) == []

@pytest.mark.parametrize("told, found", [({"since": "2026-01-02"}, "bbc"), ({"until": "2026-01-02"}, "a"), ({"since": "2026-01-02", "until": "2026-01-03"}, "bb"), ({"version": 4}, "bbc"), ({"id": "c"}, "c"),
                                         ({"as_of": "2026-01-02T00:00"}, "abb"), ({"since": "2026-01-03T00:00:00+01:00"}, "c"), ({"id": "nobody"}, "")], ids=["since", "until", "between", "version", "id", "as-of", "zone", "nobody"])
def test_filters(book, told, found):
    assert "".join(ids(book, **told)) == found
    settle(book)
    assert "".join(ids(book, **told)) == found

def test_a_bad_time_is_refused(book):
    with pytest.raises(ParameterError, match="since = 'soon'"): log.read(book, since="soon")

def test_typed_inputs(book):
    rows = log.read(book, typed=True)
    assert [rows.schema[c] for c in ("carrier", "distance", "flight", "tail")] == [pl.String, pl.Int64, pl.Int64, pl.String] and "late" not in rows.columns and "inputs" not in rows.columns
    assert rows["flight"].to_list() == [1545, 725, 1141, 461] and rows["at"].dt.hour().to_list() == [10]*4
    assert log.scan(book, typed=True).filter(pl.col("flight") > 1000).select("carrier").collect().height == 2

def test_typed_by_two_contracts(book):
    journal.describe(book, "e"*64, {"distance": {"role": "feature", "dtype": "number"}, "flight": {"role": "id", "dtype": "text"}, "score": {"role": "feature", "dtype": "boolean"}, "on": {"role": "feature", "dtype": "date"}})
    write(book, "w2", asked("d", {"distance": 1.5, "flight": "X9", "score": True, "on": "2026-02-03"}, at=3*86_400, contract="e"*64, outputs={"score": [0.5]}))
    rows = log.read(book, typed=True)
    assert rows["distance"].to_list()[-1] == 1.5 and rows["flight"].to_list() == ["1545", "725", "1141", "461", "X9"] and rows["inputs.score"].to_list()[-1] is True and rows["score"].to_list()[-1] == 0.5
    assert str(rows["on"][-1]) == "2026-02-03"

def test_values_that_are_not_of_the_type_are_null(tmp_path):
    write(tmp_path, "w0", asked("a", {"flight": "x", "distance": "far"}, outputs={"score": [0.1]}), asked("b", row(2**60 + 1), at=1), asked("c", row(5.0), at=2, outputs={"score": [None]}))
    rows = log.read(tmp_path, typed=True)
    assert rows["flight"].to_list() == [None, 2**60 + 1, 5] and rows["distance"][0] is None

@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("typed", [False, True], ids=["json", "typed"])
def test_export(book, ending, typed):
    out = book/f"out.{ending}"
    assert log.export(book, out, typed=typed, labels=True, since="2026-01-02") == 3
    back = pl.read_csv(out) if ending == "csv" else pl.read_parquet(out)
    assert sorted(back["request_id"].to_list()) == ["b", "b", "c"] and ("distance" in back.columns) == typed and "actual" in back.columns

def test_export_writes_whole_or_not_at_all(book):
    with pytest.raises(ParameterError, match="neither"): log.export(book, book/"out.xlsx")
    (book/"out.csv").write_text("before")
    with pytest.raises(ParameterError): log.export(book, book/"out.csv", since="soon")
    assert (book/"out.csv").read_text() == "before"

def test_an_ordinary_delta_table(book):
    "The oldest protocol and no feature: what Spark's Delta reads since its first release; polars and DuckDB read the files that the log names."
    for name in ("log", "labels"):
        table = Table(book, name).made()
        protocol = table.protocol()
        assert (protocol.min_reader_version, protocol.min_writer_version, protocol.reader_features, protocol.writer_features) == (1, 2, None, None)
        assert {f.name: f.metadata["comment"] for f in table.schema().fields} == {column: meaning for column, (_, meaning) in TABLES[name].items()}
    settle(book)
    table = Table(book, "log").open()
    assert table.metadata().partition_columns == ["day"] and pl.scan_delta(str(book/"log")).filter(pl.col("day").dt.day() == 2).collect().height == 2
    duckdb = pytest.importorskip("duckdb")
    counts = duckdb.sql(f"select day, count(*), min(received_time at time zone 'UTC'), any_value(key->>'flight') from read_parquet({table.file_uris()}, hive_partitioning=true) group by day order by day").fetchall()
    assert [(str(d), n, str(t), f) for d, n, t, f in counts][0] == ("2026-01-01", 1, "2026-01-01 00:00:00", "1545") and [n for _, n, *_ in counts] == [1, 2, 1]

def test_the_files_that_a_plain_reader_of_the_protocol_finds(book):
    "Commits are JSON lines; the files that they add and do not remove hold all rows, in the folders of their days."
    settle(book)
    live = {}
    for commit in sorted((book/"log"/"_delta_log").glob("*.json")):
        for line in map(json.loads, commit.read_text().splitlines()):
            if "add" in line: live[line["add"]["path"]] = line["add"]
            if "remove" in line: live.pop(line["remove"]["path"])
    assert sum(json.loads(add["stats"])["numRecords"] for add in live.values()) == 4
    for path, add in live.items(): assert path.startswith(f"day={add['partitionValues']['day']}/") and (book/"log"/path).stat().st_size == add["size"]

def test_statistics_do_not_hide_rows(tmp_path):
    "Microseconds at both ends of a file are found again."
    times = [0.000001, 0.5, 0.999999]
    write(tmp_path, "w0", *(asked(f"t{k}", row(k), at=t) for k, t in enumerate(times)))
    settle(tmp_path)
    for k in range(len(times)):
        when = log.read(tmp_path)["received_time"][k]
        assert ids(tmp_path, since=when)[0] == f"t{k}" and len(ids(tmp_path, until=when)) == k

def test_compact_and_vacuum(tmp_path):
    for k in range(5):
        write(tmp_path, "w0", asked(f"a{k}", row(k), at=k))
        settle(tmp_path)
    before, reader = log.read(tmp_path), pl.scan_delta(Table(tmp_path, "log").open())
    left = tmp_path/"log"/"day=2026-01-01"/".part.killed.tmp"
    left.write_text("half")
    assert log.compact(tmp_path) == 4 and len(Table(tmp_path, "log").open().file_uris()) == 1
    assert log.vacuum(tmp_path) == 0 and reader.collect().height == 5 and left.exists()  # whoever reads the older snapshot goes on
    assert log.vacuum(tmp_path, keep_hours=0) == 5 and log.read(tmp_path).equals(before)
    write(tmp_path, "w0", asked("a0", row(0), at=9))
    assert settle(tmp_path, dedupe_days=100_000).doubles == 1 and mend(Table(tmp_path, "log")) == []

def test_offsets_outlive_checkpoints(tmp_path):
    kept = journal.Journal(tmp_path, "w0")
    kept.append([asked("a", row(1))], lambda error: None)
    while settle(tmp_path).rows == 0: pass
    for _ in range(2): log.vacuum(tmp_path, keep_hours=0)
    assert settle(tmp_path).rows == 0
    kept.close()
    assert settle(tmp_path).segments == 1 and ids(tmp_path) == ["a"]

def test_a_damaged_table_says_so(book):
    commit = min((book/"log"/"_delta_log").glob("*.json"))
    commit.write_text("{")
    with pytest.raises(LogError, match="cannot be read"): log.read(book)

def test_a_contract_that_nobody_described(tmp_path):
    write(tmp_path, "w0", asked("a", row(1), contract="f"*64))
    (tmp_path/"contracts"/f"{'c'*64}.json").unlink()
    rows = log.read(tmp_path)
    assert rows["key"][0] is None and log.read(tmp_path, typed=True).height == 1

def test_display(book):
    labels.add(book, [{"flight": 461, "label": "<b>"}], by="flight")
    seen = look.show(book, last=2, labels=True)
    assert seen.summary[0].startswith("4 predictions, from 2026-01-01 00:00 to 2026-01-03 00:00 UTC: version 4 3, version 3 1.") and "1 row is not settled yet" in seen.summary[1]
    assert seen.rows["request"].to_list() == ["c", "b"] and "&lt;b&gt;" in str(seen.__html__()) and "<b>" not in str(seen.__html__()) and "flight 461" in seen.text()
    assert set(look.show(book, typed=True).rows.columns) >= set(COLUMNS) - {"late"}
