"""One version: its answers are the notebook's, its refusals name column, rule and row, its log holds what may be held."""
import json
import os
import subprocess
import sys
from pathlib import Path
import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_ops.data.column import Column
from model_ops.data.contract import Contract, learn
from model_ops.data.encode import encode, target
from model_ops.errors import PackageError, TrackingError
from model_ops.package.build import write_package
from model_ops.package.predictor import Predictor
from model_ops.serve.ask import Ask
from model_ops.serve.model import Foreign, Served, example
from model_ops.serve.problem import Problem

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
PARCELS = pl.DataFrame({
    "parcel": [f"P{i}" for i in range(600)], "customer": RNG.integers(1, 50, 600), "sent": pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 1, 1, 9, 59), "1m", eager=True),
    "name": ["Ada"]*600, "depot": RNG.choice(["Bonn", "Köln", "Ulm"], 600), "kilos": RNG.gamma(2, 3, 600).astype(np.float32).astype(float), "day": RNG.integers(1, 8, 600), "fragile": RNG.random(600) < 0.3,
    "note": ["x"]*600}).with_columns(kilos=pl.when(pl.int_range(600) % 20 == 3).then(None).otherwise("kilos"))
ROLES = {"parcel": "id", "customer": "subject", "sent": "time", "name": "personal", "note": "ignore"}
LATE = PARCELS.with_columns(late=RNG.random(600) < 0.1 + 0.5*(PARCELS["depot"] == "Ulm").to_numpy() + 0.03*PARCELS["kilos"].fill_null(5).to_numpy())
GOOD = {"depot": "Ulm", "kilos": 2.5, "day": 3, "fragile": True}


def package(folder, model, frame=LATE, name="late", **more):
    contract = learn(frame[:400], target=name, roles=ROLES)
    X, y = encode(contract, frame).X, target(contract, frame)
    write_package(folder, model=model.fit(X[:400], y[:400]), X=X[400:], contract=contract, **more)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from sklearn.ensemble import HistGradientBoostingClassifier
    return package(tmp_path_factory.mktemp("served")/"package", HistGradientBoostingClassifier(max_iter=20, random_state=0), threshold=0.4)


@pytest.fixture(scope="module")
def served(folder): return Served.open(folder, "late-parcels", number=7)


def ask(table, wanted=()):
    return Ask(table, len(table) if isinstance(table, list) else len(next(iter(table.values()), ())), "invocations", wanted=wanted)


def forms(frame):
    "The same rows as the codecs bring them."
    rows = orjson.loads(orjson.dumps(frame.to_dicts()))
    tensors = {s.name: s.to_numpy() if s.dtype.is_numeric() or s.dtype == pl.Boolean else s.to_list() for s in frame}
    return {"rows": rows, "columns": {name: [row[name] for row in rows] for name in rows[0]}, "tensors": tensors, "float32": tensors | {"kilos": tensors["kilos"].astype(np.float32)}}


def test_held_out_rows_get_the_notebooks_numbers(served, folder):
    held = LATE[400:].drop("late")
    notebook = Predictor.open(folder).predict(LATE[400:])
    for form, table in forms(held).items():
        said = served.predict(served.take(ask(table)).X)
        assert all((said[name] == getattr(notebook, name)).all() for name in ("score", "label", "probabilities")), form


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT/"package/manifest.json").is_file() or not (ROOT/"data/test.parquet").is_file(), reason="the pipeline was not run here")
def test_the_workbooks_own_champion_gets_its_recorded_numbers():
    from sklearn.metrics import roc_auc_score
    frame, served = pl.read_parquet(ROOT/"data/test.parquet"), Served.open(ROOT/"package", "late-flights")
    rows = orjson.loads(orjson.dumps(frame.drop(served.contract.target).to_dicts()))
    scores = np.concatenate([served.predict(served.take(ask(rows[i:i + 777])).X)["score"] for i in range(0, len(rows), 777)])
    assert (scores == Predictor.open(ROOT/"package").predict(frame).score).all()
    record = json.loads((ROOT/"records/evaluation.json").read_text())
    if record["models"]["challenger"].get("digest", served.digest) == served.digest:
        assert round(roc_auc_score(target(served.contract, frame), scores), 6) == record["models"]["challenger"]["metrics"]["roc_auc"]["value"]


def test_requests_together_are_answered_as_alone(served):
    rows = forms(LATE[400:440])["rows"]
    taken = [served.take(ask([row])) for row in rows]
    together = served.predict(np.concatenate([t.X for t in taken]))
    assert [float(served.predict(t.X)["score"][0]) for t in taken] == together["score"].tolist() and all(t.n == 1 for t in taken)


@pytest.mark.parametrize("task", ["regression", "multiclass", "skops"])
def test_other_tasks_and_the_way_without_onnx(tmp_path, task):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    if task == "regression": frame, name, model = PARCELS.with_columns(minutes=pl.col("kilos").fill_null(0)*2), "minutes", HistGradientBoostingRegressor(max_iter=2)
    elif task == "multiclass": frame, name, model = PARCELS.with_columns(size=pl.col("kilos").fill_null(0).cut([3, 8], labels=["light", "middle", "heavy"]).cast(pl.String)), "size", HistGradientBoostingClassifier(max_iter=2)
    else: frame, name, model = LATE, "late", HistGradientBoostingClassifier(max_iter=2, categorical_features=[0])
    served = Served.open(package(tmp_path/"p", model, frame, name, **({"threshold": 0.4} if task == "skops" else {})), "m")
    notebook = Predictor.open(tmp_path/"p").predict(frame[400:])
    said = served.predict(served.take(ask(forms(frame[400:].drop(name))["rows"])).X)
    assert {name: values.shape[1:] for name, values in said.items()} == {name: tuple(shape[1:]) for name, _, shape in served.outputs}
    assert all((said[name] == getattr(notebook, name)).all() for name in said) and served.classes == notebook.classes and served.version == served.digest[:12]


def test_what_it_says_of_itself(served, folder):
    predictor = Predictor.open(folder)
    assert (served.name, served.version, served.number, served.digest, served.task, served.classes, served.threshold) == ("late-parcels", "7", 7, predictor.digest, "binary", ("false", "true"), 0.4)
    assert served.contract_digest == predictor.contract.digest and [i.name for i in served.inputs] == ["depot", "kilos", "day", "fragile"] and served.folder == folder
    assert served.outputs == [("score", "FP64", [-1]), ("label", "BYTES", [-1]), ("probabilities", "FP64", [-1, 2])]
    assert served.columns["sent"] == {"dtype": "datetime", "role": "time", "timezone": ""}


@pytest.mark.parametrize("row, type, column, rule, at", [
    ({"kilos": "heavy"}, "value-of-another-type", "kilos", "type", 1), ({"day": 1.5}, "value-of-another-type", "day", "type", 1), ({"depot": None}, "null-forbidden", "depot", "nulls", 1),
    ({"fragile": [[]]}, "value-of-another-type", "fragile", "type", 1), ({"sent": "soon"}, "value-of-another-type", "sent", "type", 1), ({"customer": {}}, "value-of-another-type", "customer", "type", 1)], ids=str)
def test_what_is_refused_is_named(served, row, type, column, rule, at):
    for table in ([GOOD, GOOD | row], {name: [GOOD.get(name), (GOOD | row).get(name)] for name in GOOD | row}):
        with pytest.raises(Problem) as raised: served.take(ask(table))
        said = orjson.loads(raised.value.to_json())
        assert (said["status"], said["type"], said["column"], said["rule"], said["row"]) == (422, f"urn:model-ops:{type}", column, rule, at)


def test_missing_columns_and_rows_that_are_none(served):
    with pytest.raises(Problem, match="Did you mean 'depo'") as raised: served.take(ask([{"depo": "Ulm", "kilos": 1, "day": 1, "fragile": True}]))
    assert (raised.value.status, raised.value.type, raised.value.column, raised.value.rule) == (422, "column-missing", "depot", "presence")
    for table in ([[1, 2]], [GOOD, None], {**{name: [value] for name, value in GOOD.items()}, "day": [1, 2]}):
        with pytest.raises(Problem) as raised: served.take(Ask(table, 1, "invocations"))
        assert raised.value.status == 400


def test_enforced_ranges_and_levels_name_what_is_allowed(tmp_path, folder):
    contract = Predictor.open(folder).contract
    strict = contract.model_copy(update={"severities": {**contract.severities, "range": "enforce", "categories": "enforce"}})
    served = Served(Predictor(Predictor.open(folder).manifest, strict, lambda X: np.zeros((len(X), 2))), folder, "m")
    for row, type, allowed in (({"day": 9}, "out-of-range", "1 to 7"), ({"depot": "Paris"}, "unknown-category", "Bonn, Köln, Ulm")):
        with pytest.raises(Problem, match=f"row 1: .*{allowed}") as raised: served.take(ask([GOOD, GOOD | row, GOOD | row]))
        assert raised.value.type == type and "2 rows" in str(raised.value)
    with pytest.raises(Problem, match="1 more rule is broken"): served.take(ask([GOOD | {"day": 9, "depot": "Paris"}]))


def test_what_is_only_warned_of_is_answered_and_counted(served):
    taken = served.take(ask([GOOD, GOOD | {"day": 9, "depot": "Paris"}, GOOD | {"day": 0}]))
    assert taken.warned == (("depot", "categories", 1), ("day", "range", 2)) and len(served.predict(taken.X)["score"]) == 3


def test_the_log_gets_what_it_may_hold_in_one_order(served):
    row = {"note": "x", "name": "Ada", "late": True, "surplus": 1, "fragile": True, "day": 3, "kilos": None, "depot": "Ulm", "sent": "2024-01-01T10:00", "customer": 5, "parcel": "P1"}
    inputs = served.take(ask([row])).inputs
    assert inputs == b'[{"parcel":"P1","customer":5,"sent":"2024-01-01T10:00","depot":"Ulm","kilos":null,"day":3,"fragile":true}]'
    assert served.take(ask([dict(reversed(row.items()))])).inputs == inputs
    assert served.take(ask({name: [value] for name, value in GOOD.items()})).inputs == b'{"depot":["Ulm"],"kilos":[2.5],"day":[3],"fragile":[true]}'
    tensors = {"depot": np.array(["Ulm", "Köln"], dtype=object), "kilos": np.array([np.nan, 1.5], dtype=np.float32), "day": np.array([3, 4])[::-1], "fragile": np.array([True, False])}
    assert json.loads(served.take(ask(tensors)).inputs) == {"depot": ["Ulm", "Köln"], "kilos": [None, 1.5], "day": [4, 3], "fragile": [True, False]}


def test_no_rows(served):
    for table, inputs in (([], b"[]"), ({name: [] for name in GOOD}, b'{"depot":[],"kilos":[],"day":[],"fragile":[]}')):
        taken = served.take(ask(table))
        assert taken.n == 0 and taken.inputs == inputs and {name: len(values) for name, values in served.predict(taken.X).items()} == {"score": 0, "label": 0, "probabilities": 0}


def test_outputs_by_name(served):
    outputs = served.predict(served.take(ask([GOOD])).X)
    assert [*served.wanted(outputs, ("label", "score"))] == ["label", "score"] and served.wanted(outputs, ()) is outputs
    with pytest.raises(Problem, match="no output 'odds'. Outputs: score, label, probabilities") as raised: served.take(ask([GOOD], wanted=("odds",)))
    assert raised.value.status == 400


nested = st.recursive(st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats() | st.text(max_size=4), lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=3), some, max_size=3), max_leaves=5)
names = st.sampled_from([*GOOD, "parcel", "customer", "sent", "name", "late", "other", ""])


@given(st.lists(st.dictionaries(names, nested, max_size=5).map(lambda row: GOOD | row) | nested, max_size=3) | st.dictionaries(names, st.lists(nested, min_size=2, max_size=2), max_size=5).map(lambda some: {name: [value]*2 for name, value in GOOD.items()} | some))
@settings(deadline=None, max_examples=300)
@pytest.mark.slow
def test_whatever_is_sent_is_answered_or_refused(served, table):
    try: taken = served.take(ask(table))
    except Problem as e: assert e.status in (400, 422) and orjson.loads(e.to_json())["detail"]
    else: assert len(served.predict(taken.X)["score"]) == taken.n and json.loads(taken.inputs, parse_constant=pytest.fail) is not None


def test_lists_in_lists_without_end(served):
    deep = []
    for _ in range(1000): deep = [deep]
    for name in (*GOOD, "parcel", "sent"):
        with pytest.raises(Problem, match="a list"): served.take(ask([GOOD | {name: deep}]))
    with pytest.raises(Problem) as raised: served.take(ask([GOOD | {"depot": ["x"*10_000_000]}]))
    assert len(raised.value.to_json()) < 2000


def test_the_row_that_warms_keeps_the_contract(served):
    assert served.take(ask([served.example])).warned == ()
    everything = Contract(task="binary", positive="true", columns={"i": Column(dtype="integer"), "n": Column(dtype="number", low=3.5), "c": Column(dtype="category", categories=["a"]), "b": Column(dtype="boolean"),
        "d": Column(dtype="date", high="1999-12-31"), "t": Column(dtype="datetime", timezone="Europe/Berlin"), "y": Column(dtype="boolean", role="target", categories=["false", "true"])})
    assert example(everything) == {"i": 0, "n": 3.5, "c": "a", "b": False, "d": "1999-12-31", "t": "2024-01-01T12:00:00"}


def test_a_damaged_package_is_not_opened(tmp_path, folder):
    import shutil
    copy = shutil.copytree(folder, tmp_path/"copy")
    (copy/"model.onnx").write_bytes((folder/"model.onnx").read_bytes()[:-1])
    with pytest.raises(PackageError, match="model.onnx was changed"): Served.open(copy, "m")


def test_serving_an_onnx_package_needs_no_heavy_library(folder):
    code = f"""import sys
from types import SimpleNamespace
from pathlib import Path
from model_ops.serve.follow import Follower
from model_ops.serve.ask import Ask
settings = SimpleNamespace(ledger_url="sqlite:////nowhere/ledger.db", model="m", path=Path, trusted=())
served = Follower(settings, SimpleNamespace(package={str(folder)!r}, pyfunc="")).look()
served.predict(served.take(Ask([served.example], 1, "v2")).X)
print(sorted({{"sklearn", "pandas", "mlflow", "skops", "skl2onnx", "onnx", "scipy", "papermill", "dvc", "deltalake", "matplotlib"}} & set(sys.modules)))"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


class TestForeign:
    @pytest.fixture
    def book(self, tmp_path, monkeypatch):
        from model_ops.settings import Settings
        for name in ("MODEL_OPS_ROOT", "MLFLOW_TRACKING_URI"): monkeypatch.delenv(name, raising=False)
        (tmp_path/"settings.ini").write_text("[workbook]\nname = demo\n")
        monkeypatch.chdir(tmp_path)
        yield Settings.load(tmp_path)
        if "mlflow" in sys.modules:  # it remembers where it was told to log, for the whole process
            import mlflow
            mlflow.set_tracking_uri(None)
            mlflow.set_registry_uri(None)
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"): os.environ.pop(name, None)

    def loaded(self, predict, inputs, example=None):
        from model_ops.tracking.pyfunc import Loaded, Reads
        return Loaded(predict, [Reads(*column) for column in inputs], "ab"*32, example)

    def test_the_signature_is_enforced(self):
        model = Foreign(self.loaded(lambda t: {"score": np.array(t["n"], dtype=float)}, [("n", "number", False), ("c", "text", True), ("i", "integer", True)]), "m")
        taken = model.take(ask([{"n": "1.5"}, {"n": 2, "c": "x", "i": 3.0, "other": 1}]))
        assert taken.X.tolist() == [[1.5, None, None], [2.0, "x", 3]] and taken.inputs == b'[{"n":"1.5"},{"n":2,"c":"x","i":3.0}]' and model.predict(taken.X)["score"].tolist() == [1.5, 2]
        for table, type, row in (([{"c": "x"}], "column-missing", 0), ({"c": ["x"]}, "column-missing", None), ([{"n": None}], "null-forbidden", 0), ([{"n": 1}, {"n": 1, "i": "x"}], "value-of-another-type", 1), ([5], "table-unreadable", 0)):
            with pytest.raises(Problem) as raised: model.take(ask(table))
            assert (raised.value.type, raised.value.row) == (type, row)
        assert {name: len(v) for name, v in model.predict(model.take(ask([])).X).items()} == {"score": 0}
        with pytest.raises(Problem, match="no output"): model.take(ask([{"n": 1}], wanted=("label",)))

    def test_a_model_that_cannot_answer_is_not_served(self):
        with pytest.raises(PackageError, match="cannot answer .*KeyError.*input_example"): Foreign(self.loaded(lambda t: {"score": t["missing"]}, [("n", "number", False)]), "m")
        with pytest.raises(PackageError, match="1 values of 'score' for 64 rows"): Foreign(self.loaded(lambda t: {"score": np.zeros(1)}, [("n", "number", False)]), "m")

    @pytest.mark.slow
    def test_a_registered_model_of_another_library(self, book):
        import mlflow
        import pandas as pd
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OrdinalEncoder
        from sklearn.compose import make_column_transformer
        from model_ops.tracking.runs import client
        client(book)
        frame = pd.DataFrame({"depot": LATE["depot"].to_list(), "kilos": LATE["kilos"].fill_null(1.0).to_list(), "day": LATE["day"].to_list(), "fragile": LATE["fragile"].to_list()})
        model = make_pipeline(make_column_transformer((OrdinalEncoder(), ["depot"]), remainder="passthrough"), LogisticRegression()).fit(frame, LATE["late"].to_numpy())
        mlflow.set_tracking_uri(book.tracking_uri)
        mlflow.set_registry_uri(book.tracking_uri)
        mlflow.set_experiment("demo")
        for method in ("predict_proba", "predict"):
            with mlflow.start_run(): mlflow.sklearn.log_model(model, name="model", registered_model_name=method, pyfunc_predict_fn=method, pip_requirements=[], input_example=frame[:1], signature=mlflow.models.infer_signature(frame, getattr(model, method)(frame)))
        served = Foreign.open("models:/predict_proba/1", book)
        rows = [GOOD, {"depot": "Köln", "kilos": 20, "day": 7, "fragile": False}]
        said = served.predict(served.take(ask(rows)).X)
        assert (said["predictions"] == model.predict_proba(pd.DataFrame(rows))).all() and served.outputs == [("predictions", "FP64", [-1, 2])] and served.name == "demo"
        labels = Foreign.open("models:/predict/1", book)
        assert labels.predict(labels.take(ask(rows)).X)["score"].tolist() == model.predict(pd.DataFrame(rows)).tolist()
        with pytest.raises(Problem, match="refuses these rows.*unknown categories") as raised: served.predict(served.take(ask([GOOD | {"depot": "Paris"}])).X)
        assert raised.value.status == 422
        with pytest.raises(Problem, match="'day', row 0: 'soon' is of another type"): served.take(ask([GOOD | {"day": "soon"}]))
        with pytest.raises(TrackingError, match="models:/nobody/1"): Foreign.open("models:/nobody/1", book)

    @pytest.mark.slow
    def test_tensors_gaps_and_dates(self, book):
        import mlflow
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, Schema, TensorSpec
        class Echo(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input, params=None): return model_input
        def save(name, specs):
            mlflow.pyfunc.save_model(str(book.root/name), python_model=Echo(), pip_requirements=[], signature=ModelSignature(Schema(specs)))
            return Foreign.open(name, book)
        one = save("one", [TensorSpec(np.dtype("float32"), (-1, 3))])
        assert [i.name for i in one.inputs] == ["0", "1", "2"] and one.predict(one.take(ask([{"0": 1, "1": 2, "2": None}])).X)["predictions"].astype(str).tolist() == [["1.0", "2.0", "nan"]]
        named = save("named", [TensorSpec(np.dtype("int64"), (-1,), "a"), TensorSpec(np.dtype("float64"), (-1, 1), "b")])
        assert named.predict(named.take(ask({"a": [1, 2], "b": [0.5, 1]})).X)["b"].tolist() == [0.5, 1]
        typed = save("typed", [ColSpec("integer", "i", required=False), ColSpec("datetime", "t"), ColSpec("string", "s"), ColSpec("boolean", "b"), ColSpec("float", "f")])
        rows = [{"i": 3, "t": "2024-07-01T10:00:00", "s": "x", "b": True, "f": 0.1}, {"i": 4, "t": "2024-07-02", "s": None, "b": False, "f": None}]
        for row, rule in (({"i": 2**31}, "range"), ({"t": "1066-10-14"}, "range"), ({"t": "2024-07-01T10:00:00Z"}, "type"), ({"b": None}, "nulls")):
            with pytest.raises(Problem) as raised: typed.take(ask([rows[0] | row]))
            assert raised.value.rule == rule
        said = typed.predict(typed.take(ask(rows)).X)
        assert said["t"].tolist() == ["2024-07-01T10:00:00.000000000", "2024-07-02T00:00:00.000000000"] and said["b"].tolist() == [True, False] and said["f"].dtype == np.float32
        class Has(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input, params=None): return model_input["f"] + (model_input["i"] if "i" in model_input else -1)
        mlflow.pyfunc.save_model(str(book.root/"has"), python_model=Has(), pip_requirements=[], signature=ModelSignature(Schema([ColSpec("double", "f"), ColSpec("long", "i", required=False)])))
        has = Foreign.open("has", book)
        assert has.predict(has.take(ask([{"f": 1, "i": 5}, {"f": 2}, {"f": 3, "i": None}, {"f": 4, "i": 6}])).X)["score"].tolist() == [6, 1, 2, 10]
        with pytest.raises(TrackingError, match="shape \\(-1, 28, 28\\)"): save("images", [TensorSpec(np.dtype("float32"), (-1, 28, 28))])
        with pytest.raises(TrackingError, match="binary in its column 'x'"): save("bytes", [ColSpec("binary", "x")])
