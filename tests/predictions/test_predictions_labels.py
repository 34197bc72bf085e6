"""Labels: told twice is told once, corrections keep history, keys that mean the same meet."""
import json, threading
from datetime import UTC, date, datetime, timedelta
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.errors import DataError
from model_ops.predictions import labels, log
from model_ops.predictions.delta import Table, schema
from model_ops.predictions.rows import as_key, as_text, moment
from model_ops.predictions.settle import settle
from written_log import asked, row, told, write

DAY = [datetime(2026, 1, d, tzinfo=UTC) for d in range(1, 29)]

@pytest.fixture
def book(tmp_path):
    "A log of three requests, one of them with two rows."
    write(tmp_path, "w0", asked("a", row(1545)), asked("b", row(725), row(1141), at=1), asked("c", row(725), at=2, own=False))
    settle(tmp_path)
    return tmp_path

def actual(folder, **told) -> list: return log.read(folder, labels=True, **told)["actual"].to_list()

def test_by_request_and_row(book):
    added = labels.add(book, [{"request_id": "a", "row": 0, "label": True}, {"request_id": "b", "row": 1, "label": False}])
    assert (added.new, actual(book)) == (2, ["true", None, "false", None])

def test_a_request_of_several_rows_needs_the_row(book):
    added = labels.add(book, [{"request_id": "a", "label": True}, {"request_id": "b", "label": False}])
    assert (added.new, added.refused) == (1, 1) and "several rows" in added.why[0]

@pytest.mark.parametrize("by, sent", [(["flight"], {"flight": 725}), (["flight"], {"flight": "725.0"}), ("flight", {"flight": 725.0}), (["carrier", "flight"], {"flight": 725, "carrier": "UA"}), (["distance", "at"], {"distance": 500, "at": "2026-01-01T05:15:00"})],
                         ids=["id-column", "text", "number", "with-a-feature", "features"])
def test_a_key_labels_every_prediction_that_was_made_for_it(book, by, sent):
    assert labels.add(book, [{**sent, "label": 1}], by=by).new == 1
    assert [a for a, r in zip(actual(book), log.read(book)["inputs"], strict=True) if json.loads(r)["flight"] == 725] == ["1", "1"]

def test_corrections_keep_history(book):
    for day, value in enumerate([True, True, False, False, True]): labels.add(book, [{"request_id": "a", "label": value}], arrived=DAY[day])
    assert labels.history(book)["label"].to_list() == ["true", "false", "true"]
    assert [actual(book, as_of=DAY[day])[0] for day in range(6)] == ["true", "true", "false", "false", "true", "true"]

def test_the_newest_word_wins_however_the_prediction_is_named(book):
    labels.add(book, [{"request_id": "a", "label": True}], arrived=DAY[1])
    labels.add(book, [{"flight": 1545, "label": False}], by="flight", arrived=DAY[2])
    assert actual(book)[0] == "false" and actual(book, as_of=DAY[1])[0] == "true"

def test_through_the_journal(book):
    write(book, "w0", told({"id": "a", "row": 0, "label": 12.5}, {"key": {"flight": 725}, "label": "no", "time": "2026-01-05T10:00:00+01:00"}, at=60), told({"id": "a", "row": 0, "label": 12.5}, at=90))
    assert settle(book).labels == 2
    rows = log.read(book, labels=True)
    assert rows["actual_number"].to_list() == [12.5, None, None, None] and rows["actual"].to_list() == ["12.5", "no", None, "no"]
    assert rows["label_time"].to_list()[1] == datetime(2026, 1, 5, 9, tzinfo=UTC) and rows["label_source"][0] == "feedback"

def test_labels_may_come_before_their_prediction(tmp_path):
    labels.add(tmp_path, [{"request_id": "later", "label": True}])
    write(tmp_path, "w0", asked("later", row(1)))
    assert actual(tmp_path) == ["true"]

def test_what_is_refused(book):
    sent = [{"request_id": "a", "row": 0, "label": None}, {"request_id": None, "row": 0, "label": True}, {"request_id": "a", "row": -1, "label": True}, {"request_id": "a", "row": 0, "label": ""}]
    added = labels.add(book, sent)
    assert (added.new, added.refused) == (0, 4) and "There is no label (2 rows: 0, 3)." in added.why
    assert labels.add(book, [{"flight": None, "label": 1}], by="flight").why == ["A part of the key is missing (1 row: 0)."]
    with pytest.raises(DataError, match="Did you mean 'request_id'"): labels.add(book, [{"request_id": "a", "label": 1}], by="requestid")
    with pytest.raises(DataError, match="no column 'label'"): labels.add(book, [{"request_id": "a"}])

def test_the_time_of_a_label(book):
    labels.add(book, [{"request_id": "a", "label": 1, "landed": "2026-01-01T09:00"}], time="landed", source="tower")
    assert labels.history(book)["label_time"][0] == datetime(2026, 1, 1, 9, tzinfo=UTC)

def test_two_at_once(book):
    "Both add the same labels: each stands there once."
    sent = [{"request_id": f"x{k}", "label": k % 2} for k in range(20)]
    threads = [threading.Thread(target=labels.add, args=(book, sent)) for _ in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    assert labels.history(book).height == 20

def test_any_program_reads_the_table(book):
    labels.add(book, [{"request_id": "a", "label": 1}])
    duckdb = pytest.importorskip("duckdb")
    files = Table(book, "labels").open().file_uris()
    assert duckdb.sql(f"select request_id, label, number from read_parquet({files})").fetchall() == [("a", "1", 1.0)]

story = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 6), st.sampled_from(["x", "y"])), min_size=1, max_size=8, unique_by=lambda t: t[:2])

@settings(deadline=None, max_examples=5)
@given(story, st.integers(1, 8))
@pytest.mark.slow
def test_told_in_parts_and_again(tmp_path_factory, story, size):
    "What is believed at any time does not depend on the parts in which the history was told as it arrived, nor on how often."
    story.sort(key=lambda label: label[1])
    frame = lambda parts: pl.DataFrame([{**dict.fromkeys(schema("labels")), "request_id": str(t), "row": 0, "label": v, "arrived": DAY[d]} for t, d, v in parts], schema=schema("labels"))
    one, other = (tmp_path_factory.mktemp(name) for name in ("one", "other"))
    labels.keep(one, frame(story))
    for part in [story[k:k + size] for k in range(0, len(story), size)]*2: labels.keep(other, frame(part))
    rows = pl.DataFrame({"request_id": ["0", "1", "2"], "row": [0]*3, "key": None, "inputs": "{}"}, schema_overrides={"row": pl.Int32, "key": pl.String})
    for day in range(7): assert labels.join(rows, labels.history(one), DAY[day])["actual"].to_list() == labels.join(rows, labels.history(other), DAY[day])["actual"].to_list()
    before = labels.history(other).height
    assert labels.keep(other, frame(story)).new == 0 and labels.history(other).height == before

@given(st.one_of(st.integers(), st.booleans(), st.text(), st.floats(allow_nan=False, allow_infinity=False)))
@settings(deadline=None, max_examples=60)
def test_text_is_the_same_however_often_it_is_made(value):
    text = as_text(value)
    assert as_text(text) == text and as_text(json.loads(json.dumps(value))) == text

@pytest.mark.parametrize("one, other", [(1, 1.0), (1, "1"), (1, "1.0"), (True, "true"), (date(2026, 1, 1), "2026-01-01"), (DAY[0], "2026-01-01T00:00:00Z"), (DAY[0], DAY[0].astimezone(None))], ids=range(7))
def test_values_that_mean_the_same(one, other):
    assert as_text(one) == as_text(other) and as_key({"k": one}, ["k"]) == as_key({"k": other}, ["k"])

def test_keys_and_moments_that_are_none():
    assert as_key({"a": 1}, ["a", "b"]) is None and as_key({}, []) is None and as_text(float("nan")) is None
    assert moment(None) is None and moment(5) is None and moment("x") is None and moment(DAY[0] - timedelta(0)) == DAY[0]
