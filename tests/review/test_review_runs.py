"""What a run may be called, and what is said where it is not there."""
import json
import shutil

import pytest
from model_ops.errors import DataError, ModelOpsError, ParameterError
from model_ops.registry.ledger import Ledger
from model_ops.review.diff import diff
from model_ops.review.runs import known, side


def ledger(book) -> Ledger: return Ledger(book.settings.ledger_url)


def test_every_way_to_name_a_run(two_runs):
    champion = ledger(two_runs).champion().champion
    now = side("now", two_runs.settings)
    assert now.who.digest == json.loads((two_runs.root / "package/manifest.json").read_text())["digest"] != champion
    for name in ("champion", "v1", champion, champion[:8], "HEAD~1", two_runs.git("rev-parse", "HEAD~1"), two_runs.git("rev-parse", "--short", "HEAD~1")):
        found = side(name, two_runs.settings)
        assert found.who.digest == champion and found.evaluation and found.verdict and found.decision and found.contract and found.windows, name
        assert found.params["train"] == {"max_depth": 1} and found.open().digest == champion, name
    assert side("HEAD", two_runs.settings).who.digest == now.who.digest
    assert {"now", "hand", "champion", "v1", "HEAD"} <= set(known(two_runs.settings))


def test_looking_changes_nothing(two_runs):
    before = {p: p.stat().st_mtime_ns for p in sorted(two_runs.root.rglob("*")) if ".git" not in p.parts}
    diff("HEAD~1", settings=two_runs.settings)
    assert {p: p.stat().st_mtime_ns for p in sorted(two_runs.root.rglob("*")) if ".git" not in p.parts} == before
    assert two_runs.git("status", "--porcelain", "--untracked-files=no") == ""


@pytest.mark.parametrize("name", ["chmpion", "HAED", "v9", "0" * 12, "a" * 32, "--upload-pack=x", "HEAD~99", "", " "])
def test_an_unknown_run_is_answered_with_what_there_is(two_runs, name):
    with pytest.raises(ParameterError) as e: side(name, two_runs.settings)
    assert e.value.exit_code == 2 and "champion" in str(e.value)


def test_nearest_name(two_runs):
    with pytest.raises(ParameterError, match="Did you mean 'champion'"): side("chmpion", two_runs.settings)


def test_a_name_that_is_two_things_is_refused(two_runs, tmp_path):
    book = two_runs.copy(tmp_path / "book")
    book.git("tag", ledger(book).champion().champion[:10])
    with pytest.raises(ParameterError, match="several things"): side(ledger(book).champion().champion[:10], book.settings)


def test_nothing_has_run(tmp_path):
    (tmp_path / "settings.ini").write_text("[workbook]\nname = x\n")
    from model_ops.settings import Settings
    with pytest.raises(DataError, match="has not run here yet.*model-ops run"): diff(settings=Settings.load(tmp_path))
    (tmp_path / "dvc.lock").write_text("stages: {}\n")
    with pytest.raises(DataError, match="dvc pull"): diff(settings=Settings.load(tmp_path))


def test_nobody_in_charge_is_the_dummy(two_runs, tmp_path):
    book = two_runs.copy(tmp_path / "book")
    for file in book.root.glob("ledger.db*"): file.unlink()
    with pytest.raises(DataError, match="Nobody is in charge"): side("champion", book.settings)
    found = diff(settings=book.settings)
    assert found.before.title == "dummy" and found.how == "paired" and "Nobody else" in " ".join(found.notes)


def test_a_clone_knows_the_champion_by_its_pin(two_runs, tmp_path):
    book = two_runs.copy(tmp_path / "book")
    champion = ledger(book).champion().champion
    (book.root / "opponent").mkdir()
    (book.root / "opponent/pin.json").write_text(json.dumps({"opponent": champion}))
    shutil.move(book.settings.store / champion, book.root / "opponent/package")
    for file in book.root.glob("ledger.db*"): file.unlink()
    found = diff(settings=book.settings)
    assert found.before.digest == champion and found.how == "paired"


def test_the_champion_itself_is_held_against_the_one_before(two_runs, tmp_path):
    book = two_runs.copy(tmp_path / "book")
    former = ledger(book).champion().champion
    book.promote(side("now", book.settings).who.digest)
    found = diff(settings=book.settings)
    assert found.before.digest == former and "the champion before" in found.before.called and found.how == "paired"


def test_the_same_run_twice(two_runs):
    found = diff("HEAD", "now", two_runs.settings)
    assert found.same and found.summary.startswith("Nothing differs") and len(found.text().splitlines()) < 8
    assert "Nothing differs" in found.page() and "Nothing differs" in found.comment()


def test_a_damaged_record_is_named(two_runs, tmp_path):
    book = two_runs.copy(tmp_path / "book")
    (book.root / "records/verdict.json").write_text('{"kind": "verdict", "version"')
    with pytest.raises(DataError, match="records/verdict.json is not JSON"): diff(settings=book.settings)
    (book.root / "records/verdict.json").unlink()
    assert diff(settings=book.settings).drift.outcome[1] == ""


def test_records_of_another_package_are_left_out(two_runs, tmp_path):
    book = two_runs.copy(tmp_path / "book")
    shutil.rmtree(book.root / "package")
    champion = ledger(book).champion().champion
    shutil.copytree(book.settings.store / champion, book.root / "package")
    found = side("now", book.settings)
    assert found.evaluation is None and found.decision is None and any("left out" in note for note in found.notes)


def test_a_cache_that_lacks_the_outputs(two_runs, tmp_path):
    book = two_runs.copy(tmp_path / "book")
    shutil.rmtree(book.root / ".dvc/cache")
    with pytest.raises(DataError) as e: side("HEAD~1", book.settings)
    assert "stage 'train'" in str(e.value) and "dvc fetch --all-commits" in str(e.value) and e.value.stage == "train"
    assert side("v1", book.settings).notes and diff(settings=book.settings).how == "paired"  # a package speaks for itself


def test_a_cache_elsewhere_is_found(two_runs, tmp_path):
    book = two_runs.copy(tmp_path / "book")
    shutil.move(book.root / ".dvc/cache", tmp_path / "elsewhere")
    (book.root / ".dvc/config").write_text("[core]\n    analytics = false\n    autostage = true\n[cache]\n    type = symlink\n    dir = ../../elsewhere\n['remote \"here\"']\n    url = x\n")
    assert side("HEAD~1", book.settings).evaluation


def test_a_revision_without_a_run(two_runs, tmp_path):
    book = two_runs.copy(tmp_path / "book")
    book.git("rm", "-q", "--cached", "dvc.lock")
    book.git("commit", "-q", "-m", "No lock")
    with pytest.raises(DataError, match="has no dvc.lock"): side("HEAD", book.settings)


def test_by_hand(two_runs, tmp_path):
    book = two_runs.copy(tmp_path / "book")
    with pytest.raises(DataError, match="No step was run by hand"): side("hand", book.settings)
    scratch = book.root / "scratch/train"
    (scratch / "records").mkdir(parents=True)
    (scratch / "records/train.json").write_text((book.root / "records/train.json").read_text())
    shutil.copytree(book.settings.store / ledger(book).champion().champion, scratch / "package")
    (scratch / "done.json").write_text(json.dumps({"params": {"max_depth": 1}}))
    found = side("hand", book.settings)
    assert found.who.digest == ledger(book).champion().champion and found.params["train"] == {"max_depth": 1} and found.params["evaluate"]["resamples"] == 200
    assert found.evaluation is None and found.training is None  # both are about the package of the pipeline


@pytest.mark.slow
def test_a_run_in_mlflow(two_runs, tmp_path):
    from model_ops.tracking import runs
    book = two_runs.copy(tmp_path / "book")
    run = runs.log_run(book.settings, step="evaluate", params={"slices": ["depot"], "resamples": 200}, metrics={"roc_auc": 0.7}, tags={"model_ops.run": "0a1b2c3d4e5f"}, artifacts=[book.root / "records/evaluation.json"])
    for name in (run, "0a1b2c3d4e5f"):
        found = side(name, book.settings)
        assert found.evaluation and found.params == {"evaluate": {"slices": ["depot"], "resamples": 200}} and "MLflow" in found.who.title
    assert diff("champion", run, book.settings).how == "paired"
    empty = runs.log_run(book.settings, step="drift")
    with pytest.raises(ModelOpsError, match="no record"): side(empty, book.settings)
