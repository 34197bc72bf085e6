"Logs and labels as they really come: late, twice, corrected, lost, damaged, and while somebody writes."
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import monitored_log
import orjson
import polars as pl
import pytest
import written_log

from model_ops.data.contract import Contract
from model_ops.errors import DataError
from model_ops.monitor import logged
from model_ops.monitor.again import gap
from model_ops.monitor.window import Span
from model_ops.predictions import journal
from model_ops.predictions.delta import LogError, Table, schema
from model_ops.predictions.labels import add
from model_ops.predictions.settle import settle

pytestmark = pytest.mark.slow

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 11, tzinfo=UTC)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    "Ten days of 60 predictions without a label; copied by whoever changes it."
    return monitored_log.make(tmp_path_factory.mktemp("bare"), days=10, rows=60, label_share=0.0)


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    "The same of a regression, with labels."
    return monitored_log.make(tmp_path_factory.mktemp("numbers"), days=10, rows=60, task="regression")


@pytest.fixture
def book(bare, tmp_path):
    shutil.copytree(bare.root, tmp_path / "book")
    return type(bare).load(tmp_path / "book")


def folder_of(book) -> Path: return Path(book.section("log")["folder"])


def read(book, clock="event", as_of=datetime(2026, 12, 31, tzinfo=UTC), **told) -> logged.Logged:
    return logged.read(book, Span(START, END, as_of, clock), told=None, **told)


def tell(book, rows: pl.DataFrame, label: str | pl.Expr, day: float):
    "Labels of rows, as they came on some day of January."
    value = pl.lit(label) if isinstance(label, str) else label
    return add(folder_of(book), rows.select("request_id", "row", value.alias("label")), arrived=START + timedelta(days=day))


def wrong_labels(book, labels: pl.DataFrame) -> None:
    "Write to the table what `add` would not: a history that another program wrote."
    Table(folder_of(book), "labels").append(labels.select(list(schema("labels"))))


def test_labels_that_come_twice_count_once(book):
    truth = monitored_log.truth(book)
    tell(book, truth, pl.col("actual"), 12)
    once = read(book)
    tell(book, truth[:50], pl.col("actual"), 20)
    wrong_labels(book, monitored_log.labels(book).head(30).with_columns(pl.col("arrived") + pl.duration(days=9)))
    wrong_labels(book, monitored_log.labels(book).head(20))  # the very same lines
    twice = read(book)
    assert once.labels == {**dict.fromkeys(once.labels, 0), "new": 600} and twice.labels == {**once.labels, "same": 30}
    assert twice.labelled_rows.equals(once.labelled_rows) and twice.labelled == once.labelled and twice.delays.equals(once.delays)


def test_late_labels_count_when_they_have_come(book):
    truth = monitored_log.truth(book)
    tell(book, truth[:100], pl.col("actual"), 11)
    tell(book, truth[100:300], pl.col("actual"), 200)
    assert read(book, as_of=START + timedelta(days=199)).labels["new"] == 100
    found = read(book)
    assert (found.labels["new"], found.labels["late"]) == (300, 200)
    assert found.delays.filter(pl.col("delay_days") > 180)["labels"].sum() == 200 and found.delays["labels"].sum() == 300


def test_the_newest_correction_holds_and_the_story_is_kept(book):
    rows = monitored_log.truth(book)[:40]
    tell(book, rows, "no", 11)
    tell(book, rows[:10], "yes", 15)
    tell(book, rows[:4], "no", 19)
    found = read(book)
    assert found.labels["corrected"] == 14 and found.labels["new"] == 40 == found.labelled_rows.height
    assert found.labelled_rows["actual"].to_list() == [0]*4 + [1]*6 + [0]*30
    assert found.labelled_rows["arrived"].to_list() == [START + timedelta(days=d) for d in [19]*4 + [15]*6 + [11]*30]
    assert found.delays["labels"].sum() == 40 and found.delays["delay_days"].max() == 10
    for day, wanted in ((10, []), (12, [0]*40), (16, [1]*10 + [0]*30), (30, [0]*4 + [1]*6 + [0]*30)):
        at = START + timedelta(days=day)
        assert logged.as_known(found, at).sort("time")["actual"].to_list() == wanted == read(book, as_of=at).labelled_rows.sort("time")["actual"].to_list()


def test_labels_of_unknown_requests_are_counted_and_no_others(book):
    rows = monitored_log.truth(book)
    tell(book, rows[:20], "no", 11)
    wrong_labels(book, monitored_log.labels(book).head(7).with_columns(request_id=pl.concat_str(pl.lit("lost-"), "request_id")))
    add(folder_of(book), [{"order": 999, "label": "yes"}], by="order", arrived=START + timedelta(days=12))
    found = read(book)
    assert found.labels["unknown"] == 8 and found.labelled_rows.height == 20
    first_days = logged.read(book, Span(START, START + timedelta(days=0.1), END + timedelta(days=9), "event"), told=None)
    assert first_days.labels["unknown"] == 8  # labels of predictions outside the window are known


def test_a_label_before_its_prediction_is_taken_and_said(book):
    rows = monitored_log.truth(book).filter(pl.col("at") >= datetime(2026, 1, 6))
    tell(book, rows[:30], pl.col("actual"), 2)
    found = read(book)
    assert (found.labels["early"], found.labels["new"], found.labels["late"]) == (30, 30, 0)
    assert found.delays["delay_days"].unique().to_list() == [0] and found.labelled_rows["arrived"].max() == START + timedelta(days=2)


def test_labels_that_the_contract_does_not_know_are_no_labels(book):
    rows = monitored_log.truth(book)
    tell(book, rows[:20], "no", 11)
    tell(book, rows[10:15], "perhaps", 12)
    found = read(book)
    assert (found.labels["unfit"], found.unfit_example, found.labelled_rows.height, found.labelled.rows, found.delays["labels"].sum()) == (5, "perhaps", 15, 15, 15)


def test_labels_that_are_all_unfit_make_nothing_complete(book):
    wrong_labels(book, monitored_log.labels(book))
    rows = monitored_log.truth(book)
    tell(book, rows, pl.col("actual").str.to_uppercase(), 11)
    found = read(book)
    assert (found.labels["unfit"], found.delays["labels"].sum(), found.labelled_rows.height) == (600, 0, 0) and found.unfit_example in ("YES", "NO")


def test_a_label_that_was_taken_back_was_known_until_then(book):
    rows = monitored_log.truth(book)[:40]
    tell(book, rows, "no", 11)
    tell(book, rows[:20], "yes", 13)
    tell(book, rows[:10], "cancelled", 15)
    tell(book, rows[:4], "no", 19)
    found = read(book)
    assert (found.labels["unfit"], found.labelled_rows.height, found.withdrawn.height) == (6, 34, 12)
    for day in (12, 14, 16, 20):
        at = START + timedelta(days=day)
        assert logged.as_known(found, at).equals(read(book, as_of=at).labelled_rows.sort("time", maintain_order=True))
    assert set((found.earlier["until"] - found.earlier["arrived"]).dt.total_days()) == {2} and found.withdrawn.columns == found.earlier.columns == [*found.labelled_rows.columns, "until", "place"]


def test_of_labels_of_one_moment_the_last_holds_and_corrects_none(book):
    rows = monitored_log.truth(book)[:30]
    wrong_labels(book, pl.concat([rows.select("request_id", "row", pl.lit(None, pl.String).alias("key"), pl.lit(label).alias("label"), pl.lit(None, pl.Float64).alias("number"), pl.lit(START + timedelta(days=11)).cast(pl.Datetime("us", "UTC")).alias("arrived"),
                                              pl.lit(None, pl.Datetime("us", "UTC")).alias("label_time"), pl.lit("t").alias("source")) for label in ("no", "yes", "no", "yes")]))
    found = read(book)
    assert found.labels == {**dict.fromkeys(found.labels, 0), "new": 30} and set(found.labelled_rows["actual"]) == {1} and found.earlier.is_empty()


@pytest.mark.parametrize("value", ["inf", "-inf", "1e400", "1e308", "nan", "heavy"])
def test_a_number_that_is_none_is_an_unfit_label(numbers, tmp_path, value):
    shutil.copytree(numbers.root, tmp_path / "book")
    book = type(numbers).load(tmp_path / "book")
    monitored_log.rewrite(book, "labels", lambda rows: rows.with_columns(label=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit(value)).otherwise("label")))
    found = read(book)
    assert (found.labels["unfit"], found.unfit_example, found.labelled_rows.height) == (1, value, 599)
    assert found.days["loss_mean"].is_finite().all() and found.days["mean_actual"].is_finite().all()


def test_rows_of_a_contract_with_fewer_columns_break_nothing(book):
    "A version before had no column `channel`; its rows count, and are in neither profile nor violations."
    columns = {n: c.model_dump() for n, c in Contract.load(book.path("records/contract.json")).columns.items()}
    journal.describe(folder_of(book), "0"*64, {n: c for n, c in columns.items() if n != "channel"})
    journal.describe(folder_of(book), "1"*64, columns)
    of = {"0"*64: 0, "1"*64: 1}
    monitored_log.rewrite(book, "log", lambda rows: rows.with_columns(_n=pl.int_range(pl.len()) % 3).with_columns(
        contract=pl.coalesce(*(pl.when(pl.col("_n") == n).then(pl.lit(digest)) for digest, n in of.items()), "contract"), inputs=pl.when(pl.col("_n") == 0).then(pl.col("inputs").str.replace(r'"channel":"[a-z]+",', "")).otherwise("inputs")))
    found = read(book, slices=["channel"])
    assert (found.rows, found.profile.rows, found.violations, found.days["rows"].sum()) == (600, 400, [], 600)
    assert found.notes == ("200 of 600 predictions were logged under a contract without some column of version 1: profile and violations are without them.",)
    monitored_log.rewrite(book, "log", lambda rows: rows.with_columns(contract=pl.lit("0"*64)))
    with pytest.raises(DataError, match="under a contract that has the columns"): read(book)


def test_a_rule_s_first_day_is_its_earliest_whatever_the_order_of_the_log(book):
    monitored_log.rewrite(book, "log", lambda rows: rows.sort("event_time", descending=True).with_columns(inputs=pl.when(pl.col("event_time") >= START + timedelta(days=4)).then(pl.col("inputs").str.replace(r'"x0":[-0-9.e]+', '"x0":999.5')).otherwise("inputs")))
    assert [(v.column, v.first_day) for v in read(book).violations] == [("x0", (START + timedelta(days=4)).date())]


@pytest.mark.parametrize("clock", ["event", "received"])
def test_nothing_after_as_of_is_looked_at_by_the_window_s_own_clock(book, clock):
    at, truth = START + timedelta(days=4), monitored_log.truth(book)
    moved = lambda rows: rows.with_columns(pl.col("received_time") + pl.duration(days=90)).with_columns(day=pl.col("received_time").dt.date())
    if clock == "event": monitored_log.rewrite(book, "log", moved)  # a replay: received long after
    found = read(book, clock=clock, as_of=at)
    assert found.rows == truth.filter((pl.col("at").dt.replace_time_zone("UTC") if clock == "event" else pl.col("received_time")) < at).height > 200
    assert found.gaps == [] and read(book, clock=clock, as_of=at + timedelta(days=60)).rows == (600 if clock == "event" else truth.filter(pl.col("received_time") < END).height)


def test_a_window_that_is_not_over_has_no_gap_at_its_end(book):
    span = Span(START, END + timedelta(days=5), END + timedelta(days=5), "event", now=END)
    assert logged.read(book, span, told=None).gaps == [] != logged.read(book, replace(span, now=None), told=None).gaps


def test_a_row_without_a_version_is_of_the_empty_one(book):
    monitored_log.rewrite(book, "log", lambda rows: rows.with_columns(version=pl.lit(None, pl.String)))
    found = read(book)
    assert found.versions["version"].to_list() == [""] and found.served.version == "1" and found.scores.rows == 600


def test_a_score_that_is_no_number_is_no_answer(book):
    tell(book, monitored_log.truth(book), pl.col("actual"), 11)
    monitored_log.rewrite(book, "log", lambda rows: rows.with_columns(score=pl.when(pl.int_range(pl.len()) % 7 == 0).then(float("nan")).when(pl.int_range(pl.len()) % 7 == 1).then(float("inf")).otherwise("score")))
    found = read(book)
    assert found.labelled_rows.height == found.scores.rows == 600 - 86 - 86 and found.days["score_mean"].is_between(0, 1).all() and found.versions["score_mean"].is_between(0, 1).all()
    assert gap(found, logged.rescored).differing == 0


def test_probabilities_of_the_wrong_number_are_no_answer(tmp_path):
    book, of = monitored_log.make(tmp_path / "book", days=10, rows=60, task="multiclass"), pl.int_range(pl.len()) % 6
    monitored_log.rewrite(book, "log", lambda rows: rows.with_columns(probabilities=pl.when(of == 0).then(None).when(of == 1).then(pl.lit([0.5, 0.5])).when(of == 2).then(pl.lit([0.5, 0.5, None])).when(of == 3).then(pl.lit([0.5, 0.5, float("nan")])).otherwise("probabilities")))
    found = read(book)
    assert found.scores.rows == found.labelled_rows.height == 200
    assert (gap(found, logged.rescored).rows, gap(found, logged.rescored).differing) == (200, 0)


def test_a_package_that_is_not_in_the_store_leaves_the_champion(book):
    monitored_log.rewrite(book, "log", lambda rows: rows.with_columns(package=pl.lit("f"*64), version=pl.lit("9")))
    found = read(book)
    assert (found.served.number, found.scores, found.rows) == (1, None, 600) and found.served.digest == monitored_log.served(book)["digest"]
    assert "Version 9 answered last" in found.notes[0]


def test_a_prediction_that_comes_between_two_reads_is_no_stranger(book, monkeypatch):
    "The prediction and its label are logged when the log was read once, and the labels not yet."
    contract, real = Contract.load(book.path("records/contract.json")), logged.Labels
    label = {"kind": "label", "at": round((END + timedelta(days=1)).timestamp()*1e6), "labels": [{"id": "new-0", "label": "no"}], "source": "feedback"}
    def labels(*told):
        written_log.write(folder_of(book), "w1", *asked(book, range(1), contract), orjson.dumps(label))
        return real(*told)
    monkeypatch.setattr(logged, "Labels", labels)
    assert read(book).labels["unknown"] == 0


def test_clock_skew_is_measured_where_the_clock_is_the_servers(book):
    frame = pl.read_delta(str(folder_of(book) / "log"))
    ahead = frame.head(12).with_columns(event_time=pl.col("received_time") + pl.duration(hours=30), request_id=pl.concat_str(pl.lit("ahead-"), "request_id"))
    Table(folder_of(book), "log").append(ahead)
    found = read(book, clock="received")
    assert found.skew == {"rows": 12, "hours": pytest.approx(30.0)} and found.rows == 612
    assert read(book).skew == {} and read(book).rows == 612


def test_rows_without_the_window_s_time_are_counted_apart(book):
    frame = pl.read_delta(str(folder_of(book) / "log"))
    Table(folder_of(book), "log").append(frame.head(9).with_columns(event_time=pl.lit(None, frame.schema["event_time"]), request_id=pl.concat_str(pl.lit("timeless-"), "request_id")))
    found = read(book)
    assert (found.rows, found.untimed) == (600, 9)
    assert (read(book, clock="received").rows, read(book, clock="received").untimed) == (609, 0)


def test_a_gap_in_the_log_is_found(tmp_path):
    book = monitored_log.make(tmp_path / "book", days=15, rows=240)
    assert logged.read(book, Span(START, START + timedelta(days=15), START + timedelta(days=99), "received"), told=None).gaps == []
    table = pl.read_delta(str(folder_of(book) / "log"))
    low, high = START + timedelta(days=8, hours=9), START + timedelta(days=8, hours=15)
    shutil.rmtree(folder_of(book) / "log")
    Table(folder_of(book), "log").append(table.filter(~pl.col("received_time").is_between(low, high)))
    found = logged.read(book, Span(START, START + timedelta(days=15), START + timedelta(days=99), "received"), told=None)
    assert found.gaps == [(low, high)] and found.rows < 3_600


def test_an_empty_log_says_what_to_do(book):
    shutil.rmtree(folder_of(book))
    with pytest.raises(DataError, match="is empty.*model-ops serve"): read(book)


@pytest.mark.parametrize("how", ["gone", "cut", "scrambled"])
def test_a_damaged_file_of_the_log_is_named(book, how):
    file = sorted((folder_of(book) / "log").rglob("*.parquet"))[3]
    if how == "gone": file.unlink()
    else: file.write_bytes(file.read_bytes()[:200] if how == "cut" else b"PAR1" + bytes(file.stat().st_size - 8) + b"PAR1")
    with pytest.raises(LogError, match="prediction log.*backup"): read(book)


def test_a_torn_commit_is_named(book):
    commit = sorted((folder_of(book) / "log/_delta_log").glob("*.json"))[-1]
    commit.write_bytes(commit.read_bytes()[:40])
    with pytest.raises(LogError, match="model-ops log --settle"): read(book)


def test_damaged_labels_are_named(book):
    tell(book, monitored_log.truth(book), pl.col("actual"), 12)
    next((folder_of(book) / "labels").rglob("*.parquet")).write_bytes(b"PAR1")
    with pytest.raises(LogError, match="labels"): read(book)


def asked(book, numbers: range, contract: Contract) -> list[bytes]:
    "Records of answered requests, as the server writes them, on the last day of the window."
    truth, digest = monitored_log.truth(book), monitored_log.served(book)["digest"]
    at = END - timedelta(days=1)
    rows = truth.filter(pl.col("at") >= at.replace(tzinfo=None)).head(1).to_dicts() * len(numbers)
    inputs = [{**{n: row[n] for n in contract.features}, "order": 5_000_000 + i, "at": at.isoformat()} for i, row in zip(numbers, rows, strict=True)]
    return [orjson.dumps({"kind": "prediction", "id": f"new-{i}", "own": True, "at": round(at.timestamp()*1e6), "version": "1", "digest": digest, "contract": contract.digest, "from": "invocations", "ms": 0.5, "rows": 1, "inputs": [one], "check": 0,
                          "outputs": {"score": [0.25], "label": ["no"]}}) for i, one in zip(numbers, inputs, strict=True)]


def test_predictions_and_labels_that_wait_in_journals_count(book):
    contract = Contract.load(book.path("records/contract.json"))
    label = {"kind": "label", "at": round((END + timedelta(days=1)).timestamp()*1e6), "labels": [{"id": f"new-{i}", "label": "no"} for i in range(5)], "source": "feedback"}
    written_log.write(folder_of(book), "w1", *asked(book, range(8), contract), orjson.dumps(label))
    found = read(book)
    assert (found.rows, found.labels["new"], found.labelled_rows.height) == (608, 5, 5)
    settle(folder_of(book))
    again = read(book)
    assert (again.rows, again.labels, again.labelled_rows.sort("time").rows()) == (found.rows, found.labels, found.labelled_rows.sort("time").rows())


def test_two_readers_while_a_settler_works_lose_nothing_and_count_nothing_twice(book, monkeypatch):
    monkeypatch.setattr(logged, "_ROWS", 64)
    contract, folder, parts, over = Contract.load(book.path("records/contract.json")), folder_of(book), 6, threading.Event()
    every = asked(book, range(parts*20), contract)
    label = lambda k: orjson.dumps({"kind": "label", "at": round((END + timedelta(hours=k)).timestamp()*1e6), "labels": [{"id": f"new-{i}", "label": "no"} for i in range(20*k, 20*k + 20)], "source": "feedback"})
    written = [0]
    def serve():
        for k in range(parts):
            written_log.write(folder, f"w{k}", *every[20*k:20*k + 20], label(k))
            written[0] = 20*(k + 1)
            settle(folder)
        over.set()
    def watch():
        seen = []
        while True:
            last, least = over.is_set(), written[0]
            found = read(book)
            seen.append((found.rows, found.labelled_rows.height, found.profile.rows, found.scores.rows, found.days["rows"].sum()))
            assert 600 + least <= found.rows <= 600 + parts*20 and found.labelled_rows.height >= least
            if last: return seen
    with ThreadPoolExecutor(3) as pool:
        work = pool.submit(serve)
        readers = [pool.submit(watch) for _ in range(2)]
        work.result()
        seen = [reader.result() for reader in readers]
    for of in seen:
        assert all(rows == profiled == scored == by_day for rows, _, profiled, scored, by_day in of) and [r for r, *_ in of] == sorted(r for r, *_ in of)
        assert of[-1][:2] == (600 + parts*20, parts*20)
