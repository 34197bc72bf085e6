"""Other people's clients, unmodified, against a whole server; and every way of asking gives the model's own numbers."""
import json
import subprocess
from pathlib import Path
import grpc
import numpy as np
import polars as pl
import pytest
from serving_book import parcels, serving_book
from model_ops.data.encode import encode
from model_ops.package.predictor import fitted_model
from model_ops.predictions import log
from model_ops.serve import process
from model_ops.serve.client import AsyncClient, Client, ClientError
from model_ops.serve.schema import CONTENTS, SERVICE, messages

pytestmark = pytest.mark.slow
PEERS = Path(__file__).parents[2] / ".venv-peers/bin/python"
needs_peers = pytest.mark.skipif(not PEERS.exists(), reason="needs .venv-peers: scripts/peers")


@pytest.fixture(scope="module")
def book(tmp_path_factory): return serving_book(tmp_path_factory.mktemp("peers") / "book", 1)


@pytest.fixture(scope="module")
def server(book):
    with process.start(book.settings) as running: yield running


@pytest.fixture(scope="module")
def held_out(): return parcels(200, seed=31).drop("late")


@pytest.fixture(scope="module")
def truth(book, held_out):
    "What scikit-learn says of them, as a notebook would ask it: probabilities of both classes, labels."
    folder = book.store.get(book.digests[0])
    predictor = book.predictor(1)
    p = fitted_model(folder).predict_proba(encode(predictor.contract, held_out).X)
    return {"probabilities": p, "label": [predictor.manifest.classes[int(s >= predictor.manifest.threshold)] for s in p[:, 1]]}


def agrees(said, truth):
    "Scores to the sixth digit (float32 in ONNX Runtime, float64 in scikit-learn), labels exactly."
    np.testing.assert_allclose(said["score"], truth["probabilities"][:, 1], atol=1e-6)
    assert list(said["label"]) == truth["label"]
    if "probabilities" in said: np.testing.assert_allclose(said["probabilities"], truth["probabilities"], atol=1e-6)


# --- clients that others wrote ------------------------------------------------------------------------------------------

COMMON = """
import asyncio, json, sys
import numpy as np
told = json.load(sys.stdin)
url, address, model, columns = told["url"], told["grpc"], told["model"], told["columns"]
def array(name, datatype):
    values = columns[name]
    if datatype == "BYTES": return np.array([str(v).encode() for v in values], dtype=object)
    return np.array([float("nan") if v is None else v for v in values], dtype={"FP64": "f8", "INT64": "i8", "BOOL": "?"}[datatype])
def text(values): return [v.decode() if isinstance(v, bytes) else str(v) for v in values]
"""

TRITON = """
import tritonclient.{kind} as client
binary = {binary}
c = client.InferenceServerClient({where})
assert c.is_server_live() and c.is_server_ready() and c.is_model_ready(model)
about = c.get_model_metadata(model{as_json})
inputs = []
for i in about["inputs"]:
    values = array(i["name"], i["datatype"])
    inputs.append(client.InferInput(i["name"], list(values.shape), i["datatype"]))
    inputs[-1].set_data_from_numpy(values{how})
found = c.infer(model, inputs, outputs=[client.InferRequestedOutput(o["name"]{how}) for o in about["outputs"]], request_id=told["id"], {more})
try: c.infer(model, inputs[1:])
except Exception as e: refused = str(e)
said = found.get_response({just_json})
json.dump({{"score": found.as_numpy("score").tolist(), "label": text(found.as_numpy("label")), "probabilities": found.as_numpy("probabilities").tolist(), "version": said["model_version"], "id": said["id"], "refused": refused}}, sys.stdout)
"""
TRITONS = {
    "http json": TRITON.format(kind="http", binary=False, where="url.removeprefix('http://')", as_json="", how=", binary_data=binary", more="", just_json=""),
    "http binary": TRITON.format(kind="http", binary=True, where="url.removeprefix('http://')", as_json="", how=", binary_data=binary", more="", just_json=""),
    "http compressed answer": TRITON.format(kind="http", binary=True, where="url.removeprefix('http://')", as_json="", how=", binary_data=binary", more="response_compression_algorithm='gzip'", just_json=""),
    "grpc": TRITON.format(kind="grpc", binary=True, where="address", as_json=", as_json=True", how="", more="", just_json="as_json=True"),
    "grpc compressed": TRITON.format(kind="grpc", binary=True, where="address", as_json=", as_json=True", how="", more="compression_algorithm='gzip'", just_json="as_json=True"),
}
KSERVE = """
from kserve import InferInput, InferRequest, InferenceGRPCClient, InferenceRESTClient, RESTConfig
def request(id, raw, rest):
    inputs = []
    for name, datatype in told["datatypes"].items():
        values = array(name, datatype)
        inputs.append(InferInput(name, list(values.shape), datatype))
        if raw: inputs[-1].set_data_from_numpy(values, binary_data=True)
        else: inputs[-1].data = [v.decode() if rest and isinstance(v, bytes) else None if v != v else v for v in values.tolist()] if rest else values.tolist()
    return InferRequest(model, inputs, request_id=id)
def seen(found):
    out = {o.name: o.as_numpy() for o in found.outputs}
    return {"score": out["score"].tolist(), "label": text(out["label"].ravel()), "probabilities": out["probabilities"].tolist(), "version": found.model_version, "id": found.id}
async def ask():
    rest, calls = InferenceRESTClient(RESTConfig(protocol="v2")), InferenceGRPCClient(address)
    assert await rest.is_server_live(url) and await rest.is_server_ready(url) and await rest.is_model_ready(url, model)
    assert await calls.is_server_live() and await calls.is_server_ready() and await calls.is_model_ready(model)
    said = {f"rest {raw}": seen(await rest.infer(url, request(f"rest {raw}", raw, True), model_name=model)) for raw in (False, True)}
    said |= {f"grpc {raw}": seen(await calls.infer(request(f"grpc {raw}", raw, False))) for raw in (False, True)}
    json.dump(said, sys.stdout)
    await rest.close()
    await calls.close()
asyncio.run(ask())
"""


def datatypes(server, model="late-parcels"):
    with Client(server.url) as client: return {i["name"]: i["datatype"] for i in client.metadata(model)["inputs"]}


def peer(script, server, frame, id=""):
    told = {"id": id, "url": server.url, "grpc": server.grpc, "model": "late-parcels", "columns": frame.to_dict(as_series=False), "datatypes": datatypes(server)}
    done = subprocess.run([PEERS, "-c", COMMON + script], input=json.dumps(told), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@needs_peers
@pytest.mark.parametrize("kind", TRITONS)
def test_tritonclient(server, held_out, truth, kind):
    known = np.flatnonzero(held_out["kilos"].is_not_null()) if kind == "http json" else np.arange(200)  # as JSON it writes NaN, which is none
    said = peer(TRITONS[kind], server, held_out[known.tolist()], f"triton {kind}")
    agrees(said, {"probabilities": truth["probabilities"][known], "label": [truth["label"][i] for i in known]})
    assert said["version"] == "1" and said["id"] == f"triton {kind}" and "depot" in said["refused"]


@needs_peers
def test_kserve(server, held_out, truth):
    said = peer(KSERVE, server, held_out)
    assert sorted(said) == ["grpc False", "grpc True", "rest False", "rest True"]
    for way, one in said.items():
        agrees(one, truth)
        assert one["version"] == ("1" if way.startswith("grpc") else None) and one["id"] == way  # its REST client does not read the version


# --- MLflow's documented curl lines --------------------------------------------------------------------------------------

ROW = {"depot": "Ulm", "kilos": 4.5, "day": 3, "fragile": False}
CURL = {
    "dataframe_split": ["-H", "Content-Type: application/json", "-d", json.dumps({"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values())]}})],
    "dataframe_split with index": ["-H", "Content-Type: application/json", "-d", json.dumps({"dataframe_split": {"index": [0], "columns": list(ROW), "data": [list(ROW.values())]}})],
    "dataframe_records": ["-H", "Content-Type: application/json", "-d", json.dumps({"dataframe_records": [ROW]})],
    "instances": ["-H", "Content-Type: application/json", "-d", json.dumps({"instances": [ROW]})],
    "inputs": ["-H", "Content-Type: application/json", "-d", json.dumps({"inputs": {k: [v] for k, v in ROW.items()}})],
    "charset": ["-H", "Content-Type: application/json; charset=utf-8", "-d", json.dumps({"dataframe_records": [ROW]})],
    "csv": ["-H", "Content-Type: text/csv", "--data-binary", "depot,kilos,day,fragile\nUlm,4.5,3,false\n"],
}


@pytest.mark.parametrize("form", CURL)
def test_mlflows_curl(server, book, form):
    done = subprocess.run(["curl", "-s", "-w", "\n%{http_code} %{content_type}", f"{server.url}/invocations", *CURL[form]], capture_output=True, text=True, check=True, timeout=30)
    body, status = done.stdout.rsplit("\n", 1)
    expected = book.predictor(1).predict([ROW])
    assert status == "200 application/json", body
    assert json.loads(body)["predictions"] == [{"score": expected.score[0], "label": expected.label[0]}]


def test_mlflows_addresses(server):
    found = [subprocess.run(["curl", "-s", "-o", "-", "-w", "%{http_code}", f"{server.url}/{a}"], capture_output=True, text=True, check=True, timeout=30).stdout for a in ("ping", "health", "version")]
    assert found[0].strip() == found[1].strip() == "200" and found[2].endswith("200") and len(found[2]) > 3


# --- every way gives the same numbers ------------------------------------------------------------------------------------

def over_grpc(server, frame, raw):
    M, inputs, raws = messages(), [], []
    for name, datatype in datatypes(server).items():
        values = frame[name].to_list()
        if datatype == "BYTES": values = [v.encode() for v in values]
        if datatype == "FP64": values = [float("nan") if v is None else v for v in values]
        inputs.append({"name": name, "datatype": datatype, "shape": [len(values)], **({} if raw else {"contents": {CONTENTS[datatype]: values}})})
        if raw: raws.append(b"".join(len(v).to_bytes(4, "little") + v for v in values) if datatype == "BYTES" else np.array(values, {"FP64": "<f8", "INT64": "<i8", "BOOL": "?"}[datatype]).tobytes())
    with grpc.insecure_channel(server.grpc) as channel:
        said = channel.unary_unary(f"/{SERVICE}/ModelInfer", M.ModelInferRequest.SerializeToString, M.ModelInferResponse.FromString)(M.ModelInferRequest(model_name="late-parcels", inputs=inputs, raw_input_contents=raws), timeout=20)
    if raw: return np.frombuffer(said.raw_output_contents[[o.name for o in said.outputs].index("score")])
    return np.array(next(o for o in said.outputs if o.name == "score").contents.fp64_contents)


def test_every_way_gives_the_same_numbers(server, book, held_out, truth):
    rows = json.loads(held_out.write_json())
    own = book.predictor(1).predict(held_out).score
    with Client(server.url) as client:
        ways = {"rows": client.predict(rows).scores, "columns": client.predict(held_out).scores, "one by one": np.array([client.predict([row]).scores[0] for row in rows]),
                "parts": Client(server.url, chunk=30).predict(held_out).scores, "grpc": over_grpc(server, held_out, False), "grpc raw": over_grpc(server, held_out, True)}
        said = client.predict(held_out, probabilities=True)
    for way, score in ways.items(): assert score.tolist() == own.tolist(), way
    agrees({"score": said.scores, "label": said.labels, "probabilities": np.column_stack(list(said.probabilities.values()))}, truth)


# --- the typed client with the whole server ------------------------------------------------------------------------------

def test_a_retry_is_in_the_log_once(server, book, held_out):
    with Client(server.url) as client:
        for _ in range(3): client.predict(held_out[:2], id="again")
        with pytest.raises(ClientError) as found: client.predict(held_out[2:4], id="again")
        assert found.value.status == 409 and found.value.type == "id-reused"
        parts = Client(server.url, chunk=2).predict(held_out[:5], id="parts")
        assert client.feedback(["true", "false", None, "true", "false"], parts) == 4
    seen = log.read(book.root / "predictions", labels=True)
    assert seen.filter(pl.col("request_id") == "again").select("row").sort("row").to_series().to_list() == [0, 1]
    mine = seen.filter(pl.col("request_id").str.starts_with("parts-")).sort("request_id", "row")
    assert mine.select("request_id", "row").rows() == parts.keys and mine["label"].len() == 5


def test_errors_name_column_and_row(server, held_out):
    rows = json.loads(held_out.write_json())[:50]
    rows[41]["day"] = "Tuesday"
    with Client(server.url, chunk=20) as client, pytest.raises(ClientError) as found: client.predict(rows)
    assert (found.value.status, found.value.column, found.value.row) == (422, "day", 41)


def test_awaited(server, held_out, truth):
    import asyncio
    async def main():
        async with AsyncClient(server.url) as client:
            return await asyncio.gather(client.ready(), client.metadata("late-parcels"), *(client.predict(held_out[i:i + 10]) for i in range(0, 200, 10)))
    ready, about, *said = asyncio.run(main())
    assert ready and about["versions"] == ["1"]
    agrees({"score": np.concatenate([s.scores for s in said]), "label": np.concatenate([s.labels for s in said])}, truth)


@needs_peers
def test_schemathesis_finds_every_answer_as_the_document_says(server, tmp_path):
    "Requests made from the OpenAPI document, good ones and hostile ones: no 5xx, no status, type or body that the document does not have."
    said = subprocess.run([PEERS.parent / "schemathesis", "run", f"{server.url}/openapi.json", "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
                           "--max-examples", "20", "--seed", "1", "--no-color", "--exclude-path-regex", "admin"], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert said.returncode == 0 and "Tested: 17" in said.stdout, said.stdout[-3000:]
