"""From a run to a served champion and back: commands and the page, as a person uses them."""
import json
import os
import signal
import subprocess

import httpx
import polars as pl
import pytest
from small_workbook import BIN, QUIET

pytestmark = pytest.mark.slow


@pytest.fixture
def book(run_workbook, tmp_path): return run_workbook.copy(tmp_path / "orders")


def test_serve_ask_log_label_roll_over(book, tmp_path):
    checked = json.loads(book.ops("serve", "--check", "--port", "0", "--grpc-port", "0", "--json").stdout)
    assert {item["outcome"] for item in checked["items"]} <= {"good", "warn"}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MODEL_OPS_")} | QUIET
    server = subprocess.Popen([BIN / "model-ops", "serve", "--port", "0", "--grpc-port", "0", "--json"], cwd=book.root, env=environment, stdout=subprocess.PIPE, text=True)
    def event(kind):
        while (said := json.loads(server.stdout.readline()))["event"] != kind: pass
        return said
    try:
        url = event("ready")["url"]
        rows = pl.read_parquet(book.root / "data" / "test.parquet").head(3)
        asked = httpx.post(f"{url}/invocations", json={"dataframe_records": json.loads(rows.drop("returned").write_json())}, headers={"x-request-id": "spine-1"})
        assert asked.status_code == 200 and asked.headers["x-model-version"] == "1"
        first = book.status()["champion"]["digest"]

        book.told("train", max_iter=60)
        book.ops("run")
        book.ops("promote", "--approve", "--by", "Ada", "--reason", "It is served now.")
        assert event("moved")["version"] == "2"
        assert httpx.post(f"{url}/invocations", content=asked.request.content, headers={"content-type": "application/json"}).headers["x-model-version"] == "2"
        book.ops("rollback", "--by", "Ada", "--reason", "It was only a try.")
        assert event("moved")["digest"] == first
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0

    lines = [json.loads(line) for line in book.ops("log", "--json").stdout.splitlines()]
    assert sorted((line["request_id"], line["row"]) for line in lines if line["request_id"] == "spine-1") == [("spine-1", k) for k in range(3)] and len(lines) == 6
    assert {line["version"] for line in lines} == {"1", "2"} and all(line["event_time"] for line in lines), "the contract's time column says when"
    pl.DataFrame({"request_id": ["spine-1"] * 3, "row": [0, 1, 2], "label": rows["returned"]}).write_csv(tmp_path / "truth.csv")
    assert "3 new" in book.ops("labels", tmp_path / "truth.csv").stdout and "3 known already" in book.ops("labels", tmp_path / "truth.csv").stdout
    known = [json.loads(line) for line in book.ops("log", "--labels", "--id", "spine-1", "--json").stdout.splitlines()]
    assert [line["actual"] for line in sorted(known, key=lambda line: line["row"])] == rows["returned"].to_list()
    book.ops("log", "--typed", "--export", tmp_path / "log.parquet")
    typed = pl.read_parquet(tmp_path / "log.parquet").filter(request_id="spine-1").sort("row")
    assert any(name.endswith("amount") and typed[name].to_list() == rows["amount"].to_list() for name in typed.columns)
    assert book.git("status", "--porcelain", "predictions") == ""


def test_the_page_runs_and_leaves_the_real_log_alone(book, tmp_path):
    book.call("papermill", "nbs/explore/serving.ipynb", tmp_path / "out.ipynb", "--cwd", "nbs/explore", "-k", "python3")
    said = json.loads((tmp_path / "out.ipynb").read_text())
    shown = "".join("".join(output.get("text", [])) + "".join(output.get("data", {}).get("text/html", [])) for cell in said["cells"] for output in cell.get("outputs", []))
    assert "cannot be read as" in shown and "has ended" in shown and "model_ops_requests_total" in shown
    assert not (book.root / "predictions").exists() and (book.root / "scratch" / "serving").is_dir()
