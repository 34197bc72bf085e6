"""Files, ledger, alias and status agree, whatever is run, restored, broken or tried. The real notebooks, DVC, MLflow and git."""
import json
import shutil

import pytest

from small_workbook import Workbook

pytestmark = pytest.mark.slow


def alias(book: Workbook, name: str = "champion") -> str | None:
    "The package digest that MLflow's alias points to."
    code = ("import sys, mlflow; from mlflow import MlflowClient; from model_ops.settings import Settings; s = Settings.load()\n"
            "c = MlflowClient(s.tracking_uri, s.tracking_uri)\n"
            "try: print(c.get_model_version_by_alias(s.model, sys.argv[1]).tags['model_ops.digest'])\n"
            "except mlflow.exceptions.MlflowException: print('')")
    return book.call("python", "-c", code, name).stdout.strip().splitlines()[-1] or None


def agree(book: Workbook) -> dict:
    "Assert that files, ledger, alias and status tell one story; returns the status."
    now = book.status()
    assert now["stale"] == {} and now["missing"] == [] and now["mirror"] == []
    assert now["challenger"] == book.json("package/manifest.json")["digest"]
    assert now["opponent"] == book.json("opponent/pin.json")["opponent"]
    moves = [champion for _, _, champion in book.ledger()]
    assert now["champion"]["digest"] == moves[-1] == alias(book)
    assert now["decision"]["applied"]
    return now


def test_a_parameter_changed_and_changed_back(run_workbook, tmp_path):
    book = run_workbook.copy(tmp_path / "orders")
    first, entries = agree(book), book.ledger()
    assert [kind for _, kind, _ in entries] == ["promote"]

    book.told("train", max_iter=60)
    book.ops("run")
    changed = agree(book)
    assert changed["challenger"] != first["challenger"] and changed["opponent"] == first["challenger"]
    assert len(book.ledger()) == 2

    book.told("train", max_iter=30)
    book.ops("run")
    back = agree(book)
    assert back["challenger"] == first["challenger"]
    digests = [e for e in book.ledger()]
    assert digests[:2] == [*entries, digests[1]], "earlier entries stay as they were"
    if changed["champion"]["digest"] == first["challenger"]:  # the try was not promoted: the old decision came back, and was not applied again
        assert back["decision"]["digest"] == first["decision"]["digest"] and len(digests) == 2
    else:                                                      # it was: the old model now has to beat it
        assert back["opponent"] == changed["challenger"] and len(digests) == 3

    before = book.outputs(), book.ledger()
    book.ops("run")
    assert (book.outputs(), book.ledger()) == before, "a run with nothing changed changes nothing"


def test_a_restored_decision_is_not_applied_anew(run_workbook, tmp_path):
    book = run_workbook.copy(tmp_path / "orders")
    first = book.git("rev-parse", "HEAD")
    book.told("train", estimator="linear")
    book.ops("run")
    book.git("commit", "-q", "-a", "-m", "Another estimator")
    entries = book.ledger()
    book.git("checkout", "-q", first)
    book.call("dvc", "checkout", "-q")
    said = book.ops("apply").stdout
    assert book.ledger() == entries and "was applied on" in said
    assert book.status()["champion"]["digest"] == entries[-1][2]


def test_b_a_fresh_clone_runs_to_the_same_records(run_workbook, tmp_path):
    book = Workbook(tmp_path / "clone")
    run_workbook.git("clone", "-q", run_workbook.root, book.root)
    assert not (book.root / "records").exists() and not (book.root / "ledger.db").exists()
    book.ops("run")
    assert book.records() == run_workbook.records()
    here, there = book.json("package/manifest.json"), run_workbook.json("package/manifest.json")
    assert here["origin"].pop("commit") == book.git("rev-parse", "HEAD"), "the manifest says which commit trained it"
    there["origin"].pop("commit")  # the first run's: the outputs that it is followed by were committed after it
    assert here == there
    assert agree(book)["champion"]["digest"] == run_workbook.status()["champion"]["digest"]


def test_c_clone_and_pull_runs_nothing_and_tells_the_truth(run_workbook, tmp_path):
    book = run_workbook.copy(tmp_path / "orders")
    book.call("dvc", "remote", "add", "-q", "-d", "shelf", tmp_path / "shelf")
    book.git("commit", "-q", "-a", "-m", "A remote")
    book.call("dvc", "push", "-q")
    clone = Workbook(tmp_path / "clone")
    book.git("clone", "-q", book.root, clone.root)
    clone.call("dvc", "pull", "-q")
    assert clone.outputs().keys() == {k for k in book.outputs() if k != "reports/index.html"}
    now = clone.status()
    assert now["stale"] == {} and now["missing"] == [] and now["champion"] is None and now["decision"]["applied"] is None
    assert not (clone.root / "ledger.db").exists(), "looking creates no ledger"
    from model_ops.package.manifest import verify
    assert verify(clone.root / "package").digest == now["challenger"]
    runs = {p: p.stat().st_mtime_ns for p in (clone.root / "runs").glob("*.ipynb")}
    clone.call("dvc", "repro", "-q")
    assert {p: p.stat().st_mtime_ns for p in (clone.root / "runs").glob("*.ipynb")} == runs, "nothing ran"


def test_d_a_failing_rerun_leaves_the_last_good_run(run_workbook, tmp_path):
    book = run_workbook.copy(tmp_path / "orders")
    before, entries = book.outputs(), book.ledger()
    path = book.root / "nbs/steps/train.ipynb"
    nb = json.loads(path.read_text())
    nb["cells"].insert(len(nb["cells"]) - 1, {"cell_type": "code", "id": "boom", "metadata": {}, "source": ["raise ValueError('the recipe is burnt')"], "outputs": [], "execution_count": None})
    path.write_text(json.dumps(nb))
    done = book.ops("run", check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "the recipe is burnt" in said and "model-ops debug train" in said and "Traceback" not in done.stderr
    assert book.outputs() == before and book.ledger() == entries
    assert book.status()["champion"]["digest"] == entries[-1][2] == alias(book)
    failed = json.loads((book.root / "runs/failed/train.ipynb").read_text())
    assert any(o.get("evalue") == "the recipe is burnt" for c in failed["cells"] for o in c.get("outputs", []))
    assert (book.root / "runs/failed/train.html").exists()

    book.git("checkout", "-q", "nbs/steps/train.ipynb")
    book.ops("run")
    assert book.records() == run_workbook.records() and not (book.root / "runs/failed/train.ipynb").exists()


@pytest.mark.parametrize("how", [[], ["--temp"]], ids=["plain", "temp"])
def test_e_experiments_touch_neither_ledger_nor_aliases(run_workbook, tmp_path, how):
    book = run_workbook.copy(tmp_path / "orders")
    entries, champion = book.ledger(), alias(book)
    book.call("dvc", "exp", "run", "-q", *how, "-n", "deep", "-S", "params/train.yaml:max_iter=60")
    assert book.ledger() == entries and alias(book) == champion
    shown = book.call("dvc", "exp", "show", "--json").stdout
    assert "deep" in shown
    if not how:
        assert book.status()["challenger"] != entries[-1][2], "the files are the experiment's"
        assert book.status()["decision"]["applied"] is None


def test_set_holds_for_one_run_alone(run_workbook, tmp_path):
    book = run_workbook.copy(tmp_path / "orders")
    before = (book.root / "params/train.yaml").read_bytes()
    said = book.ops("run", "--set", "train.max_iter=15").stdout
    assert "nothing was put in charge" in said and "max_iter: 15 in params/train.yaml" in said
    assert (book.root / "params/train.yaml").read_bytes() == before
    assert book.json("package/manifest.json")["digest"] != run_workbook.json("package/manifest.json")["digest"]
    assert book.ledger() == run_workbook.ledger()
    assert "train" in book.status()["stale"]
    done = book.ops("run", "--set", "train.max_itre=15", check=False)
    assert done.returncode == 2 and "max_iter" in done.stderr
    shutil.rmtree(book.root)


def test_a_changed_source_is_noticed_and_a_missing_one_is_named(run_workbook, tmp_path):
    book = run_workbook.copy(tmp_path / "orders")
    source = book.root / "source/orders.csv"
    assert "source/orders.csv" in (book.root / "dvc.yaml").read_text()
    lines = source.read_text().splitlines()
    source.write_text("\n".join([*lines, lines[-1].replace(lines[-1].split(",")[0], "o999999")]) + "\n")
    assert "prepare" in book.status()["stale"]
    before = book.json("records/prepare.json")["windows"]
    book.ops("run")
    rows = lambda windows: sum(w["rows"] for w in windows)
    assert rows(book.json("records/prepare.json")["windows"]) == rows(before) + 1
    source.rename(source.with_name("orderz.csv"))
    done = book.ops("run", check=False)
    assert done.returncode == 1 and "orderz.csv" in done.stderr


def test_a_clone_adopts_the_champion_that_its_commit_names(run_workbook, tmp_path):
    book = run_workbook.copy(tmp_path / "orders")
    first = book.status()["champion"]["digest"]
    book.told("train", max_iter=60)
    book.ops("run")
    assert book.json("opponent/pin.json")["opponent"] == first
    book.call("dvc", "remote", "add", "-q", "-d", "shelf", tmp_path / "shelf")
    book.git("add", "-A")
    book.git("commit", "-q", "-m", "Another")
    book.call("dvc", "push", "-q")
    clone = Workbook(tmp_path / "clone")
    book.git("clone", "-q", book.root, clone.root)
    clone.call("dvc", "pull", "-q")
    clone.ops("run", "--no-apply")
    assert clone.ledger() == [] and clone.git("status", "--porcelain") == "", "without apply nobody is adopted, and the pin stays"
    records = clone.records()
    clone.ops("run")
    assert clone.records() == records and clone.git("status", "--porcelain") == "", "nothing had to run"
    assert [kind for _, kind, _ in clone.ledger()] == ["adopt", book.ledger()[-1][1]] and clone.ledger()[0][2] == first
    assert clone.status()["champion"]["digest"] == book.status()["champion"]["digest"]
