"""How much faster does a package answer one row than the scikit-learn pipeline that it was made from? Printed as a Markdown table.

    python benchmarks/predict_speed.py               # about half a minute
    python benchmarks/predict_speed.py --only forest # rows of the table whose name contains a word

The model is fitted on 20,000 rows of six numbers and three categories, packed, and opened as a server opens it. "From a row" begins with
a dictionary by column name and ends with score and label: the package's predictor against the pipeline's `predict_proba` on a frame of
one row, its encoded columns named. "Encoded" begins with the encoded row as an array, for both. Medians; each process uses one thread.
"""
import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"): os.environ.setdefault(name, "1")

import numpy as np
import polars as pl


def table(rows: int) -> pl.DataFrame:
    "Parcels with numbers, categories, gaps, and whether they came late."
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({**{f"n{i}": rng.normal(size=rows).round(3) for i in range(6)}, "depot": rng.choice([f"depot {i}" for i in range(20)], rows),
                          "carrier": rng.choice(list("ABCDEF"), rows), "kind": rng.choice(["box", "bag", "roll"], rows)})
    late = rng.random(rows) < 1/(1 + np.exp(1 - frame["n0"].to_numpy() - (frame["kind"] == "bag").to_numpy()))
    return frame.with_columns(late=pl.Series(late), n1=pl.when(pl.int_range(rows) % 20 == 3).then(None).otherwise("n1"))


def pipelines(kinds: list[str]) -> dict:
    "Unfitted models by name, on encoded rows."
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    categories, numbers = ([i for i, kind in enumerate(kinds) if kind == wanted] for wanted in ("category", "number"))
    def one_hot(*steps): return make_column_transformer((make_pipeline(SimpleImputer(strategy="constant", fill_value=-2), OneHotEncoder(handle_unknown="ignore")), categories),
                                                        (make_pipeline(SimpleImputer(strategy="median"), *steps), numbers), sparse_threshold=0)
    return {"one-hot, scaled, logistic regression": make_pipeline(one_hot(StandardScaler()), LogisticRegression(max_iter=200)),
            "one-hot, 200 boosted trees": make_pipeline(one_hot(), HistGradientBoostingClassifier(max_iter=200, early_stopping=False)),
            "imputed, forest of 100 trees": make_pipeline(SimpleImputer(strategy="constant", fill_value=-2), RandomForestClassifier(100, min_samples_leaf=20))}


def median(call, seconds: float = 1.5) -> float:
    "The median time of a call in µs."
    for _ in range(20): call()
    taken, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 50:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)*1e6


def one_row(model, encoded, contract, row: dict) -> tuple[list[float], str]:
    "Pipeline from a frame, package from a row, pipeline encoded, package encoded, in µs; and what the package predicts with."
    import pandas as pd
    from model_ops.package.build import write_package
    from model_ops.package.predictor import Predictor
    with tempfile.TemporaryDirectory() as folder:
        write_package(Path(folder)/"package", model=model, X=encoded.X[:2000], contract=contract, threshold=0.5)
        predictor = Predictor.open(Path(folder)/"package")
    X = encoded.X[7:8]
    values = dict(zip(encoded.names, X[0].tolist(), strict=True))
    calls = [lambda: model.predict_proba(pd.DataFrame([values]).to_numpy(np.float32)), lambda: predictor.predict([row]), lambda: model.predict_proba(X), lambda: predictor.predict_encoded(X)]
    return list(map(median, calls)), predictor.manifest.format


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--only", default="", help="rows whose name contains this word")
    words.add_argument("--rows", type=int, default=20_000, help="that the models are fitted on")
    told = words.parse_args()
    import onnxruntime
    import sklearn
    from model_ops.data import contract as contracts
    from model_ops.data.encode import encode, target
    frame = table(told.rows)
    contract = contracts.learn(frame, target="late")
    encoded, y = encode(contract, frame), target(contract, frame)
    row = {name: frame[name][7] for name in contract.features}
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, scikit-learn {sklearn.__version__}, ONNX Runtime {onnxruntime.__version__}, load {os.getloadavg()[0]:.1f}\n")
    print("| one row, µs | pipeline, from a frame | package, from a row | times | pipeline, encoded | package, encoded | times |\n| --- | --- | --- | --- | --- | --- | --- |")
    for name, model in pipelines(encoded.kinds).items():
        if told.only not in name: continue
        (slow, fast, slow_encoded, fast_encoded), format = one_row(model.fit(encoded.X, y), encoded, contract, row)
        print(f"| {name}{'' if format == 'onnx' else ' (no ONNX)'} | {slow:,.0f} | {fast:,.0f} | {slow/fast:,.0f} | {slow_encoded:,.0f} | {fast_encoded:,.0f} | {slow_encoded/fast_encoded:,.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
