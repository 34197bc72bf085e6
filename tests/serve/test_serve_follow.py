"""The server follows the ledger; whatever goes wrong on the way is a sentence, and the old version serves on."""
import os
import shutil
import sqlite3
from types import SimpleNamespace
import numpy as np
import polars as pl
import pytest
from model_ops.data.contract import learn
from model_ops.data.encode import encode, target
from model_ops.package.build import write_package
from model_ops.registry.ledger import Ledger
from model_ops.registry.store import Store
from model_ops.serve import follow
from model_ops.serve.ask import Ask
from model_ops.serve.follow import Follower, stamp
from model_ops.settings import Settings

NOTHING = SimpleNamespace(package="", pyfunc="")


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    "Two packages, by digest."
    from sklearn.linear_model import LogisticRegression
    folder, rng = tmp_path_factory.mktemp("packages"), np.random.default_rng(0)
    parcels = pl.DataFrame({"kilos": rng.gamma(2, 3, 300)}).with_columns(late=pl.col("kilos") > 5 + pl.Series(rng.normal(size=300)))
    contract = learn(parcels, target="late")
    X, y = encode(contract, parcels).X, target(contract, parcels)
    for name, strength in (("a", 1.0), ("b", 0.01)): write_package(folder/name, model=LogisticRegression(C=strength).fit(X, y), X=X, contract=contract, threshold=0.5)
    store = Store(folder/"store")
    return SimpleNamespace(folder=folder, store=store, digests=[store.put(folder/name) for name in "ab"])


@pytest.fixture
def book(tmp_path, packages, monkeypatch):
    for name in ("MODEL_OPS_ROOT", "MLFLOW_TRACKING_URI"): monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(follow, "AGAIN", 0.0)  # what failed is tried at each look
    shutil.copytree(packages.folder/"store", tmp_path/"store")
    (tmp_path/"settings.ini").write_text("[workbook]\nname = parcels\n")
    settings = Settings.load(tmp_path)
    ledger = Ledger(settings.ledger_url)
    for digest in packages.digests: ledger.register(digest)
    def put(which, kind="promote"): return ledger.append(kind, after=len(ledger.entries()), champion=packages.digests[which], who="test", why="It is time.")
    return SimpleNamespace(settings=settings, ledger=ledger, put=put, digests=packages.digests, store=Store(settings.store), root=tmp_path, file=tmp_path/"ledger.db")


def answers(served): return served.predict(served.take(Ask([{"kilos": 3.0}], 1, "v2")).X)["score"][0] > 0


def test_it_follows_there_and_back(book):
    follower = Follower(book.settings, NOTHING)
    assert follower.look() is None and "Nobody is in charge" in follower.trouble
    versions = []
    for which in (0, 1, 0, 0, 1):
        book.put(which)
        served = follower.look()
        versions.append(served and served.version)
        assert follower.trouble == "" and follower.look() is None and (served is None or answers(served))
    assert versions == ["1", "2", "1", None, "2"] and served.name == "parcels" and served.digest == book.digests[1]


def test_who_serves_already_is_not_opened_again(book):
    book.put(0)
    current = Follower(book.settings, NOTHING).look()
    follower = Follower(book.settings, NOTHING, current)
    assert follower.look() is None and follower.trouble == ""
    book.put(1)
    assert follower.look().version == "2"


@pytest.mark.parametrize("harm", ["changed", "gone", "foreign"])
def test_a_damaged_package_is_refused_until_it_is_cured(book, harm):
    book.put(0)
    follower = Follower(book.settings, NOTHING)
    follower.look()
    place = book.store.path(book.digests[1])
    shutil.move(place, book.root/"sound")
    if harm == "changed":
        shutil.copytree(book.root/"sound", place)
        (place/"model.onnx").write_bytes((place/"model.onnx").read_bytes() + b"\0")
    if harm == "foreign": shutil.copytree(book.store.path(book.digests[0]), place)
    book.put(1)
    for _ in range(2): assert follower.look() is None and f"the package {book.digests[1][:12]}" in follower.trouble
    shutil.rmtree(place, ignore_errors=True)
    shutil.move(book.root/"sound", place)
    assert follower.look().version == "2" and follower.trouble == ""


def test_a_rollback_ends_the_trouble_too(book):
    book.put(0)
    follower = Follower(book.settings, NOTHING)
    follower.look()
    shutil.rmtree(book.store.path(book.digests[1]))
    book.put(1)
    assert follower.look() is None and follower.trouble
    book.put(0, "rollback")
    assert follower.look() is None and not follower.trouble


@pytest.mark.parametrize("harm", ["gone", "garbage", "all gone"])
def test_a_ledger_out_of_reach_is_said_until_it_is_back(book, harm):
    book.put(0)
    follower = Follower(book.settings, NOTHING)
    follower.look()
    sound = book.file.read_bytes()
    if harm == "garbage": book.file.write_bytes(b"no ledger" * 1000)
    else: book.file.unlink()
    if harm == "all gone": os.unlink(f"{book.file}.bak")
    for _ in range(2): assert follower.look() is None and follower.trouble.startswith("the ledger: ")
    book.file.write_bytes(sound)
    assert follower.look() is None and follower.trouble == ""
    book.put(1)
    assert follower.look().version == "2"


def test_a_locked_ledger_is_said(book, monkeypatch):
    book.put(0)
    follower = Follower(book.settings, NOTHING)
    follower._ledger.patience = 0.05
    other = sqlite3.connect(book.file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert follower.look() is None and "locked by another process" in follower.trouble
    other.execute("ROLLBACK")
    other.close()
    assert follower.look().version == "1"


def test_a_second_write_in_the_same_tick_is_seen(book):
    book.put(0)
    before, facts = stamp(book.ledger), book.file.stat()
    book.put(1)
    os.utime(book.file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert book.file.stat().st_size == facts.st_size and stamp(book.ledger) != before


def test_a_write_ahead_log_is_seen(book):
    book.put(0)
    connection = sqlite3.connect(book.file)
    connection.execute("PRAGMA journal_mode=WAL")
    follower = Follower(book.settings, NOTHING)
    assert follower.look().version == "1" and follower.look() is None
    book.put(1)
    assert follower.look().version == "2"
    connection.close()


def test_what_failed_waits_before_it_is_tried_again(book, monkeypatch):
    monkeypatch.setattr(follow, "AGAIN", 3600.0)
    follower = Follower(book.settings, NOTHING)
    follower.look()
    opened = []
    monkeypatch.setattr(follower, "_open", lambda: opened.append(1))
    for _ in range(5): follower.look()
    assert opened == []
    book.put(0)
    follower.look()
    assert opened == [1]


def test_a_pinned_package_follows_nothing(book, packages):
    book.put(1)
    follower = Follower(book.settings, SimpleNamespace(package=str(packages.folder/"a"), pyfunc=""))
    served = follower.look()
    assert served.digest == book.digests[0] and served.number is None and served.version == served.digest[:12]
    book.put(0)
    assert follower.look() is None
    relative = Follower(book.settings, SimpleNamespace(package=f"store/{book.digests[1]}", pyfunc=""))
    assert relative.look().digest == book.digests[1]


def test_a_pinned_package_that_is_not_there_is_said(book, packages):
    follower = Follower(book.settings, SimpleNamespace(package="nowhere", pyfunc=""))
    assert follower.look() is None and follower.trouble.startswith("the package in nowhere: There is no model package")
    shutil.copytree(packages.folder/"a", book.root/"nowhere")
    assert follower.look().digest == book.digests[0] and follower.trouble == ""


@pytest.mark.slow
def test_a_model_of_mlflow_by_an_explicit_setting(book):
    import mlflow
    from sklearn.linear_model import LinearRegression
    X = pl.DataFrame({"kilos": [1.0, 2.0]}).to_pandas()
    mlflow.sklearn.save_model(LinearRegression().fit(X, [1.0, 2.0]), book.root/"linear", signature=mlflow.models.infer_signature(X, [1.0]), pip_requirements=[])
    book.put(0)
    follower = Follower(book.settings, SimpleNamespace(package="", pyfunc="linear"))
    assert answers(follower.look()) and follower.look() is None
    other = Follower(book.settings, SimpleNamespace(package="", pyfunc="models:/nobody/1"))
    assert other.look() is None and other.trouble.startswith("models:/nobody/1: ")
