"""How often is the domain classifier wrong, and what does it find that no single column shows? python benchmarks/drift_joint.py [--repetitions 100] [--seed 0]

1. no drift, rows independent: drifted (aim: at most 5 %)
2. no drift, rows by day, with day effects of three tenths of a standard deviation: the same
3. a shift of one column that an ideal classifier would see with an AUC of 0.55 (the margin) and of 0.65
4. the correlation of two columns turns from 0 to 0.6, all columns by themselves stay as they are: found by the classifier, and by the columns one by one?
"""
import argparse
import time

import numpy as np
import polars as pl
from scipy.special import ndtri

from model_ops.drift.compare import compare
from model_ops.drift.multivariate import joint

START = np.datetime64("2013-01-01", "us")


def days(rng: np.random.Generator, n: int, like_before: float) -> np.ndarray:
    "Day effects, each like the one before."
    x = rng.normal(size=n)
    for t in range(1, n): x[t] = like_before*x[t - 1] + np.sqrt(1 - like_before**2)*x[t]
    return x


def frame(rng: np.random.Generator, rows: int, columns: int, *, n: int = 0, like_before: float = 0.0, shift: float = 0.0, correlation: float = 0.0) -> pl.DataFrame:
    "Bell curves; by day where `n` days are told, with `rows` rows each. The first column is shifted, the first two are correlated."
    x = rng.normal(size=(rows*max(1, n), columns))
    x[:, 1] = correlation*x[:, 0] + np.sqrt(1 - correlation**2)*x[:, 1]
    x[:, 0] += shift
    if n: x += 0.3*np.repeat(np.column_stack([days(rng, n, like_before) for _ in range(columns)]), rows, axis=0)
    when = {"when": np.repeat(START + np.arange(n)*np.timedelta64(1, "D"), rows)} if n else {}
    return pl.DataFrame({**when, **{f"c{i}": x[:, i] for i in range(columns)}})


def with_weather(rng: np.random.Generator, made: pl.DataFrame, n: int) -> pl.DataFrame:
    "Three more columns whose days differ by ten times as much as the rows of a day."
    x = np.repeat(rng.normal(size=(n, 3)), made.height//n, axis=0) + 0.1*rng.normal(size=(made.height, 3))
    return made.with_columns(**{f"w{i}": x[:, i] for i in range(3)})


def report(label: str, found: list, start: float, more: str = "") -> None:
    n, count = len(found), lambda outcome: sum(j.outcome == outcome for j in found)
    auc = [j.auc for j in found if j.auc is not None]
    print(f"   {label}: judged {sum(j.p_drifted is not None for j in found)/n:4.0%}, AUC {np.mean(auc):.3f} (sd {np.std(auc):.3f}), drifted {count('drifted')} of {n}, stable {count('stable')}{more}; {(time.perf_counter() - start)/n:.1f} s each", flush=True)


def rows_alike(rng, repetitions: int, sizes: list[int]) -> None:
    print("\n1. No drift, rows independent, 12 columns")
    for rows in sizes:
        n, start = max(10, repetitions*2_000//max(2_000, rows)), time.perf_counter()
        report(f"{rows:>6,} rows", [joint(frame(rng, rows, 12), frame(rng, rows, 12)) for _ in range(n)], start)


def days_alike(rng, repetitions: int, columns: int = 8, each: int = 40) -> None:
    print(f"\n2. No drift, by day, {columns} columns, {each} rows a day")
    for reference, current in ((60, 30), (60, 60)):
        for like_before in (0.0, 0.5, 0.8):
            start = time.perf_counter()
            found = [joint(*(frame(rng, each, columns, n=n, like_before=like_before) for n in (reference, current)), time="when") for _ in range(repetitions)]
            report(f"{reference} and {current} days, like the day before {like_before}", found, start)
        start = time.perf_counter()
        found = [joint(*(with_weather(rng, frame(rng, each, columns - 3, n=n), n) for n in (reference, current)), time="when") for _ in range(repetitions)]
        report(f"{reference} and {current} days, three of the columns nearly the same all day", found, start)


def shifted(rng, repetitions: int, sizes: list[int]) -> None:
    print("\n3. One of 12 columns is shifted, rows independent")
    for auc in (0.55, 0.65):
        for rows in sizes:
            n, start = max(10, repetitions*2_000//max(2_000, rows)), time.perf_counter()
            report(f"an ideal classifier reaches {auc}, {rows:>6,} rows", [joint(frame(rng, rows, 12), frame(rng, rows, 12, shift=np.sqrt(2)*ndtri(auc))) for _ in range(n)], start)


def together(rng, repetitions: int, sizes: list[int]) -> None:
    print("\n4. Only the correlation of two of 12 columns changes, 0 to 0.6")
    def both(rows: int, times: int, n: int = 0):
        pairs = [[frame(rng, rows, 12, n=n, correlation=c) for c in (0.0, 0.6)] for _ in range(times)]
        when = "when" if n else None
        return [joint(*pair, time=when) for pair in pairs], [compare(*pair, time=when) for pair in pairs]
    for rows in sizes:
        start = time.perf_counter()
        found, single = both(rows=rows, times=max(10, repetitions*2_000//max(2_000, rows)))
        say(f"{rows:>6,} rows", found, single, start)
    start = time.perf_counter()
    found, single = both(rows=100, n=60, times=repetitions)
    say("60 and 60 days of 100 rows, day effects of 0.3", found, single, start)


def say(label: str, found: list, single: list, start: float) -> None:
    named = sum(set(list(j.columns)[:2]) == {"c0", "c1"} for j in found if j.outcome == "drifted")
    report(label, found, start, f"; the two named first {named} times; the columns one by one: {sum(v.outcome == 'drifted' for v in single)} drifted, {sum(v.outcome == 'stable' for v in single)} all stable")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", type=int, nargs="*", default=[500, 2_000, 20_000])
    told = parser.parse_args()
    start, rng = time.perf_counter(), np.random.default_rng(told.seed)
    rows_alike(rng, told.repetitions, told.sizes)
    days_alike(rng, told.repetitions)
    shifted(rng, told.repetitions, told.sizes)
    together(rng, told.repetitions, told.sizes)
    print(f"\n{told.repetitions} repetitions, seed {told.seed}, {time.perf_counter() - start:.0f} s")
