"""How long does a drift verdict take, and how much memory? Two Parquet files to a saved report, printed as a Markdown table.

    python benchmarks/drift_speed.py                # all but the ten million rows (about two minutes)
    python benchmarks/drift_speed.py --huge         # these too: 4 GB of disk, some minutes more
    python benchmarks/drift_speed.py --only columns # rows of the table whose name contains a word

Each row is a program of its own (`model-ops drift REF CUR --html`), measured from outside: wall and cpu seconds, start-up included,
and its peak memory; medians where it is run several times. The data are 2/3 numbers (bell curves, long tails, whole numbers, values
that are often missing) and 1/3 categories (10 to 1,000 levels), written in row groups of 125,000 rows to a temporary folder.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from run import BIN, Measured, once

GROUP = 125_000  # rows that are made and written at a time


@dataclass(frozen=True)
class Row:
    name: str
    words: list       # after `model-ops`
    report: Path | None
    aim: str = ""


def part(rng: np.random.Generator, rows: int, columns: int) -> pl.DataFrame:
    "Some rows of a table: every third column holds categories."
    levels = {k: (np.array([f"v{i}" for i in range(k)]), (lambda w: np.cumsum(w/w.sum()))(1/np.arange(1, k + 1))) for k in (10, 100, 1_000)}
    numbers = [lambda: rng.normal(size=rows), lambda: rng.lognormal(size=rows), lambda: rng.poisson(3, size=rows).astype(np.int64), lambda: np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows))]
    def category(k: int) -> np.ndarray: return levels[k][0][np.minimum(np.searchsorted(levels[k][1], rng.random(rows)), k - 1)]
    return pl.DataFrame({f"c{i}" if i % 3 == 2 else f"n{i}": category((10, 100, 1_000)[i % 9//3]) if i % 3 == 2 else numbers[i % 4]() for i in range(columns)}, nan_to_null=True)


def make(path: Path, rows: int, columns: int, seed: int) -> Path:
    "A Parquet file, made and written part by part."
    from pyarrow.parquet import ParquetWriter
    rng, writer = np.random.default_rng(seed), None
    for start in range(0, rows, GROUP):
        table = part(rng, min(GROUP, rows - start), columns).to_arrow()
        writer = writer or ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=GROUP)
    writer.close()
    return path


def pair(folder: Path, rows: int, columns: int) -> list[Path]:
    "Two files of the same kind, made where they are not there yet."
    paths = [folder/f"{side}-{rows}-{columns}.parquet" for side in ("reference", "current")]
    for seed, path in enumerate(paths):
        if not path.exists(): once([sys.executable, __file__, "--make", path, rows, columns, seed], folder)  # apart: a child's peak begins with its parent's size
    return paths


def measure(row: Row, folder: Path, times: int) -> tuple[Measured, float | None]:
    "Medians, and the size of the report in KB."
    runs = [once([BIN/"model-ops", *row.words], folder) for _ in range(times)]
    middle = Measured(*(statistics.median(getattr(r, k) for r in runs) for k in ("wall", "cpu", "memory")))
    return middle, row.report.stat().st_size/1_000 if row.report else None


def rows_of(folder: Path, huge: bool, only: str):
    "What is measured, its data made when it is its turn."
    report = folder/"drift.html"
    def drift(name: str, rows: int, columns: int, aim: str = "", reference: Path | None = None):
        if only and only not in name: return None
        was, now = pair(folder, rows, columns)
        return Row(name, ["drift", reference or was, now, "--html", report], report, aim)
    for rows, aim in ((10_000, "under 1 s wall"), (100_000, ""), (1_000_000, "3.4 s cpu, 400 MB"), *([(10_000_000, "500 MB")] if huge else [])):
        yield drift(f"rows: {rows:,} + {rows:,} × 30", rows, 30, aim)
    if not only or only in "stored profile":
        was, _ = pair(folder, 1_000_000, 30)
        stored = folder/"profile.json"
        yield Row("stored profile: made, 1,000,000 × 30", ["profile", was, "-o", stored], stored)
        yield drift("stored profile: 1,000,000 against it", 1_000_000, 30, "reads the current file only", stored)
    for columns, rows in ((10, 100_000), (30, 100_000), (100, 100_000), (300, 100_000), (1_000, 100_000), (1_000, 10_000), (5_000, 1_000)):
        yield drift(f"columns: {columns:,}, {rows:,} + {rows:,} rows", rows, columns, "report under 600 KB" if columns == 1_000 else "")
    if not only or only in "text":
        was, now = (path.with_suffix(".csv") for path in pair(folder, 100_000, 30))
        for path in (was, now): once([sys.executable, "-c", "import sys, polars; polars.scan_parquet(sys.argv[1]).sink_csv(sys.argv[2])", path.with_suffix(".parquet"), path], folder)
        yield Row("text: the same 100,000 + 100,000 × 30 as CSV", ["drift", was, now, "--html", report], report)


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--only", default="", help="rows whose name contains this word")
    words.add_argument("--times", type=int, default=3, help="runs of a row of up to a million rows")
    words.add_argument("--huge", action="store_true", help="ten million rows too")
    words.add_argument("--json", type=Path, help="write the rows here")
    words.add_argument("--make", nargs=4, metavar=("PATH", "ROWS", "COLUMNS", "SEED"), help="write one table, and nothing else")
    told = words.parse_args()
    if told.make:
        make(Path(told.make[0]), *map(int, told.make[1:]))
        return 0
    folder, found = Path(tempfile.mkdtemp(prefix="model-ops-drift-")), []
    try:
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, polars {pl.__version__}, load {os.getloadavg()[0]:.1f}\n")
        print("| `model-ops drift REF CUR --html` | wall s | cpu s | peak MB | report KB | aim |\n| --- | --- | --- | --- | --- | --- |")
        floor = statistics.median(once([sys.executable, "-c", "import polars"], folder).cpu for _ in range(3))
        print(f"| python and polars alone | | {floor:.2f} | | | |", flush=True)
        for row in filter(None, rows_of(folder, told.huge, told.only)):
            used, size = measure(row, folder, 1 if "10,000,000" in row.name else told.times)
            found.append(dict(row=row.name, wall=used.wall, cpu=used.cpu, memory_mb=used.memory, report_kb=size, aim=row.aim))
            print(f"| {row.name} | {used.wall:.2f} | {used.cpu:.2f} | {used.memory:.0f} | {size:.0f} | {row.aim} |", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if told.json: told.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
