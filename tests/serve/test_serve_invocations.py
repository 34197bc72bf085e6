"""MLflow's scoring protocol: the same tables as MLflow reads, the same predictions as it writes, and refusals that name the place."""
import io
import json

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_ops.serve.ask import Answer
from model_ops.serve.invocations import FEW, FORMS, decode, encode
from model_ops.serve.problem import Problem

JSON = "application/json"
ROW = {"distance": 500, "carrier": "UA", "temp": 71.5, "gust": None}


def refused(body, content_type=JSON, **more):
    with pytest.raises(Problem) as caught: decode(body if isinstance(body, bytes) else orjson.dumps(body), content_type, **more)
    assert orjson.loads(caught.value.to_json())["status"] == caught.value.status
    return caught.value


def by_row(ask):
    "The table as a list of rows, whichever form it has."
    if isinstance(ask.table, list): return ask.table
    return [dict(zip(ask.table, row, strict=True)) for row in zip(*ask.table.values(), strict=True)]


def forms(rows):
    names = list(rows[0])
    return {"dataframe_records": rows, "dataframe_split": {"columns": names, "index": list(range(len(rows))), "data": [list(r.values()) for r in rows]}, "instances": rows, "inputs": {n: [r[n] for r in rows] for n in names}}


@pytest.mark.parametrize("n", [1, FEW, FEW + 1, 100])
@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_form_is_the_same_table(form, n):
    rows = [{**ROW, "distance": i} for i in range(n)]
    ask = decode(orjson.dumps({form: forms(rows)[form]}), JSON)
    assert by_row(ask) == rows and ask.rows == n and ask.protocol == "invocations"


@pytest.mark.parametrize("form, empty", [("dataframe_records", []), ("dataframe_split", {"columns": ["a"], "data": []}), ("instances", []), ("inputs", {"a": []}), ("inputs", {})])
def test_a_table_without_rows_is_a_table(form, empty):
    ask = decode(orjson.dumps({form: empty}), JSON)
    said = orjson.loads(encode(Answer({"score": np.empty(0), "label": np.empty(0, "U3")}, "m", "1", "d", "x"), ask))
    assert ask.rows == 0 and said["predictions"] == []


@pytest.mark.parametrize("form", ["instances", "inputs", "dataframe_split"])
def test_rows_without_names_take_those_of_the_signature(form):
    table = [[1, "x"], [2, None]]
    body = {form: {"data": table} if form == "dataframe_split" else table}
    assert decode(orjson.dumps(body), JSON, ["a", "b"]).table == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    assert "names" in str(refused(body))
    assert refused({form: {"data": [[1]]} if form == "dataframe_split" else [[1]]}, names=["a", "b"]).row == 0


@pytest.mark.parametrize("content_type", [JSON, "application/json;", "Application/JSON; charset=UTF-8", 'application/json; charset="utf-8"', "application/json;charset=utf8"])
def test_content_types_that_are_read(content_type):
    assert decode(b'{"instances": []}', content_type).rows == 0


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "application/json; version=2", "application/vnd.apache.parquet", "x" * 5000])
def test_content_types_that_are_not(content_type):
    assert refused(b"{}", content_type).status == 415


REFUSED = [
    ("no JSON", b"{", 400, None, ""), ("NaN", b'{"instances": [{"a": NaN}]}', 400, None, ""), ("minus infinity", b'{"instances": [{"a": -Infinity}]}', 400, None, ""), ("latin-1", b'{"instances": [{"a": "\xe9"}]}', 400, None, ""),
    ("a list", b"[]", 400, None, ""), ("a text", b'"x"', 400, None, ""), ("no form", b"{}", 400, None, ""), ("two forms", b'{"instances": [], "inputs": []}', 400, None, ""),
    ("an unknown key", b'{"instances": [], "parms": {}}', 400, None, ""), ("an unknown param", b'{"instances": [], "params": {"probs": true}}', 400, None, ""), ("a param of another type", b'{"instances": [], "params": {"probabilities": 1}}', 400, None, ""),
    ("records that are none", b'{"dataframe_records": {}}', 400, None, ""), ("a row that is none", b'{"dataframe_records": [{}, 3]}', 400, 1, ""), ("a list among objects", b'{"instances": [{}, [1]]}', 400, 1, ""), ("records of lists", b'{"dataframe_records": [[1]]}', 400, 0, ""),
    ("split without data", b'{"dataframe_split": {"columns": ["a"]}}', 400, None, ""), ("split with more", b'{"dataframe_split": {"columns": ["a"], "data": [], "dtype": 1}}', 400, None, ""), ("columns that are numbers", b'{"dataframe_split": {"columns": [1], "data": []}}', 400, None, ""),
    ("a ragged row", b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4], [5]]}}', 400, 2, ""), ("a row of split that is none", b'{"dataframe_split": {"columns": ["a"], "data": [[1], {"a": 1}]}}', 400, 1, ""),
    ("columns of two lengths", b'{"inputs": {"a": [1, 2], "b": [1]}}', 400, None, "b"), ("a list and a value", b'{"inputs": {"a": [1, 2], "b": 1}}', 400, None, "b"),
    ("a column twice in split", b'{"dataframe_split": {"columns": ["a", "a"], "data": []}}', 422, None, "a"), ("a column twice in a row", b'{"instances": [{"b": 1, "a": 1, "a": 2}]}', 422, None, "a"), ("a form twice", b'{"instances": [], "instances": []}', 422, None, "instances"),
    ("a column twice in inputs", b'{"inputs": {"a": [1], "a" : [2]}}', 422, None, "a"), ("nested lists", b'{"instances": ' + b"[" * 900 + b"]" * 900 + b"}", 400, None, ""), ("nested objects", b'{"instances": [' + b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"]}", 400, None, ""), ("nested beyond reason", b"[" * 100_000, 400, None, ""),
]


@pytest.mark.parametrize("body, status, row, column", [case[1:] for case in REFUSED], ids=[case[0].replace(" ", "-") for case in REFUSED])
def test_what_cannot_be_read_is_named(body, status, row, column):
    problem = refused(body)
    assert (problem.status, problem.row, problem.column) == (status, row, column)


def test_not_a_number_says_what_to_write_instead():
    assert "null" in str(refused(b'{"dataframe_records": [{"temp": NaN}]}')) and "null" not in str(refused(b'{"dataframe_records": [{"temp": "NaN"}'))


def test_a_name_twice_is_found_however_it_is_written():
    keys = [b'"a":1', b'"a" :1', b'"a"\n:1', b'"a"\t : 1', b'"\\u0061":1']
    for first in keys:
        for second in keys:
            assert refused(b'{"instances":[{' + first + b"," + second + b"}]}").type == "column-twice"


names = st.text(st.sampled_from('ab":,{ \\!'), max_size=4)
cells = st.one_of(st.none(), st.booleans(), st.integers(-2**63, 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), names)


@settings(deadline=None, max_examples=200)
@given(rows=st.lists(st.dictionaries(names, cells | st.dictionaries(names, cells, max_size=2), max_size=4), max_size=6), spaced=st.booleans(), padding=st.sampled_from(["", "x" * 5000, '":' * 2500]))
def test_names_that_stand_once_are_never_refused(rows, spaced, padding):
    rows = [{**row, "pad": padding} for row in rows]
    body = json.dumps({"dataframe_records": rows}, separators=(" , ", " : ") if spaced else (",", ":")).encode()
    assert decode(body, JSON).table == rows


@settings(deadline=None, max_examples=100)
@given(rows=st.lists(st.dictionaries(names, cells, min_size=1, max_size=4), min_size=1, max_size=6), at=st.integers(0, 1000), value=cells, padding=st.sampled_from(["", '":' * 3000]))
def test_names_that_stand_twice_are_always_refused(rows, at, value, padding):
    parts = [[json.dumps(name) + ":" + json.dumps(cell) for name, cell in row.items()] for row in rows]
    row = parts[at % len(parts)]
    row.append(json.dumps(list(rows[at % len(parts)])[at % len(row)]) + ":" + json.dumps(value))
    parts[0].append('"padding":' + json.dumps(padding))
    body = '{"dataframe_records":[' + ",".join("{" + ",".join(row) + "}" for row in parts) + "]}"
    assert refused(body.encode()).type == "column-twice"


def test_csv_cells():
    ask = decode('\ufeffcode,n,x,note\r\n007,7,-0.5,"a ""b"", c"\r\n\r\n-3,9223372036854775808,1e3,\r\n'.encode(), "text/csv; charset=utf-8; header=present")
    assert ask.table == {"code": ["007", -3], "n": [7, "9223372036854775808"], "x": ["-0.5", "1e3"], "note": ['a "b", c', None]} and ask.rows == 2
    assert decode(b"a,b\n", "text/csv").table == {"a": [], "b": []}


@pytest.mark.parametrize("body, row", [(b"", None), (b"\n\n", None), (b"a,b\n1,2\n1\n", 1), (b"a\n1,2\n", 0), (b'a\n"x\n', None), (b'a\n"x"y\n', None), (b"a\n\xff\n", None), (b"a\n" + b"x" * 200_000, None)], ids=["empty", "blank", "short", "long", "open-quote", "after-quote", "no-utf-8", "endless-cell"])
def test_csv_that_cannot_be_read(body, row):
    problem = refused(body, "text/csv")
    assert (problem.status, problem.row) == (400, row)


def test_csv_with_a_column_twice():
    assert refused(b"a,b,a\n1,2,3\n", "text/csv").column == "a"


def test_probabilities_come_when_they_are_asked_for():
    answer = Answer({"score": np.array([0.25]), "label": np.array(["no"]), "probabilities": np.array([[0.75, 0.25]])}, "m", "3", "d", "x", 0.4, ("no", "yes"), (("temp", "range", 1),))
    plain, asked = (orjson.loads(encode(answer, decode(orjson.dumps({"instances": [ROW], "params": params}), JSON))) for params in ({}, {"probabilities": True}))
    assert plain["predictions"] == [{"score": 0.25, "label": "no"}] and asked["predictions"] == [{"score": 0.25, "label": "no", "probabilities": {"no": 0.75, "yes": 0.25}}]
    assert plain["threshold"] == 0.4 and plain["warnings"] == [{"column": "temp", "rule": "range", "rows": 1}] and plain["request_id"] == "x"


@pytest.fixture(scope="module", params=["binary", "multiclass", "regression"])
def package(request, tmp_path_factory):
    "A package, its MLflow model, and rows as a client sends them."
    import mlflow
    from serving_book import parcels
    from sklearn.linear_model import LinearRegression, LogisticRegression

    from model_ops.data.contract import learn
    from model_ops.data.encode import encode as encoded
    from model_ops.data.encode import target
    from model_ops.package.build import write_package
    frame = parcels(300).drop("late" if request.param != "binary" else []).with_columns(fragile=pl.col("fragile").cast(pl.Int64))
    if request.param == "multiclass": frame = frame.with_columns(size=pl.when(pl.col("kilos") < 3).then(pl.lit("light")).when(pl.col("kilos") < 8).then(pl.lit("middle")).otherwise(pl.lit("heavy")))
    name = {"binary": "late", "multiclass": "size", "regression": "day"}[request.param]
    contract = learn(frame, target=name, roles={"number": "id", "kilos": "ignore" if request.param == "multiclass" else "feature"}, **({"positive": "true"} if name == "late" else {}), **({"task": "regression"} if name == "day" else {}))
    X, y = encoded(contract, frame).X, target(contract, frame)
    X = np.nan_to_num(X)
    model = (LinearRegression() if name == "day" else LogisticRegression(max_iter=200)).fit(X, y)
    folder = tmp_path_factory.mktemp(request.param) / "package"
    write_package(folder, model=model, X=X, contract=contract, threshold=0.4 if name == "late" else None, params={}, windows={"train": {"rows": 300}})
    rows = [row for row in json.loads(frame.select(contract.features).head(60).write_json()) if None not in row.values()]
    return folder, mlflow.pyfunc.load_model(str(folder)), rows


@pytest.mark.slow
@pytest.mark.parametrize("form", [*sorted(FORMS), "csv"])
def test_the_answer_is_that_of_mlflows_own_server(package, form):
    from mlflow.pyfunc import scoring_server

    from model_ops.package.predictor import Predictor
    folder, model, rows = package
    body, content_type = (orjson.dumps({form: forms(rows)[form]}), JSON) if form != "csv" else (pl.DataFrame(rows).write_csv().encode(), "text/csv")
    theirs = scoring_server.invocations(body if form != "csv" else body.decode(), content_type, model, model.metadata.get_input_schema())
    assert theirs.status == 200
    ask, predictor = decode(body, content_type), Predictor.open(folder)
    said = predictor.predict(ask.table)
    outputs = {"score": said.score} if said.label is None else {"score": said.score, "label": said.label, "probabilities": said.probabilities}
    ours = orjson.loads(encode(Answer(outputs, "m", "1", predictor.digest, "x", said.threshold, said.classes), ask))
    assert ours["predictions"] == json.load(io.StringIO(theirs.response))["predictions"]
