"""10,000 hostile bodies through the decoders: each becomes a table or a refusal of the client, and nothing else."""
import json
from types import SimpleNamespace

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_ops.serve import inference, invocations
from model_ops.serve.ask import Ask
from model_ops.serve.problem import Problem
from model_ops.serve.tables import DATATYPES, Tensor, from_tensors

MODEL = SimpleNamespace(name="m", outputs=[("score", "FP64", [-1]), ("label", "BYTES", [-1])])
ROWS = [{"kilos": 1.5, "depot": "Köln", "fragile": True, "day": None}, {"kilos": -2, "depot": "Ulm", "fragile": False, "day": 3}]
TENSORS = [{"name": "kilos", "datatype": "FP64", "shape": [2], "data": [1.5, -2]}, {"name": "depot", "datatype": "BYTES", "shape": [2, 1], "data": ["Köln", None]}]
GOOD = [orjson.dumps(body) for body in ({"dataframe_records": ROWS}, {"dataframe_split": {"columns": list(ROWS[0]), "data": [list(r.values()) for r in ROWS]}}, {"instances": ROWS}, {"inputs": {n: [r[n] for r in ROWS] for n in ROWS[0]}},
                                        {"id": "x", "inputs": TENSORS, "outputs": [{"name": "score", "parameters": {"binary_data": True}}], "parameters": {"null": "?"}})] + [b"kilos,depot,fragile,day\n1.5,\"K\xc3\xb6ln\",true,\n-2,Ulm,false,3\n"]


def is_table(ask):
    "Whether it is what the rest of the server relies on."
    assert type(ask) is Ask and type(ask.rows) is int and ask.rows >= 0 and type(ask.id) is str
    if type(ask.table) is list: return len(ask.table) == ask.rows and all(type(row) is dict and all(type(name) is str for name in row) for row in ask.table)
    return type(ask.table) is dict and all(type(name) is str and type(values) in (list, np.ndarray) and len(values) == ask.rows for name, values in ask.table.items())


def survives(decode, *told):
    "A table, or a problem of the client's that can be told."
    try: return is_table(decode(*told))
    except Problem as problem:
        said = orjson.loads(problem.to_json("id"))
        return 400 <= said["status"] < 500 and said["detail"] and len(said["detail"]) < 3000


names = st.sampled_from(["kilos", "depot", "a", "", "columns", "data", "index", "name", "shape", "inputs", "\x00", "é", "params", "probabilities", "null", "binary_data_size", "x" * 300])
values = st.recursive(st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=2), max_leaves=4)
def usually(good, odd): return st.integers(0, 11).flatmap(lambda n: odd if n == 0 else good)  # wild throughout, nothing gets past the first check


@st.composite
def forms(draw):
    "A table in one of the forms, with something odd in some places."
    form, columns, cells = draw(st.sampled_from(sorted(invocations.FORMS))), draw(st.lists(usually(names, values), max_size=3, unique_by=repr)), usually(st.none() | st.integers() | st.text(max_size=3), values)
    texts = [name for name in columns if isinstance(name, str)]
    shape = "split" if form == "dataframe_split" else "records" if form == "dataframe_records" else draw(st.sampled_from(["records", "lists", "columns"]))
    match shape:
        case "records": table = draw(st.lists(usually(st.fixed_dictionaries(dict.fromkeys(texts, cells)), values), max_size=6))
        case "columns": table = {n: draw(usually(st.lists(cells, min_size=2, max_size=2), values)) for n in texts}
        case _: table = draw(st.lists(usually(st.lists(cells, min_size=len(columns), max_size=len(columns)), values), max_size=6))
    more = draw(usually(st.sampled_from([{}, {"params": {"probabilities": True}}]), st.dictionaries(names, values, max_size=2)))
    return {form: {"columns": columns, "data": table} if shape == "split" else table, **more}


@st.composite
def tensors(draw):
    "A tensor, with something odd in some places; and its raw bytes, where it has any."
    rows = draw(usually(st.just(2), st.integers(-2, 2**70)))
    datatype = draw(usually(st.sampled_from(list(DATATYPES)), values))
    shape = draw(usually(st.sampled_from([[rows], [rows, 1]]), values | st.lists(values, max_size=3)))
    found = {"name": draw(usually(names, values)), "datatype": datatype, "shape": shape, **draw(usually(st.just({}), st.dictionaries(names, values, max_size=1)))}
    if draw(st.booleans()):
        plain = {"BYTES": st.text(max_size=3), "BOOL": st.booleans(), "FP32": st.floats(), "FP64": st.floats()}.get(datatype if isinstance(datatype, str) else "", st.integers(-3, 300))
        return {**found, "data": draw(usually(st.lists(usually(plain, values), min_size=2, max_size=2), values))}, b""
    raw = draw(usually(st.just(b"\1\0\0\0a\0\0\0\0" if datatype == "BYTES" else bytes(2 * DATATYPES[datatype].itemsize) if isinstance(datatype, str) and datatype in DATATYPES else b""), st.binary(max_size=40)))
    return {**found, "parameters": {"binary_data_size": draw(usually(st.just(len(raw)), values)), **draw(usually(st.just({}), st.dictionaries(names, values, max_size=1)))}}, raw


parameters = st.dictionaries(st.sampled_from(["binary_data", "binary_data_output", "null", "content_type", "timeout"]), st.booleans() | st.text(max_size=3) | values, max_size=2)


@st.composite
def requests(draw):
    "A request, the bytes behind its JSON, and something odd in some places."
    inputs = draw(st.lists(tensors(), max_size=2, min_size=1))
    more = {"id": st.text(max_size=3), "parameters": st.sampled_from([{}, {"binary_data_output": True}, {"null": ""}]), "model_name": st.just("m"), "outputs": st.sampled_from([[], [{"name": "score"}], [{"name": "label", "parameters": {"binary_data": True}}]])}
    chosen = draw(st.sets(st.sampled_from(sorted(more))))
    request = {"inputs": draw(usually(st.just([tensor for tensor, _ in inputs]), values)), **{key: draw(usually(more[key], values | parameters | st.lists(values | parameters, max_size=2))) for key in chosen}}
    return request, b"".join(raw for _, raw in inputs) + draw(usually(st.just(b""), st.binary(max_size=9)))


content_types = st.sampled_from(["application/json", "text/csv", "application/json; charset=utf-8"]) | st.text(max_size=20)
lengths = st.none() | st.integers(-1, 400).map(lambda n: str(n).encode()) | st.binary(max_size=4)


@st.composite
def torn(draw):
    "A good body with bytes changed, cut out, doubled or put in."
    body = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(1, 4))):
        at, end = sorted((draw(st.integers(0, len(body))), draw(st.integers(0, len(body)))))
        match draw(st.sampled_from(["change", "cut", "double", "put"])):
            case "change": body[at:at + 1] = draw(st.binary(min_size=1, max_size=1))
            case "cut": del body[at:end]
            case "double": body[at:at] = body[at:end]
            case "put": body[at:at] = draw(st.sampled_from([b"NaN", b"null", b"{}", b"[]", b'"', b",", b":", b"-", b"\\", b"\xff", b"1e999", b"9" * 40, b"[" * 1100, b'{"a":' * 1100, b"\r\n", b"\x00"]))
    return bytes(body)


def headers(length, content_type=b"application/json"):
    return {b"content-type": content_type, **({} if length is None else {b"inference-header-content-length": length})}


def body_of(value): return json.dumps(value).encode()  # NaN and Infinity as Python writes them


ATTACKS = {
    "noise": (st.tuples(st.binary(max_size=200), content_types, lengths), lambda body, content_type, length: survives(invocations.decode, body, content_type) and survives(inference.decode, body, headers(length, content_type.encode()), MODEL)),
    "torn": (st.tuples(torn(), st.sampled_from(["application/json", "text/csv"]), lengths), lambda body, content_type, length: survives(invocations.decode, body, content_type, ["a", "b"]) and survives(inference.decode, body, headers(length), MODEL)),
    "forms": (st.tuples(usually(forms(), values), st.sampled_from([(), ("a", "b")])), lambda value, known: survives(invocations.decode, body_of(value), "application/json", known)),
    "csv": (st.tuples(st.lists(st.lists(st.text(max_size=5), max_size=4), max_size=5), st.sampled_from([",", ";", '"', "\n", ",\n"])), lambda rows, mark: survives(invocations.decode, "\n".join(mark.join(row) for row in rows).encode("utf-8", "surrogatepass"), "text/csv")),
    "tensors": (st.tuples(requests(), lengths, usually(st.just(True), st.just(False))),
                lambda request, length, honest: survives(inference.decode, (head := body_of(request[0])) + request[1], headers(str(len(head)).encode() if honest else length), MODEL)),
}


def attack(kind, tries):
    strategy, holds = ATTACKS[kind]
    @settings(max_examples=tries, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def run(told): assert holds(*told)
    run()


TRIES = {"noise": 2500, "torn": 3500, "csv": 1000, "forms": 1500, "tensors": 1500}


def test_they_are_ten_thousand(): assert sum(TRIES.values()) == 10_000 and TRIES.keys() == ATTACKS.keys()


@pytest.mark.parametrize("kind", list(ATTACKS))
def test_a_few_hostile_bodies(kind): attack(kind, 60)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(ATTACKS))
def test_ten_thousand_hostile_bodies(kind): attack(kind, TRIES[kind])


@settings(max_examples=200, deadline=None)
@given(datatype=st.sampled_from([*DATATYPES, "TEXT"]), shape=st.lists(st.integers(-1, 2**63), max_size=3) | st.just([3]) | st.just([3, 1]), data=st.binary(max_size=40) | st.lists(st.binary(max_size=3) | st.integers() | st.floats() | st.booleans(), max_size=4))
def test_tensors_of_a_message(datatype, shape, data):
    "What gRPC hands over: repeated fields and raw bytes."
    try: found = from_tensors([Tensor("x", datatype, shape, data)])["x"]
    except Problem as problem: assert problem.status == 400 and orjson.loads(problem.to_json())
    else: assert len(found) == shape[0]


def test_a_body_of_sixteen_megabytes_that_lies_about_its_size_costs_nothing():
    "A shape or a length that promises more than was sent reserves no memory."
    import tracemalloc
    head = orjson.dumps({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [2**60], "parameters": {"binary_data_size": 8}}, {"name": "y", "datatype": "FP64", "shape": [2**60], "data": []}]})
    tracemalloc.start()
    assert survives(inference.decode, head + b"\xff\xff\xff\x7fabcd", headers(str(len(head)).encode()), MODEL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
