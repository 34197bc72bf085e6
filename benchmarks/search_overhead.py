"""What does a search cost beyond its fits? The same fits by scikit-learn's GridSearchCV and by Optuna alone, printed as a Markdown table.

    python benchmarks/search_overhead.py             # about two minutes
    python benchmarks/search_overhead.py --only grid # rows whose name contains a word

Both sides fit the same models on the same folds and score them by log loss. Ours also writes the journal (one `fsync` a trial), measures
latency and size of each trial, proposes and ranks. Optuna is told our points, after it has proposed its own, so that its sampler's work
counts and the fits are the same. Processor seconds of one thread; the sides take turns, and the medians are compared.
"""
import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import optuna
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV

from model_ops.train.recipe import splits
from model_ops.train.search import search
from model_ops.train.space import Range

MODELS = {"boosting": lambda **params: HistGradientBoostingClassifier(max_iter=60, early_stopping=False, random_state=0, **params), "forest": lambda **params: RandomForestClassifier(40, random_state=0, **params),
          "linear": lambda **params: LogisticRegression(max_iter=200, **params)}
GRIDS = {"boosting": {"learning_rate": [0.03, 0.1, 0.3], "max_leaf_nodes": [15, 31]}, "forest": {"max_depth": [6, 10], "min_samples_leaf": [5, 20]}, "linear": {"C": [0.01, 0.1, 1.0, 10.0]}}
RANGES = {"boosting": {"learning_rate": {"low": 0.02, "high": 0.3, "log": True}, "max_leaf_nodes": {"low": 7, "high": 31}}, "linear": {"C": {"low": 0.001, "high": 10, "log": True}}}


def make(family: str, params: dict): return MODELS[family](**params)


def data(rows: int) -> tuple:
    "Rows of twenty numbers and a class, in time order."
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 20)).astype(np.float32)
    y = (X[:, 0] + X[:, 1]*X[:, 2] + rng.normal(size=rows) > 0).astype(int)
    return X, y, np.arange(rows)*60//rows


def ours(told: dict, X, y, days) -> tuple:
    "Processor seconds, and the search."
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        found = search({"prune": False, "nested": "none", **told}, make, X, y, task="binary", blocks=days, journal=Path(folder)/"search.jsonl")
        return time.process_time() - start, found


def by_scikit_learn(told: dict, X, y, days) -> float:
    "Processor seconds of the same grid."
    start = time.process_time()
    for family, grid in told["families"].items():
        GridSearchCV(make(family, {}), grid, scoring="neg_log_loss", cv=list(splits(days, 4)), refit=False).fit(X, y)
    return time.process_time() - start


def by_optuna(told: dict, X, y, days, points: list) -> float:
    "Processor seconds of the same points."
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folds = list(splits(days, 4))

    def objective(trial: optuna.Trial) -> float:
        family = trial.suggest_categorical("family", list(told["families"]))
        for name, space in told["families"][family].items():
            one = Range.model_validate(space)
            (trial.suggest_int if one.whole else trial.suggest_float)(f"{family}.{name}", one.low, one.high, log=one.log)
        family, params = points[trial.number]
        fitted = ((make(family, params).fit(X[learn], y[learn]), test) for learn, test in folds)
        return float(np.mean([log_loss(y[test], model.predict_proba(X[test])) for model, test in fitted]))

    start = time.process_time()
    optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0)).optimize(objective, n_trials=len(points))
    return time.process_time() - start


CASES = {  # name of the row: rows, block
    "grid, boosting, 6 points, 10,000 rows": (10_000, {"method": "grid", "families": {"boosting": GRIDS["boosting"]}}),
    "grid, three families, 14 points, 10,000 rows": (10_000, {"method": "grid", "families": GRIDS}),
    "grid, linear, 4 points, 10,000 rows": (10_000, {"method": "grid", "families": {"linear": GRIDS["linear"]}}),
    "grid, linear, 4 points, 200,000 rows": (200_000, {"method": "grid", "families": {"linear": GRIDS["linear"]}}),
    "bayesian, two families, 30 trials, 10,000 rows": (10_000, {"method": "bayesian", "trials": 30, "families": RANGES}),
}


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--only", default="", help="rows whose name contains this word")
    words.add_argument("--times", type=int, default=3, help="runs of each side")
    told = words.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, optuna {optuna.__version__}, load {os.getloadavg()[0]:.1f}\n")
    print("| search | beside | bare s | ours s | overhead | aim |\n| --- | --- | --- | --- | --- | --- |")
    for name, (rows, block) in CASES.items():
        if told.only not in name: continue
        X, y, days = data(rows)
        _, found = ours({**block, "trials": 0} if block["method"] == "grid" else block, X, y, days)  # warms what is imported late
        points, bare, mine = [(t.family, t.params) for t in found.trials], [], []
        for _ in range(told.times):
            bare.append(by_scikit_learn(block, X, y, days) if block["method"] == "grid" else by_optuna(block, X, y, days, points))
            mine.append(ours(block, X, y, days)[0])
        a, b = statistics.median(bare), statistics.median(mine)
        print(f"| {name} | {'scikit-learn' if block['method'] == 'grid' else 'Optuna'} | {a:.2f} | {b:.2f} | {b/a - 1:+.1%} | under 5 % |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
