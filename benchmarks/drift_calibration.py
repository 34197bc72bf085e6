"""How often is a drift verdict wrong? Simulated, and printed as tables: python benchmarks/drift_calibration.py [--repetitions 200] [--seed 0]

1. no drift, whole reports over frames, rows independent or by day: how many have any alarm (aim: at most 5 %)
2. effect = margin, 1 and 3 times: how often drifted, how often stable (at the margin each at most 5 %)
3. the same for days that resemble the day before, in both windows
4. the rows that a verdict asks for: how often it is settled with them (aim: at least 80 %)
"""
import argparse
import time

import numpy as np
import polars as pl
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from model_ops.drift.effect import Window, assess, growth
from model_ops.drift.profile import LEVELS
from model_ops.drift.verdict import compare

SHARES = np.diff(LEVELS)


def interval(hits: int, n: int) -> str:
    "A share with its 95 % interval (Wilson)."
    p, z = hits/n, 1.96
    middle, half = (p + z*z/2/n)/(1 + z*z/n), z*np.sqrt(p*(1 - p)/n + z*z/4/n/n)/(1 + z*z/n)
    return f"{p:6.1%} ({max(0, middle - half):.1%} to {middle + half:.1%})"


def frame(rng: np.random.Generator, rows: int, columns: int) -> pl.DataFrame:
    "Normal, lognormal, heavy-tailed, whole numbers, true and false, categories by Zipf's law with 10, 100 and 1,000 levels."
    zipf = {k: (lambda w: w/w.sum())(1/np.arange(1, k + 1)) for k in (10, 100, 1_000)}
    kinds = [lambda: rng.normal(size=rows), lambda: rng.lognormal(size=rows), lambda: rng.standard_t(2, size=rows), lambda: rng.poisson(3, size=rows), lambda: rng.random(rows) < 0.1,
             *(lambda k=k: pl.Series(rng.choice(k, rows, p=zipf[k])).cast(pl.String) for k in zipf)]
    return pl.DataFrame({f"c{i}": kinds[i % len(kinds)]() for i in range(columns)})


def shifted(effect: float, spread: float = 1.0) -> float:
    "By how much a bell curve must move for this total variation over the cells."
    return brentq(lambda m: abs(np.diff(ndtr((ndtri(LEVELS)*spread - m)/spread)) - SHARES).sum()/2 - effect, 0, 3) if effect else 0.0


def cells(means: np.ndarray, spread: float) -> np.ndarray:
    "Shares by cell for chunks whose means differ, where the cells are quantiles of all chunks together."
    return np.diff(ndtr(ndtri(LEVELS)*spread - np.asarray(means)[..., None]), axis=-1)


def days(rng: np.random.Generator, n: int, like_before: float) -> np.ndarray:
    "Day effects, each like the one before."
    x = rng.normal(size=n)
    for t in range(1, n): x[t] = like_before*x[t - 1] + np.sqrt(1 - like_before**2)*x[t]
    return x


def reports(rng, repetitions: int, sizes: list[int]) -> None:
    print("\n1. No drift, rows independent: reports with any alarm")
    for rows in sizes:
        for columns in (10, 30, 140):
            n = max(20, repetitions*2_000//max(2_000, rows*columns//15))
            alarms = sum(compare(frame(rng, rows, columns), frame(rng, rows, columns)).outcome == "drifted" for _ in range(n))
            print(f"   {rows:>7,} rows, {columns:>3} columns: {interval(alarms, n)} of {n} reports")


def reports_by_day(rng, repetitions: int, columns: int = 30) -> None:
    print("\n   Rows by day (60 days and 30, 100 rows each), 30 columns, each with day effects of three tenths of a standard deviation")
    start = np.datetime64("2013-01-01", "us")
    for like_before in (0.0, 0.3, 0.6, 0.8):
        made = lambda n, like_before=like_before: pl.DataFrame({"when": np.repeat(start + np.arange(n)*np.timedelta64(1, "D"), 100), **{f"c{i}": np.repeat(0.3*days(rng, n, like_before), 100) + rng.normal(size=100*n) for i in range(columns)}})
        found = [compare(made(60), made(30), time="when") for _ in range(repetitions)]
        tested = np.mean([c.p_adjusted is not None for v in found for c in v.columns.values()])
        print(f"   like the day before {like_before}: {interval(sum(v.outcome == 'drifted' for v in found), repetitions)} of {repetitions} reports; {tested:.0%} of columns tested")


def at_margin(rng, repetitions: int, margin: float = 0.05) -> None:
    print("\n2. Rows independent, a bell curve moves; one column, tested at 5 %; and as one of 30 columns")
    for rows in (200, 2_000, 20_000, 200_000):
        for times in (0, 1, 2):
            q = cells(shifted(times*margin), 1.0)
            found = [assess(*(Window(rng.multinomial(rows, s)[None]) for s in (SHARES, q)), margin) for _ in range(repetitions)]
            report(f"{rows:>7,} rows, effect {times} × margin", found)


def by_day(rng, repetitions: int, margin: float = 0.05) -> None:
    print("\n3. Rows by day; day effects of a tenth and of three tenths of a standard deviation")
    for size, per_day in ((0.1, 1_000), (0.3, 200)):
        spread = np.sqrt(1 + size**2)
        for reference, current in ((90, 30), (60, 60)):
            for like_before in (0.0, 0.3, 0.6, 0.8):
                for times in (0, 1, 3):
                    move = shifted(times*margin, spread)
                    found = [assess(*(Window(rng.multinomial(per_day, cells(size*days(rng, n, like_before) + by, spread)), True) for n, by in ((reference, 0.0), (current, move))), margin) for _ in range(repetitions)]
                    report(f"day effect {size}, {reference} and {current} days, like the day before {like_before}, effect {times} × margin", found)


def report(label: str, found: list) -> None:
    able = [e for e in found if e.p_drifted is not None]
    n, count = len(found), lambda test: sum(map(test, able))
    print(f"   {label}: tested {len(able)/n:4.0%}, drifted {interval(count(lambda e: e.p_drifted <= 0.05), n)}, as one of 30 {count(lambda e: e.p_drifted <= 0.05/30)/n:6.2%}, stable {interval(count(lambda e: e.p_stable <= 0.05), n)}")


def rows_that_do(rng, repetitions: int, margin: float = 0.05) -> None:
    print("\n4. The rows that a verdict on 200 asks for (30 columns): how often they settle it")
    first = assess(*(Window(rng.multinomial(200, SHARES)[None]) for _ in range(2)), margin)
    rows = round(200*growth(first, 0.05/30))
    for times, name, right in ((0, "no drift is called stable", lambda e: e.p_stable <= 0.05), (2, "twice the margin is called drifted", lambda e: e.p_drifted <= 0.05/30)):
        q = cells(shifted(times*margin), 1.0)
        hits = sum(right(assess(*(Window(rng.multinomial(rows, s)[None]) for s in (SHARES, q)), margin)) for _ in range(repetitions))
        print(f"   {rows:,} rows: {name} in {interval(hits, repetitions)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sizes", type=int, nargs="*", default=[200, 2_000, 20_000], help="rows of part 1")
    told = parser.parse_args()
    start, rng = time.perf_counter(), np.random.default_rng(told.seed)
    reports(rng, told.repetitions, told.sizes)
    reports_by_day(rng, told.repetitions)
    at_margin(rng, told.repetitions)
    by_day(rng, told.repetitions)
    rows_that_do(rng, told.repetitions)
    print(f"\n{told.repetitions} repetitions, seed {told.seed}, {time.perf_counter() - start:.0f} s")
