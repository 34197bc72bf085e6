"""A worker, from its order to its end: what it loads, when it is ready, and that what was accepted is answered. Real processes."""
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time

import httpx
import pytest
from serving_book import ServingBook, serving_book

from model_ops.errors import PreflightError
from model_ops.serve import process
from model_ops.serve.supervisor import running

pytestmark = pytest.mark.slow
NEVER = ("mlflow", "pandas", "sklearn", "skops", "papermill", "dvc", "deltalake", "ipywidgets", "jinja2")


@pytest.fixture(scope="module")
def made(tmp_path_factory): return serving_book(tmp_path_factory.mktemp("worker") / "made", versions=2)


@pytest.fixture
def book(made, tmp_path):
    shutil.copytree(made.root, tmp_path / "book", symlinks=True)
    return ServingBook(tmp_path / "book", made.digests)


def ask(running, book, **told): return httpx.post(f"{running.url}/invocations", json={"dataframe_records": book.rows(2)}, **told)


def workers(book): return running(book.root / "predictions")["processes"]


def test_what_a_worker_never_imports(book):
    code = """
import asyncio, json, os, socket, sys, uvloop
from model_ops.serve import grpc, worker
from model_ops.serve.config import Serving
from model_ops.settings import Settings
settings = Settings.load(sys.argv[1])
async def live():
    stop, bound = asyncio.Event(), socket.create_server(("127.0.0.1", 0))
    one = worker.Worker(settings, Serving.of(settings, port=0, grpc_port=0), "w0", lambda state: (print(json.dumps(state)), stop.set()))
    await worker.run(one, bound, stop)
with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner: runner.run(live())
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""
    said = subprocess.run([sys.executable, "-c", code, str(book.root)], capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    assert json.loads(said[0])["digest"] == book.digests[0] and not json.loads(said[0])["waiting"]
    assert not set(NEVER) & set(json.loads(said[-1])) and {"onnxruntime", "uvicorn"} <= set(json.loads(said[-1]))


def test_alive_before_it_is_ready_and_ready_when_somebody_is_promoted(tmp_path, made):
    shutil.copytree(made.root, tmp_path / "book", symlinks=True)
    for file in (tmp_path / "book").glob("ledger.db*"): file.unlink()
    book = ServingBook(tmp_path / "book", made.digests)
    with pytest.raises(PreflightError, match="not ready"): process.start(book.settings, grpc_port=0)
    with process.start(book.settings, ready=False, grpc_port=0, follow_s=0.1) as server:
        assert server.wait("waiting")["why"] and server.in_charge is None
        assert httpx.get(f"{server.url}/v2/health/live").status_code == 200 and httpx.get(f"{server.url}/ping").status_code == 503 and ask(server, book).status_code == 503
        for digest in book.digests: book.ledger.register(digest, f"store/{digest}")
        book.promote(1)
        assert server.wait("ready")["digest"] == book.digests[0]
        assert httpx.get(f"{server.url}/ping").status_code == 200 and ask(server, book).status_code == 200


def test_stopped_under_load_it_answers_what_it_has_accepted_and_the_log_has_all_of_it(book):
    answered, started, body = [], threading.Barrier(9), json.dumps({"dataframe_records": book.rows(2)})
    def client():
        with httpx.Client() as one:
            started.wait()
            while True:
                try: reply = one.post(f"{server.url}/invocations", content=body, headers={"content-type": "application/json"})
                except httpx.TransportError as e: return lost.append(e)
                if reply.status_code != 200: return refused.append(reply.status_code)
                answered.append(reply.json()["request_id"])
    lost, refused = [], []
    with process.start(book.settings, grpc_port=0, workers=2) as server:
        threads = [threading.Thread(target=client) for _ in range(8)]
        for t in threads: t.start()
        started.wait()
        time.sleep(1)
        assert server.stop() == 0
        for t in threads: t.join()
    import polars as pl
    from model_ops.predictions import log
    kept = log.read(book.root / "predictions")
    kept = kept.collect() if isinstance(kept, pl.LazyFrame) else kept
    assert len(answered) > 50 and set(answered) <= set(kept["request_id"].to_list()) and kept.height == 2 * kept["request_id"].n_unique()
    assert not [e for e in lost if isinstance(e, httpx.ReadTimeout)] and set(refused) <= {503}


def test_a_killed_worker_is_replaced_and_the_others_answer(book):
    with process.start(book.settings, grpc_port=0, workers=2) as server:
        victim = workers(book)["w0"]["pid"]
        os.kill(victim, signal.SIGKILL)
        assert [ask(server, book).status_code for _ in range(10)] == [200] * 10
        died = server.wait("died")
        assert (died["name"], died["code"]) == ("w0", -9)
        until = time.monotonic() + 20
        while (now := workers(book)["w0"]).get("digest") is None or now["pid"] == victim:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert [ask(server, book).status_code for _ in range(10)] == [200] * 10
        metrics = httpx.get(f"{server.url}/metrics").text
        assert 'model_ops_requests_total{outcome="answered",protocol="invocations"} 20.0' in metrics, [line for line in metrics.splitlines() if "requests_total" in line]


def test_the_kernels_death_ends_the_server(book):
    code = "import sys; from model_ops.serve import process; from model_ops.settings import Settings; s = process.start(Settings.load(sys.argv[1]), grpc_port=0); print(s.pid, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, str(book.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as kernel:
        pids = [int(kernel.stdout.readline()), *(p["pid"] for p in workers(book).values() if p["pid"])]
        kernel.kill()
    until = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{pid}/cmdline") and open(f"/proc/{pid}/cmdline").read() for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert running(book.root / "predictions") is None


def test_tls_and_tokens_beyond_this_machine(book, tmp_path, monkeypatch):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", key, "-out", cert, "-days", "2"], check=True, capture_output=True)
    with process.start(book.settings, host="0.0.0.0", token="t" * 20, cert=str(cert), key=str(key), grpc_port=0) as server:
        assert server.url.startswith("https://127.0.0.1:") and "t" * 20 not in str(server.__html__()) + repr(server)
        trust = ssl.create_default_context(cafile=str(cert))
        with httpx.Client(verify=trust) as one:
            body = {"dataframe_records": book.rows(1)}
            assert one.get(f"{server.url}/ping").status_code == 200 and one.post(f"{server.url}/invocations", json=body).status_code == 401
            assert one.post(f"{server.url}/invocations", json=body, headers={"authorization": "Bearer " + "t" * 20}).status_code == 200
        for pid in (server.pid, workers(book)["w0"]["pid"]):
            assert "t" * 20 not in open(f"/proc/{pid}/cmdline").read() + open(f"/proc/{pid}/environ").read()


def test_a_log_that_cannot_be_written_is_told_and_got_over(book):
    with process.start(book.settings, grpc_port=0) as server:
        journal, away = book.root / "predictions/journal", book.root / "away"
        assert ask(server, book).status_code == 200
        journal.rename(away)
        journal.write_text("in the way")
        os.kill(workers(book)["w0"]["pid"], signal.SIGKILL)  # the one that comes after must open a new segment
        assert "log" in server.wait("trouble", timeout=60)["why"]
        refused = ask(server, book, timeout=20)
        assert refused.status_code == 503 and refused.json()["type"] == "urn:model-ops:log-unwritable" and httpx.get(f"{server.url}/ping").status_code == 503
        journal.unlink()
        away.rename(journal)
        assert server.wait("trouble", timeout=60)["why"] == "" and ask(server, book).status_code == 200
