"""Settling: each row once, whoever is killed when; conflicts and strange records kept apart; one leader."""
import json, os, random, signal, subprocess, sys, threading, time
from datetime import UTC, datetime
import orjson
import polars as pl
import pytest
from model_ops.errors import ModelOpsError
from model_ops.predictions import journal, labels, log
from model_ops.predictions.delta import LogError, Table
from model_ops.predictions.settle import lead, leading, settle
from written_log import asked, row, told, write

LONG = 100_000  # days: the rows of these tests are from the new year 2026

class Killed(BaseException): "In place of SIGKILL."

def table(folder) -> pl.DataFrame: return log.read(folder, journals=False)

def test_columns_of_a_row(tmp_path):
    write(tmp_path, "w0", asked("a", row(1545), row(725, tail=None), at=0.25))
    assert settle(tmp_path).rows == 2
    first, second = table(tmp_path).to_dicts()
    assert first["day"].isoformat() == "2026-01-01" and first["received_time"] == datetime(2026, 1, 1, 0, 0, 0, 250_000, UTC) and first["event_time"] == datetime(2026, 1, 1, 10, 15, tzinfo=UTC)
    assert (first["key"], first["subject"], second["subject"], first["label"], second["row"]) == ('{"flight":"1545"}', "N1545", None, "true", 1)
    assert json.loads(first["inputs"]) == row(1545) and first["outputs"] is None and first["id_given"] and first["latency_ms"] == 0.4

def test_inputs_as_columns_give_the_same_rows(tmp_path):
    rows = [row(k) for k in range(3)]
    write(tmp_path/"rows", "w0", asked("a", *rows))
    write(tmp_path/"columns", "w0", asked("a", *rows, inputs={name: [r[name] for r in rows] for name in rows[0]}))
    for name in ("rows", "columns"): settle(tmp_path/name)
    assert table(tmp_path/"rows").equals(table(tmp_path/"columns"))

def test_outputs_of_other_models(tmp_path):
    three = {"score": [0.7], "label": [2], "probabilities": [[0.1, 0.2, 0.7]]}
    foreign = {"left": [1.5], "score": [[1, 2]]}
    write(tmp_path, "w0", asked("a", row(1), outputs=three), asked("b", row(2), outputs=foreign, at=1), asked("c", outputs={}, inputs=[], at=2), asked("d", row(3), outputs={"score": [None]}, at=3))
    assert settle(tmp_path).unreadable == 0
    a, b, d = table(tmp_path).to_dicts()
    assert a["probabilities"] == [0.1, 0.2, 0.7] and a["label"] == "2" and b["score"] is None and json.loads(b["outputs"]) == {"left": 1.5, "scores": [1, 2]} and d["score"] is None

def test_the_first_of_several_workers_wins(tmp_path):
    write(tmp_path, "w0", asked("a", row(1), at=5), asked("b", row(2), at=6))
    write(tmp_path, "w1", asked("a", row(1), at=1), asked("b", row(9), at=7))
    found = settle(tmp_path)
    assert (found.rows, found.doubles, found.conflicts, found.segments) == (2, 1, 1, 2)
    assert table(tmp_path)["received_time"].dt.second().to_list() == [1, 6]
    aside = pl.scan_delta(Table(tmp_path, "conflicts").open()).collect()
    assert aside["reason"].to_list() == ["other inputs"] and json.loads(aside["record"][0])["flight"] == 9

@pytest.mark.parametrize("days, rows", [(LONG, 0), (0, 1)], ids=["within", "after"])
def test_a_repetition_is_known_for_some_days(tmp_path, days, rows):
    write(tmp_path, "w0", asked("a", row(1)))
    settle(tmp_path)
    write(tmp_path, "w0", asked("a", row(1), at=60))
    assert settle(tmp_path, dedupe_days=days).rows == rows

def test_a_request_of_several_rows_is_repeated_row_by_row(tmp_path):
    write(tmp_path, "w0", asked("a", row(1), row(2)), asked("a", row(1), row(2), row(3), at=1))
    found = settle(tmp_path)
    assert (found.rows, found.doubles) == (3, 2)

def test_small_batches_and_many_segments(tmp_path):
    write(tmp_path, "w0", *(asked(f"a{k}", row(k), at=k) for k in range(60)), segment_bytes=2000)
    assert len(journal.segments(tmp_path)) > 5
    with leading(tmp_path, batch_bytes=3000) as leader: found = leader.turn()
    assert found.rows == 60 and table(tmp_path)["request_id"].n_unique() == 60 and journal.segments(tmp_path) == []
    assert Table(tmp_path, "log").open().version() >= 5

def test_a_segment_in_use_stays_and_is_settled_bit_by_bit(tmp_path):
    kept = journal.Journal(tmp_path, "w0")
    for k in range(3):
        done = threading.Event()
        kept.append([asked(f"a{k}", row(k), at=k)], lambda error, done=done: done.set())
        done.wait()
        assert settle(tmp_path).rows == 1 and len(journal.segments(tmp_path)) == 1
    kept.close()
    assert settle(tmp_path).segments == 1 and table(tmp_path).height == 3

def test_strange_records_are_kept_apart(tmp_path):
    strange = [b"{}", b"[1]", b"no json", orjson.dumps({"kind": "prediction", "id": 7}), asked("x", row(1), rows=3), asked("x", row(1), outputs={"score": [1, 2]}), b'{"kind":"label","labels":3,"at":1}']
    write(tmp_path, "w0", asked("a", row(1)), *strange, asked("b", row(2), at=1))
    found = settle(tmp_path)
    assert (found.rows, found.unreadable) == (2, len(strange))
    assert pl.scan_delta(Table(tmp_path, "conflicts").open()).collect()["record"].n_unique() == len(strange)

def test_a_segment_of_another_layout_stops_nobody(tmp_path):
    write(tmp_path, "w0", asked("a", row(1)))
    (tmp_path/"journal"/"w9-1-0.seg").write_bytes(b"something else")
    found = settle(tmp_path)
    assert found.rows == 1 and "w9-1-0.seg" in found.trouble and (tmp_path/"journal"/"w9-1-0.seg").exists()

def test_one_leader(tmp_path):
    with leading(tmp_path):
        with pytest.raises(LogError, match="Another process"): settle(tmp_path)
        stop = threading.Event()
        stop.set()
        with leading(tmp_path, stop=stop) as nobody: assert nobody is None
    assert settle(tmp_path).rows == 0

def everything(folder, n: int, at: float) -> list[str]:
    "Records of two workers: requests, some of them asked twice, and labels; the ids that were used."
    ids = [f"{at}-{k}" for k in range(n)]
    write(folder, "w0", *(asked(i, row(k), row(k + 1), at=at + k) for k, i in enumerate(ids)), told({"id": ids[0], "row": 0, "label": True}, at=at), told({"id": ids[0], "row": 0, "label": False}, at=at + 1))
    write(folder, "w1", asked(ids[-1], row(n - 1), row(n), at=at + n), asked(ids[0], row(99), at=at + n))
    return ids

@pytest.mark.parametrize("tries", [16, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_after_any_step(tmp_path, tries):
    "Each time the leader ends after a random step; what the next ones do adds up to each row once."
    chance, ids = random.Random(6), []
    for attempt in range(tries):
        if attempt % 4 == 0: ids += everything(tmp_path, 3, 1000.0*attempt)
        left = [chance.randint(1, 6)]
        def hears(sentence, left=left):
            left[0] -= 1
            if not left[0]: raise Killed
        try: settle(tmp_path, told=hears, dedupe_days=LONG, batch_bytes=chance.choice([900, 16 << 20]))
        except Killed: pass
        now = log.read(tmp_path)
        assert now.height == 2*len(ids) and now.unique(["request_id", "row"]).height == now.height
    settle(tmp_path, dedupe_days=LONG)
    assert journal.segments(tmp_path) == [] and table(tmp_path).height == 2*len(ids)
    assert pl.scan_delta(Table(tmp_path, "conflicts").open()).collect().height == len(ids)//3
    assert labels.history(tmp_path).height == 2*len(ids)//3

@pytest.mark.parametrize("damage", ["commit-empty", "commit-half", "file-empty", "file-gone"])
def test_a_commit_that_a_power_failure_tore(tmp_path, damage):
    everything(tmp_path, 3, 0.0)
    settle(tmp_path, dedupe_days=LONG)
    ids = everything(tmp_path, 4, 5000.0)
    def hears(sentence):
        if "committed" in sentence: raise Killed  # nothing of the journal is removed yet
    with pytest.raises(Killed): settle(tmp_path, told=hears, dedupe_days=LONG)
    commit = max((tmp_path/"log"/"_delta_log").glob("*.json"))
    file = max((tmp_path/"log").rglob("*.parquet"), key=lambda p: p.stat().st_mtime_ns)
    match damage:
        case "commit-empty": commit.write_text("")
        case "commit-half": commit.write_text(commit.read_text()[:80])
        case "file-empty": file.write_text("")
        case "file-gone": file.unlink()
    heard = []
    found = settle(tmp_path, told=heard.append, dedupe_days=LONG)
    assert found.rows == 2*len(ids) and "taken back" in heard[0] and table(tmp_path).height == 2*3 + 2*4

def test_the_leader_goes_on_after_trouble(tmp_path):
    write(tmp_path, "w0", asked("a", row(1)))
    (tmp_path/"log").write_text("in the way")
    stop, heard = threading.Event(), []
    thread = threading.Thread(target=lead, args=(tmp_path,), kwargs={"every": 0.05, "stop": stop, "told": heard.append})
    thread.start()
    while not (tmp_path/"settled.json").exists(): time.sleep(0.02)
    said = json.loads((tmp_path/"settled.json").read_text())
    (tmp_path/"log").unlink()
    while journal.segments(tmp_path): time.sleep(0.02)
    stop.set()
    thread.join()
    assert said["error"] and said["rows"] == 0 and "again" in heard[0]
    said = json.loads((tmp_path/"settled.json").read_text())
    assert said["error"] == "" and said["rows"] == 1 and said["bytes_waiting"] == 0

def test_schedule_puts_files_together(tmp_path, monkeypatch):
    monkeypatch.setattr("model_ops.predictions.settle.MANY", 3)
    stop = threading.Event()
    thread = threading.Thread(target=lead, args=(tmp_path,), kwargs={"every": 0.01, "stop": stop})
    thread.start()
    for k in range(3):
        write(tmp_path, "w0", asked(f"a{k}", row(k), at=k))
        while journal.segments(tmp_path): time.sleep(0.01)
    stop.set()
    thread.join()
    assert len(Table(tmp_path, "log").open().file_uris()) == 1 and table(tmp_path).height == 3

@pytest.mark.slow
def test_reading_while_it_is_settled(tmp_path):
    "Whoever reads sees each acknowledged row once, in the journal or in the table."
    kept, acknowledged, stop = journal.Journal(tmp_path, "w0", segment_bytes=3000), [0], threading.Event()
    journal.describe(tmp_path, "c"*64, {})
    thread = threading.Thread(target=lead, args=(tmp_path,), kwargs={"every": 0.03, "stop": stop})
    thread.start()
    for k in range(40):
        kept.append([asked(f"a{k}-{i}", row(i), at=k) for i in range(5)], lambda error: acknowledged.__setitem__(0, acknowledged[0] + 5))
        time.sleep(0.01)
        if k % 5 == 0:
            before, seen, after = acknowledged[0], log.read(tmp_path), 5*(k + 1)
            assert before <= seen.height <= after and seen.unique(["request_id", "row"]).height == seen.height
    kept.close()
    stop.set()
    thread.join()
    assert table(tmp_path).height == 200

PROCESS = (sys.executable, "-m", "model_ops.predictions.settle")

def test_the_process_ends_after_a_last_turn(tmp_path):
    settler = subprocess.Popen([*PROCESS, tmp_path, "--every", "60"])
    while not (tmp_path/"settled.json").exists(): time.sleep(0.05)
    write(tmp_path, "w0", asked("a", row(1)))
    settler.send_signal(signal.SIGTERM)
    assert settler.wait(20) == 0 and table(tmp_path).height == 1

@pytest.mark.slow
def test_processes_killed_under_load(tmp_path):
    "12 settlers get kill -9 while a worker writes; the last one finds each row, once."
    chance, kept, sent, stop = random.Random(6), journal.Journal(tmp_path, "w0", segment_bytes=20_000), [0], threading.Event()
    journal.describe(tmp_path, "c"*64, {})
    def load():
        while not stop.wait(0.005):
            kept.append([asked(f"a{sent[0]}", row(sent[0] % 1000), at=sent[0]/100)], lambda error: None)
            sent[0] += 1
    worker = threading.Thread(target=load)
    worker.start()
    for _ in range(12):
        settler = subprocess.Popen([*PROCESS, tmp_path, "--every", "0.01", "--dedupe-days", str(LONG)], stdout=subprocess.DEVNULL)
        time.sleep(1 + chance.random())
        settler.kill()
        settler.wait()
    stop.set()
    worker.join()
    kept.close()
    settle(tmp_path, dedupe_days=LONG)
    rows = table(tmp_path)
    assert rows.height == rows["request_id"].n_unique() == sent[0] and journal.segments(tmp_path) == []

@pytest.mark.slow
def test_the_process_ends_with_its_parent(tmp_path):
    words = [*PROCESS, str(tmp_path), "--until-eof"]
    script = f"import subprocess, time; p = subprocess.Popen({words!r}, stdin=subprocess.PIPE); print(p.pid, flush=True); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    while not (tmp_path/"settled.json").exists(): time.sleep(0.05)
    parent.kill()
    parent.wait()
    for _ in range(200):
        try: os.kill(pid, 0)
        except ProcessLookupError: break
        time.sleep(0.1)
    else: raise AssertionError("the settler lives on")

def test_what_it_imports():
    "A worker of the server imports the journal alone; nothing here brings pandas or MLflow."
    code = "import sys, model_ops.predictions.journal, model_ops.predictions.settle; print([m for m in ('deltalake', 'pandas', 'mlflow', 'sklearn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

def test_without_deltalake_the_cure_is_named(tmp_path):
    code = f"import sys; sys.modules['deltalake'] = None\nfrom model_ops.predictions.settle import settle\nfrom written_log import *\nwrite({str(tmp_path)!r}, 'w0', asked('a', row(1)))\nsettle({str(tmp_path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="tests")
    assert "PreflightError" in done.stderr and "model_ops[serve]" in done.stderr

def test_errors_are_ours():
    assert issubclass(LogError, ModelOpsError)
