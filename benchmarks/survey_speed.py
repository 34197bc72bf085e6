"""How long does a first look at a table take, and how much memory? One file to a survey, printed as a Markdown table.

    python benchmarks/survey_speed.py                # up to 100 MB (about a minute)
    python benchmarks/survey_speed.py --huge         # a CSV of 2 GB too
    python benchmarks/survey_speed.py --only wide    # rows of the table whose name contains a word

Each row is a program of its own, measured from outside: wall and cpu seconds, start-up included, and its peak memory; medians where
it is run several times. The tables are made here: orders with an id, a time, amounts, categories, a customer and a class to predict;
and a wide one of 500 columns, of which 60 are categories.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from run import Measured, once

PART = 500_000  # rows that are made and written at a time
LOOK = "import sys; from model_ops.data.survey import survey; print(survey(sys.argv[1], target=sys.argv[2]).summary)"


def orders(rng: np.random.Generator, first: int, rows: int) -> pl.DataFrame:
    "Some rows of a table of orders, 100 bytes each."
    at = np.datetime64("2022-01-01T00:00:00", "us") + np.sort(first*30 + rng.integers(0, 30*rows, rows)).astype("timedelta64[s]")
    net = rng.lognormal(3, 1, rows)
    return pl.DataFrame({"order_id": np.arange(rows) + 10**6 + first, "ordered_at": at, "net": net.round(2), "items": rng.poisson(3, rows), "country": rng.choice(["DE", "FR", "US", "UK"], rows),
                         "product": rng.choice([f"product {i}" for i in range(500)], rows), "a": rng.normal(size=rows).round(4), "b": rng.normal(size=rows).round(4), "c": rng.normal(size=rows).round(4),
                         "customer_id": rng.integers(0, 300_000, rows), "express": rng.random(rows) < 0.3, "note": rng.choice(["", "ok", "late"], rows), "returned": np.where(rng.random(rows) < 1/(1 + np.exp(4 - net/20)), "yes", "no")})


def wide(rng: np.random.Generator, rows: int, columns: int = 500) -> pl.DataFrame:
    "Many columns."
    categories = {f"c{i}": rng.choice(list("abcdef"), rows) for i in range(60)}
    numbers = {f"n{i}": rng.normal(size=rows).round(4) for i in range(columns - 61)}
    return pl.DataFrame(numbers | categories | {"y": (numbers["n0"] + rng.normal(size=rows) > 0).astype(int)})


TABLES = {  # name of the row: file, target, what it should take; and how the file is made
    "orders, 10,000 × 13, CSV": ("small_orders.csv", "returned", ""), "orders, 1,000,000 × 13, CSV of 100 MB": ("web_orders.csv", "returned", "8 s cpu"), "the same as Parquet": ("web_orders.parquet", "returned", ""),
    "wide, 20,000 × 500, CSV": ("wide.csv", "y", "6 s cpu"), "orders, 20,000,000 × 13, CSV of 2 GB": ("huge_orders.csv", "returned", "memory bounded"),
}
ROWS = {"small_orders.csv": 10_000, "web_orders.csv": 1_000_000, "web_orders.parquet": 1_000_000, "wide.csv": 20_000, "huge_orders.csv": 20_000_000}


def make(path: Path) -> None:
    "Write one table."
    rng, rows = np.random.default_rng(0), ROWS[path.name]
    if path.name == "wide.csv": return wide(rng, rows).write_csv(path)
    if path.suffix == ".parquet": return pl.concat([orders(rng, first, min(PART, rows - first)) for first in range(0, rows, PART)]).write_parquet(path)
    with open(path, "wb") as file:
        for first in range(0, rows, PART): orders(rng, first, min(PART, rows - first)).write_csv(file, include_header=first == 0)


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--only", default="", help="rows whose name contains this word")
    words.add_argument("--times", type=int, default=3, help="runs of a row of up to 100 MB")
    words.add_argument("--huge", action="store_true", help="2 GB too")
    words.add_argument("--json", type=Path, help="write the rows here")
    words.add_argument("--make", type=Path, help="write one table, and nothing else")
    told = words.parse_args()
    if told.make: return make(told.make) or 0
    folder, found = Path(tempfile.mkdtemp(prefix="model-ops-survey-")), []
    try:
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, polars {pl.__version__}, load {os.getloadavg()[0]:.1f}\n")
        print("| a survey of | wall s | cpu s | peak MB | aim |\n| --- | --- | --- | --- | --- |")
        for name, (file, target, aim) in TABLES.items():
            if told.only not in name or "huge" in file and not told.huge: continue
            once([sys.executable, __file__, "--make", folder/file], folder)  # apart: a child's peak begins with its parent's size
            runs = [once([sys.executable, "-c", LOOK, folder/file, target], folder) for _ in range(1 if "huge" in file else told.times)]
            used = Measured(*(statistics.median(getattr(r, k) for r in runs) for k in ("wall", "cpu", "memory")))
            found.append(dict(row=name, wall=used.wall, cpu=used.cpu, memory_mb=used.memory, aim=aim))
            print(f"| {name} | {used.wall:.2f} | {used.cpu:.2f} | {used.memory:.0f} | {aim} |", flush=True)
            (folder/file).unlink()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if told.json: told.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
