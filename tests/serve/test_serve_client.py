"""The typed client, against a real socket that answers as it is told."""
import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
import numpy as np
import pandas as pd
import polars as pl
import pytest
from model_ops.errors import DataError, SettingsError
from model_ops.serve.client import AsyncClient, Client, ClientError, _pause

ROWS = [{"x": i, "who": "a"} for i in range(5)]


def answer(seen):
    "What a server says: the score is x."
    body = seen.body
    if body is None: return 200, {}, {}
    xs = [r["x"] for r in body["dataframe_records"]] if "dataframe_records" in body else body["inputs"]["x"]
    predictions = [{"score": 0.0 if x is None else x / 10, "label": "yes" if x else "no", **({"probabilities": {"no": 1.0, "yes": 0.0}} if "params" in body else {})} for x in xs]
    return 200, {"predictions": predictions, "model": {"name": "late", "version": "3", "digest": "d"}, "threshold": 0.4, "request_id": seen.id}, {}


class Moods(list):
    "What happens to the next requests, in turn: a status, 'break', 'hang', a function; then answers."


@pytest.fixture
def server():
    made = SimpleNamespace(seen=[], moods=Moods())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_GET(self): self.do_POST()
        def do_POST(self):
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            seen = SimpleNamespace(path=self.path, id=self.headers.get("x-request-id"), token=self.headers.get("authorization"), body=json.loads(raw) if raw else None)
            made.seen.append(seen)
            mood = made.moods.pop(0) if made.moods else answer
            if mood == "break": self.close_connection = True; return
            if mood == "hang": time.sleep(0.6); self.close_connection = True; return
            status, said, headers = mood(seen) if callable(mood) else (mood, {"detail": "Not now."}, {"retry-after": "0"})
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **headers}.items(): self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *_): pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    made.url = f"http://127.0.0.1:{http.server_port}"
    yield made
    http.shutdown()
    http.server_close()
    thread.join()


def asking(kind, url, what, *given, **told):
    "One call of either client."
    more = {name: told.pop(name) for name in ("id", "probabilities") if name in told}
    if kind == "sync":
        with Client(url, **told) as client: return getattr(client, what)(*given, **more)
    async def main():
        async with AsyncClient(url, **told) as client: return await getattr(client, what)(*given, **more)
    return asyncio.run(main())


@pytest.fixture(params=["sync", "async"])
def ask(request, server): return lambda what, *given, **told: asking(request.param, server.url, what, *given, **told)


def test_rows_columns_and_frames_are_the_same(ask, server):
    columns = {"x": [r["x"] for r in ROWS], "who": ["a"] * 5}
    for table in (ROWS, columns, {"x": np.arange(5), "who": columns["who"]}, pl.DataFrame(columns), pd.DataFrame(columns)):
        said = ask("predict", table)
        assert said.scores.tolist() == [0, 0.1, 0.2, 0.3, 0.4] and said.labels.tolist() == ["no", "yes", "yes", "yes", "yes"]
        assert (said.model, said.version, said.threshold, len(said), said.probabilities) == ("late", "3", 0.4, 5, {})
    assert len({s.id for s in server.seen}) == 5 and server.seen[0].body == {"dataframe_records": ROWS} and server.seen[3].body == {"inputs": columns}


def test_probabilities(ask):
    assert {k: v.tolist() for k, v in ask("predict", ROWS[:2], probabilities=True).probabilities.items()} == {"no": [1, 1], "yes": [0, 0]}


def test_dates_and_missing_values(ask, server):
    ask("predict", pl.DataFrame({"x": [1.5, None], "day": [date(2013, 7, 4), None], "at": [datetime(2013, 7, 4, 5, 15), None]}))
    ask("predict", pd.DataFrame({"x": [1.5, float("nan")]}))
    assert server.seen[0].body == {"inputs": {"x": [1.5, None], "day": ["2013-07-04", None], "at": ["2013-07-04T05:15:00", None]}} and server.seen[1].body["inputs"]["x"] == [1.5, None]


@pytest.mark.parametrize("table", [[], {}, {"x": []}, pl.DataFrame({"x": []})], ids=["rows", "nothing", "columns", "frame"])
def test_no_rows(ask, server, table):
    if isinstance(table, dict) and not table: server.moods.append(lambda seen: (200, {"predictions": [], "model": {"name": "late", "version": "3"}, "request_id": seen.id}, {}))
    said = ask("predict", table)
    assert len(said) == 0 and said.scores.tolist() == [] and said.keys == []


# --- tries --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("trouble", [["break"], [503], [429, 503], ["break", 502, 504]], ids=["broken", "503", "429 503", "broken 502 504"])
def test_every_try_has_the_same_id(ask, server, trouble):
    server.moods += trouble
    assert ask("predict", ROWS, id="order-1").request_id == "order-1"
    assert [s.id for s in server.seen] == ["order-1"] * (len(trouble) + 1) and len({json.dumps(s.body) for s in server.seen}) == 1


def test_a_made_id_stays_too(ask, server):
    server.moods += ["break", 503]
    assert ask("predict", ROWS).request_id == server.seen[0].id == server.seen[2].id != ""


def test_too_slow_is_tried_again(ask, server):
    server.moods.append("hang")
    assert len(ask("predict", ROWS, timeout=0.3)) == 5 and len(server.seen) == 2


def test_gives_up(ask, server):
    server.moods += [503] * 9
    with pytest.raises(ClientError, match="Not now") as found: ask("predict", ROWS, retries=2)
    assert found.value.status == 503 and len(server.seen) == 3
    server.moods[:] = ["break"] * 9
    with pytest.raises(ClientError, match="2 tries") as found: ask("predict", ROWS, retries=1, id="x")
    assert (found.value.status, found.value.type, found.value.request_id) == (0, "unreachable", "x")


@pytest.mark.parametrize("status", [400, 401, 409, 413, 422, 500])
def test_a_refusal_is_final(ask, server, status):
    server.moods.append(lambda seen: (status, {"type": "urn:model-ops:some-word", "detail": "Column 'x', row 1.", "column": "x", "rule": "range", "row": 1, "request_id": "r"}, {}))
    with pytest.raises(ClientError, match="Column 'x', row 1") as found: ask("predict", ROWS)
    e = found.value
    assert (e.status, e.type, e.column, e.rule, e.row, e.request_id, len(server.seen)) == (status, "some-word", "x", "range", 1, "r", 1)


@pytest.mark.parametrize("said", [b"<html>", b"", b"[1]", b'"no"', b"{}"], ids=["html", "nothing", "list", "text", "empty"])
def test_an_answer_of_somebody_else(ask, server, said):
    server.moods.append(lambda seen: (404, said, {}))
    with pytest.raises(ClientError, match="404") as found: ask("predict", ROWS)
    assert found.value.row is None and found.value.column == ""


def test_pauses_obey_the_server_and_grow():
    import httpx
    told = lambda text: httpx.Response(503, headers={"retry-after": text})
    assert 5 <= _pause(0, told("5")) <= 5.1 and 30 <= _pause(0, told("86400")) <= 30.1 and 0.1 <= _pause(0, told("Fri, 31 Dec 1999 23:59:59 GMT")) <= 0.2
    assert 0.1 <= _pause(0, None) <= 0.2 and 0.8 <= _pause(3, None) <= 1.6 and len({_pause(3, None) for _ in range(5)}) > 1


# --- parts --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("table", [ROWS, pl.DataFrame(ROWS)], ids=["rows", "frame"])
def test_a_large_table_travels_in_parts(ask, server, table):
    server.moods += [answer, 503]
    said = ask("predict", table, chunk=2, id="big")
    assert said.scores.tolist() == [0, 0.1, 0.2, 0.3, 0.4] and said.keys == [("big-0", 0), ("big-0", 1), ("big-1", 0), ("big-1", 1), ("big-2", 0)]
    assert [s.id for s in server.seen] == ["big-0", "big-1", "big-1", "big-2"] and said.request_id == "big-0"


def test_the_row_of_an_error_is_the_callers(ask, server):
    server.moods += [answer, lambda seen: (422, {"detail": "Bad.", "column": "x", "row": 1}, {})]
    with pytest.raises(ClientError) as found: ask("predict", ROWS, chunk=2, id="big")
    assert found.value.row == 3 and found.value.request_id == "big-1"


def test_two_versions_are_both_named(ask, server):
    def newer(seen): return 200, answer(seen)[1] | {"model": {"name": "late", "version": "4"}}, {}
    server.moods += [answer, newer]
    assert ask("predict", ROWS, chunk=3).version == "3, 4"


# --- labels, readiness, metadata, token ---------------------------------------------------------------------------------

def test_labels(ask, server):
    said = ask("predict", ROWS, chunk=3, id="p")
    server.moods += [lambda seen: (200, {"accepted": 1}, {})] * 3
    assert ask("feedback", ["no", None, "yes", "yes", 1.5], said, chunk=3) == 4
    assert [s.body for s in server.seen[2:]] == [{"labels": [{"request_id": "p-0", "row": 0, "label": "no"}, {"request_id": "p-0", "row": 2, "label": "yes"}, {"request_id": "p-1", "row": 0, "label": "yes"}]},
                                                 {"labels": [{"request_id": "p-1", "row": 1, "label": 1.5}]}]
    assert ask("feedback", [{"key": {"order": 17}, "label": "yes", "time": datetime(2013, 7, 4)}]) == 1 and server.seen[-1].path == "/feedback"
    with pytest.raises(DataError, match="2 labels for 5"): ask("feedback", ["no", "yes"], said)


def test_ready(ask, server):
    assert ask("ready")
    server.moods += [503, "break"]
    assert not ask("ready") and not ask("ready") and [s.path for s in server.seen] == ["/v2/health/ready"] * 3


def test_metadata(ask, server):
    server.moods.append(lambda seen: (200, {"name": "late flights", "versions": ["3"]}, {}))
    assert ask("metadata", "late flights")["versions"] == ["3"] and server.seen[0].path == "/v2/models/late%20flights"


def test_token(server, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "s3cret")
    for kind in (Client, AsyncClient):
        assert "s3cret" not in repr(kind(server.url, token="env:SOME_TOKEN")) + str(vars(kind(server.url, token="s3cret")))
    asking("sync", server.url, "predict", ROWS, token="env:SOME_TOKEN")
    asking("async", server.url, "predict", ROWS, token="s3cret")
    assert [s.token for s in server.seen] == ["Bearer s3cret"] * 2
    monkeypatch.delenv("SOME_TOKEN")
    with pytest.raises(SettingsError, match="SOME_TOKEN"): Client(server.url, token="env:SOME_TOKEN")


@pytest.mark.parametrize("table", [{"x": 5}, {"x": [1, 2], "y": [1]}, {"x": "abc"}, 7, "abc", [{"x": object()}], [{"x": 2**70}]], ids=["scalar", "lengths", "text", "number", "word", "object", "huge"])
def test_a_table_that_cannot_be_sent(ask, server, table):
    with pytest.raises(DataError): ask("predict", table)
    with pytest.raises(DataError): ask("predict", ROWS, chunk=0)
    assert not server.seen


def test_threads_share_a_client(server):
    with Client(server.url) as client, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: client.predict([{"x": i}]).scores[0], range(40)))
    assert found == [i / 10 for i in range(40)] and len({s.id for s in server.seen}) == 40


def test_an_application_in_this_process():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"predictions":[{"score":1.0}],"model":{"name":"m","version":"1"},"request_id":"r"}'})
    import httpx
    assert asking("async", "http://inside", "predict", [{"x": 1}], transport=httpx.ASGITransport(app)).labels is None
