"""`model-ops import`: a package in the workbook, tracked, and the next thing to type."""
import subprocess
import sys
import joblib
import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner
from model_ops.cli import models
from model_ops.errors import PackageError
from model_ops.package.bring import imported


@pytest.fixture
def book(tmp_path, monkeypatch):
    from sklearn.linear_model import LogisticRegression
    monkeypatch.delenv("MODEL_OPS_ROOT", raising=False)
    (tmp_path / "settings.ini").write_text("[workbook]\nname = parcels\n")
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"kilos": rng.gamma(2, 3, 300), "day": rng.integers(1, 8, 300)})
    frame = frame.with_columns(late=rng.random(300) < frame["kilos"].to_numpy() / 20)
    frame.write_csv(tmp_path / "sample.csv")
    joblib.dump(LogisticRegression().fit(frame.drop("late").to_numpy(), frame["late"].to_numpy()), tmp_path / "model.pkl")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(*words):
    app = typer.Typer()
    models.register(app)
    app.command("other")(lambda: None)
    return CliRunner().invoke(app, ["import", *words])


@pytest.mark.slow
def test_a_pickle_becomes_a_package(book):
    with pytest.raises(PackageError, match="--unpickle"): raise typed("model.pkl", "--data", "sample.csv", "--target", "late").exception
    done = typed("model.pkl", "--data", "sample.csv", "--target", "late", "--unpickle", "--trained-until", "2024-01-01")
    folder = next((book / "imported").iterdir())
    assert done.exit_code == 0 and f"estimator: imported/{folder.name}" in done.output and "process of its own" in done.output and "not known" not in done.output
    model, predictor = imported(folder)
    assert predictor.digest.startswith(folder.name) and predictor.manifest.profile and (folder / "scores.json").is_file() and hasattr(model, "predict_proba")
    assert typed("model.pkl", "--data", "sample.csv", "--target", "late", "--unpickle", "--trained-until", "2024-01-01").exit_code == 0
    assert [p.name for p in (book / "imported").iterdir()] == [folder.name]


def test_what_fails_leaves_nothing(book):
    with pytest.raises(PackageError, match="--unpickle"): raise typed("model.pkl", "--data", "sample.csv", "--target", "late").exception
    assert list((book / "imported").iterdir()) == []


@pytest.mark.slow
def test_dvc_tracks_it(book):
    for words in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]): subprocess.run(words, cwd=book, check=True, capture_output=True)
    assert typed("model.pkl", "--data", "sample.csv", "--target", "late", "--unpickle").exit_code == 0
    (folder,) = (p for p in (book / "imported").iterdir() if p.is_dir())
    assert folder.with_suffix(".dvc").is_file() and f"/{folder.name}" in (book / "imported" / ".gitignore").read_text()
