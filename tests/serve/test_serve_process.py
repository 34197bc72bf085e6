"""A server of one's own: started, waited for, shown, stopped; errors say what the server said."""
import shutil
import subprocess
import sys

import pytest
from serving_book import ServingBook, serving_book

from model_ops.errors import PreflightError, SettingsError
from model_ops.serve import process
from model_ops.serve.config import Serving
from model_ops.serve.supervisor import running
from model_ops.settings import Settings


@pytest.fixture
def empty(tmp_path, monkeypatch):
    for name in ("MODEL_OPS_ROOT", "MODEL_OPS_ENVIRONMENT"): monkeypatch.delenv(name, raising=False)
    (tmp_path / "settings.ini").write_text("[workbook]\nname = demo\n")
    return Settings.load(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory): return serving_book(tmp_path_factory.mktemp("process") / "made", versions=2)


def test_what_is_told_is_checked_before_anything_starts(empty):
    with pytest.raises(SettingsError, match="Did you mean 'workers'"): process.start(empty, worker=2)
    with pytest.raises(SettingsError, match="open = yes"): process.start(empty, host="0.0.0.0")
    assert not (empty.root / "predictions").exists()


def test_the_line_for_the_shell_says_what_is_needed(empty):
    assert process.curl("http://127.0.0.1:8080") == "curl http://127.0.0.1:8080/v2"
    line = process.curl("https://127.0.0.1:8080", Serving.of(empty, token="s" * 20, cert="c.pem", key="k.pem"))
    assert line == "curl --cacert c.pem -H 'Authorization: Bearer …' https://127.0.0.1:8080/v2"


def test_a_display_of_a_server_is_escaped_and_says_whether_it_runs(empty):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    shown = process.Running("http://127.0.0.1:1", "127.0.0.1:2", 7, ended, [{"event": "ready", "model": "<b>", "version": "3", "digest": "d"}], Serving.of(empty))._repr_mimebundle_()
    assert "<b>" not in shown["text/html"] and "has ended" in shown["text/html"] and "127.0.0.1:2" in shown["text/html"] and "http://127.0.0.1:1" in shown["text/plain"]


@pytest.mark.slow
def test_a_server_is_started_shown_moved_and_stopped(made, tmp_path):
    shutil.copytree(made.root, tmp_path / "book", symlinks=True)
    book = ServingBook(tmp_path / "book", made.digests)
    with process.start(book.settings, follow_s=0.1) as one:
        assert one.in_charge["digest"] == book.digests[0] and one.url in one._repr_mimebundle_()["text/html"] and "late-parcels" in str(one.__html__()) and one.grpc
        book.promote(2)
        assert one.wait("moved")["digest"] == book.digests[1] == one.in_charge["digest"]
        with pytest.raises(PreflightError, match="runs on"): process.start(book.settings)
        with pytest.raises(PreflightError, match="did not say"): one.wait("moved", timeout=0.05)
        assert one.stop() == 0 == one.stop()
        with pytest.raises(PreflightError, match="ended"): one.wait("moved", timeout=5)
    assert running(book.root / "predictions") is None and [e["event"] for e in one.events][-2:] == ["stopping", "stopped"]


@pytest.mark.slow
def test_why_a_server_did_not_start_is_told(made, tmp_path):
    shutil.copytree(made.root, tmp_path / "book", symlinks=True)
    for damaged in (tmp_path / "book/store").glob("*/model.onnx"): damaged.write_bytes(b"nothing")
    with pytest.raises(PreflightError, match="model.onnx"): process.start(ServingBook(tmp_path / "book").settings, grpc_port=0)
