"""How long do the intervals of an evaluation take? 2,000 resamples of 100,000 rows for two models, printed as a Markdown table.

    python benchmarks/bootstrap_speed.py             # the whole table (about half a minute)
    python benchmarks/bootstrap_speed.py --quick     # a tenth of the rows and resamples
    python benchmarks/bootstrap_speed.py --only days # rows of the table whose name contains a word

Each row draws the resamples, resamples all its metrics for both models, and makes all intervals and paired differences; wall and cpu
seconds, and the peak memory of the process so far. The bootstrap runs on one thread: a second core stays free. What the dearest metrics take by themselves is shown beside it, in cpu seconds.
"""
import argparse
import os
import platform
import resource
import sys
import time

import numpy as np
from model_ops.evaluate.intervals import bootstrap, draw
from model_ops.evaluate.metrics import of_task

ROWS, RESAMPLES = 100_000, 2_000
TEN = ["roc_auc", "average_precision", "log_loss", "brier", "calibration_error", "accuracy", "precision", "recall", "f1", "mcc"]
TABLE = [("binary, independent rows", "binary", None, TEN, "10 s"), ("binary, 365 days", "binary", 365, TEN, "10 s"), ("binary, 31 days", "binary", 31, TEN, "10 s"),
         ("10 classes, 31 days", "multiclass", 31, None, ""), ("10 classes, independent rows", "multiclass", None, None, ""), ("numbers, 31 days", "regression", 31, None, "")]


def window(task: str, rows: int, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    "Truth and the scores of two models, all of them different."
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=rows)
    if task == "regression": return 10*signal + rng.normal(0, 4, rows), {"challenger": 10*signal, "opponent": 9*signal + rng.normal(size=rows)}
    if task == "binary":
        chance = lambda z: 1/(1 + np.exp(1.6 - z))
        return rng.random(rows) < chance(1.2*signal), {"challenger": chance(1.2*signal), "opponent": chance(signal + .3*rng.normal(size=rows))}
    code = rng.integers(0, 10, rows)
    odds = [np.exp(strength*np.eye(10)[code] + rng.normal(size=(rows, 10))) for strength in (1.5, 1.3)]
    return code, {model: o/o.sum(axis=1, keepdims=True) for model, o in zip(("challenger", "opponent"), odds, strict=True)}


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--only", default="", help="rows whose name contains this word")
    words.add_argument("--quick", action="store_true", help="a tenth of the rows and resamples")
    told = words.parse_args()
    rows, resamples = (ROWS//10, RESAMPLES//10) if told.quick else (ROWS, RESAMPLES)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}, load {os.getloadavg()[0]:.1f}; {rows:,} rows × {resamples:,} resamples × 2 models\n")
    print("| rows | metrics | wall s | cpu s | dearest metrics, cpu s | peak MB | aim |\n| --- | --- | --- | --- | --- | --- | --- |")
    for name, task, days, metrics, aim in TABLE:
        if told.only not in name: continue
        y, scores = window(task, rows)
        blocks, metrics = None if days is None else np.arange(rows)*days//rows, metrics or list(of_task(task))
        start, used = time.perf_counter(), time.process_time()
        drawn = draw(rows, blocks, resamples=resamples)
        found = bootstrap(y, scores, dict.fromkeys(scores, .3), drawn, metrics=metrics, task=task)
        for metric in metrics: found.interval("challenger", metric), found.interval("opponent", metric), found.difference("opponent", metric)
        wall, cpu, each = time.perf_counter() - start, time.process_time() - used, {}
        for metric in metrics:
            used = time.process_time()
            bootstrap(y, scores, dict.fromkeys(scores, .3), drawn, metrics=[metric], task=task)
            each[metric] = time.process_time() - used
        dearest = ", ".join(f"{metric} {each[metric]:.2f}" for metric in sorted(each, key=each.get)[:-4:-1])
        print(f"| {name} | {len(metrics)} | {wall:.2f} | {cpu:.2f} | {dearest} | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024:.0f} | {aim} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
