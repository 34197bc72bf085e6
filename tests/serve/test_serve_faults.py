"""What a server must survive: its ledger moves, goes away or names a damaged package; it is killed; clients are slow, hostile or gone."""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import httpx
import polars as pl
import psutil
import pytest
from serving_book import ServingBook, serving_book

from model_ops.predictions import log
from model_ops.serve import process

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return serving_book(tmp_path_factory.mktemp("faults") / "made")


@pytest.fixture
def book(made, tmp_path):
    shutil.copytree(made.root, tmp_path / "book", symlinks=True)
    return ServingBook(tmp_path / "book", made.digests)


class Load:
    "Clients in threads that ask until they are stopped; everything that came back is kept."
    def __init__(self, url, rows, clients=4, patient=False):
        self.url, self.rows, self.patient = url, rows, patient
        self.said, self.failed, self.stop = [], [], threading.Event()
        self.threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(clients)]

    def _ask(self, number):
        turn = 0
        with httpx.Client(timeout=20) as client:
            while not self.stop.is_set():
                turn += 1
                id = f"{os.getpid()}-{id_of(self)}-{number}-{turn}"
                try: answer = client.post(f"{self.url}/invocations", json={"dataframe_records": self.rows}, headers={"x-request-id": id})
                except httpx.HTTPError as e:
                    self.failed.append((id, repr(e)))
                    if not self.patient: return
                    time.sleep(0.05)
                    continue
                (self.said if answer.status_code == 200 else self.failed).append((id, answer.json() if answer.status_code == 200 else answer.text))

    def __enter__(self):
        for t in self.threads: t.start()
        return self

    def __exit__(self, *why):
        self.stop.set()
        for t in self.threads: t.join()


def id_of(load): return f"{id(load) % 100_000}"


def scores(book, version, rows): return [round(s, 9) for s in book.predictor(version).predict(rows).score.tolist()]


def status(running): return httpx.get(f"{running.url}/admin/status", headers={"authorization": "Bearer root"}).json()


def wait_for(what, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what(): return found
        time.sleep(0.05)
    raise AssertionError("it did not happen")


@pytest.fixture
def admin(monkeypatch): monkeypatch.setenv("MODEL_OPS_SERVE_ADMIN_TOKEN", "root")


def test_the_ledger_moves_fifty_times_under_load(book, admin):
    rows = book.rows(5)
    expected = {str(v): scores(book, v, rows) for v in (1, 2, 3)}
    with process.start(book.settings, workers=2, follow_s=0.1, grpc_port=0) as running, Load(running.url, rows) as load:
        for move in range(50):
            book.promote((move + 1) % 3 + 1)
            time.sleep(0.12)
        wait_for(lambda: load.said and load.said[-1][1]["model"]["version"] == "3")  # (49 + 1) % 3 + 1
    assert load.failed == []
    seen = {said["model"]["version"] for _, said in load.said}
    assert seen == {"1", "2", "3"} and len(load.said) > 200
    for _, said in load.said: assert [round(p["score"], 9) for p in said["predictions"]] == expected[said["model"]["version"]], "an answer is wholly from one version"


def test_it_serves_on_without_ledger_and_store_and_says_so(book, admin):
    rows = book.rows(2)
    with process.start(book.settings, follow_s=0.1, grpc_port=0) as running:
        ledger = book.root / "ledger.db"
        for file in book.root.glob("ledger.db*"): file.rename(file.with_name(f"gone-{file.name}"))
        book.store.folder.rename(book.root / "gone-store")
        ledger.write_bytes(b"not a database at all")
        wait_for(lambda: status(running)["trouble"])
        answer = httpx.post(f"{running.url}/invocations", json={"dataframe_records": rows})
        assert answer.status_code == 200 and answer.headers["x-model-version"] == "1"
        assert "ledger" in status(running)["trouble"]
        wait_for(lambda: "\nmodel_ops_ledger_reachable 0.0" in httpx.get(f"{running.url}/metrics").text)
        assert httpx.get(f"{running.url}/v2/health/ready").status_code == 200
        for file in book.root.glob("gone-ledger.db*"): file.rename(file.with_name(file.name.removeprefix("gone-")))
        (book.root / "gone-store").rename(book.store.folder)
        wait_for(lambda: not status(running)["trouble"])


def test_a_damaged_package_is_refused_and_the_old_one_serves_on(book, admin):
    rows = book.rows(2)
    with process.start(book.settings, follow_s=0.1, grpc_port=0) as running:
        model = book.store.path(book.digests[1]) / "model.onnx"
        sound = model.read_bytes()
        model.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
        book.promote(2)
        trouble = wait_for(lambda: status(running)["trouble"])
        assert "model.onnx" in trouble
        answer = httpx.post(f"{running.url}/invocations", json={"dataframe_records": rows})
        assert answer.headers["x-model-version"] == "1"
        model.write_bytes(sound)
        wait_for(lambda: status(running)["in_charge"]["version"] == "2")
        assert status(running)["trouble"] == ""


def test_killed_under_load_nothing_acknowledged_is_lost_and_nothing_doubled(book):
    rows, answered, tries = book.rows(2), [], 20
    dice = random.Random(7)
    for _ in range(tries):
        with process.start(book.settings, workers=2, grpc_port=0, settle_s=0.3) as running:
            with Load(running.url, rows, patient=True) as load:
                time.sleep(dice.uniform(0.1, 0.8))
                for pid in family(running.pid): kill(pid)
            answered += [id for id, _ in load.said]
    settled = log.read(book.root / "predictions")
    found = pl.DataFrame(settled if isinstance(settled, pl.DataFrame) else settled.collect())
    pairs = found.select("request_id", "row")
    assert pairs.n_unique() == pairs.height, "nothing is doubled"
    there = set(pairs.rows())
    assert len(answered) > 20 * tries and not [id for id in answered if (id, 0) not in there or (id, 1) not in there], "nothing is lost"


def family(pid):
    "The supervisor first, so that it restarts nobody."
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def kill(pid):
    try: os.kill(pid, signal.SIGKILL)
    except ProcessLookupError: pass


def test_a_graceful_stop_answers_what_it_accepted(book):
    rows = book.rows(50)
    with process.start(book.settings, workers=2, grpc_port=0) as running:
        with Load(running.url, rows, clients=8) as load:
            time.sleep(1)
            asked = len(load.said)
            running.stop()
    assert asked > 50
    assert not [why for _, why in load.failed if "ConnectError" not in why and "ReadError" not in why and "RemoteProtocolError" not in why and "503" not in why]
    ids = {id for id, _ in load.said}
    assert ids <= set(pl.DataFrame(log.read(book.root / "predictions"))["request_id"])
    assert not list((book.root / "predictions" / "journal").glob("*.tmp"))


def test_slow_and_half_open_clients_do_not_hold_up_others(book):
    rows = book.rows(1)
    with process.start(book.settings, grpc_port=0, timeout_s=1) as running:
        host, port = running.url.removeprefix("http://").split(":")
        idle = [socket.create_connection((host, int(port))) for _ in range(200)]
        for i, client in enumerate(idle):
            if i % 2: client.sendall(b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
        for _ in range(50): assert httpx.post(f"{running.url}/invocations", json={"dataframe_records": rows}).status_code == 200
        for client in idle:
            client.settimeout(10)
            said = b""
            while part := client.recv(65536): said += part
            assert b" 408 " in said.split(b"\r\n")[0]
            client.close()


def hostile(dice, good):
    "A body that is broken in one of many ways, its content type, and sometimes a header that lies."
    text = bytearray(json.dumps(good).encode())
    for _ in range(dice.randint(0, 6)):
        at, what = dice.randrange(len(text)), dice.random()
        if what < 0.4: text[at] = dice.randrange(256)
        elif what < 0.6: del text[at:at + dice.randint(1, 20)]
        elif what < 0.8: text[at:at] = dice.choice([b"null", b"[[[[", b'"\\ud800"', b"1e999", b"NaN", b'{"":{}}', b"-0", b"9" * 400, b"true", bytes(dice.randrange(256) for _ in range(8))])
        else: text += text[:at]
    return bytes(text), dice.choice(["application/json", "application/json", "application/json; charset=utf-8", "text/csv", "text/plain", "", "application/octet-stream"])


def test_ten_thousand_hostile_bodies_get_no_5xx_and_no_hang(book):
    dice, tries, counts = random.Random(11), 10_000, {}
    rows = book.rows(2)
    columns = {name: [r[name] for r in rows] for name in rows[0]}
    v2 = {"inputs": [{"name": "depot", "shape": [2], "datatype": "BYTES", "data": ["Ulm", "Bonn"]}, {"name": "kilos", "shape": [2], "datatype": "FP64", "data": [1.5, 2.5]},
                     {"name": "day", "shape": [2], "datatype": "INT64", "data": [1, 2]}, {"name": "fragile", "shape": [2], "datatype": "BOOL", "data": [True, False]}]}
    good = [("/invocations", {"dataframe_records": rows}), ("/invocations", {"dataframe_split": {"columns": list(rows[0]), "data": [list(r.values()) for r in rows]}}), ("/invocations", {"inputs": columns}),
            ("/invocations", {"instances": rows}), ("/v2/models/late-parcels/infer", v2), ("/feedback", {"labels": [{"request_id": "a", "label": "true"}]})]
    with process.start(book.settings, grpc_port=0) as running, httpx.Client(base_url=running.url, timeout=10) as client:
        for path, body in good: assert client.post(path, json=body).status_code == 200, path
        for _ in range(tries):
            path, body = dice.choice(good)
            content, kind = hostile(dice, body)
            headers = {"content-type": kind} | ({"inference-header-content-length": str(dice.randint(-5, 400))} if path.startswith("/v2") and dice.random() < 0.3 else {})
            answer = client.post(path, content=content, headers=headers)
            counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
            assert answer.status_code < 500, (path, headers, content)
            if answer.status_code >= 400: assert answer.headers["content-type"] == "application/problem+json" and answer.json()["detail"]
        assert client.post("/invocations", json=good[0][1]).status_code == 200
    assert counts.get(200, 0) > 100 and counts.get(400, 0) > 100 and counts.get(422, 0) > 100


@pytest.fixture
def small_disk(tmp_path):
    "A folder on a file system of three megabytes."
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], capture_output=True).returncode: pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder):
    with open(folder / "filler", "wb", buffering=0) as file:
        try:
            while True: file.write(b"x" * 4096)
        except OSError: pass


def ask(running, rows): return httpx.post(f"{running.url}/invocations", json={"dataframe_records": rows})


def test_a_full_disk_refuses_until_there_is_room(book, small_disk):
    rows = book.rows(20)
    with process.start(book.settings, folder=small_disk / "log", grpc_port=0, settle_s=3600) as running:
        assert ask(running, rows).status_code == 200
        fill(small_disk)
        refused = wait_for(lambda: (said := ask(running, rows)).status_code != 200 and said)
        assert refused.status_code == 503 and refused.json()["type"] == "urn:model-ops:log-unwritable" and int(refused.headers["retry-after"]) > 0
        wait_for(lambda: httpx.get(f"{running.url}/v2/health/ready").status_code == 503)
        (small_disk / "filler").unlink()
        wait_for(lambda: httpx.get(f"{running.url}/v2/health/ready").status_code == 200)
        answered = ask(running, rows)
        assert answered.status_code == 200
        assert answered.json()["request_id"] in set(pl.DataFrame(log.read(small_disk / "log"))["request_id"])
        assert refused.json()["request_id"] not in set(pl.DataFrame(log.read(small_disk / "log"))["request_id"])


def test_a_full_disk_may_be_told_to_serve_unlogged_and_raises_the_alarm(book, small_disk):
    rows = book.rows(20)
    with process.start(book.settings, folder=small_disk / "log", grpc_port=0, settle_s=3600, on_full="serve") as running:
        fill(small_disk)
        for _ in range(300): assert ask(running, rows).status_code == 200
        unlogged = lambda: float(next(line for line in httpx.get(f"{running.url}/metrics").text.splitlines() if line.startswith("model_ops_unlogged_total")).split()[1])
        wait_for(lambda: unlogged() > 0)
        assert httpx.get(f"{running.url}/v2/health/ready").status_code == 200
