"""Make the tables of the comparison: python tables.py FOLDER speed ROWS | mild ROWS | pairs ROWS COUNT KIND

`speed` writes ref.parquet and cur.parquet with 20 columns of numbers (normal, lognormal, Student's t with 2 degrees of freedom, Poisson, five of each)
and 10 of categories (Zipf's law, 10 to 1,000 levels), both from the same distributions. `pairs` writes 000-ref.parquet, 000-cur.parquet, 001-… with ten columns.
`mild` writes ref.parquet, and 0.00-cur.parquet, 0.05-cur.parquet, 0.15-cur.parquet: ten columns of numbers, the first one moved by that many standard deviations.
"""
import sys
from pathlib import Path

import numpy as np
import polars as pl

LEVELS = np.geomspace(10, 1_000, 10).round().astype(int)


def numbers(rng: np.random.Generator, rows: int, kind: int) -> np.ndarray:
    "A column of numbers."
    return (rng.normal, rng.lognormal, lambda size: rng.standard_t(2, size=size), lambda size: rng.poisson(3, size=size))[kind % 4](size=rows)


def categories(rng: np.random.Generator, rows: int, levels: int) -> pl.Series:
    "A column of categories by Zipf's law."
    share = 1 / np.arange(1, levels + 1)
    return pl.Series([f"level {i}" for i in range(levels)])[rng.choice(levels, rows, p=share / share.sum())]


def wide(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    "30 columns: the table for speed."
    return pl.DataFrame({**{f"n{i}": numbers(rng, rows, i) for i in range(20)}, **{f"c{i}": categories(rng, rows, k) for i, k in enumerate(LEVELS)}})


def ten(rng: np.random.Generator, rows: int, kind: str) -> pl.DataFrame:
    "Ten columns: all normal, or two of each kind of number and two of categories (10 and 100 levels)."
    if kind == "normal": return pl.DataFrame({f"n{i}": rng.normal(size=rows) for i in range(10)})
    return pl.DataFrame({**{f"n{i}": numbers(rng, rows, i) for i in range(8)}, **{f"c{i}": categories(rng, rows, k) for i, k in enumerate((10, 100))}})


def main(folder: Path, what: str, rows: int, count: int = 1, kind: str = "mixed") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if what == "speed":
        for seed, side in enumerate(("ref", "cur")): wide(np.random.default_rng([7, seed]), rows).write_parquet(folder / f"{side}.parquet")
    elif what == "mild":
        made = lambda seed: pl.DataFrame({f"n{i}": numbers(np.random.default_rng([8, seed, i]), rows, i) for i in range(10)})
        made(0).write_parquet(folder / "ref.parquet")
        current = made(1)
        for shift in (0.0, 0.05, 0.15): current.with_columns(pl.col("n0") + shift).write_parquet(folder / f"{shift:.2f}-cur.parquet")
    else:
        rng = np.random.default_rng([9, rows])
        for i in range(count):
            for side in ("ref", "cur"): ten(rng, rows, kind).write_parquet(folder / f"{i:03}-{side}.parquet")


if __name__ == "__main__": main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *(f(x) for f, x in zip((int, str), sys.argv[4:], strict=False)))
