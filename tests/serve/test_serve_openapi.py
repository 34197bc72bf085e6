"""The OpenAPI document: every address of the server, the contract's columns, examples that the decoders read; and its page."""
import re
from types import SimpleNamespace

import jsonschema
import orjson
import polars as pl
import pytest
from serving_book import parcels

from model_ops.data.contract import learn
from model_ops.package.manifest import Input
from model_ops.serve import feedback, inference, invocations
from model_ops.serve.model import example
from model_ops.serve.openapi import ADDRESSES, document, page


def config(token="", admin=""):
    from model_ops.serve.config import Serving
    return Serving(token=token, admin_token=admin)


@pytest.fixture(scope="module")
def served():
    frame = parcels(300).with_columns(sent=pl.lit("2013-07-04T05:15:00"), comma=pl.Series(['a,"b"', "it's"] * 150))
    contract = learn(frame, target="late", roles={"number": "id", "sent": "feature"}, dtypes={"sent": "datetime"})
    columns = {**contract.columns, "depot": contract.columns["depot"].model_copy(update={"severities": {"categories": "enforce"}}), "day": contract.columns["day"].model_copy(update={"severities": {"range": "enforce"}})}
    contract = contract.model_copy(update={"columns": columns})
    return SimpleNamespace(name="late-parcels", version="3", digest="d" * 64, contract_digest="c" * 64, contract=contract, classes=("false", "true"), example=example(contract),
                           outputs=[("score", "FP64", [-1]), ("label", "BYTES", [-1])], inputs=[Input(name=n, dtype=contract.columns[n].dtype, nullable=contract.columns[n].nullable) for n in contract.features])


def resolved(made, part):
    "A validator for a part of the document."
    return jsonschema.Draft202012Validator({**part, "components": made["components"]})


def bodies(made):
    return [(path, media, name, example["value"], content["schema"]) for path, methods in made["paths"].items() for operation in methods.values()
            for media, content in operation.get("requestBody", {}).get("content", {}).items() for name, example in content.get("examples", {}).items()]


def test_the_addresses_are_those_of_the_server():
    from model_ops.serve.app import _TABLE
    theirs = {(line[0].lower(), address, line[2]) for address, line in _TABLE.items()}
    assert {(a.method, a.path.replace("/versions/{version}", ""), a.who) for a in ADDRESSES} == theirs


@pytest.mark.parametrize("there", [True, False], ids=["a-model", "none-yet"])
def test_every_reference_leads_somewhere_and_every_schema_is_one(served, there):
    made = document(served if there else None, config("t", "a"))
    for ref in re.findall(r'"\$ref":"#/([^"]+)"', orjson.dumps(made).decode()):
        found = made
        for part in ref.split("/"): found = found[part]
    for schema in made["components"]["schemas"].values(): jsonschema.Draft202012Validator.check_schema(schema)
    ids = [operation["operationId"] for methods in made["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == len(ids) == len(ADDRESSES) and made["openapi"] == "3.1.0"


def test_the_examples_keep_the_schemas_and_are_read(served):
    made, seen = document(served, config()), set()
    for path, media, name, value, schema in bodies(made):
        seen.add(name)
        if media == "application/json": resolved(made, schema).validate(value)
        body = value.encode() if isinstance(value, str) else orjson.dumps(value)
        if path == "/invocations": ask = invocations.decode(body, media)
        elif path == "/feedback": assert feedback.decode(body, 10)
        else: ask = inference.decode(body, {b"content-type": media.encode()}, served)
        if path != "/feedback": assert ask.rows == 1 and set(ask.table[0] if isinstance(ask.table, list) else ask.table) == set(served.contract.features)
    assert seen == {*invocations.FORMS, "csv", "tensors", "label"}


@pytest.mark.parametrize("column, value, kept", [("kilos", None, True), ("kilos", "heavy", False), ("depot", "Bonn", True), ("depot", "Rom", False), ("depot", None, False), ("day", 3, True), ("day", 9, False), ("day", 2.5, False), ("fragile", True, True),
                                                 ("sent", "2013-07-04T05:15:00", True), ("sent", "2013-07-04T05:15:00Z", False), ("sent", "2013-13-04", False), ("kilos", 10_000.0, True), ("number", 5, True), ("other", {}, True)])
def test_the_row_is_what_the_contract_enforces(served, column, value, kept):
    made = document(served, config())
    row = {**served.example, column: value}
    assert resolved(made, made["components"]["schemas"]["Row"]).is_valid(row) is kept


def test_a_missing_column_breaks_the_schema(served):
    made = document(served, config())
    row = {name: value for name, value in served.example.items() if name != "depot"}
    assert not resolved(made, made["components"]["schemas"]["Row"]).is_valid(row)
    assert "late" not in made["components"]["schemas"]["Row"]["properties"] and "number" in made["components"]["schemas"]["Row"]["properties"]


def test_tokens_stand_where_they_are_needed(served):
    closed, open_ = document(served, config("t", "a")), document(served, config())
    assert closed["paths"]["/invocations"]["post"]["security"] == [{"token": []}] and "401" in closed["paths"]["/invocations"]["post"]["responses"]
    assert closed["paths"]["/admin/status"]["get"]["security"] == [{"admin": []}] and closed["paths"]["/ping"]["get"]["security"] == []
    assert not any(path.startswith("/admin") for path in open_["paths"]) and not any(o["security"] for methods in open_["paths"].values() for o in methods.values())


def test_answers_keep_their_schemas(served):
    import numpy as np

    from model_ops.serve.ask import Answer
    from model_ops.serve.problem import Problem
    made = document(served, config())
    answer = Answer({"score": np.array([0.3]), "label": np.array(["no"]), "probabilities": np.array([[0.7, 0.3]])}, "late-parcels", "3", "d", "x", 0.4, ("no", "yes"), (("kilos", "range", 1),))
    ask = invocations.decode(b'{"instances":[{}],"params":{"probabilities":true}}', "application/json")
    said = {"Predictions": invocations.encode(answer, ask), "ServerMetadata": orjson.dumps(inference.server_metadata()), "Problem": Problem(422, "x", "wrong", column="a", row=1).to_json("x"),
            "InferenceResponse": inference.encode(answer, inference.decode(b'{"inputs":[{"name":"a","datatype":"FP64","shape":[1],"data":[1]}]}', {}, served))[0]}
    for schema, body in said.items(): resolved(made, made["components"]["schemas"][schema]).validate(orjson.loads(body))


@pytest.mark.parametrize("there", [True, False], ids=["a-model", "none-yet"])
def test_the_page_is_one_file_without_script(served, there):
    made = document(served if there else None, config("t", "a"))
    html = page(made).decode()
    assert html.startswith("<!doctype html>") and "<script" not in html and not re.search(r'(src|href)=|url\(|@import', html) and "Content-Security-Policy" in html
    for address in ADDRESSES: assert address.path in html and address.does.split("{")[0] in html
    if there: assert "Köln" in html and "late-parcels/infer" in html and "{model}/infer -H" not in html


def test_names_of_columns_are_escaped(served):
    column = served.contract.columns["kilos"]
    evil = "<script>alert(1)</script>"
    contract = served.contract.model_copy(update={"columns": {**served.contract.columns, evil: column}})
    odd = SimpleNamespace(**{**vars(served), "contract": contract, "example": {**served.example, evil: 1.0}, "inputs": [*served.inputs, Input(name=evil, dtype="number", nullable=True)]})
    html = page(document(odd, config())).decode()
    assert "<script" not in html and "&lt;script&gt;" in html


def test_a_model_without_a_contract_has_the_columns_of_its_signature():
    foreign = SimpleNamespace(name="keras", version="ab12", digest="d" * 64, contract_digest="c" * 64, contract=None, classes=(), example={"x": 0.5, "any": "a"}, outputs=[("y", "FP64", [-1])],
                              inputs=[Input(name="x", dtype="number", nullable=True), Input(name="any", dtype="any", nullable=False)])
    made = document(foreign, config())
    row = made["components"]["schemas"]["Row"]
    assert row["properties"] == {"x": {"type": ["number", "null"]}, "any": {}} and row["required"] == ["x", "any"] and b"keras" in page(made)
    for path, media, _, value, schema in bodies(made):
        if media == "application/json" and path != "/feedback": resolved(made, schema).validate(value)
