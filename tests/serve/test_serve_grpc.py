"""The Open Inference Protocol over gRPC: a real server, asked by gRPC's own client."""
import asyncio
import json
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
import grpc
import numpy as np
import orjson
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings, strategies as st
from model_ops.errors import PreflightError
from model_ops.serve.batcher import Batcher
from model_ops.serve.config import Serving
from model_ops.serve.grpc import decode, start
from model_ops.serve.problem import Problem
from model_ops.serve.schema import CONTENTS, SERVICE, messages
from model_ops.serve.tables import DATATYPES

PEERS = Path(__file__).parents[2] / ".venv-peers/bin/python"
M = messages()


class Adding:
    "A model that adds its two columns; it dislikes the number 13, and breaks at 666."
    name, version, digest, contract_digest, threshold, classes, task = "sum", "7", "d" * 64, "c" * 64, 0.5, ("no", "yes"), "binary"
    inputs = [SimpleNamespace(name="a", dtype="integer", nullable=False), SimpleNamespace(name="b", dtype="category", nullable=True)]
    outputs = [("score", "FP64", [-1]), ("label", "BYTES", [-1]), ("probabilities", "FP64", [-1, 2])]
    slow = 0.0

    def take(self, ask):
        if "a" not in ask.table: raise Problem(422, "column-missing", "Column 'a' is missing.", column="a", rule="presence")
        a, b = [float("nan") if v is None else float(v) for v in ask.table["a"]], ask.table.get("b", [None] * ask.rows)
        if 13 in a: raise Problem(422, "out-of-range", "Column 'a' holds 13.", column="a", rule="range", row=a.index(13))
        X = np.array([[x, -1 if y is None else len(str(y))] for x, y in zip(a, b, strict=True)], np.float32).reshape(-1, 2)
        return SimpleNamespace(X=X, warned=(), inputs=orjson.dumps({"a": a}), n=ask.rows)

    def predict(self, X):
        time.sleep(self.slow)
        if (X == 666).any(): raise ArithmeticError("666")
        score = X.sum(axis=1).astype(float)
        return {"score": score, "label": np.array(["no", "yes"])[(score > 0).astype(int)], "probabilities": np.column_stack([-score, score])}


class Kept:
    "A journal in memory; `full` makes it fail."
    def __init__(self): self.records, self.full = [], False
    def append(self, records, done):
        if not self.full: self.records += records
        done(OSError(28, "No space left on device") if self.full else None)


class Claims:
    def __init__(self): self.known = {}
    def claim(self, items): return [self.known.setdefault(id, check) == check for id, check in items]


@contextmanager
def running(**told):
    "A server in a thread; what it is made of can be reached and changed."
    made = SimpleNamespace(model=Adding(), served=None, why="", journal=Kept(), refused=[], started=threading.Event(), over=None, port=0)
    made.served = made.model
    config = Serving(**{"host": "127.0.0.1", **told}).model_copy(update={"grpc_port": told.get("grpc_port", 0)})

    async def main():
        made.over, made.loop = asyncio.Event(), asyncio.get_running_loop()
        made.batcher = Batcher(lambda: made.served, made.journal, Claims(), max_inflight=config.max_inflight, timeout_s=config.timeout_s)
        try: made.listening = await start(made.batcher, config, lambda: made.served, lambda: made.why, lambda *facts: made.refused.append(facts))
        except Exception as e: made.error = e
        else: made.port = made.listening.port
        made.started.set()
        if not made.port: return
        await made.over.wait()
        await made.listening.stop(5)
        await made.batcher.close()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    made.started.wait(10)
    try: yield made
    finally:
        if made.port and thread.is_alive(): made.loop.call_soon_threadsafe(made.over.set)
        thread.join(20)


def call(channel, name="ModelInfer"):
    return channel.unary_unary(f"/{SERVICE}/{name}", getattr(M, f"{name}Request").SerializeToString, getattr(M, f"{name}Response").FromString)


def infer(channel, request, **more): return call(channel)(request, timeout=10, **more)
def ask(*a, **more): return M.ModelInferRequest(**{"model_name": "sum", "inputs": [{"name": "a", "datatype": "INT64", "shape": [len(a)], "contents": {"int64_contents": a}}], **more})


@pytest.fixture(scope="module")
def server():
    with running() as made: yield made


@pytest.fixture
def channel(server):
    server.model, server.why, server.journal.full = server.served, "", False
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as found: yield found


def refusal(channel, request, **more):
    with pytest.raises(grpc.RpcError) as found: infer(channel, request, **more)
    behind = dict(found.value.trailing_metadata())
    return found.value.code().name, orjson.loads(behind["problem-bin"]) if "problem-bin" in behind else {}, behind


# --- the schema --------------------------------------------------------------------------------------------------------

DUMP = """
import json, sys
from {module} import DESCRIPTOR
def of(message): return {{f.name: [f.number, f.type, bool(f.is_repeated), f.message_type.full_name if f.message_type else "", f.containing_oneof.name if f.containing_oneof else ""] for f in message.fields}}
def every(message): return {{message.full_name: of(message), **{{k: v for n in message.nested_types for k, v in every(n).items()}}}}
found = {{k: v for m in DESCRIPTOR.message_types_by_name.values() for k, v in every(m).items()}}
calls = {{m.name: [m.input_type.full_name, m.output_type.full_name] for m in DESCRIPTOR.services_by_name["GRPCInferenceService"].methods}}
json.dump([found, calls], sys.stdout)
"""


@pytest.mark.slow
@pytest.mark.skipif(not PEERS.exists(), reason="needs .venv-peers: scripts/peers")
@pytest.mark.parametrize("module", ["tritonclient.grpc.service_pb2", "kserve.protocol.grpc.grpc_predict_v2_pb2"], ids=["tritonclient", "kserve"])
def test_names_numbers_and_types_are_theirs(module):
    theirs, calls = json.loads(subprocess.run([PEERS, "-c", DUMP.format(module=module)], capture_output=True, check=True, timeout=60).stdout)
    file, ours = M.pool.FindFileByName("open_inference_grpc.proto"), {}
    exec(DUMP.format(module="types").split("\n", 3)[3].split("found =")[0], space := {})
    for message in file.message_types_by_name.values(): ours |= space["every"](message)
    for name, fields in json.loads(json.dumps(ours)).items():
        later = {"double_param", "uint64_param"} - theirs[name].keys() if name == "inference.InferParameter" else set()  # kserve has the older definition
        assert {k: v for k, v in fields.items() if k not in later} == theirs[name], name
    assert {m.name: [m.input_type.full_name, m.output_type.full_name] for m in file.services_by_name["GRPCInferenceService"].methods}.items() <= calls.items()


def test_lives_beside_another_module_of_the_same_names():
    from google.protobuf import descriptor_pb2, descriptor_pool
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(descriptor_pb2.FileDescriptorProto(name="other.proto", package="inference", message_type=[descriptor_pb2.DescriptorProto(name="ModelInferRequest")]).SerializeToString())
    with pytest.raises(KeyError): descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest")
    assert len(M.ModelInferRequest.DESCRIPTOR.fields) == 7


# --- answers -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("datatype", [d for d in DATATYPES if d not in ("BYTES", "BOOL")])
def test_every_datatype_raw_and_not(channel, datatype):
    raw = ask(inputs=[{"name": "a", "datatype": datatype, "shape": [2]}], raw_input_contents=[np.array([1, 2], DATATYPES[datatype]).tobytes()])
    said = infer(channel, raw)
    assert [len(o.contents.ListFields()) for o in said.outputs] == [0, 0, 0]
    assert np.frombuffer(said.raw_output_contents[0]).tolist() == [0, 1] and np.frombuffer(said.raw_output_contents[2]).reshape(2, 2)[1].tolist() == [-1, 1]
    assert said.raw_output_contents[1] == b"\2\0\0\0no\3\0\0\0yes"
    if datatype not in CONTENTS: return
    written = infer(channel, ask(inputs=[{"name": "a", "datatype": datatype, "shape": [2, 1], "contents": {CONTENTS[datatype]: [1, 2]}}]))
    assert not written.raw_output_contents and list(written.outputs[0].contents.fp64_contents) == [0, 1] and list(written.outputs[1].contents.bytes_contents) == [b"no", b"yes"]
    assert list(written.outputs[2].shape) == [2, 2] and list(written.outputs[2].contents.fp64_contents) == [0, 0, -1, 1]


def test_answer_names_version_id_threshold_and_classes(channel):
    said = infer(channel, ask(3, id="mine-1", model_version="7", outputs=[{"name": "label"}]))
    assert (said.model_name, said.model_version, said.id, [o.name for o in said.outputs]) == ("sum", "7", "mine-1", ["label"])
    assert said.parameters["threshold"].double_param == 0.5 and orjson.loads(said.parameters["classes"].string_param) == ["no", "yes"] and said.parameters["digest"].string_param == "d" * 64
    assert infer(channel, ask(3), metadata=(("x-request-id", "from-metadata"),)).id == "from-metadata" and infer(channel, ask(3)).id


def test_missing_values(channel):
    text = {"name": "b", "datatype": "BYTES", "shape": [3], "contents": {"bytes_contents": [b"xyz", "Köln".encode(), b"-"]}, "parameters": {"null": M.InferParameter(string_param="-")}}
    asked = ask(1, 1, 1)
    asked.inputs.append(M.ModelInferRequest.InferInputTensor(**text))
    assert list(infer(channel, asked).outputs[0].contents.fp64_contents) == [4, 5, 0]
    assert np.isnan(infer(channel, ask(inputs=[{"name": "a", "datatype": "FP32", "shape": [1], "contents": {"fp32_contents": [float("nan")]}}])).outputs[0].contents.fp64_contents[0])


def test_no_rows(channel):
    assert list(infer(channel, ask()).outputs[0].shape) == [0]


def test_what_was_answered_was_logged_before(channel, server):
    said = infer(channel, ask(1, 2, id="kept"))
    record = [orjson.loads(r) for r in server.journal.records if b'"kept"' in r]
    assert len(record) == 1 and record[0]["from"] == "grpc" and record[0]["own"] and record[0]["outputs"]["score"] == list(said.outputs[0].contents.fp64_contents)


def test_metadata_and_readiness(channel, server):
    about = call(channel, "ModelMetadata")(M.ModelMetadataRequest(name="sum"))
    assert about.versions == ["7"] and [(i.name, i.datatype, list(i.shape)) for i in about.inputs] == [("a", "INT64", [-1]), ("b", "BYTES", [-1])] and [o.name for o in about.outputs] == ["score", "label", "probabilities"]
    assert call(channel, "ServerMetadata")(M.ServerMetadataRequest()).name == "model-ops" and call(channel, "ServerLive")(M.ServerLiveRequest()).live
    ready = lambda name="sum", version="": call(channel, "ModelReady")(M.ModelReadyRequest(name=name, version=version)).ready
    assert ready() and ready(version="7") and not ready(version="8") and not ready("other") and call(channel, "ServerReady")(M.ServerReadyRequest()).ready
    server.why = "starting"
    assert not ready() and not call(channel, "ServerReady")(M.ServerReadyRequest()).ready and call(channel, "ServerLive")(M.ServerLiveRequest()).live


# --- refusals ----------------------------------------------------------------------------------------------------------

TENSOR = {"name": "a", "datatype": "INT64", "shape": [1]}
REFUSED = {
    "model": (ask(1, model_name="other"), "NOT_FOUND", "model-unknown", {}),
    "version": (ask(1, model_version="6"), "NOT_FOUND", "version-unknown", {}),
    "no tensor": (ask(inputs=[]), "INVALID_ARGUMENT", "tensor-missing", {}),
    "datatype": (ask(inputs=[{**TENSOR, "datatype": "TEXT"}]), "INVALID_ARGUMENT", "tensor-unreadable", {"column": "a"}),
    "shape": (ask(inputs=[{**TENSOR, "shape": [1, 2]}]), "INVALID_ARGUMENT", "tensor-unreadable", {"column": "a"}),
    "too few values": (ask(inputs=[{**TENSOR, "shape": [4_000_000_000]}]), "INVALID_ARGUMENT", "tensor-unreadable", {"column": "a"}),
    "negative shape": (ask(inputs=[{**TENSOR, "shape": [-1]}]), "INVALID_ARGUMENT", "tensor-unreadable", {"column": "a"}),
    "wrong field": (ask(inputs=[{**TENSOR, "contents": {"fp64_contents": [1]}}]), "INVALID_ARGUMENT", "tensor-unreadable", {"column": "a"}),
    "small integer": (ask(inputs=[{"name": "a", "datatype": "INT8", "shape": [1], "contents": {"int_contents": [300]}}]), "INVALID_ARGUMENT", "tensor-unreadable", {"row": 0}),
    "no text": (ask(inputs=[{"name": "b", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"\xff"]}}]), "INVALID_ARGUMENT", "tensor-unreadable", {"column": "b", "row": 0}),
    "twice": (ask(inputs=[{**TENSOR, "contents": {"int64_contents": [1]}}] * 2), "INVALID_ARGUMENT", "column-twice", {"column": "a"}),
    "raw count": (ask(1, raw_input_contents=[b"", b""]), "INVALID_ARGUMENT", "tensor-unreadable", {}),
    "raw and not": (ask(1, raw_input_contents=[b"\0" * 8]), "INVALID_ARGUMENT", "tensor-unreadable", {"column": "a"}),
    "raw length": (ask(inputs=[TENSOR], raw_input_contents=[b"\0" * 7]), "INVALID_ARGUMENT", "tensor-unreadable", {"column": "a"}),
    "output": (ask(1, outputs=[{"name": "why"}]), "INVALID_ARGUMENT", "output-unknown", {}),
    "output twice": (ask(1, outputs=[{"name": "score"}] * 2), "INVALID_ARGUMENT", "output-unknown", {}),
    "parameter": (ask(1, parameters={"priority": M.InferParameter(int64_param=3)}), "INVALID_ARGUMENT", "parameter-unknown", {}),
    "parameter's type": (ask(1, parameters={"null": M.InferParameter()}), "INVALID_ARGUMENT", "parameter-unknown", {}),
    "column": (ask(inputs=[{**TENSOR, "name": "z", "contents": {"int64_contents": [1]}}]), "INVALID_ARGUMENT", "column-missing", {"column": "a", "rule": "presence"}),
    "contract": (ask(1, 13), "INVALID_ARGUMENT", "out-of-range", {"column": "a", "rule": "range", "row": 1}),
    "rows": (ask(*[1] * 10_001), "INVALID_ARGUMENT", "too-many-rows", {}),
    "id": (ask(1, id="a\nb"), "INVALID_ARGUMENT", "id-unreadable", {}),
    "long id": (ask(1, id="x" * 129), "INVALID_ARGUMENT", "id-unreadable", {}),
    "model fails": (ask(666), "INTERNAL", "server-mistake", {}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_code_column_and_row(channel, server, case):
    request, code, type, where = REFUSED[case]
    found, problem, _ = refusal(channel, request)
    assert (found, problem["type"]) == (code, f"urn:model-ops:{type}") and where.items() <= problem.items() and problem["request_id"]
    told, protocol, id, _ = server.refused[-1]
    assert (told.type, protocol, id) == (type, "grpc", problem["request_id"])
    assert list(infer(channel, ask(1)).outputs[0].contents.fp64_contents) == [0]  # and goes on


def test_the_same_id_with_other_inputs(channel):
    assert infer(channel, ask(1, id="once")).id == infer(channel, ask(1, id="once")).id == "once"
    assert refusal(channel, ask(2, id="once"))[0] == "ALREADY_EXISTS"


def test_not_now(channel, server):
    server.journal.full = True
    code, problem, behind = refusal(channel, ask(1))
    assert code == "UNAVAILABLE" and problem["type"].endswith("log-unwritable") and int(behind["grpc-retry-pushback-ms"]) == 1000 * problem["retry_after"]
    server.served, kept = None, server.served
    try: assert refusal(channel, ask(1))[:1] == ("UNAVAILABLE",)
    finally: server.served = kept


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(server, raw):
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel, pytest.raises(grpc.RpcError) as found:
        channel.unary_unary(f"/{SERVICE}/ModelInfer")(raw, timeout=10)
    assert found.value.code().name in ("INVALID_ARGUMENT", "NOT_FOUND")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_request_is_a_table_or_a_problem(data):
    whole = ask(1, 2, id="x", parameters={"null": M.InferParameter(string_param="")}, outputs=[{"name": "score"}]).SerializeToString()
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))): damaged[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try: request = M.ModelInferRequest.FromString(bytes(damaged))
    except DecodeError: return
    try: assert decode(request, ("score",)).rows >= 0
    except Problem as p: assert p.status in (400, 422)


def test_too_large_also_when_it_was_compressed(server, channel):
    with running(max_body_mb=1) as small, grpc.insecure_channel(f"127.0.0.1:{small.port}") as narrow:
        large = ask(inputs=[TENSOR], raw_input_contents=[b"\0" * 3_000_000])
        for how in (None, grpc.Compression.Gzip):
            assert refusal(narrow, large, compression=how)[0] == "RESOURCE_EXHAUSTED"
        assert infer(narrow, ask(1)).id
    assert refusal(channel, large)[1]["type"].endswith("tensor-unreadable")


def test_too_many_at_once():
    with running(max_inflight=2) as server:
        server.model.slow = 0.2
        channels = [grpc.insecure_channel(f"127.0.0.1:{server.port}", options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(6)]
        waiting = [call(channel).future(ask(*[i] * 300), timeout=10) for i, channel in enumerate(channels)]
        codes = [w.exception().code().name if w.exception() else "OK" for w in waiting]
        for channel in channels: channel.close()
    assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"} and codes.count("OK") >= 2


def test_a_client_that_gives_up_leaves_nothing_behind():
    with running() as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        server.model.slow = 0.15
        with pytest.raises(grpc.RpcError) as found: call(channel)(ask(1), timeout=0.05)
        assert found.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert infer(channel, ask(1)).id and server.batcher.inflight == 0


# --- who may ------------------------------------------------------------------------------------------------------------

def test_token():
    with running(token="s3cret") as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        assert refusal(channel, ask(1))[:1] == ("UNAUTHENTICATED",)
        for wrong in ("Bearer s3cre", "s3cret", "Bearer s3cret ", ""): assert refusal(channel, ask(1), metadata=(("authorization", wrong),))[1]["type"].endswith("token-wrong")
        assert infer(channel, ask(1), metadata=(("authorization", "Bearer s3cret"),)).id
        for name, request in (("ServerMetadata", M.ServerMetadataRequest()), ("ModelMetadata", M.ModelMetadataRequest(name="sum")), ("ModelReady", M.ModelReadyRequest(name="sum"))):
            with pytest.raises(grpc.RpcError): call(channel, name)(request)
        assert call(channel, "ServerReady")(M.ServerReadyRequest()).ready and call(channel, "ServerLive")(M.ServerLiveRequest()).live


def test_tls(tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    with running(cert=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem")) as server:
        with grpc.secure_channel(f"localhost:{server.port}", grpc.ssl_channel_credentials((tmp_path / "cert.pem").read_bytes())) as channel: assert infer(channel, ask(1)).id
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel: assert refusal(channel, ask(1))[0] == "UNAVAILABLE"


# --- the services beside it ---------------------------------------------------------------------------------------------

def test_health(channel, server):
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    stub, said = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckResponse
    assert [stub.Check(health_pb2.HealthCheckRequest(service=s)).status for s in ("", SERVICE)] == [said.SERVING] * 2
    with pytest.raises(grpc.RpcError) as found: stub.Check(health_pb2.HealthCheckRequest(service="other"))
    assert found.value.code() == grpc.StatusCode.NOT_FOUND
    watching = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    assert next(watching).status == said.SERVING
    server.why = "draining"
    assert next(watching).status == said.NOT_SERVING == stub.Check(health_pb2.HealthCheckRequest()).status
    watching.cancel()


def test_reflection(channel):
    from google.protobuf import descriptor_pb2, descriptor_pool
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
    database = ProtoReflectionDescriptorDatabase(channel)
    assert sorted(database.get_services()) == ["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", SERVICE]
    pool = descriptor_pool.DescriptorPool(database)
    seen = descriptor_pb2.FileDescriptorProto()
    pool.FindServiceByName(SERVICE).file.CopyToProto(seen)
    assert {m.name for m in seen.message_type} >= {"ModelInferRequest", "InferTensorContents"} and pool.FindServiceByName("grpc.health.v1.Health").methods_by_name["Check"]


# --- its end, and its port ----------------------------------------------------------------------------------------------

def test_stops_when_what_it_accepted_is_answered():
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    with running() as server:
        server.model.slow = 0.5
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            states = [next(watching).status]
            waiting = call(channel).future(ask(*[2] * 300), timeout=10)
            while not server.batcher.inflight: time.sleep(0.01)
            server.loop.call_soon_threadsafe(server.over.set)
            assert len(waiting.result().outputs[0].contents.fp64_contents) == 300
            states += [s.status for s in watching]
    assert states == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]


def test_workers_share_a_port():
    with running(workers=2) as first, running(workers=2, grpc_port=first.port) as second:
        assert second.port == first.port
        with grpc.insecure_channel(f"127.0.0.1:{first.port}") as channel: assert infer(channel, ask(1)).id


def test_a_port_that_somebody_else_has():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with running(grpc_port=taken.getsockname()[1]) as server: assert isinstance(server.error, PreflightError) and "gRPC cannot listen" in str(server.error)


def test_strangers_on_the_port_are_hung_up_on():
    with running(timeout_s=0.4) as server:
        for words in (b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 40):
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as one:
                one.sendall(words)
                try:
                    while one.recv(65536): pass  # until the server ends it; a time-out fails the test
                except ConnectionResetError: pass
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel: assert infer(channel, ask(1)).id
