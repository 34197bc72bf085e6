"""What reviewers found: labels that must be kept, clocks at the end of time, connections that say nothing, requests that are given up."""
import asyncio
import json
import socket
import threading
import time
from types import SimpleNamespace

import numpy as np
import orjson
import pytest
import uvicorn

from model_ops.predictions.journal import Journal, JournalError
from model_ops.predictions.rows import moment
from model_ops.serve import docker, feedback
from model_ops.serve.app import read_body
from model_ops.serve.ask import Ask
from model_ops.serve.batcher import LARGE, Batcher
from model_ops.serve.charge import Charge
from model_ops.serve.connection import limited
from model_ops.serve.problem import Problem


@pytest.mark.parametrize("told", [{"durability": "off"}, {"on_full": "serve"}], ids=["off", "serve"])
def test_a_label_is_never_acknowledged_without_being_kept(tmp_path, told):
    class Full:
        def __getattr__(self, name): raise OSError(28, "No space left on device")
    journal, said = Journal(tmp_path, "w0", disk=Full(), **told), []
    for must in (False, True):
        heard = threading.Event()
        journal.append([b"{}"], lambda error: (said.append(error), heard.set()), must=must)  # noqa: B023
        assert heard.wait(10)
    journal.close()
    assert said[0] is None and isinstance(said[1], JournalError) and journal.unlogged == (told.get("on_full") == "serve")


def test_a_disk_that_takes_no_block_stays_in_trouble(tmp_path):
    from model_ops.predictions.disk import Disk
    class Filling(Disk):
        full = False
        def write(self, handle, content):
            if self.full and len(content): raise OSError(28, "No space left on device")
            super().write(handle, content)
    disk, heard = Filling(), []
    journal = Journal(tmp_path, "w0", disk=disk)
    def ask(records):
        done = threading.Event()
        journal.append(records, lambda error: (heard.append(error), done.set()))
        assert done.wait(10)
        return heard[-1]
    assert ask([b"{}"]) is None
    disk.full = True
    assert ask([b"{}"]) and ask([]) and journal.trouble, "an empty probe does not make a full disk well"
    disk.full = False
    assert ask([]) is None and not journal.trouble and ask([b"{}"]) is None
    journal.close()


@pytest.mark.parametrize("when, zone", [("9999-12-31T23:59:59-05:00", ""), ("9999-12-31T23:59:59", "America/New_York"), ("0001-01-01T00:00:00", "Asia/Tokyo")])
def test_a_moment_beyond_the_calendar_is_none(when, zone): assert moment(when, zone) is None


def test_such_a_label_is_refused_at_the_door():
    with pytest.raises(Problem, match="time"): feedback.decode(orjson.dumps([{"request_id": "a", "label": 1, "time": "9999-12-31T23:59:59-05:00"}]), 10)


@pytest.mark.parametrize("value, text", [(1_000_000, "1000000"), (10.0, "10"), (1234567.8, "1234567.8"), (True, "yes"), ("sync", "sync"), ("10", "10")])
def test_numbers_are_written_as_they_are_read(value, text): assert docker._text(value) == text


def test_a_name_that_begins_with_a_digit(): assert docker.label("7 days") == "model-7-days"


class Slow:
    "A model that takes its time, and counts."
    name, version, digest, contract_digest, threshold, classes, calls = "slow", "1", "d", "c", None, (), 0
    def take(self, ask): return SimpleNamespace(X=np.zeros((ask.rows, 1), dtype=np.float32), warned=(), inputs=b"[]", n=ask.rows)
    def predict(self, X):
        self.calls += 1
        time.sleep(0.3)
        return {"score": X[:, 0]}


@pytest.mark.slow
def test_large_requests_that_were_given_up_cost_nothing_more():
    model, told = Slow(), []
    journal = SimpleNamespace(append=lambda records, done: done(None))
    async def main():
        batcher = Batcher(lambda: model, journal, timeout_s=0.5, watcher=SimpleNamespace(answered=lambda items, *_: told.extend(items)))
        said = await asyncio.gather(*(batcher.submit(Ask([{}] * (LARGE + 1), LARGE + 1, "v2")) for _ in range(12)), return_exceptions=True)
        await asyncio.sleep(0.5)
        await batcher.close()
        return said
    said = asyncio.run(main())
    late = [s for s in said if isinstance(s, Problem)]
    assert late and all(p.type == "timed-out" for p in late)
    assert model.calls < 6 and len(told) == 12 - len(late), "what was refused is not counted as answered"


def test_the_same_rows_are_the_same_request_whichever_version_reads_them():
    claimed = []
    ids = SimpleNamespace(claim=lambda pairs: claimed.extend(pairs) or [True] * len(pairs))
    class Quick(Slow):
        def __init__(self, logged): self.logged = logged
        def take(self, ask): return SimpleNamespace(X=np.zeros((1, 1), dtype=np.float32), warned=(), inputs=self.logged, n=1)
        def predict(self, X): return {"score": X[:, 0]}
    async def main():
        for logged, row in ((b'[{"a":1}]', {"a": 1, "b": 2}), (b'[{"a":1,"b":2}]', {"b": 2, "a": 1}), (b'[{"a":1}]', {"a": 1, "b": 3})):
            model = Quick(logged)
            await Batcher(lambda: model, SimpleNamespace(append=lambda records, done: done(None)), ids).submit(Ask([row], 1, "v2", id="mine"))  # noqa: B023
    asyncio.run(main())
    assert claimed[0] == claimed[1] != claimed[2]


def test_a_successor_that_cannot_be_prepared_is_tried_again():
    class Follower:
        trouble, tries = "", 0
        def look(self):
            self.tries, self.trouble = self.tries + 1, ""
            return SimpleNamespace(version="2", digest="d")
        def give_back(self, before, why): self.trouble = why
    def prepare(served):
        if follower.tries < 2: raise ValueError("a torn file")
    follower, moved, complaints = Follower(), [], []
    async def main():
        charge = Charge(follower, prepare, lambda served, live: moved.append(served.version), complain=complaints.append)
        return [await charge.look(), charge.trouble, await charge.look(), charge.trouble]
    first, trouble, second, over = asyncio.run(main())
    assert (first, second, over) == (False, True, "") and "torn file" in trouble and moved == ["2"]


@pytest.fixture(scope="module")
def slow_server():
    "A real connection in front of an application that reads its body."
    async def app(scope, receive, send):
        try: body = await read_body(receive, dict(scope["headers"]), 1000, 0.5)
        except Problem as p: status, body = p.status, b""
        else: status = 200
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http=limited(0.5), ws="none", lifespan="off", log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started: time.sleep(0.01)
    yield listening.getsockname()
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx", b"POST / HTTP/1.1\r\nHost: a\r\n"],
                         ids=["nothing", "an empty line", "no body", "a byte of a body", "half a head"])
@pytest.mark.slow
def test_whoever_stops_in_the_middle_is_let_go(slow_server, sent):
    with socket.create_connection(slow_server, timeout=8) as client:
        client.sendall(sent)
        said = b""
        while part := client.recv(65536): said += part
    assert said.startswith(b"HTTP/1.1 408")


def test_trailers_without_end_are_cut_off(slow_server):
    with socket.create_connection(slow_server, timeout=8) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
        with pytest.raises(OSError):
            for _ in range(10_000):
                client.sendall(b"X-A: b\r\n" * 50)
                time.sleep(0.001)


@pytest.mark.slow
def test_one_connection_is_used_again_and_again(slow_server):
    with socket.create_connection(slow_server, timeout=8) as client:
        for k in range(3):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab%d" % k)
            said = client.recv(65536)
            while not said.endswith(b"ab%d" % k): said += client.recv(65536)
            time.sleep(0.8)  # longer than its patience: between requests it may wait
    assert json.dumps(said.decode()).endswith('ab2"')
