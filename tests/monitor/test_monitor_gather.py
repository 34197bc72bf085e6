"The prediction log as training data: which rows, until when, each once, merged with the old ones, in windows that can teach."
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st
from monitored_log import make, truth

from model_ops.data import windows as cuts
from model_ops.data.contract import Contract, enforce
from model_ops.errors import DataError, ParameterError
from model_ops.monitor.gather import Gathered, both, gather, lay, length
from model_ops.monitor.maturity import Expected
from model_ops.monitor.policy import Policy
from model_ops.monitor.window import Span
from model_ops.predictions import labels
from model_ops.predictions.delta import Table, schema
from model_ops.settings import Settings

pytestmark = pytest.mark.slow

POLICY = Policy(train="30d", validation="5d", test="5d", current="5d")


@pytest.fixture(scope="module")
def made(tmp_path_factory): return make(tmp_path_factory.mktemp("gather"), days=40, rows=120, label_delay_days=1.5, label_share=0.95)


def contract_of(settings): return Contract.load(settings.path("records/contract.json"))


def take(settings, until="2026-02-10", policy=POLICY, *, within=7, **more): return gather(settings, until, policy, contract=more.pop("contract", None) or contract_of(settings), expected=Expected(within_days=within), **more)


def folder(settings): return Path(settings.section("log")["folder"])


def test_rows_are_the_labelled_predictions_of_complete_days(made):
    found, drawn = take(made), truth(made)
    end = date.fromisoformat(found.windows["current"][1])
    assert end == date(2026, 2, 3)  # the second of February is seven days old on the tenth
    start = date.fromisoformat(found.windows["train"][0])
    should = drawn.filter("labelled", pl.col("at").dt.date().is_between(start, end, closed="left"), pl.col("arrived") <= datetime(2026, 2, 10, tzinfo=UTC)).sort("order")
    new = found.frame.filter(pl.col("order") >= 1_000_000).sort("order")
    assert new["order"].equals(should["order"]) and new["returned"].equals(should["actual"].alias("returned")) and new["x0"].equals(should["x0"]) and new["at"].equals(should["at"])
    assert found.frame.schema == pl.read_parquet(made.path("data/train.parquet")).schema and found.frame["at"].is_sorted()
    assert found.facts["new"] == new.height and found.facts["new"] + found.facts["old"] + found.facts["in both"] == found.facts["rows"] == found.frame.height


def test_the_windows_can_be_prepared(made):
    found = take(made)
    cut = cuts.split(found.frame, found.windows, time="at", target="returned", positive="yes")
    assert list(cut.frames) == ["train", "validation", "test", "current"] and all(len(f) > 100 for f in cut.frames.values()) and cut.record.outside == 0
    for frame in cut.frames.values(): assert enforce(contract_of(made), frame)[1].rejected == 0
    bounds = [w for pair in found.windows.values() for w in pair]
    assert bounds == sorted(bounds) and all(date.fromisoformat(b) for b in bounds)


@hypothesis(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(day=st.integers(12, 45), hour=st.integers(0, 23), late=st.integers(0, 20))
def test_no_label_that_came_later_is_used(made, day, hour, late):
    until = datetime(2026, 1, 1, hour, tzinfo=UTC) + timedelta(days=day)
    span = Span.of(1, until, "", until + timedelta(hours=late), contract=contract_of(made))
    found = take(made, span, Policy(train="10d", validation="2d", test="2d", current="2d"), within=3)
    came = truth(made).filter("labelled", pl.col("arrived") <= span.as_of, pl.col("at").dt.replace_time_zone("UTC") < until)["order"]
    assert found.frame.filter(pl.col("order") >= 1_000_000)["order"].is_in(came.implode()).all()
    assert found.windows["current"][1] <= until.date().isoformat()


def test_sliding_keeps_the_last_days_growing_keeps_all(made):
    sliding, growing = take(made), take(made, policy=POLICY.model_copy(update={"growing": True}))
    assert sliding.windows["train"] == ["2025-12-20", "2026-01-19"] and sliding.frame["at"].dt.date().min() >= date(2025, 12, 20)
    oldest = pl.read_parquet(made.path("data/train.parquet"))["at"].dt.date().min()
    assert growing.windows["train"][0] == oldest.isoformat() and growing.facts["old"] > sliding.facts["old"] and {k: v for k, v in growing.windows.items() if k != "train"} == {k: v for k, v in sliding.windows.items() if k != "train"}


def test_until_may_be_a_span_and_sentences_are_told(made):
    said = []
    a, b = take(made, told=said.append), take(made, Span.of(3, "2026-02-10", "event", "2026-02-10", contract=contract_of(made)))
    assert a.windows == b.windows and a.facts == b.facts and a.frame.equals(b.frame) and said == a.sentences and repr(a) == "\n".join(said)
    assert "whose labels are not complete yet" in said[0] and "without a label" in said[0]


@pytest.mark.slow
def test_gathering_a_second_time_changes_nothing(made, tmp_path):
    "The old data came out of the log: each row is in both, and stays once."
    first = take(made)
    again = make(tmp_path / "again", days=40, rows=120, label_delay_days=1.5, label_share=0.95)
    for name, frame in cuts.split(first.frame, first.windows, time="at").frames.items(): frame.write_parquet(again.path(f"data/{name}.parquet"))
    second = take(again)
    assert second.frame.sort("order").equals(first.frame.sort("order")) and second.facts["new"] == 0 and second.facts["in both"] == first.facts["new"]


def relabel(settings, orders, label, arrived):
    "Labels that come again, by key."
    labels.add(folder(settings), [{"order": int(o), "label": label} for o in orders], by=["order"], arrived=arrived)


def test_a_correction_holds_from_its_arrival_on(tmp_path):
    settings = make(tmp_path / "book", days=30, rows=60, label_delay_days=0.5)
    chosen = truth(settings).filter(pl.col("at").dt.date() == date(2026, 1, 10), pl.col("actual") == "no")["order"][:5].to_list()
    relabel(settings, chosen, "yes", datetime(2026, 1, 25, tzinfo=UTC))
    answers = lambda until: set(take(settings, until, Policy(train="10d", validation="2d", test="2d", current="2d")).frame.filter(pl.col("order").is_in(chosen))["returned"])
    assert answers("2026-01-24") == {"no"} and answers("2026-01-26") == {"yes"}


def log_again(settings, rows, **changes):
    "The same rows of the log under other request ids."
    table = pl.read_delta(str(folder(settings) / "log")).filter(rows)
    Table(folder(settings), "log").append(table.with_columns(request_id=pl.format("again-{}", pl.int_range(pl.len())), row=pl.lit(0, pl.Int32), **changes).select(list(schema("log"))))
    return table


def test_of_a_thing_that_was_asked_twice_the_newest_counts(tmp_path):
    settings = make(tmp_path / "book", days=30, rows=60, label_delay_days=0.5)
    newer = pl.col("inputs").str.replace(r'"x1":-?[0-9.e-]+', '"x1":7.5')
    table = log_again(settings, pl.col("key").str.contains('"1000[0-9]{2}7"'), inputs=newer, received_time=pl.col("received_time") + timedelta(hours=1), event_time=pl.col("event_time"))
    relabel(settings, [json.loads(k)["order"] for k in table["key"]], "yes", datetime(2026, 2, 5, tzinfo=UTC))
    found = take(settings, "2026-02-08", Policy(train="20d", validation="2d", test="2d", current="2d"))
    again = found.frame.filter(pl.col("order").cast(pl.String).is_in([json.loads(k)["order"] for k in table["key"]]))
    assert found.facts["told again"] == again.height > 20 and (again["x1"] == 7.5).all() and found.frame["order"].is_unique().all()


def test_old_and_new_label_of_one_row(tmp_path):
    "Rows that were served and are in the old data, too."
    settings = make(tmp_path / "book", days=40, rows=60, label_delay_days=3)
    drawn = truth(settings)
    early = drawn.filter(pl.col("at") < datetime(2026, 1, 10)).select(*contract_of(settings).columns).with_columns(returned=pl.lit("no"))
    early.write_parquet(settings.path("data/current.parquet"))
    found = take(settings)
    ends = early["at"].max().replace(tzinfo=UTC)
    rows = found.frame.filter(pl.col("order").is_in(early["order"].implode())).join(drawn.select("order", "actual", "arrived"), on="order")
    assert rows.height == found.facts["in both"] == early.height
    assert (rows.filter(pl.col("arrived") <= ends)["returned"] == "no").all() and rows.filter(pl.col("arrived") > ends).select((pl.col("returned") == pl.col("actual")).all()).item()
    assert rows.filter(pl.col("arrived") <= ends).height > 100 < rows.filter(pl.col("arrived") > ends).height


def test_without_ids_rows_are_known_by_their_inputs_and_time(made):
    contract, drawn = contract_of(made), truth(made)
    new = drawn.select(*contract.columns)
    bare = contract.model_copy(update={"columns": {n: c for n, c in contract.columns.items() if c.role != "id"}})
    arrived = drawn["arrived"]
    for rules in (contract, bare):
        stays, remains, twice = both(new, new[100:300].with_columns(pl.col("x0", "x1").cast(pl.Float32)), arrived, None, rules)
        assert (stays.all(), remains.any(), twice) == (True, False, 200)
    stays, remains, twice = both(new, new[100:300].with_columns(x1=pl.col("x1") + 1), arrived, None, bare)
    assert stays.all() and remains.all() and twice == 0


@pytest.mark.slow
def test_clients_that_send_no_ids(tmp_path):
    settings = make(tmp_path / "book", days=30, rows=60, label_delay_days=0.5)
    table, log = pl.read_delta(str(folder(settings) / "log")), folder(settings) / "log"
    bare = table.with_columns(key=pl.lit(None, pl.String), inputs=pl.col("inputs").str.replace(r'"order":[0-9]+,?', ""))
    log.rename(log.with_name("log-before"))
    Table(folder(settings), "log").append(bare.select(list(schema("log"))))
    found = take(settings, "2026-02-08", Policy(train="20d", validation="2d", test="2d", current="2d"))
    assert found.facts["broken"] == 0 and found.facts["new"] > 1_000 and found.frame["order"].null_count() == found.facts["new"]


@pytest.mark.slow
def test_inputs_of_other_types_and_broken_ones(tmp_path):
    settings = make(tmp_path / "book", days=30, rows=60, label_delay_days=0.5)
    table, log = pl.read_delta(str(folder(settings) / "log")), folder(settings) / "log"
    place = pl.int_range(pl.len())
    odd = pl.when(place % 50 == 0).then(pl.col("inputs").str.replace(r'"x1":-?[0-9.e-]+', '"x1":"n/a"')).when(place % 50 == 1).then(pl.col("inputs").str.replace(r'"x1":(-?[0-9.e-]+)', '"x1":"$1"')).otherwise("inputs")
    log.rename(log.with_name("log-before"))
    Table(folder(settings), "log").append(table.with_columns(inputs=odd).select(list(schema("log"))))
    found = take(settings, "2026-02-08", Policy(train="20d", validation="2d", test="2d", current="2d"))
    assert found.facts["broken"] == pytest.approx(found.facts["new"] / 50, rel=0.1) and found.facts["quarantined"] == 0 and found.frame.schema["x1"] == pl.Float64 and not found.frame["x1"].null_count()


def test_windows_are_laid_and_complete_by_the_time_column_whatever_the_clock(made, tmp_path):
    "Orders that are scored days before they are placed."
    settings = make(tmp_path / "book", days=40, rows=120, label_delay_days=1.5, label_share=0.95)
    log = folder(settings) / "log"
    early = pl.read_delta(str(log)).with_columns(pl.col("received_time") - timedelta(days=15))
    log.rename(log.with_name("log-before"))
    Table(folder(settings), "log").append(early.with_columns(day=pl.col("received_time").dt.date()).select(list(schema("log"))))
    found = take(settings, Span.of(1, "2026-02-10", "received", "2026-02-10", contract=contract_of(settings)))
    assert found.windows == take(made).windows and found.frame["at"].max().date() < date.fromisoformat(found.windows["current"][1])


def test_rows_that_cannot_be_told_apart_are_not_put_together(made):
    contract, rows = contract_of(made), truth(made)[:50]
    bare = contract.model_copy(update={"columns": {n: c for n, c in contract.columns.items() if c.role not in ("id", "time")}})
    with pytest.raises(DataError, match="without ids.*growing"): both(rows, rows, rows["arrived"], None, bare)


def test_broken_days_are_held_back(tmp_path):
    settings = make(tmp_path / "book", days=30, rows=450, label_delay_days=0.5)
    turned = truth(settings).filter(pl.col("at").dt.date() == date(2026, 1, 20))
    for answer, other in (("yes", "no"), ("no", "yes")): relabel(settings, turned.filter(pl.col("actual") == answer)["order"], other, datetime(2026, 1, 25, tzinfo=UTC))
    policy = Policy(train="20d", validation="2d", test="2d", current="2d")
    found = take(settings, "2026-02-08", policy)
    assert [(b.day, b.evidence[0].rule) for b in found.quarantine.quarantined] == [("2026-01-20", "flipped labels")] and date(2026, 1, 20) not in set(found.frame["at"].dt.date())
    let = take(settings, "2026-02-08", policy.model_copy(update={"accept": ("2026-01-20",)}))
    assert let.facts["quarantined"] == 0 and let.facts["new"] == found.facts["new"] + found.facts["quarantined"]


@pytest.mark.slow
@pytest.mark.parametrize("world", [{"shift": 2.0}, {"nulls": 0.4}, {"flip": 0.35}], ids=["a column moves", "values vanish", "the world changes"])
def test_drift_holds_nothing_back(tmp_path, world):
    settings = make(tmp_path / "book", days=40, rows=150, label_delay_days=1, **world)
    contract = contract_of(settings)
    contract = contract.model_copy(update={"columns": {n: c.model_copy(update={"nullable": True}) if n == "x0" else c for n, c in contract.columns.items()}})
    assert not take(settings, contract=contract).quarantine.quarantined


@pytest.mark.slow
@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks(tmp_path, task):
    settings = make(tmp_path / "book", days=30, rows=150, label_delay_days=0.5, task=task)
    found = take(settings, "2026-02-08", Policy(train="20d", validation="2d", test="2d", current="2d"))
    assert not found.quarantine.quarantined and found.quarantine.untested == [] and found.facts["new"] > 3_000


def test_without_old_data_the_log_is_enough(tmp_path):
    settings = make(tmp_path / "book", days=40, rows=60, label_delay_days=0.5)
    for path in settings.path("data").glob("*.parquet"): path.unlink()
    found = take(settings)
    assert found.facts["old"] == 0 and found.frame["at"].dt.date().min() == date(2026, 1, 1) and "train is shorter" in found.sentences[-1]


@pytest.mark.slow
def test_without_a_time_column_windows_are_shares(tmp_path):
    settings = make(tmp_path / "book", days=30, rows=60, label_delay_days=0.5)
    contract = contract_of(settings)
    timeless = contract.model_copy(update={"columns": {n: c for n, c in contract.columns.items() if c.role != "time"}})
    found = take(settings, "2026-02-08", contract=timeless)
    assert found.windows == {"train": 0.666667, "validation": 0.111111, "test": 0.111111, "current": 0.111111} and "at" not in found.frame.columns and found.facts["old"] == 0
    cut = cuts.split(found.frame, found.windows)
    assert cut.record.outside <= 1 and len(cut.frames["current"]) > 100
    growing = take(settings, "2026-02-08", POLICY.model_copy(update={"growing": True}), contract=timeless)
    assert growing.facts["old"] > 0 and growing.frame["order"][0] < 1_000_000


@pytest.mark.parametrize(("until", "policy", "words"), [
    ("2026-01-01", POLICY, "has a time"),
    ("2026-01-02", POLICY, "has its labels yet"),
    ("2026-02-10", Policy(train="5d", validation="1d", test="1d", current="100d"), "'train'"),
], ids=["nothing logged", "no complete day", "no row in a window"])
def test_what_makes_no_windows(made, until, policy, words):
    with pytest.raises(DataError, match=words): take(made, until, policy)


@pytest.mark.slow
def test_a_class_that_is_missing_is_named(tmp_path):
    settings = make(tmp_path / "book", days=40, rows=60, label_delay_days=0.5)
    last = truth(settings).filter(pl.col("at") >= datetime(2026, 1, 29))
    relabel(settings, last["order"], "no", datetime(2026, 2, 9, 12, tzinfo=UTC))
    with pytest.raises(DataError, match=r"no row of the class 'yes'"): take(settings, policy=POLICY.model_copy(update={"accept": ("returned",)}))


def test_a_column_that_the_old_data_lack(tmp_path):
    settings = make(tmp_path / "book", days=30, rows=60, label_delay_days=0.5)
    for path in settings.path("data").glob("*.parquet"): pl.read_parquet(path).drop("x1").write_parquet(path)
    with pytest.raises(DataError, match="no column 'x1'"): take(settings)


@pytest.mark.parametrize("text", ["90", "0d", "-1d", "1.5d", "3mo", "", "d"], ids=["bare", "zero", "negative", "fraction", "months", "empty", "unit"])
def test_lengths_that_are_none(text):
    with pytest.raises(ParameterError, match="length of a window"): length(text)


def test_windows_follow_one_another():
    laid = lay(date(2026, 3, 1), Policy(train="6w", validation="1d", test="2w", current="10d"))
    pairs = list(laid.values())
    assert all(a[1] == b[0] for a, b in zip(pairs, pairs[1:], strict=False)) and pairs[-1][1] == "2026-03-01" and (date.fromisoformat(pairs[0][1]) - date.fromisoformat(pairs[0][0])).days == 42


def test_nothing_is_written(made):
    before = {p: p.stat().st_mtime_ns for p in made.root.rglob("*") if p.is_file()}
    assert isinstance(take(made), Gathered) and {p: p.stat().st_mtime_ns for p in made.root.rglob("*") if p.is_file()} == before


@pytest.mark.slow
def test_the_order_of_the_rows_in_the_log_says_nothing(made, tmp_path):
    "The table's files are put together now and then, and hold the rows in any order."
    other = make(tmp_path / "book", days=40, rows=120, label_delay_days=1.5, label_share=0.95)
    table, log = pl.read_delta(str(folder(other) / "log")), folder(other) / "log"
    log.rename(log.with_name("log-before"))
    Table(folder(other), "log").append(table[np.random.default_rng(0).permutation(table.height)].select(list(schema("log"))))
    a, b = take(made), take(other)
    assert a.frame.sort("order").equals(b.frame.sort("order")) and a.quarantine.to_json() == b.quarantine.to_json() and isinstance(other, Settings)
