"""A search in a process of its own, killed and resumed, ends as one that was left alone."""
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model_ops.train.trials import Searched

SCRIPT = """
import json, sys, time
from pathlib import Path
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from model_ops.train.search import search

folder, told, seconds = Path(sys.argv[1]), json.loads(sys.argv[2]), float(sys.argv[3])
rng = np.random.default_rng(0)
X = rng.normal(size=(400, 4)).astype(np.float32)
y, day = (X[:, 0]*X[:, 1] + X[:, 2] + rng.normal(size=400) > 0.3).astype(int), np.sort(rng.integers(0, 60, 400))

def make(family, params):
    return DecisionTreeClassifier(random_state=0, **params) if family == "tree" else LogisticRegression(solver="newton-cholesky", **params)

def fit(model, X, y, rows):
    time.sleep(seconds)
    if getattr(model, "max_depth", 0) == 7: raise ValueError("never seven")
    return model.fit(X, y)

search(told, make, X, y, task="binary", blocks=day, journal=folder/"search.jsonl", seed=3, fit=fit, cost=lambda model: {"latency_ms": {"1000": 1.0}, "size_bytes": len(str(model))}).save(folder/"search.json")
"""
SPACE = {"tree": {"max_depth": {"low": 1, "high": 9}, "min_samples_leaf": {"low": 1, "high": 40, "log": True}, "criterion": ["gini", "entropy"]}, "linear": {"C": {"low": 0.001, "high": 10, "log": True}}}


def start(folder: Path, told: dict, seconds: float = 0.0) -> subprocess.Popen:
    folder.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), json.dumps(told), str(seconds)], env=env, start_new_session=True)


def lines(folder: Path) -> int:
    journals = list(folder.glob("*.jsonl"))
    return sum(max(0, path.read_bytes().count(b"\n") - 1) for path in journals)


def kill_after(trials: int, folder: Path, told: dict) -> None:
    "Start a search, and kill it and its children once so many trials are in the journals."
    child, end = start(folder, told, 0.005), time.monotonic() + 120
    while lines(folder) < trials and child.poll() is None and time.monotonic() < end: time.sleep(0.002)
    assert child.poll() is None and lines(folder) >= trials
    os.killpg(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def ended(folder: Path) -> dict:
    "What a search found, without the seconds that it took."
    found = Searched.load(folder/"search.json").model_dump()
    return {**found, "seconds": 0, "trials": [{**t, "seconds": 0, "fit_seconds": 0} for t in found["trials"]]}


@pytest.mark.slow
@pytest.mark.parametrize("told", [{"method": "bayesian", "trials": 24}, {"method": "bayesian", "trials": 10, "jobs": 2, "nested": "none"}, {"method": "random", "trials": 8, "folds": 2, "nested": "nested"}],
                         ids=["bayesian", "two at once", "nested"])
def test_a_killed_search_ends_as_one_that_was_left_alone(told, tmp_path):
    told = {**told, "families": SPACE}
    alone = start(tmp_path/"alone", told)
    count = 5 if told.get("jobs") else random.Random(0).randint(12, 14)
    kill_after(count, tmp_path/"killed", told)
    if not told.get("jobs"): kill_after(count + 3, tmp_path/"killed", told)  # and once more
    before = [path.read_bytes().splitlines()[1:] for path in sorted((tmp_path/"killed").glob("*.jsonl"))]
    assert start(tmp_path/"killed", told).wait() == 0 and alone.wait() == 0
    assert ended(tmp_path/"killed") == ended(tmp_path/"alone")
    after = [path.read_bytes().splitlines()[1:] for path in sorted((tmp_path/"killed").glob("*.jsonl"))]
    finished = lambda rows: [r for r in rows if r.endswith(b"}")]
    assert all(finished(b)[:-1] == finished(a)[:len(finished(b)) - 1] for b, a in zip(before, after, strict=False))  # not a finished trial was run again
