"""The loop closed, as a person closes it: serve, ask, label, look, decide; by command, by the pipeline's engine and by hand."""
import json
import os
import signal
import subprocess

import httpx
import polars as pl
import pytest
from small_workbook import BIN, QUIET
from test_spine_by_hand import by_hand

pytestmark = pytest.mark.slow


@pytest.fixture
def book(run_workbook, tmp_path): return run_workbook.copy(tmp_path / "orders")


def served(book, tmp_path) -> tuple[dict, str]:
    "The test window, asked of a real server, with the truth told a moment later: the health record, and what its /metrics say."
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MODEL_OPS_")} | QUIET
    server = subprocess.Popen([BIN / "model-ops", "serve", "--port", "0", "--grpc-port", "0", "--json"], cwd=book.root, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        while (said := json.loads(server.stdout.readline()))["event"] != "ready": pass
        rows = pl.read_parquet(book.root / "data" / "test.parquet")
        asked = json.loads(rows.drop("returned").write_json())
        for k in range(0, len(asked), 50):
            answer = httpx.post(f"{said['url']}/invocations", json={"dataframe_records": asked[k:k + 50]}, headers={"x-request-id": f"loop-{k}"}, timeout=30)
            assert answer.status_code == 200, answer.text
        pl.DataFrame({"request_id": [f"loop-{k // 50 * 50}" for k in range(len(asked))], "row": [k % 50 for k in range(len(asked))], "label": rows["returned"]}).write_csv(tmp_path / "truth.csv")
        book.ops("labels", tmp_path / "truth.csv")
        looked = json.loads(book.ops("monitor", "--clock", "received", "--days", "2", "--json").stdout)
        return looked, httpx.get(f"{said['url']}/metrics").text
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


def test_the_loop_by_command_by_hand_and_in_the_books(book, tmp_path):
    rows = pl.read_parquet(book.root / "data" / "test.parquet")
    before = book.records()
    health, metrics = served(book, tmp_path)
    assert health["kind"] == "health" and health["conclusion"] in ("fine", "watch", "retrain", "roll back") and health["served"] == "1"
    assert health["window"]["rows"] == health["window"]["labelled"] == rows.height
    assert health["gap"]["differing"] == 0 and health["gap"]["rows"] == rows.height, "the server says what the package says"
    assert "model_ops_monitor_rows" in metrics and f'conclusion="{health["conclusion"]}"' in metrics
    assert {k: v for k, v in book.records().items() if k != "health.json"} == before, "a look changes no record of the pipeline"
    assert book.git("status", "--porcelain") == "" and (book.root / "reports/monitor.html").is_file()
    page = (book.root / "reports/monitor.html").read_text()
    assert "<script" not in page and "default-src 'none'" in page
    status = book.status()
    assert not status["stale"] and not status["missing"], "the step is no stage"

    # by hand, with the same window: the same record, but for the moment
    told = {"until": health["window"]["until"], "as_of": health["window"]["as_of"], "clock": "received", "days": 2.0}
    book.told("monitor", **told)
    by_hand(book.root / "nbs/steps/monitor.ipynb")
    book.ops("step", "monitor", "--quiet")
    mine, pipeline = (json.loads((book.root / place / "records/health.json").read_text()) for place in ("scratch/monitor", "."))
    assert {**mine, "at": ""} == {**pipeline, "at": ""}

    # the decision, and the book
    lines = lambda: [json.loads(line) for line in book.ops("loop", "--json").stdout.splitlines()]
    checked = json.loads(book.ops("retrain", "--check", "--json").stdout)
    assert checked["choice"]["retrain"] is False and [e["kind"] for e in lines()] == ["health"], "a check writes nothing"
    assert "Not trained anew" in book.ops("retrain", check=False).stdout
    assert [e["kind"] for e in lines()] == ["health", "choice"], "a no is written down too"
    assert lines()[0]["facts"]["conclusion"] == health["conclusion"]


def test_two_looks_at_once_and_one_that_is_killed(book, tmp_path):
    health, _ = served(book, tmp_path)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MODEL_OPS_")} | QUIET
    before = (book.root / "records/health.json").read_bytes(), (book.root / "predictions/monitor.json").read_bytes()
    first = subprocess.Popen([BIN / "model-ops", "monitor", "--clock", "received", "--days", "2"], cwd=book.root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while "cell" not in (line := first.stderr.readline()) and "1/" not in line: assert first.poll() is None
    os.killpg(first.pid, signal.SIGSTOP)  # in the middle, however slow the second one begins
    second = book.ops("monitor", "--clock", "received", "--days", "2", check=False)
    assert second.returncode and "busy" in second.stderr
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert before == ((book.root / "records/health.json").read_bytes(), (book.root / "predictions/monitor.json").read_bytes()), "the former look stands"
    again = json.loads(book.ops("monitor", "--clock", "received", "--days", "2", "--json").stdout)
    assert again["window"]["rows"] == health["window"]["rows"]
