"""How long does DeLong's comparison of two ROC AUCs take? Printed as a Markdown table, medians of three.

    python benchmarks/delong_speed.py
"""
import statistics
import time

import numpy as np
from model_ops.evaluate.delong import delong


def seconds(run) -> float:
    "The median of three."
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        run()
        took.append(time.perf_counter() - begun)
    return statistics.median(took)


def main() -> None:
    "Print the table."
    rng = np.random.default_rng(0)
    print("| rows | independent, s | 365 clusters, s | aim |\n| --- | --- | --- | --- |")
    for rows in (10_000, 100_000, 1_000_000, 4_000_000):
        signal = rng.normal(size=rows)
        y, a, b = rng.random(rows) < 1/(1 + np.exp(-signal)), *(signal + rng.normal(size=(2, rows)))
        clusters = np.arange(rows)*365//rows
        print(f"| {rows:,} | {seconds(lambda: delong(y, a, b)):.3f} | {seconds(lambda: delong(y, a, b, clusters)):.3f} | {'under 2 s' if rows == 10**6 else ''} |", flush=True)  # noqa: B023


if __name__ == "__main__": main()
