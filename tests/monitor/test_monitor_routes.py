"Alertmanager's configuration: its own tool takes it, nothing secret is in it, and echoes are silenced."
import json
import os
import re
import shutil
import socket
import subprocess
import time
from urllib.request import Request, urlopen

import pytest
import yaml

from model_ops.errors import ParameterError
from model_ops.monitor.alerts import rules, table_of
from model_ops.monitor.routes import ECHOES, config, private, write_private
from model_ops.monitor.runbook import runbook
from model_ops.settings import Settings

MAIL = {"mail": ["a@example.org", "b@example.org"], "mail_from": "alerts@example.org", "smarthost": "mail.example.org:587"}
NAMES = [a.name for a in table_of("late-flights", {})]
needs_amtool = pytest.mark.skipif(not shutil.which("amtool"), reason="amtool is not installed: apt-get install prometheus-alertmanager")


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "settings.ini").write_text("[workbook]\nname = flights\n[registry]\nmodel = late-flights\n")
    return Settings.load(tmp_path)


@needs_amtool
@pytest.mark.parametrize("told", [{}, {"webhook": "http://127.0.0.1:9/hook"}, MAIL, {**MAIL, "webhook": "https://chat.example.org/hook", "webhook_token_file": "/run/token", "mail_user": "me", "mail_password_file": "/run/password"}], ids=["nobody", "webhook", "mail", "all"])
def test_alertmanagers_own_tool_takes_it(settings, tmp_path, told):
    (tmp_path / "alertmanager.yml").write_text(config(settings, {"alerts": told}))
    checked = subprocess.run(["amtool", "check-config", "alertmanager.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for severity in ("page", "ticket"):
        routed = subprocess.run(["amtool", "config", "routes", "test", "--config.file=alertmanager.yml", f"severity={severity}", "job=late-flights"], cwd=tmp_path, capture_output=True, text=True)
        assert routed.stdout.strip() == ("people" if told else "nobody")


def test_everybody_is_told_by_every_way(settings):
    made = yaml.safe_load(config(settings, {"alerts": {**MAIL, "webhook": "http://x/hook"}}))
    (people,) = made["receivers"]
    assert [m["to"] for m in people["email_configs"]] == MAIL["mail"] and people["webhook_configs"][0]["url"] == "http://x/hook"
    assert made["global"] == {"smtp_smarthost": "mail.example.org:587", "smtp_from": "alerts@example.org"}


def test_an_address_may_come_from_the_environment(settings, monkeypatch):
    "It is looked up when the file is made, and is not needed for anything else."
    assert private({"alerts": {"webhook": "env:HOOK"}}) == ("alertmanager.yml",) and "alert: " in rules(settings, {"alerts": {"webhook": "env:HOOK"}}) + runbook(settings, {"alerts": {"webhook": "env:HOOK"}})
    monkeypatch.setenv("HOOK", "https://chat.example.org/hook")
    assert yaml.safe_load(config(settings, {"alerts": {"webhook": "env:HOOK"}}))["receivers"][0]["webhook_configs"][0]["url"] == "https://chat.example.org/hook"
    monkeypatch.delenv("HOOK")
    with pytest.raises(ParameterError, match="env:HOOK"): config(settings, {"alerts": {"webhook": "env:HOOK"}})


@pytest.mark.parametrize("wrong", [{"webhook": "https://me:secret@x/hook"}, {"webhook": "ftp://x"}, {"webhook_token_file": "/run/token"}, {"mail": ["a@b.org"]}, {**MAIL, "mail": ["nobody"]}, {**MAIL, "mail_user": "me"}, {**MAIL, "smarthost": "mail"}],
                         ids=["password", "ftp", "token alone", "mail alone", "no address", "user alone", "no port"])
def test_what_cannot_be_is_refused_before_a_file_is_made(settings, wrong):
    with pytest.raises(ParameterError, match="alerts") as error: config(settings, {"alerts": wrong})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("before", [None, 0o644, 0o444], ids=["new", "open to others", "read-only"])
def test_what_is_private_is_so_from_its_first_byte_on(tmp_path, before, monkeypatch):
    path, modes = tmp_path / "in" / "alertmanager.yml", []
    if before is not None:
        path.parent.mkdir()
        path.write_text("old")
        path.chmod(before)
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (modes.append(os.fstat(handle).st_mode & 0o777), fsync(handle)))
    write_private(path, "späte secret")
    assert path.read_text(encoding="utf-8") == "späte secret" and modes == [0o600] and path.stat().st_mode & 0o777 == 0o600 and [p.name for p in path.parent.iterdir()] == [path.name]


def test_echoes_are_of_alerts_that_exist():
    for source, others, equal in ECHOES:
        echoed = [n for n in NAMES if re.fullmatch(others, n)]
        assert source in NAMES and echoed and source not in echoed and "job" in equal
    down = next(others for source, others, _ in ECHOES if source == "ModelServerDown")
    assert {n for n in NAMES if not re.fullmatch(down, n)} == {"ModelServerDown"}


def _free():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _asked(url, body=None):
    with urlopen(Request(url, json.dumps(body).encode() if body is not None else None, {"Content-Type": "application/json"}), timeout=5) as answer: return json.loads(answer.read() or b"null")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("prometheus-alertmanager"), reason="Alertmanager is not installed: apt-get install prometheus-alertmanager")
def test_a_real_alertmanager_silences_echoes_and_nothing_else(settings, tmp_path):
    (tmp_path / "alertmanager.yml").write_text(config(settings, {}))
    url = f"http://127.0.0.1:{(port := _free())}"
    program = subprocess.Popen(["prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=data", f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "GOMAXPROCS": "1"})
    alert = lambda name, job="late-flights", server="server-1": {"labels": {"alertname": name, "job": job, "instance": server, "severity": "page"}}
    try:
        for _ in range(100):
            try: _asked(f"{url}/api/v2/status")
            except OSError: time.sleep(0.1)
            else: break
        _asked(f"{url}/api/v2/alerts", [alert("PredictionLogStuck"), alert("PredictionLogLag"), alert("PredictionLogLag", server="server-2"), {"labels": {"alertname": "ModelServerDown", "job": "other", "severity": "page"}}])
        for _ in range(100):  # the inhibitor hears of alerts a moment later
            found = {(a["labels"]["alertname"], a["labels"].get("instance")): a["status"]["state"] for a in _asked(f"{url}/api/v2/alerts")}
            if found.get(("PredictionLogLag", "server-1")) == "suppressed": break
            time.sleep(0.1)
        assert found == {("PredictionLogStuck", "server-1"): "active", ("PredictionLogLag", "server-1"): "suppressed", ("PredictionLogLag", "server-2"): "active", ("ModelServerDown", None): "active"}
    finally:
        program.terminate()
        program.wait(10)
