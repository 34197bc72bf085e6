"What a report knows of a window: the same as the joined table, the package and scikit-learn say."
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import monitored_log
import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from model_ops.data.contract import Contract, learn
from model_ops.data.encode import encode, target
from model_ops.drift.compare import compare
from model_ops.drift.meaning import judge, scored
from model_ops.drift.profile import Profile
from model_ops.drift.scores import Scores
from model_ops.errors import DataError, PackageError, ParameterError
from model_ops.monitor import logged
from model_ops.monitor.again import _unseen, gap
from model_ops.monitor.decode import Decoder, typed
from model_ops.monitor.window import Span
from model_ops.package.build import write_package
from model_ops.package.manifest import Window
from model_ops.package.predictor import Predictor
from model_ops.predictions import log
from model_ops.predictions.labels import add, history, join
from model_ops.registry import ledger as ledgers
from model_ops.registry.store import Store

pytestmark = pytest.mark.slow

TASKS = ("binary", "multiclass", "regression")


def contract_of(book) -> Contract: return Contract.load(book.path("records/contract.json"))
def folder_of(book) -> Path: return Path(book.section("log")["folder"])
def span_of(book, days=40.0, until="2026-02-10", as_of="2026-06-01", clock="event") -> Span: return Span.of(days, until, clock, as_of, contract=contract_of(book))
def read(book, *, told=None, slices=(), sample=20_000, **window) -> logged.Logged: return logged.read(book, span_of(book, **window), slices=slices, sample=sample, told=told)


def same(found, wanted) -> bool:
    "Whether two records say the same, sums to eight digits: they were added in another order, each rounded to ten."
    if isinstance(found, dict): return found.keys() == wanted.keys() and all(same(v, wanted[k]) for k, v in found.items())
    if isinstance(found, list): return len(found) == len(wanted) and all(map(same, found, wanted))
    return found == pytest.approx(wanted, rel=1e-8, abs=1e-8) if isinstance(found, float | int) and wanted is not None else found == wanted


@pytest.fixture(scope="module", params=TASKS)
def book(request, tmp_path_factory):
    "A log of 12,000 predictions, of which nine tenths get a label."
    return monitored_log.make(tmp_path_factory.mktemp("book"), task=request.param, label_share=0.9, rows=300)


@pytest.fixture(scope="module")
def binary(tmp_path_factory): return monitored_log.make(tmp_path_factory.mktemp("binary"), label_share=0.9, versions=2)


def joined(book, as_of=None) -> pl.DataFrame:
    "The log with its labels, by the rules of predictions.labels, in the order of the event."
    return log.read(folder_of(book), labels=True, typed=False).drop("actual", "actual_number", "label_time", "label_arrived", "label_source").pipe(join, history(folder_of(book)), as_of).sort("event_time", "request_id", "row")


def _whole(rows: pl.DataFrame) -> np.ndarray:
    "Probabilities that sum to 1 beyond the digits of a 32-bit number, as scikit-learn wants them."
    p = np.array(rows["probabilities"].to_list())
    return p / p.sum(axis=1, keepdims=True)


def test_realized_metrics_are_those_of_scikit_learn(book):
    found, contract = read(book), contract_of(book)
    table = joined(book).filter(pl.col("actual").is_not_null())
    own = found.labelled_rows
    assert own.height == table.height == found.labels["new"]
    mean = float((found.versions["loss_mean"] * found.versions["labelled"]).sum() / found.versions["labelled"].sum())
    if contract.task == "regression":
        assert mean == pytest.approx(sk.mean_absolute_error(table["actual_number"], table["score"]), rel=1e-12)
        assert sk.root_mean_squared_error(own["actual"], own["score"]) == pytest.approx(sk.root_mean_squared_error(table["actual_number"], table["score"]), rel=1e-12)
        return
    wide = np.column_stack([1 - table["score"], table["score"]]) if contract.task == "binary" else _whole(table)
    assert mean == pytest.approx(sk.log_loss(table["actual"], wide, labels=contract.outputs), rel=1e-6)
    assert int(found.versions["hits"].sum()) == round(sk.accuracy_score(table["actual"], table["label"]) * table.height)
    if contract.task == "binary":
        assert sk.roc_auc_score(own["actual"], own["score"]) == pytest.approx(sk.roc_auc_score(table["actual"] == "yes", table["score"]), abs=1e-12)
        assert float((found.days["mean_actual"] * found.days["labelled"]).sum() / found.days["labelled"].sum()) == pytest.approx((table["actual"] == "yes").mean())
    else: assert sk.roc_auc_score(own["actual"], _whole(own), multi_class="ovr") == pytest.approx(sk.roc_auc_score(table["actual"], wide, multi_class="ovr", labels=contract.outputs), abs=1e-12)


def test_metrics_of_each_day_are_those_of_scikit_learn(binary):
    found, table = read(binary), joined(binary).filter(pl.col("actual").is_not_null()).with_columns(day=pl.col("event_time").dt.date())
    assert found.days["version"].unique().sort().to_list() == ["1", "2"]
    for day, version, labelled, loss in found.days.select("day", "version", "labelled", "loss_mean").iter_rows():
        of = table.filter(pl.col("day") == day, pl.col("version") == version)
        assert of.height == labelled and loss == pytest.approx(sk.log_loss(of["actual"], of["score"], labels=["no", "yes"]), rel=1e-9)


@settings(max_examples=6, deadline=None)
@given(at=st.datetimes(datetime(2026, 1, 2), datetime(2026, 3, 20)))
def test_no_label_after_a_day_is_looked_at(binary, at):
    "What is known as of any moment is what the join of the two tables, cut at that moment, says."
    at = at.replace(tzinfo=UTC)
    then, all_ = read(binary, as_of=at), read(binary)
    table = joined(binary, at).filter(pl.col("actual").is_not_null())
    assert then.labelled_rows.filter(pl.col("arrived") > at).is_empty() and then.rows == monitored_log.truth(binary).filter(pl.col("at") < at.replace(tzinfo=None)).height
    assert then.labelled_rows.sort("time")["actual"].to_list() == (table["actual"] == "yes").cast(pl.Int16).to_list()
    assert logged.as_known(all_, at).sort("time").equals(then.labelled_rows.sort("time"))
    assert then.sample.filter(pl.col("actual").is_not_null()).height == table.height
    assert int(then.delays["labels"].sum()) == table.height


def test_a_label_after_the_day_changes_nothing_of_what_was_known(tmp_path):
    book = monitored_log.make(tmp_path / "book", days=10, rows=60)
    at = datetime(2026, 1, 8, tzinfo=UTC)
    before = read(book, days=10, until="2026-01-11", as_of=at)
    rows = log.read(folder_of(book)).head(300)
    add(folder_of(book), [{"request_id": i, "row": r, "label": "no"} for i, r in rows.select("request_id", "row").iter_rows()], arrived=at + timedelta(seconds=1))
    after = read(book, days=10, until="2026-01-11", as_of=at)
    assert after.labelled_rows.equals(before.labelled_rows) and after.labelled == before.labelled and after.days.equals(before.days) and after.earlier.equals(before.earlier)


def test_profile_and_scores_are_those_of_the_whole_table(book, monkeypatch):
    monkeypatch.setattr(logged, "_ROWS", 700)
    found, contract, truth = read(book), contract_of(book), monitored_log.truth(book)
    frame = truth.select(n for n in contract.columns if n != contract.target)
    whole = Profile.of(frame, like=found.reference, contract=contract)
    assert same(found.profile.model_dump(exclude={"left_out"}), whole.model_dump(exclude={"left_out"}))
    package = Predictor.open(found.served.folder)
    assert found.served.manifest.digest == found.served.digest == package.digest
    with_labels = joined(book).with_columns(truth["at"]).rename({"actual": contract.target} if contract.task != "regression" else {"actual_number": contract.target}).drop("actual", strict=False)
    said = np.array(with_labels["probabilities"].to_list()) if contract.task == "multiclass" else with_labels["score"].to_numpy()
    wanted = scored(Scores.load(found.served.folder / "scores.json"), with_labels, contract, said)
    for one, other in zip((found.scores, found.labelled), wanted, strict=True): assert same(one.model_dump(), other.model_dump())


def test_a_model_of_the_error_says_what_to_expect(tmp_path):
    book = monitored_log.make(tmp_path / "book", task="regression", days=10, rows=80, loss=True)
    found, truth, contract = read(book, days=10, until="2026-01-11"), monitored_log.truth(book), contract_of(book)
    wanted = scored(found.validation, truth, contract, truth["score"].to_numpy(), loss=Predictor.open(found.served.folder).expected_error(truth))
    for one, other in zip((found.scores, found.labelled), wanted, strict=True): assert one.predicted_loss and same(one.model_dump(), other.model_dump())


def test_drift_can_be_judged(binary):
    found = read(binary)
    model = judge(found.validation, found.scores, found.labelled, importance=found.served.manifest.importance, package=found.served.digest)
    verdict = compare(found.reference, found.profile, contract=found.served.contract, model=model)
    assert verdict.model.judged_by == "labels" and not any(c.outcome == "drifted" for c in verdict.columns.values())


def test_the_sample_says_again_what_the_log_says(book):
    found, contract = read(book, sample=500), contract_of(book)
    assert found.sample.height == 500 and found.sample["actual"].null_count() == 0
    inputs = found.sample["inputs"].struct.unnest()
    assert inputs.schema["at"] == pl.Datetime("us") and set(contract.features) | {"order"} <= set(inputs.columns)
    said = logged.rescored(found, found.served.folder)
    wanted = np.array(found.sample["probabilities"].to_list()) if contract.task == "multiclass" else found.sample["score"].to_numpy()
    assert np.allclose(said.probabilities if contract.task == "multiclass" else said.score, wanted, atol=1e-6)
    if contract.task != "regression": assert said.label.tolist() == found.sample["label"].to_list()


def test_the_sample_takes_labelled_rows_first_and_all_days(binary):
    found = read(binary, as_of="2026-01-09", sample=1_500)
    labelled = found.sample["actual"].is_not_null().sum()
    assert labelled == min(1_500, found.labelled_rows.height) < 1_500 == found.sample.height
    assert found.sample["event_time"].dt.date().n_unique() == 8
    assert read(binary, as_of="2026-01-09", sample=1_500).sample.equals(found.sample)


def test_versions_and_who_was_before(binary):
    found = read(binary)
    assert (found.served.version, found.served.number, found.previous.version) == ("2", 2, "1")
    assert found.served.since == datetime(2026, 1, 21, tzinfo=UTC) and found.previous.since == datetime(2026, 1, 1, tzinfo=UTC)
    assert found.versions["known"].all() and found.versions["rows"].sum() == found.rows == found.days["rows"].sum() == 12_000
    assert found.scores.rows == found.versions.filter(pl.col("version") == "2")["rows"].item()


def test_a_window_of_the_past_is_about_the_version_of_then(binary):
    found = read(binary, days=10, until="2026-01-15")
    assert (found.served.version, found.previous, found.scores.rows) == ("1", None, found.rows)


def test_a_decision_after_the_window_does_not_change_who_was_in_charge(tmp_path, binary):
    shutil.copytree(binary.root, tmp_path / "book")
    book = type(binary).load(tmp_path / "book")
    ledger = ledgers.Ledger(book.ledger_url)
    first, second = (e.champion for e in ledger.entries())
    with patch.object(ledgers, "_now", lambda: "2026-02-08T00:00:00.000Z"): ledger.append("rollback", after=2, champion=first, challenger=second, who="Ada Byron", why="The second one is worse.")
    found = read(book, days=21, until="2026-02-01")
    assert (found.served.version, found.previous.version, found.served.since) == ("2", "1", datetime(2026, 1, 21, tzinfo=UTC))
    assert read(book, days=10, until="2026-01-15").served.since == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_replay_is_about_who_answered_whatever_the_ledger_decided_since(tmp_path, binary):
    "The ledger's decisions are all later than the window, as those of a replay of last year are."
    shutil.copytree(binary.root, tmp_path / "book")
    book, old = type(binary).load(tmp_path / "book"), [e.champion for e in ledgers.Ledger(binary.ledger_url).entries()]
    for file in (tmp_path / "book").glob("ledger.db*"): file.unlink()
    ledger = ledgers.Ledger(book.ledger_url)
    for k, digest in enumerate(old):
        ledger.register(digest)
        ledger.append("promote", after=k, champion=digest, who="test", why="It is better.")
    early, late = read(book, days=10, until="2026-01-15"), read(book)
    assert (early.served.version, early.served.since, late.served.version, late.previous.version, late.served.since) == ("1", None, "2", "1", None)


def test_the_mean_score_of_labelled_rows_is_told_apart(tmp_path):
    book = monitored_log.make(tmp_path / "book", days=5, rows=60, label_share=0.0)
    truth = monitored_log.truth(book)
    add(folder_of(book), truth.filter(pl.col("score") < 0.3).select("request_id", "row", label="actual"), arrived=datetime(2026, 2, 1, tzinfo=UTC))
    found = read(book, days=5, until="2026-01-06")
    said = float((found.days["said_mean"] * found.days["labelled"]).sum() / found.days["labelled"].sum())
    assert said == pytest.approx(found.labelled_rows["score"].mean()) and said < 0.3 < found.days["score_mean"].max()


NAMES = {"x0": "score", "x1": "row", "x2": "day", "channel": "version", "order": "request_id", "at": "event_time", "returned": "label"}


def test_columns_may_have_the_names_of_the_log(tmp_path):
    "A contract whose columns are called like those of the log: the package still says what the log says."
    book = monitored_log.make(tmp_path / "book", days=5, rows=60)
    train, truth = pl.read_parquet(book.root / "data/train.parquet").rename(NAMES), monitored_log.truth(book)
    contract = learn(train, target="label", time="event_time", positive="yes", roles={"request_id": "id"})
    X, y = encode(contract, train).X, target(contract, train)
    write_package(tmp_path / "made", model=make_pipeline(SimpleImputer(), LogisticRegression()).fit(X, y), X=X, contract=contract, threshold=0.5, profile=Profile.of(train, contract=contract))
    asked = truth.select(pl.col(n).alias(NAMES.get(n, n)) for n in ("x0", "x1", "x2", "channel", "order", "at"))
    digest, said = Store(book.store).put(tmp_path / "made"), Predictor.open(tmp_path / "made").predict(asked)
    ledger = ledgers.Ledger(book.ledger_url)
    ledger.register(digest)
    with patch.object(ledgers, "_now", lambda: "2026-01-01T00:00:00.000Z"): ledger.append("promote", after=1, champion=digest, who="test", why="Other names.")
    monitored_log.rewrite(book, "log", lambda rows: rows.join(truth.select("request_id", "row", pl.Series("_score", said.score)), on=["request_id", "row"], how="left", maintain_order="left").with_columns(
        package=pl.lit(digest), contract=pl.lit(contract.digest), score=pl.col("_score"), inputs=pl.col("inputs").str.replace_many([f'"{n}":' for n in NAMES], [f'"{n}":' for n in NAMES.values()])))
    found = logged.read(book, Span.of(5, "2026-01-06", "", "2026-06-01", contract=contract), told=None)
    again = gap(found, logged.rescored)
    assert (again.rows, again.differing, again.largest < 1e-6) == (300, 0, True)
    assert set(found.sample["inputs"].struct.fields) == set(contract.columns) - {"label"} and found.sample["score"].dtype == pl.Float64 and found.labelled_rows.height == 300


def test_the_days_of_the_gap_and_of_the_training_are_those_of_the_zone(binary):
    zone = "America/New_York"
    found = logged.read(binary, Span(datetime(2026, 1, 11, 5, tzinfo=UTC), datetime(2026, 2, 1, 5, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC), "event", zone), told=None)
    since = datetime(2026, 1, 21, 2, tzinfo=UTC)  # nine in the evening of the day before
    odd = replace(found, served=found.previous, sample=found.sample.with_columns(package=pl.lit(found.previous.digest), score=pl.when(pl.col("event_time") >= since).then(0.001).otherwise(pl.Series(logged.rescored(found, found.previous.folder).score))))
    assert gap(odd, logged.rescored).first_day == "2026-01-20"
    ends = found.served.manifest.model_copy(update=dict(origin=found.served.manifest.origin.model_copy(update=dict(windows={"train": Window(rows=1, end="2026-01-25")}))))
    assert _unseen(replace(found, served=replace(found.served, manifest=ends)))["event_time"].min() >= datetime(2026, 1, 25, 5, tzinfo=UTC)


def test_slices_add_up_and_are_right(binary):
    found = read(binary, slices=["channel", "x0"])
    own = found.versions.filter(pl.col("version") == "2")
    sums = found.slices.group_by("column").agg(pl.col("rows", "labelled", "hits", "loss_sum").sum())
    for column, rows, labelled, hits, loss in sums.iter_rows():
        assert (column in ("channel", "x0")) and (rows, labelled, hits) == (own["rows"].item(), own["labelled"].item(), own["hits"].item()) and loss == pytest.approx(own["loss_mean"].item() * labelled)
    table = joined(binary).filter(pl.col("version") == "2", pl.col("actual").is_not_null(), pl.col("inputs").str.contains('"channel":"web"'))
    web = found.slices.filter(pl.col("value") == "web").select(pl.col("loss_sum", "labelled").sum()).row(0)
    assert web[0] / web[1] == pytest.approx(sk.log_loss(table["actual"], table["score"], labels=["no", "yes"]))
    assert found.slices.filter(pl.col("column") == "x0")["value"].n_unique() == 4


def test_an_unknown_slice_is_named(binary):
    with pytest.raises(ParameterError, match="chanel"): read(binary, slices=["chanel"])


def test_latency_is_of_requests_not_of_rows(binary):
    found, truth = read(binary), monitored_log.truth(binary)
    ms = truth.filter(pl.col("row") == 0)["latency_ms"]
    assert found.latency["p99"] == pytest.approx(float(ms.quantile(0.99, "higher")), rel=1e-6) and found.latency["max"] == pytest.approx(ms.max(), rel=1e-6)
    assert found.days["requests"].sum() == len(ms) < found.rows


def test_received_and_event_clock_are_different_windows(binary):
    by_event, by_receiving = read(binary, days=1, until="2026-01-10"), read(binary, days=1, until="2026-01-10", clock="received")
    truth = monitored_log.truth(binary)
    assert by_event.rows == truth.filter(pl.col("at").dt.date() == datetime(2026, 1, 9).date()).height
    assert by_receiving.rows == truth.filter(pl.col("received_time").dt.date() == datetime(2026, 1, 9).date()).height
    assert by_event.skew == {} and by_receiving.skew == {"rows": 0, "hours": 0.0}


def test_violations_are_counted_with_their_first_day(tmp_path):
    book = monitored_log.make(tmp_path / "book", days=20, rows=100, shift=20.0, from_day=12)
    found = {v.column: v for v in read(book, days=20, until="2026-01-21").violations}
    assert set(found) == {"x0"} and found["x0"].rule == "range" and found["x0"].first_day.isoformat() == "2026-01-13"
    truth = monitored_log.truth(book)
    assert found["x0"].rows == truth.filter(pl.col("x0") > 8).height and found["x0"].share == found["x0"].rows / 2_000 and found["x0"].example > 8


def test_labels_by_a_business_key_count_like_those_by_request(tmp_path):
    book = monitored_log.make(tmp_path / "book", days=10, rows=60, label_share=0.0)
    truth = monitored_log.truth(book)
    by_id, by_key = truth[:200], truth[100:400]
    add(folder_of(book), by_id.select("request_id", "row", label="actual"), arrived=datetime(2026, 2, 1, tzinfo=UTC))
    add(folder_of(book), by_key.select("order", label=pl.lit("no")), by="order", arrived=datetime(2026, 2, 5, tzinfo=UTC))
    add(folder_of(book), truth[390:410].select("order", "channel", label=pl.lit("yes")), by=["order", "channel"], arrived=datetime(2026, 2, 3, tzinfo=UTC))
    found = read(book, days=10, until="2026-01-11")
    table = joined(book).filter(pl.col("actual").is_not_null())
    assert found.labelled_rows.sort("time")["actual"].to_list() == (table["actual"] == "yes").cast(pl.Int16).to_list() and table.height == 410
    then = logged.as_known(found, datetime(2026, 2, 4, tzinfo=UTC))
    assert then.sort("time")["actual"].to_list() == (joined(book, datetime(2026, 2, 4, tzinfo=UTC)).filter(pl.col("actual").is_not_null())["actual"] == "yes").cast(pl.Int16).to_list()


def test_told_hears_how_far_it_is(binary, monkeypatch):
    said = []
    monkeypatch.setattr(logged, "_ROWS", 500)
    monkeypatch.setattr(logged, "_SAY", 1_000)
    read(binary, told=said.append)
    assert said and all("of 12,000 predictions read" in line for line in said)


def test_an_empty_window_says_where_the_log_is(binary):
    with pytest.raises(DataError, match="reaches from 2026-01-01 .* to 2026-02-09"): read(binary, until="2027-01-01", as_of="2027-01-01")
    with pytest.raises(DataError, match="nothing of it was known"): read(binary, days=10, as_of="2026-01-05")


def test_a_package_that_was_changed_is_refused(tmp_path):
    book = monitored_log.make(tmp_path / "book", days=3, rows=40)
    next(book.store.glob("*/contract.json")).write_text("{}")
    with pytest.raises(PackageError): read(book, days=3, until="2026-01-04")


ORDERS = learn(pl.DataFrame({"n": [1, 2, 3], "x": [0.5, 1.5, 2.5], "yes": [True, False, True], "depot": ["a", "b", "c"], "sent": [datetime(2026, 1, d).date() for d in (1, 2, 3)], "late": ["no", "yes", "no"]}), target="late")
VALUES = {"n": st.one_of(st.none(), st.integers(-2**63, 2**63 - 1), st.integers(-9, 9).map(float), st.integers(0, 99).map(str)), "x": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=64), st.integers(-5, 5), st.just("1.25")),
          "yes": st.sampled_from([None, True, False, "true", 0]), "depot": st.one_of(st.none(), st.text(max_size=5), st.integers(0, 9), st.booleans()), "sent": st.sampled_from([None, "2026-01-05", "2025-12-31T00:00:00"])}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.fixed_dictionaries({}, optional={**VALUES, "stray": st.just([1, {"a": None}])}), min_size=1, max_size=6))
def test_decoding_reads_what_the_contract_reads(rows):
    "The quick way and the long way end where `data.values.read_column` does, value by value."
    from model_ops.data.values import plain, reader
    found = typed(Decoder(ORDERS).frame(pl.Series([orjson.dumps(r).decode() for r in rows])), ORDERS)
    for name in VALUES:
        read_one = reader(ORDERS.columns[name].dtype)
        assert found[name].to_list() == [None if r.get(name) is None else read_one(plain(r[name])) for r in rows], name
