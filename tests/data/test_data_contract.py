"""The contract: what is learned, what people may edit, what is checked and enforced."""
import json
import subprocess
import sys
import time
from datetime import date, datetime
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError
from model_ops.data.contract import Column, Contract, Violations, check, enforce, learn
from model_ops.errors import ContractError, DataError

HOSTILE = ["<script>alert(1)</script>", "\"quotes\" & 'more'", "x" * 10_000, "\u202eevil", "سعر", "", " ", "a.b", "{name}", "日本"]


def table(rows=200, **columns):
    rng = np.random.default_rng(1)
    return pl.DataFrame({"late": rng.random(rows) < 0.3, "kilos": rng.normal(10, 3, rows), "depot": rng.choice(["Bonn", "Köln"], rows)}).with_columns(**columns)


@pytest.fixture
def contract():
    return learn(table(), target="late")


class TestLearn:
    def test_every_column_says_why(self, contract):
        assert all(c.why for c in contract.columns.values())

    @pytest.mark.parametrize("values, dtype, role", [
        (pl.int_range(200, eager=True), "integer", "id"),
        (pl.int_range(200, eager=True).cast(pl.String), "text", "id"),
        (pl.int_range(200, eager=True) % 7, "integer", "feature"),
        (pl.int_range(200, eager=True) / 7, "number", "feature"),
        (pl.int_range(200, eager=True) % 2 == 0, "boolean", "feature"),
        ((pl.int_range(200, eager=True) % 5).cast(pl.String).cast(pl.Categorical), "category", "feature"),
        (pl.Series(["US"] * 200), "category", "ignore"),
        (pl.Series([None] * 200), "category", "ignore"),
        (pl.Series([float("nan")] * 200), "number", "ignore"),
        (pl.Series([[1, 2]] * 200), "text", "ignore"),
        (pl.Series([date(2024, 1, 1), date(2024, 1, 2)] * 100), "date", "feature"),
        (pl.Series([datetime(2024, 1, 1), datetime(2024, 1, 2)] * 100), "datetime", "feature"),
    ])
    def test_guesses(self, values, dtype, role):
        column = learn(table(extra=values), target="late").columns["extra"]
        assert (column.dtype, column.role) == (dtype, role)

    def test_more_than_a_thousand_levels_are_text_unless_told(self):
        many = pl.Series([f"N{i % 1_001}" for i in range(2_002)])
        frame = table(2_002, tail=many)
        assert learn(frame, target="late").columns["tail"].role == "ignore"
        assert learn(frame.with_columns(tail=pl.Series([f"N{i % 1_000}" for i in range(2_002)])), target="late").columns["tail"].dtype == "category"
        told = learn(frame, target="late", roles={"tail": "feature"}).columns["tail"]
        assert (told.dtype, len(told.categories)) == ("category", 1_001)

    def test_time_only_if_told(self):
        clock = pl.Series([datetime(2024, 1, 1), datetime(2024, 1, 2)] * 100)
        assert learn(table(sent=clock), target="late").time is None
        assert learn(table(sent=clock), target="late", time="sent").time == "sent"

    @pytest.mark.parametrize("text, dtype, zone", [
        ("2024-01-0{}", "date", ""), ("2024-01-0{} 10:00", "datetime", ""), ("2024-01-0{}T10:00:00Z", "datetime", "UTC")])
    def test_time_told_as_text(self, text, dtype, zone):
        column = learn(table(sent=pl.Series([text.format(1 + i % 5) for i in range(200)])), target="late", time="sent").columns["sent"]
        assert (column.dtype, column.timezone) == (dtype, zone)

    def test_a_datetime_told_as_text(self):
        found = learn(table(sent=pl.Series([f"2024-01-0{1 + i % 5}T10:00:00+02:00" for i in range(200)])), target="late", dtypes={"sent": "datetime"})
        assert (found.columns["sent"].dtype, found.columns["sent"].timezone) == ("datetime", "UTC")

    def test_a_target_told_as_text(self):
        found = learn(table(price=pl.Series([f"{i % 20}.50" for i in range(200)])), target="price", dtypes={"price": "number"})
        assert (found.task, found.columns["price"].low, found.columns["price"].high) == ("regression", 0.5, 19.5)

    def test_dtypes_told(self):
        frame = table(zip=pl.int_range(200, eager=True) % 9 + 53_000)
        column = learn(frame, target="late", dtypes={"zip": "category"}).columns["zip"]
        assert column.categories[0] == "53000" and column.role == "feature"

    @pytest.mark.parametrize("values, task, positive, classes", [
        ([0, 1], "binary", "1", ["0", "1"]), ([0.0, 1.0], "binary", "1", ["0", "1"]), (["no", "yes"], "binary", "yes", ["no", "yes"]),
        (["b", "a", "a"], "binary", "b", ["a", "b"]), ([9, 10, 2], "multiclass", "", ["2", "9", "10"]), (["c", "a", "b"], "multiclass", "", ["a", "b", "c"]),
        (list(range(11)), "regression", "", []), ([0.5, 1.5, 2.0], "regression", "", []),
    ])
    def test_tasks(self, values, task, positive, classes):
        found = learn(table(y=pl.Series((values * 200)[:200])), target="y", roles={"late": "ignore"})
        assert (found.task, found.positive, found.classes) == (task, positive, classes)

    def test_the_positive_class_is_the_rarer_of_two_words(self):
        assert learn(table(y=pl.Series(["bad"] * 150 + ["awful"] * 50)), target="y").positive == "awful"
        assert learn(table(), target="late", positive="false").positive == "false"

    def test_nothing_of_a_personal_column_is_kept(self):
        names = pl.Series(["Ada", "Bob"] * 100)
        found = learn(table(name=names), target="late", roles={"name": "personal"})
        assert "Ada" not in found.to_json() and "Ada" not in str(found.__html__())

    def test_ranges_are_of_finite_values(self):
        column = learn(table(wind=pl.Series([float("inf"), 1.0, 2.0, float("-inf"), float("nan")] * 40)), target="late").columns["wind"]
        assert (column.low, column.high, column.nullable) == (1.0, 2.0, True)

    def test_huge_integers_do_not_overflow(self):
        column = learn(table(n=pl.Series([2**63 - 1, -(2**63)] * 100)), target="late").columns["n"]
        assert (column.low, column.high) == (-(2**63), 2**63 - 1)

    @pytest.mark.parametrize("frame, told, error, message", [
        (table(), dict(target="lat"), ContractError, "Did you mean 'late'?"),
        (table(), dict(target="late", time="sent"), ContractError, "no column 'sent'"),
        (table(), dict(target="late", roles={"kilos": "featrue"}), ContractError, "Did you mean 'feature'?"),
        (table(), dict(target="late", dtypes={"kilos": "float"}), ContractError, "no dtype 'float'"),
        (table(), dict(target="late", task="binray"), ContractError, "Did you mean 'binary'?"),
        (table(), dict(target="late", roles={"late": "id"}), ContractError, "One role a column"),
        (table().head(0), dict(target="late"), DataError, "no rows"),
        (pl.DataFrame(), dict(target="late"), DataError, "no columns"),
        (table(late=True), dict(target="late"), DataError, "one class only"),
        (table(kilos=2.5), dict(target="kilos", task="regression"), DataError, "one value only: '2.5' in all 200 rows"),
        (table(late=pl.Series([None] * 200, dtype=pl.Boolean)), dict(target="late"), ContractError, "has no value"),
        (table(empty=None), dict(target="late", roles={"empty": "feature"}), ContractError, "has no value"),
        (table(), dict(target="depot", task="regression"), ContractError, "needs a number"),
        (table(), dict(target="kilos", task="binary"), ContractError, "fractions"),
        (table(), dict(target="late", positive="maybe"), ContractError, "no class 'maybe'"),
        (table(), dict(target="kilos", positive="yes"), ContractError, "Only a binary task"),
        (table(), dict(target="late", roles={"kilos": "target"}), ContractError, "not 2"),
        (table(), dict(target="late", time="kilos", roles={"depot": "time"}), ContractError, "not a text"),
        (table(sent=pl.lit("yesterday")), dict(target="late", time="sent"), ContractError, "not a text"),
        (table(), dict(target="late", roles={"depot": "weight"}), ContractError, "a weight is a number"),
        (table(sent=pl.lit("yesterday")), dict(target="late", dtypes={"sent": "datetime"}), ContractError, "'yesterday'"),
        (table(), dict(target="late", dtypes={"depot": "number"}), ContractError, "such as"),
        (table(n=pl.Series([0, 1, 2, 0] * 50)), dict(target="n", task="binary"), ContractError, "3 classes"),
        (table(n=pl.Series([[1]] * 200)), dict(target="late", roles={"n": "feature"}), ContractError, "List(Int64)"),
    ])
    def test_refusals(self, frame, told, error, message):
        with pytest.raises(error) as raised: learn(frame, **told)
        assert message in str(raised.value) and (raised.value.allowed or raised.value.todo)

    def test_from_pandas_columns_and_rows(self, contract):
        frame = table()
        for other in [frame.to_pandas(), frame.to_dict(as_series=False), frame.to_dicts(), frame.to_arrow(), frame.lazy()]:
            assert learn(other, target="late") == contract

    def test_duplicate_names_are_refused(self):
        with pytest.raises(DataError, match="same name"): learn(pd.DataFrame([[1, 2]], columns=["a", "a"]), target="a")
        with pytest.raises(DataError, match="name '1'"): learn(pd.DataFrame([[1, 2]], columns=[1, "1"]), target="1")


class TestFile:
    def test_round_trip_and_digest(self, contract, tmp_path):
        again = Contract.load(contract.save(tmp_path / "contract.json"))
        assert again == contract and again.digest == contract.digest and again.to_json() == contract.to_json()

    def test_columns_are_sparse(self, contract):
        assert list(json.loads(contract.to_json())["columns"]["depot"]) == ["dtype", "role", "why", "categories"]

    @pytest.mark.parametrize("edit", [
        dict(role="featrue"), dict(dtype="float"), dict(low=3, high=1), dict(low="Monday"), dict(low=True), dict(severities={"range": "error"}),
        dict(severities={"ranges": "warn"}), dict(dtype="text"), dict(dtype="category", categories=["a", "a"]), dict(timezone="UTC"),
        dict(role="weight", dtype="category"), dict(surplus=1), dict(role="target"), dict(role="time", dtype="category"),
    ])
    def test_wrong_edits_are_refused_by_name(self, contract, edit):
        data = json.loads(contract.to_json())
        data["columns"]["kilos"] = {"dtype": "number"} | edit
        with pytest.raises(DataError, match="contract.json"): Contract.from_json(json.dumps(data), "contract.json")

    def test_unknown_zone(self):
        with pytest.raises((ContractError, ValidationError), match="Mars"): Column(dtype="datetime", timezone="Mars/Olympus", low="2024-01-01")

    @given(st.lists(st.text(max_size=20), min_size=1, max_size=5, unique=True))
    @settings(deadline=None, max_examples=30)
    def test_any_names_survive(self, names):
        frame = pl.DataFrame({name: [1.5, 2.5, 3.5] for name in names if name != "late"} | {"late": [True, False, True]})
        contract = learn(frame, target="late")
        assert Contract.from_json(contract.to_json()) == contract and list(contract.columns) == frame.columns
        assert check(contract, frame).found == []


class TestCheck:
    def test_the_reference_keeps_its_contract(self, contract):
        found = check(contract, table())
        assert found.found == [] and found.rejected == 0 and "All 200 rows" in found.summary

    def test_counts(self, contract):
        bad = table(kilos=pl.when(pl.int_range(200) < 3).then(None).otherwise("kilos"),
                    depot=pl.when(pl.int_range(200) < 5).then(pl.lit("Rom")).otherwise("depot"))
        found = check(contract, bad)
        assert {(v.column, v.rule): v.count for v in found.found} == {("kilos", "nulls"): 3, ("depot", "categories"): 5}
        assert (found.affected_rows, found.affected_columns, found.rejected, found.rejected_rows) == (5, 2, 3, "0-2")
        nulls = next(v for v in found.found if v.rule == "nulls")
        assert nulls.share == 3 / 200 and [e.row for e in nulls.examples] == [0, 1, 2] and nulls.severity == "enforce"

    def test_infinite_is_out_of_range(self, contract):
        found = check(contract, table(kilos=pl.when(pl.int_range(200) == 4).then(float("-inf")).otherwise("kilos"))).found
        assert [(v.rule, v.count, v.examples[0].value) for v in found] == [("range", 1, "-inf")]

    def test_dates_have_ranges_if_people_write_them(self):
        contract = Contract(task="binary", positive="true", columns={
            "late": Column(dtype="boolean", role="target", categories=["false", "true"]),
            "sent": Column(dtype="date", low="2024-01-01", high="2024-12-31", severities={"range": "enforce"})})
        clean, found = enforce(contract, {"late": [True, False], "sent": [date(2024, 5, 1), date(2025, 1, 1)]})
        assert clean.height == 1 and found.found[0].examples[0].value == "2025-01-01" and found.found[0].allowed == "2024-01-01 to 2024-12-31"

    def test_ignored_columns_are_not_looked_at(self):
        contract = learn(table(note=pl.lit("x")), target="late")
        assert check(contract, table()).found == [] and check(contract, table(note=3.5)).found == []

    def test_unknown_columns_are_named(self, contract):
        assert check(contract, table(new=1)).extra == ["new"]

    def test_rows_to_predict_need_no_target(self, contract):
        assert [v.rule for v in check(contract, table().drop("late")).found] == ["presence"]
        assert check(contract, table().drop("late"), labelled=False).found == []
        assert check(contract, table(late=pl.Series([None] * 200, dtype=pl.Boolean)), labelled=False).found == []

    def test_personal_values_stay_out_of_examples(self):
        contract = learn(table(name=pl.Series(["Ada", "Bob"] * 100)), target="late", roles={"name": "personal"})
        found = check(contract, table(name=pl.Series([1.5, 2.5] * 100)))
        assert found.found[0].examples[0].value == "(personal)" and "1.5" not in found.to_json()

    def test_round_trip(self, contract, tmp_path):
        found = check(contract, table(depot=pl.lit("Rom"), kilos=None))
        assert Violations.load(found.save(tmp_path / "violations.json")) == found

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_names_and_values_stay_text(self, name):
        frame = table().rename({"depot": name})
        contract = learn(frame, target="late")
        found = check(contract, frame.with_columns(pl.lit(HOSTILE[0] + name).alias(name)))
        for record in [contract, found]:
            shown = str(record.__html__())
            assert "<script" not in shown and len(shown) < 20_000
        with pytest.raises(ContractError): enforce(contract, frame.drop(name))

    def test_wide_tables_are_shown_in_part(self):
        frame = table().with_columns(pl.lit(float(i)).alias(f"x{i}") for i in range(2_000))
        contract = learn(frame, target="late", roles={f"x{i}": "feature" for i in range(2_000)})
        for record in [contract, check(contract, frame.with_columns(pl.selectors.starts_with("x") + 1))]:
            assert " more " in str(record.__html__()) and len(str(record.__html__())) < 100_000

    @given(st.lists(st.booleans(), min_size=1, max_size=60))
    @settings(deadline=None, max_examples=50)
    def test_rejected_rows_are_the_broken_ones(self, broken):
        late = Column(dtype="boolean", role="target", categories=["false", "true"])
        contract = Contract(task="binary", positive="true", columns={"late": late, "x": Column(dtype="integer")})
        frame = pl.DataFrame({"late": [True] * len(broken), "x": [None if b else i for i, b in enumerate(broken)]}, schema={"late": pl.Boolean, "x": pl.Int64})
        found = check(contract, frame)
        assert found.rejected_index() == [i for i, b in enumerate(broken) if b] and found.rejected == sum(broken)
        if not all(broken): assert enforce(contract, frame)[0]["x"].to_list() == [i for i, b in enumerate(broken) if not b]

    def test_fast(self):
        rng, rows = np.random.default_rng(0), 300_000
        frame = pl.DataFrame({"late": rng.random(rows) < 0.3} | {f"n{i}": rng.normal(size=rows) for i in range(20)}
                             | {f"c{i}": rng.choice(["aa", "bb", "cc"], rows) for i in range(9)})
        contract = learn(frame.head(1_000), target="late")
        spans = []
        for _ in range(3):
            start = time.perf_counter()
            check(contract, frame)
            spans.append(time.perf_counter() - start)
        assert min(spans) < 1


class TestEnforce:
    def test_clean_is_as_the_contract_has_it(self, contract):
        other = table(new=1).select("new", pl.col("depot").cast(pl.Categorical), pl.col("kilos").cast(pl.String), "late")
        clean, found = enforce(contract, other)
        assert clean.schema == table().schema and found.found == [] and found.extra == ["new"]

    def test_text_becomes_a_number_only_if_all_of_it_is_one(self, contract):
        assert enforce(contract, table(kilos=pl.lit("12")))[0]["kilos"].dtype == pl.Float64
        with pytest.raises(ContractError, match=r"column 'kilos' has 1 value that cannot be read as number \(row 7: 'heavy'\)") as raised:
            enforce(contract, table(kilos=pl.when(pl.int_range(200) == 7).then(pl.lit("heavy")).otherwise(pl.lit("12"))))
        assert raised.value.violations.found[0].rule == "type"

    def test_warned_types_become_missing(self, contract):
        contract.columns["kilos"].severities, contract.columns["kilos"].nullable = {"type": "warn"}, True
        clean, found = enforce(contract, table(kilos=pl.when(pl.int_range(200) == 7).then(pl.lit("heavy")).otherwise(pl.lit("12"))))
        assert clean["kilos"].null_count() == 1 and clean.height == 200 and [(v.rule, v.severity) for v in found.found] == [("type", "warn")]

    def test_warned_types_still_keep_the_rule_on_nulls(self, contract):
        contract.columns["kilos"].severities = {"type": "warn"}
        clean, found = enforce(contract, table(kilos=pl.when(pl.int_range(200) == 7).then(pl.lit("heavy")).otherwise(pl.lit("12"))))
        assert clean.height == 199 and found.rejected_rows == "7"

    def test_warned_presence_gives_an_empty_column(self, contract):
        contract.columns["kilos"] = Column(dtype="number", nullable=True, severities={"presence": "warn"})
        clean, _ = enforce(contract, table().drop("kilos"))
        assert clean["kilos"].null_count() == 200 and clean["kilos"].dtype == pl.Float64

    def test_rows_without_a_target_and_new_classes_are_rejected(self):
        contract = learn(table(), target="depot")
        row = pl.int_range(200)
        clean, found = enforce(contract, table(depot=pl.when(row == 1).then(None).when(row == 2).then(pl.lit("Rom")).otherwise("depot")))
        assert clean.height == 198 and found.rejected_rows == "1-2"

    def test_an_infinite_target_is_none(self):
        contract = learn(table(), target="kilos")
        clean, found = enforce(contract, table(kilos=pl.when(pl.int_range(200) == 9).then(float("inf")).otherwise("kilos")))
        assert clean.height == 199 and ("nulls", "enforce", 1) in [(v.rule, v.severity, v.count) for v in found.found]

    def test_no_row_left(self, contract):
        with pytest.raises(ContractError, match="Every one of the 200 rows"): enforce(contract, table(kilos=pl.lit(None, dtype=pl.Float64)))

    def test_a_missing_column_names_the_nearest(self, contract):
        with pytest.raises(ContractError, match="Did you mean 'Kilos'"): enforce(contract, table().rename({"kilos": "Kilos"}))

    def test_mixed_objects_name_the_column(self, contract):
        frame = table().to_pandas()
        frame["kilos"] = frame["kilos"].astype(object)
        frame.loc[3, "kilos"] = "heavy"
        with pytest.raises(DataError, match="'kilos'"): enforce(contract, frame)


def test_pandas_is_not_imported():
    code = "import sys, model_ops.data.contract, model_ops.data.encode; assert not {'pandas', 'sklearn', 'pyarrow'} & set(sys.modules), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
