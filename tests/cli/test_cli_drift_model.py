"""`model-ops drift --model`: the report opens with what the drift means for a model."""
import json
import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner
from model_ops.cli.main import app
from model_ops.data.contract import learn
from model_ops.data.encode import encode, target
from model_ops.drift.profile import Profile
from model_ops.drift.scores import Scores
from model_ops.errors import PackageError
from model_ops.package.build import write_package


def _orders(days, start, seed, wilder=0.0):
    rng = np.random.default_rng(seed)
    n = days * 200
    kilos = rng.normal(size=n) + wilder
    when = pl.Series(np.datetime64(start, "us") + np.repeat(np.arange(days), 200) * np.timedelta64(1, "D"))
    return pl.DataFrame({"day": when, "kilos": kilos, "idle": rng.normal(size=n) + 2 * wilder, "late": rng.random(n) < 1 / (1 + np.exp(-(kilos - 1)))})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("orders")
    train, validation = _orders(60, "2026-01-01", 0), _orders(30, "2026-03-02", 1)
    contract = learn(train, target="late", time="day")
    model = LogisticRegression().fit(encode(contract, train).X, target(contract, train))
    X = encode(contract, validation).X
    scores = Scores.of(model.predict_proba(X)[:, 1], target(contract, validation), task="binary", classes=contract.outputs, threshold=0.4, chunk=validation["day"].dt.strftime("%Y-%m-%d").to_numpy())
    write_package(folder / "package", model=model, X=X, contract=contract, threshold=0.4, profile=Profile.of(train, contract=contract), scores=scores, importance={"kilos": 0.2, "idle": 0.0})
    write_package(folder / "bare", model=model, X=X, contract=contract, threshold=0.4, profile=Profile.of(train, contract=contract))
    season = _orders(30, "2026-04-01", 2, wilder=1.5)
    season.write_parquet(folder / "labelled.parquet")
    season.drop("late").write_csv(folder / "unlabelled.csv")
    return folder


def _drift(folder, current, *more):
    done = CliRunner().invoke(app, ["drift", str(folder / "package"), str(folder / current), "--json", str(folder / "v.json"), "--html", str(folder / "v.html"), *more])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output, json.loads((folder / "v.json").read_text()), (folder / "v.html").read_text()


def test_it_speaks_about_the_model_by_labels_and_by_scores_alone(folder):
    said, verdict, page = _drift(folder, "labelled.parquet", "--model", str(folder / "package"))
    assert verdict["model"]["judged_by"] == "labels" and verdict["model"]["labelled"] == 6000 and "model" in said.splitlines()[0].lower()
    assert verdict["outcome"] == "drifted" and verdict["columns"]["kilos"]["importance"] == 1 and "<script" not in page
    said, verdict, _ = _drift(folder, "unlabelled.csv", "--model", str(folder / "package"))
    assert verdict["model"]["judged_by"] == "estimate" and verdict["model"]["labelled"] == 0 and "no labels yet" in said


def test_without_a_model_only_the_reference_of_the_package_is_used(folder):
    assert _drift(folder, "labelled.parquet")[1]["model"] is None


def test_a_package_without_scores_says_so(folder):
    done = CliRunner().invoke(app, ["drift", str(folder / "bare"), str(folder / "labelled.parquet"), "--model", str(folder / "bare")])
    assert isinstance(done.exception, PackageError) and "keeps no scores" in str(done.exception)
