"""How much smaller can a model be made, and at what cost? Real models on real data, printed as a Markdown table.

    python benchmarks/compress.py                    # scikit-learn's data sets, and the workbook's flights where they are (some minutes)
    python benchmarks/compress.py --only digits      # rows of the table whose name contains a word

Each teacher is fitted on the training rows, every way to shrink it is tried with the default margin (1 % of the headline metric), and
the held-out rows decide. Of each way the smallest candidate that was accepted is shown, and the one that would be packaged in bold.
"""
import argparse
import os
import platform
import sys
import time
import warnings
from pathlib import Path

import numpy as np


def digits(rows: int):
    "Handwritten digits, in the order in which they were written."
    from sklearn.datasets import load_digits
    X, y = load_digits(return_X_y=True)
    return X.astype(np.float32), y, np.arange(len(y)) < 1200, None, "multiclass"


def tumours(rows: int):
    "Breast cancer, every other row held out."
    from sklearn.datasets import load_breast_cancer
    X, y = load_breast_cancer(return_X_y=True)
    return X.astype(np.float32), y, np.arange(len(y)) % 2 == 1, None, "binary"


def diabetes(rows: int):
    "The progression of diabetes, every other row held out."
    from sklearn.datasets import load_diabetes
    X, y = load_diabetes(return_X_y=True)
    return X.astype(np.float32), y, np.arange(len(y)) % 2 == 1, None, "regression"


def flights(rows: int):
    "The workbook's flights: rows of its training window, and its validation window by days."
    import polars as pl
    from model_ops.data.blocks import blocks
    from model_ops.data.contract import Contract
    from model_ops.data.encode import encode, target
    contract = Contract.load("records/contract.json")
    frames = [pl.read_parquet(f"data/{name}.parquet") for name in ("train", "validation")]
    frames[0] = frames[0].sample(min(rows, len(frames[0])), seed=0)
    X, y = (np.concatenate([of(frame) for frame in frames]) for of in (lambda f: encode(contract, f).X, lambda f: target(contract, f)))
    return X, y, np.arange(len(y)) < len(frames[0]), blocks(contract, frames[1]).names, "binary"


def teachers(task: str) -> dict:
    "Name → an unfitted model, of five kinds."
    from sklearn import ensemble, linear_model, neural_network, tree
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    end = "Regressor" if task == "regression" else "Classifier"
    of = lambda module, name: getattr(module, name + end)
    linear = linear_model.Ridge() if task == "regression" else linear_model.LogisticRegression(max_iter=1000)
    return {"forest, 300 trees": make_pipeline(SimpleImputer(), of(ensemble, "RandomForest")(300, min_samples_leaf=3, max_depth=14, random_state=0)),
            "boosting, 200 rounds": of(ensemble, "HistGradientBoosting")(max_iter=200, early_stopping=False, random_state=0),
            "single tree": make_pipeline(SimpleImputer(), of(tree, "DecisionTree")(random_state=0)), "linear": make_pipeline(SimpleImputer(), StandardScaler(), linear),
            "network, 128 and 64 neurons": make_pipeline(SimpleImputer(), StandardScaler(), of(neural_network, "MLP")(hidden_layer_sizes=(128, 64), max_iter=80, random_state=0))}


DATA = {"digits": digits, "tumours": tumours, "diabetes": diabetes, "flights": flights}


def main() -> int:
    from model_ops.package.compress import FAMILIES, compress
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--only", default="", help="rows whose name contains this word")
    words.add_argument("--rows", type=int, default=20_000, help="training rows of the flights")
    told = words.parse_args()
    warnings.filterwarnings("ignore")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}\n")
    print(f"| teacher | kB | metric | {' | '.join(f.title for f in FAMILIES.values())} | seconds |\n| --- | --- | --- | {'--- | '*len(FAMILIES)}--- |")
    for data, load in DATA.items():
        if data == "flights" and not Path("records/contract.json").exists(): continue
        X, y, learn, days, task = load(told.rows)
        for name, model in teachers(task).items():
            if told.only not in f"{data}: {name}": continue
            model.fit(X[learn], y[learn])
            start = time.perf_counter()
            found = compress(model, X[learn], y[learn], X[~learn], y[~learn], task=task, blocks=days, told={"candidates": ["auto"]})
            teacher = found.of("teacher")
            print(f"| {data}: {name} | {teacher.size/1000:,.0f} | {found.metric} {teacher.metric.value:.3f} | {' | '.join(cell(found, family) for family in FAMILIES)} | {time.perf_counter() - start:.0f} |", flush=True)
    return 0


def cell(found, family: str) -> str:
    "The smallest candidate of a family that was accepted: its size, its speed for 1,000 rows, and the change of the metric."
    those = [c for c in found.candidates if c.family == family]
    if not those[0].applies: return "–"
    good, teacher = [c for c in those if c.accepted], found.of("teacher")
    if not good: return "refused"
    best = next((c for c in good if c.name == found.chosen), min(good, key=lambda c: c.size))
    text = f"{best.size/teacher.size:.0%}, {teacher.latency['1000'].median/best.latency['1000'].median:.1f}×, {best.difference.value:+.4f}"
    return f"**{text}**" if best.name == found.chosen else text


if __name__ == "__main__":
    sys.exit(main())
