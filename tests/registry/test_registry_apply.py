"""apply: once by digest, only while it holds, healed after a kill, MLflow a mirror that never decides."""
import os, shutil, sqlite3, subprocess, sys
from pathlib import Path
import pytest
from model_ops import files
from model_ops.errors import ConflictError, DataError, LedgerError, PackageError, TrackingError
from model_ops.registry import mirror
from model_ops.registry.apply import apply, whoami
from model_ops.registry.ledger import Ledger
from model_ops.registry.store import Store
from model_ops.release.decision import Decision
from model_ops.settings import Settings
from model_ops.tracking import runs

class Stand:
    "A package whose digest is that of its file `data/weights`."
    def __init__(self, folder: Path): self.digest = files.digest_file(folder/"data"/"weights")

class Book:
    "A workbook of three files."
    def __init__(self, root: Path):
        files.write(root/"settings.ini", "[workbook]\nname = flights\n")
        self.root, self.settings = root, Settings.load(root)
        self.ledger, self.store = Ledger(self.settings.ledger_url), Store(self.settings.store, verify=Stand)

    def train(self, weights: str) -> str:
        "A package that MLflow can open: its model answers with its weights."
        files.write(self.root/"package"/"data"/"weights", weights)
        files.write(self.root/"package"/"code"/"stand_in.py", "class Model:\n    def __init__(self, text): self.text = text\n    def predict(self, table, params=None): return [self.text]*len(table)\n"
                    "def _load_pyfunc(path): return Model(open(path + '/weights').read())\n")
        files.write(self.root/"package"/"MLmodel", "flavors:\n  python_function:\n    loader_module: stand_in\n    code: code\n    data: data\n")
        return Stand(self.root/"package").digest

    def decide(self, weights: str, opponent: str | None, outcome: str = "promote") -> str:
        digest = self.train(weights)
        Decision(summary=f"{weights} against {opponent}", outcome=outcome, next="", challenger=digest, opponent=opponent, gates=[], evidence={"evaluation": "e"*64}).save(self.root/"records"/"decision.json")
        return digest

    def apply(self, **more): return apply(self.settings, who="ci", store=self.store, **more)
    def champion(self): return entry.champion if (entry := self.ledger.champion()) else None
    def aliases(self) -> dict:
        mlflow = runs.client(self.settings)
        return {alias: mlflow.get_model_version("flights", version).tags[mirror.DIGEST] for alias, version in mlflow.get_registered_model("flights").aliases.items()}

@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    "An mlflow.db with its tables, which take seconds to create."
    book = Book(tmp_path_factory.mktemp("empty"))
    runs.client(book.settings)
    return book.root/"mlflow.db"

@pytest.fixture
def book(tmp_path, empty_store):
    found = Book(tmp_path/"a book")
    shutil.copyfile(empty_store, found.root/"mlflow.db")
    return found

def test_promote_then_nothing_to_do(book):
    first = book.decide("1", None)
    done = book.apply()
    assert (done.outcome, done.version, done.entry.who, book.champion()) == ("promoted", 1, "ci", first)
    assert book.ledger.versions()[0].location == f"store/{first}" and book.store.get(first)
    assert done.entry.evidence["records"] == {"evaluation": "e"*64}
    again = book.apply()
    assert again.outcome == "applied before" and again.mirrored == [] and len(book.ledger.entries()) == 1
    assert "<" not in again.sentence and "in charge" in again.sentence.lower()

@pytest.mark.parametrize("outcome", ["keep", "not enough data"])
def test_other_outcomes_are_noted_once_and_move_nothing(book, outcome):
    first = book.decide("1", None)
    book.apply()
    second = book.decide("2", first, outcome)
    assert book.apply().entry.kind == outcome and book.apply().outcome == "applied before"
    assert book.champion() == first and len(book.ledger.entries()) == 2
    assert book.aliases() == {"champion": first, "challenger": second}

def test_a_parameter_changed_and_changed_back(book):
    first = book.decide("1", None)
    book.apply()
    second = book.decide("2", first)
    book.apply()
    book.decide("1", None)  # DVC restores the old files, the old decision among them
    assert book.apply().outcome == "applied before"
    assert book.champion() == second and book.aliases() == {"champion": second}
    book.decide("1", second, "keep")  # and compares them with the champion of today
    assert book.apply().outcome == "kept" and book.champion() == second

def test_after_a_rollback_the_old_decision_stays_applied(book):
    first = book.decide("1", None)
    book.apply()
    second = book.decide("2", first)
    book.apply()
    book.ledger.append("rollback", after=2, champion=first, who="Ada", why="complaints")
    assert book.apply().outcome == "applied before" and book.champion() == first
    assert book.aliases() == {"champion": first} and book.ledger.opponent_for(first) == second

@pytest.mark.parametrize("named", [None, "first"])
def test_a_decision_holds_only_against_who_is_in_charge(book, named):
    first = book.decide("1", None)
    book.apply()
    second = book.decide("2", first)
    book.apply()
    third = book.decide("3", first if named else None)
    done = book.apply()
    assert done.outcome == "out of date" and done.entry is None and "model-ops run" in done.sentence
    assert book.champion() == second and book.ledger.version(third) == 3

@pytest.mark.parametrize("outcome", ["promote", "keep"])
def test_the_champion_evaluated_again_stays(book, outcome):
    first = book.decide("1", None)
    book.apply()
    book.ledger.register("0"*64)
    book.decide("1", "0"*64, outcome)
    done = book.apply()
    assert "as it was" in done.sentence and book.champion() == first
    assert "not in the store" in done.mirrored[0] and book.aliases() == {"champion": first}

def test_a_decision_about_another_package_is_refused(book):
    book.decide("1", None)
    book.train("2")
    with pytest.raises(PackageError, match="is about the package"): book.apply()
    assert book.ledger.entries() == [] and not book.ledger.file.exists()

def test_without_a_decision_nothing_happens(book):
    book.train("1")
    with pytest.raises(DataError, match="decision.json"): book.apply()
    assert not book.ledger.file.exists() and not book.settings.store.exists()

def test_mlflow_loads_the_champion(book):
    first = book.decide("1", None)
    book.apply()
    book.decide("2", first, "keep")
    book.apply()
    import mlflow
    import pandas as pd
    mlflow.set_tracking_uri(book.settings.tracking_uri)
    try: assert list(mlflow.pyfunc.load_model("models:/flights@champion").predict(pd.DataFrame({"x": [1, 2]}))) == ["1", "1"]
    finally: mlflow.set_tracking_uri(None)

def test_a_kill_before_the_ledger_is_completed_by_the_next_apply(book):
    first = book.decide("1", None)
    book.store.put(book.root/"package")
    book.ledger.register(first)
    assert book.apply().outcome == "promoted" and book.aliases() == {"champion": first}

def test_a_kill_between_ledger_and_mirror_is_healed(book):
    first = book.decide("1", None)
    book.apply()
    second = book.decide("2", first)
    book.ledger.register(book.store.put(book.root/"package"))
    decision = Decision.load(book.root/"records"/"decision.json")
    book.ledger.append("promote", after=1, champion=second, challenger=second, opponent=first, decision=decision.digest, who="ci", why="killed right after this")
    told = mirror.differences(book.ledger, book.settings)
    assert len(told) == 2 and "version 2" in told[0] and "@champion is version 1" in told[1]
    assert book.apply().outcome == "applied before"
    assert book.aliases() == {"champion": second} and mirror.differences(book.ledger, book.settings) == []

def test_an_alias_moved_behind_our_back_is_told_and_put_right(book):
    first = book.decide("1", None)
    book.apply()
    mlflow = runs.client(book.settings)
    mlflow.create_model_version("flights", "file:///elsewhere", await_creation_for=0)
    mlflow.set_registered_model_alias("flights", "champion", 2)
    mlflow.set_registered_model_alias("flights", "challenger", 2)
    told = mirror.differences(book.ledger, book.settings)
    assert len(told) == 2 and all("does not know" in line for line in told)
    assert book.champion() == first
    assert book.apply().mirrored == [f"@champion is {first[:12]}", "@challenger is nobody"] and book.aliases() == {"champion": first}

def test_a_moved_workbook_gets_versions_at_its_new_place(book, tmp_path):
    first = book.decide("1", None)
    book.apply()
    book.root.rename(tmp_path/"moved")
    moved = Book(tmp_path/"moved")
    assert "is missing" in mirror.differences(moved.ledger, moved.settings)[0]
    moved.apply()
    source = runs.client(moved.settings).get_model_version_by_alias("flights", "champion").source
    assert source.startswith((tmp_path/"moved"/"mlartifacts").as_uri()) and source.endswith(first)
    assert mirror.differences(moved.ledger, moved.settings) == [] and not book.root.exists()

@pytest.mark.parametrize("how", ["locked", "garbage"])
def test_trouble_with_mlflow_leaves_the_ledger_complete(book, how):
    first = book.decide("1", None)
    database = book.root/"mlflow.db"
    if how == "garbage": database.write_bytes(os.urandom(9000))
    before = database.read_bytes()
    with sqlite3.connect(database, isolation_level=None) as other:
        if how == "locked": other.execute("BEGIN EXCLUSIVE")
        settings = book.settings
        with pytest.raises(TrackingError, match="is in charge now.*Only MLflow could not follow.*Afterwards: model-ops apply") as caught: apply(settings, who="ci", store=book.store, patience=.1)
        assert len(mirror.differences(book.ledger, settings, patience=.1)) == 1
        if how == "locked": other.execute("ROLLBACK")
    assert caught.value.applied.outcome == "promoted" and book.champion() == first and database.read_bytes() == before
    assert len(book.ledger.entries()) == 1

def test_a_damaged_ledger_is_left_alone_and_nothing_moves(book):
    first = book.decide("1", None)
    book.apply()
    book.decide("2", first)
    book.ledger.file.write_bytes(os.urandom(9000))
    torn = book.ledger.file.read_bytes()
    with pytest.raises(LedgerError, match="damaged"): book.apply()
    assert book.ledger.file.read_bytes() == torn and book.aliases() == {"champion": first}

RACER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_registry_apply import Book
print(Book(Path(sys.argv[1])).apply().outcome)
"""

@pytest.mark.slow
def test_four_at_once_apply_one_decision_once(book):
    book.decide("1", None)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    racers = [subprocess.Popen([sys.executable, "-c", RACER, str(book.root), str(Path(__file__).parent)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) for _ in range(4)]
    said = [p.communicate() for p in racers]
    outcomes = sorted(out.strip() or err.strip().splitlines()[-1] for out, err in said)
    assert outcomes.count("promoted") == 1 and all(o == "applied before" or ConflictError.__name__ in o for o in outcomes if o != "promoted"), outcomes
    assert len(book.ledger.entries()) == 1 and len(book.ledger.versions()) == 1
    assert mirror.differences(book.ledger, book.settings) == []

def test_who_acts(tmp_path, monkeypatch):
    for variable in ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID", "CI"): monkeypatch.delenv(variable, raising=False)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "config", "user.name", "Ada L."], cwd=tmp_path, check=True)
    assert whoami(tmp_path) == "Ada L."
    monkeypatch.setenv("CI", "true")
    assert whoami(tmp_path) == "CI"
    monkeypatch.setenv("GITHUB_ACTOR", "ada")
    assert whoami(tmp_path) == "ada (CI)"
