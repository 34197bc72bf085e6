"Prometheus and Alertmanager beside a real server: the generated files, an alert that arrives, restarts that lose nothing and count nothing twice, and nothing left behind."
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest
import yaml
from monitored_log import make, world

from model_ops.errors import DataError, PreflightError
from model_ops.monitor import alive, stack
from model_ops.serve import process
from model_ops.serve.client import Client
from model_ops.serve.config import Serving
from model_ops.settings import Settings

pytestmark = pytest.mark.skipif(not all(map(shutil.which, ("promtool", "prometheus", "amtool"))), reason="Prometheus and Alertmanager are not installed: apt-get install prometheus prometheus-alertmanager")
TEXTS = {"prometheus.yml", "rules.yml", "rules_test.yml", "rules_days_test.yml", "alertmanager.yml", "dashboard.json", "runbook.md", "README.md"}


@pytest.fixture
def empty(tmp_path):
    (tmp_path / "settings.ini").write_text("[workbook]\nname = demo\n")
    return Settings.load(tmp_path)


def _tool(folder, *words): return subprocess.run(words, cwd=folder, capture_output=True, text=True)


def _written(folder, made):
    for name, text in made.items(): (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_prometheus_own_tools_take_every_file(empty, tmp_path):
    made = stack.files(empty)
    assert set(made) == TEXTS and json.loads(made["dashboard.json"])["panels"]
    folder = _written(tmp_path, made)
    for words in (["promtool", "check", "config", "prometheus.yml"], ["promtool", "check", "rules", "rules.yml"], ["amtool", "check-config", "alertmanager.yml"]):
        checked = _tool(folder, *words)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_what_a_person_wrote_in_params_is_in_the_files(empty):
    (empty.root / "params").mkdir()
    (empty.root / "params/monitor.yaml").write_text("alerts: {quiet_minutes: 77, runbook: 'https://wiki.example/run'}\n")
    assert stack.files(empty) == stack.files(empty, {"alerts": {"quiet_minutes": 77, "runbook": "https://wiki.example/run"}})
    assert "https://wiki.example/run#" in stack.files(empty)["rules.yml"] != stack.files(empty, {})["rules.yml"]


def test_no_secret_stands_in_any_file_and_the_readme_says_where_it_goes(empty, tmp_path, monkeypatch):
    monkeypatch.setenv("THE_TOKEN", "tomato-secret-1")
    (tmp_path / "settings.ini").write_text("[workbook]\nname = demo\n[serve]\nhost = 0.0.0.0\ntoken = env:THE_TOKEN\ncert = c.pem\nkey = k.pem\n")
    made = stack.files(Settings.load(tmp_path))
    assert not any("tomato" in text for text in made.values())
    job, = yaml.safe_load(made["prometheus.yml"])["scrape_configs"]
    assert job["scheme"] == "https" and job["authorization"] == {"credentials_file": "token"} and job["static_configs"] == [{"targets": ["127.0.0.1:8080"]}]
    assert "`token`" in made["README.md"] and "`ca.pem`" in made["README.md"] and "None of these files" not in made["README.md"]
    assert "None of these files holds one" in (plain := stack.files(empty)["README.md"]) and "`token`" not in plain


def test_secrets_are_readable_by_nobody_else(empty, tmp_path):
    (tmp_path / "token").write_text("old")
    (tmp_path / "token").chmod(0o644)
    watched = stack.Stack("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3", tmp_path)
    stack._write(empty, watched, Serving.of(empty, token="tomato"), {}, "https://chat.example.org/tomato", 60)
    assert {p.name: oct(p.stat().st_mode & 0o777) for p in tmp_path.iterdir() if "tomato" in p.read_text()} == {"alertmanager.yml": "0o600", "token": "0o600"}


def test_a_program_that_does_not_end_is_killed_with_all_of_its_group(tmp_path):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    program = subprocess.Popen(["/bin/sh", "-c", stack._KEEPER, "sh", sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
    assert program.stdout.readline() == b"up\n"
    stack.Stack("", "", "", tmp_path, programs={"deaf": program}).stop(patience=0.3)
    assert program.stdout.read() == b"" and program.returncode is not None  # nobody holds the other end any more


def test_the_keeper_of_a_program_that_ended_ends_with_it(tmp_path):
    "Else it would wait with a number that becomes somebody else's."
    program = subprocess.Popen(["/bin/sh", "-c", stack._KEEPER, "sh", "true"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)
    assert program.stdout.read() == b""  # nobody holds it any more, though our end of the input is open
    program.wait(10)
    program.stdin.close()


def test_a_second_call_is_refused_before_its_server_starts(empty, monkeypatch):
    monkeypatch.setattr(stack, "_locked", functools.partial(stack._locked, patience=0.1))
    (empty.root / "scratch").mkdir()
    with stack._locked(empty.root / "scratch"), pytest.raises(PreflightError, match="run on"):
        stack.start(empty, server=lambda: pytest.fail("the server was started"), folder=empty.root / "scratch")


@pytest.mark.parametrize("told, becomes", [("2m", "2s"), ("1h30m", "90s"), ("5s", "1s"), ("1d", "1440s"), ("500ms", "1s")])
def test_waits_are_shorter_and_nothing_else_is(told, becomes):
    text = yaml.safe_dump({"groups": [{"rules": [{"for": told, "expr": "rate(x[5m])", "labels": {"severity": "page"}}]}], "route": {"group_wait": told, "repeat_interval": "4h", "routes": [{"group_interval": told}]}})
    said = yaml.safe_load(stack.hurried(text, 60))
    assert said == {"groups": [{"rules": [{"for": becomes, "expr": "rate(x[5m])", "labels": {"severity": "page"}}]}], "route": {"group_wait": becomes, "repeat_interval": "4h", "routes": [{"group_interval": becomes}]}}
    assert stack.hurried(text, 1) == text


def test_a_machine_without_the_programs_is_told_the_cure(empty, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PreflightError, match="apt-get install prometheus prometheus-alertmanager"): stack.start(empty, server="http://127.0.0.1:1")


def test_a_taken_port_is_named_with_its_key(empty):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PreflightError, match="alertmanager_port in .monitor."): stack.start(empty, server="http://127.0.0.1:1", alertmanager_port=taken.getsockname()[1])
    assert not (empty.root / "scratch").exists()


@pytest.mark.parametrize("told", ["many", "70000", "-1"])
def test_a_port_that_is_none_is_named(empty, tmp_path, told, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODEL_OPS_ROOT", raising=False)
    (tmp_path / "settings.ini").write_text(f"[workbook]\nname = demo\n[monitor]\nprometheus_port = {told}\n")
    assert alive.main([]) == 1 and f"monitor.prometheus_port is '{told}'" in capsys.readouterr().err


def test_rules_that_prometheus_refuses_end_the_start_with_its_own_words(empty, tmp_path, monkeypatch):
    monkeypatch.setattr(stack.alerts, "rules", lambda *_: "groups: [{name: a, rules: [{alert: B, expr: 'x >'}]}]")
    with pytest.raises(PreflightError, match="parse error"): stack.start(empty, server="http://127.0.0.1:1", params={})
    assert not _alive(tmp_path)


def _alive(folder: Path) -> list[str]:
    "Programs that work in a folder."
    found = []
    for one in psutil.process_iter(["name"]):
        try:
            if Path(one.cwd()).is_relative_to(folder): found.append(one.info["name"])
        except (psutil.Error, OSError): pass
    return found


@pytest.mark.slow
def test_a_killed_parent_leaves_no_program_behind_and_the_next_one_starts(empty, tmp_path):
    code = "import sys, time\nfrom model_ops.monitor import stack\nfrom model_ops.settings import Settings\nheld = stack.start(Settings.load(sys.argv[1]), server='http://127.0.0.1:1', params={})\nprint('up', flush=True)\ntime.sleep(60)\n"
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout.readline() == "up\n"
    assert {"prometheus"} <= {name.removeprefix("prometheus-") for name in _alive(tmp_path)}
    parent.kill()
    parent.communicate()
    with stack.start(empty, server="http://127.0.0.1:1", params={}) as again:  # waits for those of the killed one to end
        assert again.until(lambda: "down" in again.status() and again.status(), "the server is found missing").count("\n") == 5
        with pytest.raises(DataError, match="parse error"): again.query("rate(")
        assert "down" in str(again.__html__()) and "Stack: http" in again._repr_mimebundle_()["text/plain"]
        with pytest.raises(PreflightError, match="run on"): stack._locked(again.folder, patience=0.1)
    assert not _alive(tmp_path) and "has ended" in again.status()


def test_traffic_needs_a_window_of_rows(empty):
    with pytest.raises(DataError, match="current.parquet"): alive.ask(None, empty, 10)


def test_a_receiver_says_what_it_heard_instead(empty):
    with alive.Receiver() as receiver, pytest.raises(PreflightError, match="Heard: nothing"): receiver.wait("ModelServerDown", "firing", timeout=0.05)


def _orders(tmp_path) -> Settings:
    settings = make(tmp_path / "book", days=2, rows=20, from_day=1, sections="\n[log]\nsettle_s = 0.5\n[serve]\nworkers = 1\n")
    world(2, 100, "2026-03-01").write_parquet(settings.path("data/current.parquet"))
    return settings


@pytest.mark.slow
def test_an_alert_reaches_a_webhook_and_is_resolved(tmp_path):
    said = []
    heard = alive.incident(_orders(tmp_path), hurry=300, rows=60, told=said.append)
    assert [(one.name, one.status) for one in heard] == [("ModelServerDown", "firing"), ("ModelServerDown", "resolved")] and "orders" in heard[0].summary
    assert "60 rows were sent; Prometheus counted 60, 60 in all." in said[1] and "Prometheus counted 60, 120 in all." in said[-1]
    assert not _alive(tmp_path) and list((tmp_path / "book/scratch").iterdir()) == []


def _grown(watched: stack.Stack, what: str) -> tuple[float, float, float]:
    "From the first sample to the last: what PromQL's `increase` says, what the samples say, and how often the counter began anew."
    (first, least), *_, (last, most) = watched.query(f"{what}[10m]")[0]["values"]
    over = f"{what}[{round(1000 * (last - first))}ms]"  # from sample to sample, so that `increase` has nothing to extrapolate
    increase, resets = (float(watched.query(f"{name}({over})", at=last)[0]["value"][1]) for name in ("increase", "resets"))
    return increase, float(most) - float(least), resets


@pytest.mark.slow
def test_restarts_lose_nothing_and_count_nothing_twice(tmp_path):
    settings, token, folder = _orders(tmp_path), "only-for-this-test", tmp_path / "kept"
    counter, sent = 'model_ops_rows_total{protocol="invocations"}', 0
    (settings.path("predictions") / "monitor.json").write_text(json.dumps({"model": "orders", "series": [["conclusion", {"conclusion": "roll back"}, 1], ["timestamp_seconds", {}, time.time()]]}))
    rows = json.loads(pl.read_parquet(settings.path("data/current.parquet")).drop("returned", "probability").write_json())

    def serve(port=0): return process.start(settings, token=token, grpc_port=0, port=port)
    def send(server, n):
        nonlocal sent
        with Client(server.url, token=token) as client: sent += len(client.predict(rows[:n]))
    def watch(server, receiver): return stack.start(settings, server=server, webhook=receiver.url, hurry=300, folder=folder, params={})
    def counted(watched): watched.until(lambda: watched.number(counter) == sent, f"{sent} rows are counted")

    with alive.Receiver() as receiver:
        server = serve()
        port = int(server.url.rsplit(":", 1)[1])
        try:
            with watch(server, receiver) as watched:
                counted(watched)
                send(server, 30)
                counted(watched)
                receiver.wait("ModelRollBack", "firing")
                assert (folder / "token").stat().st_mode & 0o077 == 0
            send(server, 50)  # while Prometheus is away
            with watch(server, receiver) as watched:
                counted(watched)
                assert _grown(watched, counter) == (sent, sent, 0) == (80, 80, 0)
                assert server.stop() == 0  # in order
                server = serve(port)
                send(server, 7)
                counted(watched)
                server.process.kill()  # without a word
                server.stop()
                server = serve(port)
                send(server, 5)
                counted(watched)
                assert _grown(watched, counter) == (sent, sent, 0) == (92, 92, 0)
                server.stop()
                shutil.rmtree(Serving.of(settings).folder / "telemetry")  # a machine that lost its disk: the counter begins anew
                sent, before = 0, sent
                server = serve(port)
                send(server, 11)
                counted(watched)
                assert _grown(watched, counter) == (before + 11, 11, 1)
        finally: server.stop()
    assert [one.status for one in receiver.heard if one.name == "ModelRollBack"] == ["firing"], "told once, whoever was restarted"
    assert not _alive(folder)


@pytest.mark.slow
def test_make_monitoring_runs_until_it_is_told_to_stop(tmp_path):
    settings = _orders(tmp_path)
    ports = {f"MODEL_OPS_MONITOR_{name}_PORT": "0" for name in ("PROMETHEUS", "ALERTMANAGER")}
    with subprocess.Popen([sys.executable, "-m", "model_ops.monitor.alive", "--rows", "40"], cwd=settings.root, env={**os.environ, **ports, "MODEL_OPS_ROOT": str(settings.root)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        lines = []
        for line in one.stdout:
            lines.append(line.rstrip())
            if "Until Ctrl-C" in line: break
        one.send_signal(signal.SIGINT)
        rest, wrong = one.communicate(timeout=60)
    assert one.returncode == 0 and "Stopping." in rest and not wrong
    assert lines[0] == "40 rows were sent; Prometheus counted 40, 40 in all." and any(line.startswith("Alertmanager") and line.endswith("up") for line in lines)
    assert not _alive(settings.path("scratch")) and not list(settings.path("predictions").glob("telemetry/*")), "trial rows are not among production's"
