"""The data explorer without a browser: any table, the three tasks, names that bite, and columns that are nobody's business."""
import json
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from model_ops.data import contract as contracts
from model_ops.errors import DataError
from model_ops.widgets import tables as asked
from model_ops.widgets.cells import means
from model_ops.widgets.data import DataExplorer
from model_ops.widgets.tables import Tables

HOSTILE = '<img src=x onerror="alert(1)">'
RNG = np.random.default_rng(0)
N = 1_200


def orders() -> pl.DataFrame:
    "A table with a column of each kind."
    return pl.DataFrame({
        "when": [datetime(2024, 1, 1) + timedelta(hours=2*i) for i in range(N)], "returned": RNG.random(N) < 0.3, "amount": RNG.gamma(2, 30, N),
        HOSTILE: RNG.choice([HOSTILE, "web", None], N), "weekday": RNG.integers(0, 7, N), "paid": [date(2024, 1, 1) + timedelta(days=i//12) for i in range(N)],
        "email": [f"{i}@example.org" for i in range(N)], "note": [f"text number {i}" for i in range(N)], "gone": [None]*N, "list": [[1, 2]]*N,
        "odd": [float("inf"), float("nan"), -1e308, 1e308, 0.5, None]*(N//6), "one": ["same"]*N, "size": RNG.choice(["s", "m", "l"], N), "price": RNG.normal(size=N)}, strict=False)


@pytest.fixture(scope="module")
def table() -> pl.DataFrame: return orders()


@pytest.fixture(scope="module")
def explorer(table):
    frame = table.drop("list")
    return DataExplorer(frame, contracts.learn(frame, target="returned", time="when", roles={"email": "personal"}))


def test_every_column_is_shown_in_every_window(explorer):
    for column in asked.glance(explorer.tables):
        for window in explorer.frames:
            with explorer.together(): explorer.columns.value, explorer.before.value = column, window
            assert explorer.error is None and explorer.column == column, (column, explorer.error)
            assert "<img" not in explorer.__html__()
    for look in explorer.look.options:
        explorer.look.value = look
        assert explorer.error is None, explorer.error


def test_personal_values_and_ids_never_appear(explorer):
    for column in ("email", "note"):
        explorer.columns.value = column
        assert "@example.org" not in explorer.__html__() and "text number" not in explorer.__html__()
    explorer.columns.value = "amount"
    assert "@example.org" not in explorer.__html__()


@pytest.mark.parametrize(("target", "said"), [("returned", "share of returned = true"), ("size", "share of size = s"), ("price", "mean of price")])
def test_the_three_tasks(table, target, said):
    explorer = DataExplorer(table, target=target, time="when")
    explorer.columns.value = "weekday"
    assert f"{said} by weekday" in explorer.text() and explorer.error is None
    if target == "size":
        explorer.of_class.value = "l"
        assert "share of size = l by weekday" in explorer.text() and explorer.level == "l"


def test_the_numbers_are_those_of_the_table(table):
    tables = Tables.of({"a": table[:700], "b": table[700:]}, contracts.learn(table.drop("list"), target="returned", time="when"))
    cut = asked.cells(tables, "size")
    assert dict(zip(cut.names, cut.shares("a"), strict=True)) == pytest.approx({n: (table[:700]["size"] == n).mean() for n in "sml"} | {"missing": 0, "others": 0})
    numeric = asked.cells(tables, "amount")
    inside = table[:700].select(pl.col("amount").is_between(numeric.labels[0], numeric.labels[1], closed="left").sum()).item()
    assert np.bincount(numeric.codes["a"])[0] == inside and len(numeric.codes["b"]) == 500
    rows, mean, *_ = means(asked.target(tables, "b"), cut.codes["b"], len(cut.names))[0]
    part = table[700:].filter(pl.col("size") == cut.labels[0])
    assert (rows, mean) == (part.height, pytest.approx(part["returned"].mean()))
    facts = asked.glance(tables)
    assert facts[HOSTILE].missing == pytest.approx(table[HOSTILE].null_count()/N) and facts[HOSTILE].distinct == 2 and facts["gone"].distinct == 0 and "list" not in facts


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng, held = np.random.default_rng(1), 0
    for _ in range(300):
        day = np.repeat(np.arange(40), 25)
        y = (rng.random(1_000) < np.repeat(rng.beta(2, 6, 40), 25)).astype(float)
        _, _, low, high = means(y, np.zeros(1_000, int), 1, day)[0]
        held += low <= 0.25 <= high
    assert 0.90 < held/300 < 0.985


def test_filters_narrow_the_list(explorer):
    explorer.only.value = "missing"
    assert set(dict(explorer.columns.options).values()) == {HOSTILE, "gone", "odd"}
    explorer.only.value, explorer.dtype.value = "any", "date"
    assert explorer.column == "paid"
    explorer.dtype.value, explorer.find.value = "", " EMA"
    assert explorer.column == "email"
    explorer.find.value = "nothing like it"
    assert explorer.column is None and "No column passes these filters." in explorer.text()
    explorer.find.value = ""


def test_violations_are_those_of_the_chosen_window(table):
    contract = contracts.learn(table[:600].drop("list"), target="returned", time="when")
    later = table[600:].drop("list").with_columns(pl.lit("brand new").alias("size"))
    explorer = DataExplorer({"before": table[:600].drop("list"), "after": later}, contract)
    explorer.look.value = "violations"
    assert "brand new" in explorer.text() and "size" in explorer.text()
    explorer.only.value = "violations"
    assert "size" in dict(explorer.columns.options).values()
    explorer.after.value = "before"
    assert "brand new" not in explorer.text() and "row 0: inf" in explorer.text()


def test_leaks_are_named_with_the_question_to_ask(table):
    explorer = DataExplorer(table.with_columns(copy=pl.col("returned").cast(pl.Int8)), target="returned", time="when")
    explorer.look.value = "leaks"
    assert "Is it the target under another name?" in explorer.text()
    explorer.only.value = "leaks"
    assert "copy" in dict(explorer.columns.options).values()


def test_a_table_without_target_or_contract_is_shown_too(table):
    explorer = DataExplorer(table.to_pandas())
    for look in explorer.look.options: explorer.look.value = look
    for column in explorer.frames[explorer.current].columns: explorer.columns.value = column
    assert explorer.error is None and list(explorer.frames) == ["earlier half", "later half"]


def test_wrong_names_and_no_workbook_are_said_in_words(table, tmp_path):
    with pytest.raises(DataError, match="Did you mean 'returned'"): DataExplorer(table, target="retuned")
    (tmp_path/"settings.ini").write_text("[workbook]\nname = empty\n")
    with pytest.raises(DataError, match="model-ops run prepare"): DataExplorer(root=tmp_path)


def test_of_a_wide_table_a_sample_is_looked_at(monkeypatch, table):
    monkeypatch.setattr(asked, "CELLS", 14*300)
    explorer = DataExplorer(table.drop("list"), target="returned")
    assert explorer.tables.stacked.height <= 330 and "evenly spread" in explorer.note and explorer.error is None


def test_the_workbook_is_shown_as_prepare_recorded_it(table, tmp_path):
    (tmp_path/"settings.ini").write_text("[workbook]\nname = shop\nnoun = orders\n")
    for folder in ("data", "records"): (tmp_path/folder).mkdir()
    frame = table.drop("list", "gone", "odd")
    for window, rows in {"train": frame[:800], "current": frame[800:]}.items(): rows.write_parquet(tmp_path/"data"/f"{window}.parquet")
    contracts.learn(frame[:800], target="returned", time="when").save(tmp_path/"records/contract.json")
    leak = {"columns": [HOSTILE], "rule": "predicts alone", "evidence": "Alone it reaches ROC AUC 0.999.", "value": 0.999}
    windows = [{"name": "train", "rows": 800, "from": "2024-01-01", "to": "2024-03-01"}, {"name": "current", "rows": 400, "from": "2024-03-01", "to": "2024-05-01"}, {"name": "lost", "rows": 1, "from": None, "to": None}]
    (tmp_path/"records/prepare.json").write_text(json.dumps({"kind": "prepared", "windows": windows, "rejected": {"train": 3, "current": 0}, "leaks": [leak]}))
    explorer = DataExplorer(root=tmp_path)
    assert list(explorer.frames) == ["train", "current"] and explorer.title == "Data: 1,200 orders" and "train | 2024-01-01 | 2024-03-01 | 800 | 3" in explorer.text()
    explorer.look.value = "leaks"
    assert "ROC AUC 0.999" in explorer.text() and "known at the moment of the prediction" in explorer.text() and "<img" not in explorer.__html__()
