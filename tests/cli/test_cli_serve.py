"""`model-ops serve`: the checklist with its exit code, and a server that says what happens and stops when asked."""
import json
import os
import shutil
import subprocess
import sys

import httpx
import pytest
import typer
from serving_book import serving_book
from typer.testing import CliRunner

from model_ops.cli import serve
from model_ops.errors import SettingsError

PROGRAM = "import typer; from model_ops.cli import serve; app = typer.Typer(); serve.register(app); app.command('other')(lambda: None); app()"


@pytest.fixture(scope="module")
def made(tmp_path_factory): return serving_book(tmp_path_factory.mktemp("cli") / "made", versions=1, serve="port = 0\ngrpc_port = 0", **{"serve.production": "host = 0.0.0.0"})


@pytest.fixture
def book(made, tmp_path, monkeypatch):
    for name in [n for n in os.environ if n.startswith("MODEL_OPS_")]: monkeypatch.delenv(name)
    shutil.copytree(made.root, tmp_path / "book", symlinks=True)
    monkeypatch.chdir(tmp_path / "book")
    return tmp_path / "book"


def typed(*words):
    app = typer.Typer()
    serve.register(app)
    app.command("other")(lambda: None)
    return CliRunner().invoke(app, ["serve", *words])


def test_check_prints_the_list_and_ends_with_what_it_found(book):
    done = typed("--check")
    assert done.exit_code == 0 and "✓ package" in done.output and "checks passed" in done.output
    done = typed("--check", "--json", "--package", "nowhere")
    found = json.loads(done.output)
    assert done.exit_code == 1 and found["kind"] == "checklist" and {i["name"] for i in found["items"] if i["outcome"] == "bad"} == {"package"}


def test_options_win_and_what_is_refused_is_told(book):
    assert "environment test" in typed("--check", "--environment", "test").output
    with pytest.raises(SettingsError, match="open = yes"): raise typed("--check", "--environment", "production").exception
    assert typed("--check", "--environment", "production", "--host", "127.0.0.1").exit_code == 0
    with pytest.raises(SettingsError, match="no environment 'prod'"): raise typed("--check", "--environment", "prod").exception
    with pytest.raises(SettingsError, match="serve.workers is 0"): raise typed("--workers", "0").exception


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [False, True], ids=["sentences", "json"])
def test_it_serves_until_it_is_asked_to_stop(book, as_json):
    with subprocess.Popen([sys.executable, "-c", PROGRAM, "serve", "--workers", "2", *(["--json"] if as_json else [])], stdout=subprocess.PIPE, text=True) as command:
        said = []
        for line in command.stdout:
            said.append(line.strip())
            if "Ready" in line or '"ready"' in line: break
        url = json.loads(said[0])["url"] if as_json else said[0].split()[0]
        assert httpx.get(f"{url}/ping").status_code == 200
        command.terminate()
        said += command.stdout.read().splitlines()
    assert command.returncode == 0
    if as_json: assert [json.loads(line)["event"] for line in said] == ["listening", "ready", "stopping", "stopped"]
    else: assert any(line.startswith("ask") and f"curl {url}" in line for line in said) and any("kill" in line for line in said) and "late-parcels version 1" in " ".join(said) and said[-1].startswith("Stopping")
