"The whole way of an idea: a search in the pipeline, a smaller package, own code, a model that was brought, a person's word."
import json
import pickle
import sqlite3

import numpy as np
import polars as pl
import pytest

from small_workbook import untimed

pytestmark = pytest.mark.slow

SEARCH = {"method": "bayesian", "trials": 6, "folds": 2, "families": {"hist_gradient_boosting": {"max_leaf_nodes": [4, 8, 16]}, "ExtraTreesClassifier": {"max_depth": {"low": 2, "high": 6}}}}


def test_diagnose_by_hand_says_what_the_pipeline_says(run_workbook, tmp_path):
    from test_spine_by_hand import by_hand
    book = run_workbook.copy(tmp_path / "orders")
    by_hand(book.root / "nbs/steps/diagnose.ipynb")
    ours, theirs = (untimed(book.json(f"{place}records/diagnosis.json")) for place in ("scratch/diagnose/", ""))
    assert ours == theirs and ours["finding"]["outcome"] and not ours["skipped"]


def test_a_search_a_smaller_package_and_early_stopping(run_workbook, tmp_path):
    book = run_workbook.copy(tmp_path / "orders")
    book.told("train", search=SEARCH, compress={"candidates": ["auto"], "margin": 0.05}, fitting={"early_stopping": 5, "calibrate": "sigmoid"}, select={"by": "univariate", "keep": 0.9})
    book.ops("run")
    training = book.json("records/train.json")
    assert len(training["search"]["trials"]) == 6 and training["search"]["optimism"] and training["compression"]["chosen"]
    assert training["calibration"] and training["selection"] and any("held" in note or "rounds" in note for note in training["notes"])
    page = (book.root / "reports/train.html").read_text()
    assert "The search" in page and "A smaller one?" in page
    with sqlite3.connect(book.root / "mlflow.db") as db:
        nested = db.execute("select count(*) from tags where key = 'mlflow.parentRunId'").fetchone()[0]
    assert nested == 6
    before = book.outputs()
    book.ops("run")
    assert book.outputs() == before  # nothing has changed, nothing runs


def test_own_code_is_recorded_and_runs_without_the_folder(run_workbook, tmp_path):
    book = run_workbook.copy(tmp_path / "orders")
    own = next(p.parent for p in book.root.glob("*/features.py"))
    (own / "ratios.py").write_text('"Own columns."\n__all__ = ["with_sum"]\nimport numpy as np\n\ndef with_sum(X):\n    "The columns and their sum."\n    return np.column_stack([np.nan_to_num(X), np.nan_to_num(X).sum(axis=1)])\n')
    settings = book.root / "settings.ini"
    settings.write_text(settings.read_text() + f"\n[package]\ntrusted = {own.name}\n")
    path = book.root / "nbs/steps/train.ipynb"
    nb = json.loads(path.read_text())
    cell = next(c for c in nb["cells"] if "recipes = {" in "".join(c["source"]))
    cell["source"] = f"from sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import FunctionTransformer\nfrom {own.name}.ratios import with_sum\n" + "".join(cell["source"]).replace(
        "\n}\n", '\n    "mine": make_pipeline(FunctionTransformer(with_sum), LogisticRegression(max_iter=1000)),\n}\n', 1)
    path.write_text(json.dumps(nb, indent=1))
    book.told("train", estimator="mine")
    here = {"PYTHONPATH": str(book.root)}  # as the Makefile of a workbook says
    book.ops("check", "--fix", env=here)
    book.ops("run", "--no-apply", env=here)
    manifest = book.json("package/manifest.json")
    assert [name for name in manifest["files"] if name.startswith("code/")] == [f"code/{own.name}/ratios.py"] or any("ratios" in name for name in manifest["files"])
    wanted = book.json("records/evaluation.json")["models"]["challenger"]["metrics"]["roc_auc"]["value"]
    (own / "ratios.py").write_text('"Changed since."\ndef with_sum(X): raise RuntimeError("the code of the day was run")\n')
    code = ("import polars as pl, sys\nfrom model_ops.package.predictor import Predictor\n"
            "print(Predictor.open('package', trusted=[sys.argv[1]]).predict(pl.read_parquet('data/test.parquet')).score.mean())")
    assert 0 < float(book.call("python", "-c", code, own.name).stdout) < 1 and wanted > 0.5
    assert "trusted" in book.call("python", "-c", code.replace("trusted=[sys.argv[1]]", "trusted=()"), check=False).stderr


def test_a_model_that_exists_already_is_judged_by_the_same_steps(run_workbook, tmp_path):
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder
    book = run_workbook.copy(tmp_path / "orders")
    frame = pl.read_parquet(book.root / "data/train.parquet").to_pandas()
    columns = ["amount", "distance", "channel", "region"]
    model = make_pipeline(make_column_transformer((SimpleImputer(), ["amount", "distance"]), (OneHotEncoder(handle_unknown="ignore"), ["channel", "region"])), LogisticRegression(max_iter=500))
    model.fit(frame[columns], frame["returned"])
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    refused = book.ops("import", tmp_path / "model.pkl", "--data", "source/orders.csv", "--target", "returned", check=False)
    assert refused.returncode and "--unpickle" in refused.stderr
    said = book.ops("import", tmp_path / "model.pkl", "--data", "source/orders.csv", "--target", "returned", "--time", "placed", "--unpickle", "--trained-until", "2024-03-01").stdout
    name = next(word for line in said.splitlines() for word in line.split() if word.startswith("imported/")).rstrip(".,")
    book.told("train", estimator=name)
    book.ops("run", "--no-apply")
    training, evaluation = book.json("records/train.json"), book.json("records/evaluation.json")
    test = pl.read_parquet(book.root / "data/test.parquet")
    from model_ops.package.predictor import Predictor
    theirs = model.predict_proba(test.to_pandas()[columns])[:, list(model.classes_).index("yes")]
    assert np.allclose(Predictor.open(book.root / "package").predict(test).score, theirs, atol=1e-5)
    assert evaluation["models"]["challenger"]["metrics"]["roc_auc"]["value"] > 0.6 and any("brought" in note for note in training["notes"])


def test_a_person_has_the_last_word(run_workbook, tmp_path):
    book = run_workbook.copy(tmp_path / "orders")
    book.told("train", max_iter=12)
    book.ops("run")
    first, second = (e[2] for e in (book.ledger()[0], book.ledger()[-1]))
    book.ops("promote", "--approve", "--by", "Ada", "--reason", "it fits the season")
    approved = book.ledger()[-1]
    assert approved[1] in ("approve", "promote") and approved[2] == book.json("package/manifest.json")["digest"]
    book.ops("rollback", "--by", "Ada", "--reason", "complaints since Monday")
    assert book.ledger()[-1][1:] == ("rollback", first) and second is not None
    told = book.ops("history").stdout
    assert "Ada" in told and "complaints since Monday" in told
    assert book.json("opponent/pin.json").get("earlier", []) or book.json("records/evaluation.json")["inference"]["challengers"] == 2
