"""The diary: fast, quiet, complete, and clear when its store is locked, damaged or out of reach."""
import os, socket, sqlite3, subprocess, sys, time
from pathlib import Path
import pytest
from model_ops.errors import TrackingError
from model_ops.settings import Settings
from model_ops.tracking import runs as module
from model_ops.tracking.runs import log_run, log_trials, ready, runs

def workbook(folder: Path, **environment) -> Settings:
    folder.mkdir(parents=True, exist_ok=True)
    (folder/"settings.ini").write_text("[workbook]\nname = flights\n")
    return Settings.load(folder)

@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    found = workbook(tmp_path_factory.mktemp("a book")/"50% of #1")
    log_run(found, step="warm up")
    return found

def test_what_is_logged_comes_back(settings, tmp_path):
    (tmp_path/"package"/"deep").mkdir(parents=True)
    (tmp_path/"package"/"deep"/"model.onnx").write_bytes(b"onnx")
    (tmp_path/"report.html").write_text("<p>fine</p>")
    started = time.time()
    run_id = log_run(settings, step="train", params={"gates": "x"*10_000, "n": 3, "none": None}, metrics={"roc_auc": .7, "odd!name": 1, "undefined": None, "text": "x"},
                     tags={"model_ops.commit": "abc"}, artifacts=[tmp_path/"package", tmp_path/"report.html"], seconds=30)
    run = runs(settings, "train", 1)[0]
    assert (run.run_id, run.step, run.status) == (run_id, "train", "FINISHED")
    assert run.metrics == {"roc_auc": .7, "odd_name": 1.0}
    assert run.params["n"] == "3" and len(run.params["gates"]) <= 6_000 and run.params["gates"].endswith("(10,000 characters)")
    assert run.tags["model_ops.commit"] == "abc" and abs(started - run.started.timestamp() - 30) < 5
    assert {p.name for p in (settings.root/"mlartifacts").rglob("*") if p.is_file()} >= {"model.onnx", "report.html"}
    assert runs(settings, tags={"model_ops.commit": "abc"})[0].run_id == run_id
    import mlflow.artifacts
    listed = mlflow.MlflowClient(settings.tracking_uri).list_artifacts(run_id)
    assert {a.path for a in listed} == {"package", "report.html"}  # MLflow finds what was copied as files

def test_more_than_one_batch(settings):
    log_run(settings, step="many", params={f"p{i}": i for i in range(250)}, metrics={f"m{i}": i for i in range(120)})
    run = runs(settings, "many")[0]
    assert len(run.params) == 250 and len(run.metrics) == 120

def test_a_logged_run_is_quick(settings, tmp_path):
    (tmp_path/"model").write_bytes(os.urandom(2_000_000))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        log_run(settings, step="quick", params={f"p{i}": i for i in range(20)}, metrics={f"m{i}": i for i in range(20)}, artifacts=[tmp_path/"model"])
        times.append(time.perf_counter() - start)
    assert sorted(times)[2] < 1  # 0.03 s on an idle machine

def test_trials_are_nested_in_order_and_leave_the_history_alone(settings):
    parent, before = log_run(settings, step="searched"), len(runs(settings, n=1000))
    trials = [dict(name=f"trial {i}", params={"rate": i/10, "family": "tree"}, metrics={"log_loss": 1 - i/10, "undefined": None}, tags={"model_ops.state": "complete"}, seconds=10.0, status="KILLED" if i == 2 else "FINISHED") for i in range(5)]
    ids = log_trials(settings, parent, iter(trials))
    found = runs(settings, tags={"mlflow.parentRunId": parent}, n=100)[::-1]
    assert [r.run_id for r in found] == ids and [r.tags["mlflow.runName"] for r in found] == [t["name"] for t in trials]
    assert (found[3].params, found[3].metrics, found[2].status, found[0].step) == ({"rate": "0.3", "family": "tree"}, {"log_loss": pytest.approx(.7)}, "KILLED", "")
    assert (found[1].started - found[0].started).total_seconds() == pytest.approx(10, abs=.01) and found[0].tags["model_ops.state"] == "complete"
    assert len(runs(settings, n=1000)) == before and len(runs(settings, "searched")) == 1 and log_trials(settings, parent, []) == []

def test_a_trial_of_an_unknown_run_or_with_an_unknown_key_is_told(settings):
    with pytest.raises(TrackingError): log_trials(settings, "0"*32, [dict(name="a")])
    with pytest.raises(TrackingError, match="'param'"): log_trials(settings, log_run(settings, step="searched"), [dict(name="a", param={})])

def test_a_missing_artifact_writes_nothing(settings):
    before = len(runs(settings, n=1000))
    with pytest.raises(TrackingError, match="nowhere.txt"): log_run(settings, step="train", artifacts=["nowhere.txt"])
    assert len(runs(settings, n=1000)) == before

def test_a_failure_in_the_middle_is_told_and_marked(settings, tmp_path):
    (settings.root/"mlartifacts").rename(settings.root/"kept")
    (settings.root/"mlartifacts").write_text("a file where the folder should be")
    (tmp_path/"a.txt").write_text("")
    try:
        with pytest.raises(TrackingError, match="out of reach"): log_run(settings, step="half", artifacts=[tmp_path/"a.txt"])
    finally:
        (settings.root/"mlartifacts").unlink()
        (settings.root/"kept").rename(settings.root/"mlartifacts")
    assert runs(settings, "half")[0].status == "FAILED"

def test_looking_creates_nothing(tmp_path):
    settings = workbook(tmp_path)
    assert runs(settings) == [] and ready(settings) is None
    assert [p.name for p in tmp_path.iterdir()] == ["settings.ini"]

def test_a_locked_store_says_so_and_is_left_alone(settings):
    with sqlite3.connect(settings.root/"mlflow.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        for attempt in (lambda: ready(settings, .1), lambda: log_run(settings, step="train", patience=.1)):
            with pytest.raises(TrackingError, match="locked by another process.*Nothing was written"): attempt()
        other.execute("ROLLBACK")
    ready(settings)

@pytest.mark.parametrize("how", ["garbage", "half"])
def test_a_damaged_store_says_so_and_is_left_alone(settings, tmp_path, how):
    whole = (settings.root/"mlflow.db").read_bytes()
    book = workbook(tmp_path/"book")
    (book.root/"mlflow.db").write_bytes(os.urandom(9000) if how == "garbage" else whole[:len(whole)//2])
    torn = (book.root/"mlflow.db").read_bytes()
    with pytest.raises(TrackingError, match="damaged.*Nothing was written"): log_run(book, step="train")
    assert (book.root/"mlflow.db").read_bytes() == torn

@pytest.mark.slow
def test_the_cure_for_a_damaged_store_works(tmp_path):
    book = workbook(tmp_path/"book")
    (book.root/"mlflow.db").write_bytes(os.urandom(9000))
    with pytest.raises(TrackingError) as caught: ready(book)
    subprocess.run(caught.value.todo.split(": ", 1)[1].split(". Then")[0], shell=True, check=True)
    log_run(book, step="train")
    assert len(runs(book)) == 1

def test_a_server_that_does_not_answer_is_known_at_once(tmp_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        for uri in (f"http://127.0.0.1:{taken.getsockname()[1]}", f"postgresql+psycopg2://me:secret@127.0.0.1:{taken.getsockname()[1]}/x"):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
            with pytest.raises(TrackingError, match="out of reach") as caught: ready(workbook(tmp_path), patience=1)
            assert "secret" not in str(caught.value)

@pytest.mark.parametrize("uri", ["file:./mlruns", "./mlruns"])
def test_a_folder_is_no_store(tmp_path, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingError, match="is a folder"): ready(workbook(tmp_path))

def test_errors_of_the_caller_pass_through(settings):
    with pytest.raises(ZeroDivisionError), module.explained(settings): raise ZeroDivisionError

FIRST = """
import sys
from model_ops.settings import Settings
from model_ops.tracking.runs import log_run
log_run(Settings.load(sys.argv[1]), step="train", metrics={"m": 1})
"""

@pytest.mark.slow
def test_several_first_runs_at_once_are_quiet_and_all_logged(tmp_path):
    book = workbook(tmp_path)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    both = [subprocess.Popen([sys.executable, "-c", FIRST, str(book.root)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) for _ in range(3)]
    said = [p.communicate()[0] for p in both]
    assert said == ["", "", ""] and len(runs(book)) == 3

def test_importing_is_light():
    code = "import sys, model_ops.tracking.runs; print([m for m in ('mlflow', 'sqlalchemy', 'pandas', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
