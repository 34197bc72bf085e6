"""Real packages through store, ledger and MLflow: what is loaded by its alias predicts as the package does."""
import os, socket, subprocess, sys, time, urllib.request
import numpy as np
import polars as pl
import pytest
from model_ops.data import contract as contracts
from model_ops.data.encode import encode, target
from model_ops.errors import PackageError
from model_ops.package.build import write_package
from model_ops.package.predictor import Predictor
from model_ops.registry import mirror
from model_ops.registry.apply import apply
from model_ops.registry.ledger import Ledger
from model_ops.registry.store import Store
from model_ops.release.decision import Decision
from model_ops.settings import Settings
from model_ops.tracking import runs

def parcels(n: int = 300) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"depot": rng.choice(["Bonn", "Köln", "Ulm"], n), "kilos": rng.gamma(2, 3, n)})
    return table.with_columns(late=rng.random(n) < .1 + .5*(table["depot"] == "Ulm").to_numpy())

@pytest.fixture
def book(tmp_path):
    from sklearn.ensemble import RandomForestClassifier
    (tmp_path/"settings.ini").write_text("[workbook]\nname = parcels\n")
    table = parcels()
    contract = contracts.learn(table, target="late")
    X, y = encode(contract, table).X, target(contract, table)
    manifest = write_package(tmp_path/"package", model=RandomForestClassifier(5, random_state=0).fit(X, y), X=X, contract=contract, threshold=.4)
    (tmp_path/"records").mkdir()
    Decision(summary="beats the dummy", outcome="promote", next="", challenger=manifest.digest, opponent=None, gates=[], evidence={}).save(tmp_path/"records"/"decision.json")
    return Settings.load(tmp_path)

def check_loaded(settings: Settings):
    "The champion, as MLflow loads it, gives the scores of the package."
    import mlflow
    mlflow.set_tracking_uri(settings.tracking_uri)
    try: loaded = mlflow.pyfunc.load_model("models:/parcels@champion")
    finally: mlflow.set_tracking_uri(None)
    table = parcels(20).drop("late")
    scores = np.asarray(loaded.predict(table.to_pandas())["score"])
    assert np.allclose(scores, Predictor.open(settings.path("package")).predict(table).score)

def test_the_champion_is_loaded_by_its_alias(book):
    done = apply(book, who="ci")
    digest = Ledger(book.ledger_url).champion().champion
    assert done.outcome == "promoted" and digest == Decision.load(book.path("records", "decision.json")).challenger
    check_loaded(book)

def test_a_flipped_byte_in_the_store_is_refused_by_name(book):
    digest = Store(book.store).put(book.path("package"))
    file = book.store/digest/"model.skops"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    with pytest.raises(PackageError, match="model.skops"): Store(book.store).materialize(digest, book.path("opponent", "package"))
    assert not book.path("opponent").exists()
    Store(book.store).put(book.path("package"))
    assert Store(book.store).get(digest) == book.store/digest

@pytest.mark.slow
def test_a_tracking_server_gets_the_files(book, tmp_path, monkeypatch):
    pytest.importorskip("flask")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", str(tmp_path/"server"),
                               "--host", "127.0.0.1", "--port", str(port), "--workers", "1"], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"})
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                break
            except OSError: time.sleep(.5)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        settings = Settings.load(book.root)
        assert apply(settings, who="ci").mirrored and apply(settings, who="ci").mirrored == []
        assert mirror.differences(Ledger(settings.ledger_url), settings) == [] and runs.runs(settings, "register")
        check_loaded(settings)
    finally:
        server.terminate()
        server.wait(30)
