"""The Open Inference Protocol v2 over HTTP: JSON and raw tensors, both ways, and refusals that name the tensor."""
from types import SimpleNamespace

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_ops.package.manifest import Input
from model_ops.serve.ask import Answer
from model_ops.serve.inference import decode, encode, model_metadata, server_metadata
from model_ops.serve.problem import Problem
from model_ops.serve.tables import DATATYPES, Tensor, about, datatype_of, from_tensors, to_raw, to_tensors

MODEL = SimpleNamespace(name="late-parcels", version="3", digest="d" * 64, contract_digest="c" * 64, task="binary", threshold=0.4, classes=("no", "yes"),
                        inputs=[Input(name="kilos", dtype="number", nullable=True), Input(name="depot", dtype="category", nullable=False)],
                        outputs=[("score", "FP64", [-1]), ("label", "BYTES", [-1]), ("probabilities", "FP64", [-1, 2])])
KILOS = {"name": "kilos", "datatype": "FP64", "shape": [2], "data": [1.5, None]}
DEPOT = {"name": "depot", "datatype": "BYTES", "shape": [2, 1], "data": [["Ulm"], ["Köln"]]}


def answer(n=2):
    score = np.linspace(0.1, 0.9, n)
    return Answer({"score": score, "label": np.array(["no", "yes"])[(score >= 0.4).astype(int)], "probabilities": np.column_stack([1 - score, score])}, "late-parcels", "3", "d" * 64, "7f3a", 0.4, ("no", "yes"))


def packed(request, raws):
    "The body and headers of a request with raw tensors behind it."
    head = orjson.dumps(request)
    return head + b"".join(raws), {b"content-type": b"application/octet-stream", b"inference-header-content-length": str(len(head)).encode()}


def refused(request, headers=None, raws=()):
    body, told = packed(request, raws) if raws else (request if isinstance(request, bytes) else orjson.dumps(request), {})
    with pytest.raises(Problem) as caught: decode(body, told | (headers or {}), MODEL)
    assert orjson.loads(caught.value.to_json())["error"]
    return caught.value


def test_a_tensor_for_each_column():
    ask = decode(orjson.dumps({"id": "7f3a", "model_name": "late-parcels", "inputs": [KILOS, DEPOT], "outputs": [{"name": "label"}]}), {b"content-type": b"application/json"}, MODEL)
    assert ask.table == {"kilos": [1.5, None], "depot": ["Ulm", "Köln"]} and (ask.rows, ask.id, ask.wanted, ask.protocol) == (2, "7f3a", ("label",), "v2")


@pytest.mark.parametrize("content_type", [None, b"application/json", b"application/json; charset=utf-8", b"application/octet-stream"])
def test_content_types_that_are_read(content_type):
    assert decode(orjson.dumps({"inputs": [KILOS]}), {} if content_type is None else {b"content-type": content_type}, MODEL).rows == 2


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name != "BYTES"])
def test_numbers_arrive_as_they_were_sent(datatype):
    dtype = DATATYPES[datatype]
    values = np.array([0, 1], dtype) if dtype.kind == "b" else np.array([0.5, np.nan, -2], dtype) if dtype.kind == "f" else np.array([np.iinfo(dtype).min, 0, np.iinfo(dtype).max], dtype)
    found = from_tensors([Tensor("x", datatype, [len(values), 1], values.tobytes())])["x"]
    assert np.array_equal(found, values, equal_nan=dtype.kind == "f") and found.dtype.kind == dtype.kind
    if dtype.kind != "f": assert from_tensors([Tensor("x", datatype, [len(values)], values.tolist())])["x"] == values.tolist()


@settings(deadline=None, max_examples=100)
@given(texts=st.lists(st.text(max_size=6), max_size=8), null=st.none() | st.sampled_from(["", "-", "None"]))
def test_texts_there_and_back(texts, null):
    raw = to_raw(Tensor("x", "BYTES", [len(texts)], np.array(texts, dtype=object)))
    wanted = [None if text == null else text for text in texts]
    assert from_tensors([Tensor("x", "BYTES", [len(texts)], raw, null)])["x"] == wanted
    assert from_tensors([Tensor("x", "BYTES", [len(texts)], texts)], null)["x"] == wanted
    assert from_tensors([Tensor("x", "BYTES", [len(texts)], [text.encode() for text in texts], null)])["x"] == wanted


def test_raw_tensors_behind_the_json():
    raws = [np.array([1.5, np.nan], "<f4").tobytes(), b"\3\0\0\0Ulm\1\0\0\0?"]
    request = {"parameters": {"null": "?"}, "inputs": [{"name": "kilos", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}, {"name": "day", "datatype": "INT64", "shape": [2], "data": [3, 4]},
                                                       {"name": "depot", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(raws[1]), "content_type": "str"}}]}
    ask = decode(*packed(request, raws), MODEL)
    assert np.array_equal(ask.table["kilos"], np.array([1.5, np.nan], np.float32), equal_nan=True) and ask.table["day"] == [3, 4] and ask.table["depot"] == ["Ulm", None]


def unpacked(body, headers):
    "The outputs as a client reads them."
    end = int(headers[0][1]) if headers else len(body)
    said, at, found = orjson.loads(body[:end]), end, {}
    for output in said["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        found[output["name"]] = np.reshape(output["data"], output["shape"]).tolist() if size is None else from_tensors([Tensor("x", output["datatype"], [int(np.prod(output["shape"]))], body[at:at + size])])["x"]
        at += size or 0
    assert at == len(body)
    return said, found


@pytest.mark.parametrize("outputs, binary, names", [
    ([], False, ["score", "label", "probabilities"]), ([], True, ["score", "label", "probabilities"]), ([{"name": "label"}], True, ["label"]),
    ([{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "score"}], False, ["probabilities", "score"]), ([{"name": "score", "parameters": {"binary_data": False}}, {"name": "label"}], True, ["score", "label"])],
    ids=["all-json", "all-binary", "one-binary", "two-kinds", "but-one"])
def test_the_answer_has_the_form_that_was_asked_for(outputs, binary, names):
    ask = decode(orjson.dumps({"inputs": [KILOS], "outputs": outputs, "parameters": {"binary_data_output": binary}}), {}, MODEL)
    said, found = unpacked(*encode(answer(), ask))
    assert list(found) == names and (said["model_name"], said["model_version"], said["id"]) == ("late-parcels", "3", "7f3a")
    assert all(np.array_equal(np.ravel(found[name]), np.ravel(answer().outputs[name])) for name in names)
    assert said["parameters"]["threshold"] == 0.4 and orjson.loads(said["parameters"]["classes"]) == ["no", "yes"] and said["parameters"]["digest"] == "d" * 64
    raw = {o["name"] for o in said["outputs"] if "data" not in o}
    assert raw == {name for name in names if next((o["parameters"]["binary_data"] for o in outputs if o["name"] == name and "parameters" in o), binary)}


def test_no_rows_no_values():
    ask = decode(orjson.dumps({"inputs": [{**KILOS, "shape": [0], "data": []}]}), {}, MODEL)
    assert ask.rows == 0 and orjson.loads(encode(answer(0), ask)[0])["outputs"][2] == {"name": "probabilities", "datatype": "FP64", "shape": [0, 2], "data": []}


REFUSED = [
    ("no inputs", {}, 400, ""), ("inputs that are none", {"inputs": {}}, 400, ""), ("an empty list of inputs", {"inputs": []}, 400, ""), ("an input that is none", {"inputs": [7]}, 400, ""), ("a tensor twice", {"inputs": [KILOS, KILOS]}, 422, "kilos"),
    ("no shape", {"inputs": [{"name": "kilos", "datatype": "FP64", "data": [1]}]}, 400, ""), ("an unknown key of an input", {"inputs": [{**KILOS, "dtype": 1}]}, 400, ""), ("an unknown datatype", {"inputs": [{**KILOS, "datatype": "FLOAT"}]}, 400, "kilos"),
    ("a shape of text", {"inputs": [{**KILOS, "shape": ["2"]}]}, 400, "kilos"), ("a shape of truth", {"inputs": [{**KILOS, "shape": [True]}]}, 400, "kilos"), ("a negative shape", {"inputs": [{**KILOS, "shape": [-1]}]}, 400, "kilos"), ("a matrix", {"inputs": [{**KILOS, "shape": [1, 2]}]}, 400, "kilos"),
    ("no shape at all", {"inputs": [{**KILOS, "shape": []}]}, 400, "kilos"), ("a shape that lies", {"inputs": [{**KILOS, "shape": [3]}]}, 400, "kilos"), ("a shape beyond memory", {"inputs": [{**KILOS, "shape": [2**62]}]}, 400, "kilos"), ("tensors of two lengths", {"inputs": [KILOS, {**DEPOT, "shape": [1], "data": ["Ulm"]}]}, 400, "depot"),
    ("a value of another type", {"inputs": [{**KILOS, "data": [1, "2"]}]}, 400, "kilos"), ("a truth among numbers", {"inputs": [{**KILOS, "datatype": "INT64", "data": [1, True]}]}, 400, "kilos"), ("a number too large", {"inputs": [{**KILOS, "datatype": "INT8", "data": [1, 128]}]}, 400, "kilos"),
    ("nested too deep", {"inputs": [{**DEPOT, "data": [[["Ulm"]], [["Köln"]]]}]}, 400, "depot"), ("ragged", {"inputs": [{**DEPOT, "data": [["Ulm"], []]}]}, 400, "depot"), ("no data", {"inputs": [{k: v for k, v in KILOS.items() if k != "data"}]}, 400, ""), ("raw bytes that do not follow", {"inputs": [{**{k: v for k, v in KILOS.items() if k != "data"}, "parameters": {"binary_data_size": 16}}]}, 400, ""),
    ("data twice", {"inputs": [{**KILOS, "parameters": {"binary_data_size": 0}}]}, 400, ""), ("a negative size", {"inputs": [{**{k: v for k, v in KILOS.items() if k != "data"}, "parameters": {"binary_data_size": -1}}]}, 400, ""),
    ("shared memory", {"inputs": [{**KILOS, "parameters": {"shared_memory_region": "x"}}]}, 400, ""), ("base64", {"inputs": [{**DEPOT, "parameters": {"content_type": "base64"}}]}, 400, ""), ("a sequence", {"inputs": [KILOS], "parameters": {"sequence_id": 1}}, 400, ""), ("a parameter of another type", {"inputs": [KILOS], "parameters": {"binary_data_output": "yes"}}, 400, ""),
    ("parameters that are none", {"inputs": [KILOS], "parameters": [1]}, 400, ""), ("an unknown output", {"inputs": [KILOS], "outputs": [{"name": "scores"}]}, 400, ""), ("an output without name", {"inputs": [KILOS], "outputs": [{}]}, 400, ""), ("an output of lists", {"inputs": [KILOS], "outputs": [{"name": []}]}, 400, ""), ("an output twice", {"inputs": [KILOS], "outputs": [{"name": "score"}] * 2}, 400, ""),
    ("classification", {"inputs": [KILOS], "outputs": [{"name": "score", "parameters": {"classification": 1}}]}, 400, ""), ("an id that is a number", {"inputs": [KILOS], "id": 7}, 400, ""), ("another model", {"inputs": [KILOS], "model_name": "other"}, 400, ""), ("an unknown key", {"inputs": [KILOS], "input": 1}, 400, ""),
]


@pytest.mark.parametrize("request_, status, column", [case[1:] for case in REFUSED], ids=[case[0].replace(" ", "-") for case in REFUSED])
def test_what_cannot_be_read_is_named(request_, status, column):
    problem = refused(request_)
    assert (problem.status, problem.column) == (status, column)


def test_a_key_that_stands_twice():
    assert refused(b'{"inputs":[{"name":"kilos","datatype":"FP64","shape":[1],"data":[1],"data":[2]}]}').type == "column-twice"


@pytest.mark.parametrize("length", [b"", b"-1", b"x", b"99999", b"9" * 40, b"1e1", "²".encode("latin-1")])
def test_a_length_of_the_json_that_cannot_be(length):
    assert refused({"inputs": [KILOS]}, {b"inference-header-content-length": length}).status == 400


@pytest.mark.parametrize("raw", [b"", b"\3\0\0\0Ul", b"\3\0", b"\xff\xff\xff\xffUlm", b"\3\0\0\0Ulm", b"\3\0\0\0Ulm\1\0\0\0x\0", b"\1\0\0\0\xff\1\0\0\0x"])
def test_texts_that_end_too_early_or_late(raw):
    tensor = {"name": "depot", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    assert (refused({"inputs": [tensor]}, raws=[raw]) if raw else refused({"inputs": [tensor]})).column == "depot"


def test_bytes_that_no_tensor_claims():
    assert "claims" in str(refused({"inputs": [KILOS]}, raws=[b"abc"]))


def test_another_content_type():
    assert refused({"inputs": [KILOS]}, {b"content-type": b"text/csv"}).status == 415


def test_a_version_without_that_output_took_over_meanwhile():
    ask = decode(orjson.dumps({"inputs": [KILOS], "outputs": [{"name": "label"}]}), {}, MODEL)
    with pytest.raises(Problem) as caught: encode(Answer({"score": np.zeros(2)}, "late-parcels", "4", "e" * 64, "x"), ask)
    assert (caught.value.status, caught.value.retry_after) == (503, 1)


def test_metadata_say_what_to_send():
    said = model_metadata(MODEL)
    assert said["inputs"] == [{"name": "kilos", "datatype": "FP64", "shape": [-1]}, {"name": "depot", "datatype": "BYTES", "shape": [-1]}]
    assert [o["name"] for o in said["outputs"]] == ["score", "label", "probabilities"] and said["versions"] == ["3"] and said["parameters"]["threshold"] == 0.4
    assert server_metadata()["extensions"] == ["binary_tensor_data"] and orjson.dumps(said)


@pytest.mark.parametrize("dtype, nullable, datatype", [("integer", False, "INT64"), ("integer", True, "FP64"), ("number", False, "FP64"), ("boolean", False, "BOOL"), ("boolean", True, "FP64"), ("category", True, "BYTES"), ("text", False, "BYTES"), ("date", False, "BYTES"), ("datetime", True, "BYTES")])
def test_the_datatype_that_is_announced_can_carry_what_the_contract_allows(dtype, nullable, datatype):
    from model_ops.data.values import reader
    assert datatype_of(dtype, nullable) == datatype
    value = {"integer": 7, "number": 7.5, "boolean": True, "category": "x", "text": "x", "date": "2013-07-04", "datetime": "2013-07-04T05:15:00"}[dtype]
    sent = from_tensors([Tensor("x", datatype, [1], [value] if datatype == "BYTES" else np.array([value], DATATYPES[datatype]).tobytes())])["x"]
    assert reader(dtype)(sent[0].item() if isinstance(sent, np.ndarray) else sent[0]) == reader(dtype)(value)


def test_warnings_go_along():
    said = answer()
    said.warned = (("kilos", "range", 2),)
    assert orjson.loads(about(said)["warnings"]) == [{"column": "kilos", "rule": "range", "rows": 2}]
    assert [t.datatype for t in to_tensors(said)] == ["FP64", "BYTES", "FP64"]
