"""The family of processes: alone on its folder, kept alive, ended in order, never left behind. The workers here are scripts of a few lines."""
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from model_ops.errors import PreflightError
from model_ops.serve import supervisor

WORKER = """
    import json, os, signal, socket, sys, time
    order = json.loads(sys.stdin.readline())
    def say(**state): print(json.dumps(state), flush=True)
    def end(*_): open(os.path.join(order["root"], order["name"] + ".ended"), "w").close(); sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    READY = dict(model="demo", version="1", digest="d1")
"""
LIVING = "\nsay(**READY)\nfor line in sys.stdin: pass\nend()"
PROGRAM = """
import json, sys
from model_ops.serve import supervisor
from model_ops.serve.config import Serving
from model_ops.settings import Settings
settings = Settings.load(sys.argv[1])
sys.exit(supervisor.serve(settings, Serving.of(settings, **json.loads(sys.argv[3])), lambda event: print(json.dumps(event), flush=True), (sys.executable, "-c", sys.argv[2]), ()))
"""


class Server:
    "A supervisor with a worker of this code."
    def __init__(self, root, code, **told):
        (root / "settings.ini").write_text("[workbook]\nname = demo\n[serve]\nport = 0\ngrpc_port = 0\ndrain_s = 0.5\n")
        self.root, self.events = root, []
        self.process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(root), textwrap.dedent(WORKER) + textwrap.dedent(code), json.dumps(told)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def until(self, kind):
        for line in self.process.stdout:
            self.events.append(json.loads(line))
            if self.events[-1]["event"] == kind: return self.events[-1]
        raise AssertionError(f"no {kind}: {self.events} {self.process.stderr.read()}")

    def kinds(self): return [e["event"] for e in self.events]

    def rest(self):
        self.events += [json.loads(line) for line in self.process.stdout]
        return self.process.wait(10)

    @property
    def folder(self): return self.root / "predictions"
    def __enter__(self): return self
    def __exit__(self, *_):
        if self.process.poll() is None: self.process.kill()
        self.process.communicate()


def gone(pid, seconds=10):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try: os.kill(pid, 0)
        except ProcessLookupError: return True
        try:
            if "\nState:\tZ" in open(f"/proc/{pid}/status").read(): return True
        except OSError: pass
        time.sleep(0.02)
    return False


def test_it_is_ready_says_so_and_ends_as_it_is_asked(tmp_path):
    with Server(tmp_path, LIVING, workers=2) as server:
        ready = server.until("ready")
        about = supervisor.running(server.folder)
        assert about["pid"] == server.process.pid and about["url"] == ready["url"] and set(about["processes"]) == {"w0", "w1"} and about["processes"]["w1"]["digest"] == "d1"
        with socket.create_connection(("127.0.0.1", int(ready["url"].rsplit(":", 1)[1])), 2): pass
        server.process.terminate()
        assert server.rest() == 0 and server.kinds()[-2:] == ["stopping", "stopped"] and server.kinds().count("ready") == 1
        assert sorted(p.name for p in tmp_path.glob("*.ended")) == ["w0.ended", "w1.ended"] and supervisor.running(server.folder) is None and not (server.folder / "server.json").exists()


def test_who_dies_is_started_again_after_longer_and_longer_pauses(tmp_path):
    with Server(tmp_path, "say(**READY)\nif order['restarts'] < 3: os.kill(os.getpid(), 9)" + LIVING) as server:
        for _ in range(3): server.until("died")
        died = [e for e in server.events if e["event"] == "died"]
        assert [e["again_s"] for e in died] == [0.2, 0.4, 0.8] and {e["code"] for e in died} == {-9} and [e["restarts"] for e in died] == [1, 2, 3]
        while supervisor.running(server.folder)["processes"]["w0"].get("digest") is None: time.sleep(0.02)
        server.process.terminate()
        assert server.rest() == 0


@pytest.mark.parametrize("code, said", [("sys.exit(3)", "it ended with exit code 3."), ("say(failed='No room.'); sys.exit(3)", "No room.")], ids=["silent", "told"])
def test_who_cannot_start_at_all_ends_the_server(tmp_path, code, said):
    with Server(tmp_path, code) as server:
        assert server.rest() == 1 and [(e["name"], e["code"], e["why"]) for e in server.events if e["event"] == "failed"] == [("w0", 3, said)] and server.events[-1] == {**server.events[-1], "event": "stopped", "clean": False}


def test_waiting_moving_and_trouble_are_told_once_for_all_workers(tmp_path):
    code = """
    say(waiting="No model is in charge yet.")
    time.sleep(0.2)
    say(**READY); say(**READY, trouble="The ledger is out of reach."); say(**READY, trouble="")
    time.sleep(0.3 if order["name"] == "w0" else 0.5)
    say(model="demo", version="2", digest="d2")
    for line in sys.stdin: pass
    """
    with Server(tmp_path, code, workers=2) as server:
        server.until("moved")
        told = [(e["event"], e.get("why") or e.get("version") or "") for e in server.events if e["event"] != "listening"]
        assert told.count(("waiting", "No model is in charge yet.")) == 1 and told.index(("ready", "1")) < told.index(("moved", "2")) and [t for t in told if t[0] in ("ready", "moved")] == [("ready", "1"), ("moved", "2")]
        assert ("trouble", "The ledger is out of reach.") in told and ("trouble", "") in told
        server.process.terminate()


def test_who_does_not_end_is_killed_in_the_end(tmp_path):
    with Server(tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN)" + LIVING.replace("for line in sys.stdin: pass", "time.sleep(60)")) as server:
        pid = supervisor.running(server.folder)["processes"]["w0"]["pid"] if server.until("ready") else 0
        server.process.terminate()
        server.until("stopping")
        server.process.send_signal(signal.SIGINT)  # impatient
        assert server.rest() == 0 and gone(pid)


def test_a_killed_supervisor_leaves_nobody_behind_and_its_folder_is_free_again(tmp_path):
    with Server(tmp_path, LIVING, workers=2) as server:
        server.until("ready")
        pids = [p["pid"] for p in supervisor.running(server.folder)["processes"].values()]
        server.process.kill()
        assert all(gone(pid) for pid in pids) and len(list(tmp_path.glob("*.ended"))) == 2
        with supervisor.alone(server.folder, patience=1): pass


def test_one_server_keeps_one_log(tmp_path):
    with Server(tmp_path, LIVING) as first:
        url = first.until("ready")["url"]
        with pytest.raises(PreflightError, match=url), supervisor.alone(first.folder, patience=0): pass
        assert supervisor.running(first.folder)["url"] == url
        first.process.terminate()
        assert first.rest() == 0


def test_a_port_that_somebody_has_is_named(tmp_path):
    with supervisor.listening("127.0.0.1", 0) as taken, pytest.raises(PreflightError, match=str(taken.getsockname()[1])):
        supervisor.listening("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(PreflightError, match="192.0.2.1"): supervisor.listening("192.0.2.1", 0)
    with supervisor.listening("127.0.0.1", 0, reserve=True) as held:
        with pytest.raises(PreflightError): supervisor.listening("127.0.0.1", held.getsockname()[1])


def test_a_file_of_a_dead_server_says_nothing(tmp_path):
    (tmp_path / "server.json").write_text(json.dumps({"pid": 2**22 - 3, "url": "http://127.0.0.1:1"}))
    assert supervisor.running(tmp_path) is None
    (tmp_path / "server.json").write_text("{")
    assert supervisor.running(tmp_path) is None and supervisor.running(tmp_path / "none") is None


def test_the_supervisor_is_small():
    code = "import sys, model_ops.serve.supervisor as s; print([m for m in ('polars', 'numpy', 'onnxruntime', 'uvicorn', 'grpc', 'deltalake', 'sqlalchemy', 'mlflow', 'pandas', 'sklearn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("event, said", [({"event": "died", "name": "w0", "code": -9, "again_s": 0.4}, "w0 ended (SIGKILL); it is started again in 0.4 s."), ({"event": "trouble", "why": ""}, "The trouble is over."),
                                         ({"event": "stopped"}, ""), ({"event": "waiting", "why": ""}, "")], ids=lambda x: x["event"] if isinstance(x, dict) else "")
def test_events_are_sentences(event, said): assert supervisor.sentence(event) == said


@pytest.mark.parametrize("wait", [0.0, 0.02, 0.05, 0.1, 0.2])
def test_a_signal_at_any_moment_of_the_start_ends_everybody(tmp_path, wait):
    with Server(tmp_path, LIVING, workers=2) as server:
        server.until("listening")
        time.sleep(wait)
        server.process.terminate()
        assert server.rest() == 0 and server.kinds()[-1] == "stopped"


def test_whoever_listened_may_be_gone(tmp_path):
    with Server(tmp_path, LIVING) as server:
        server.until("ready")
        pid = supervisor.running(server.folder)["processes"]["w0"]["pid"]
        server.process.stdout.close()
        server.process.terminate()
        server.process.wait(10)
        assert gone(pid) and (tmp_path / "w0.ended").exists()
        server.process.stdout = open(os.devnull)
