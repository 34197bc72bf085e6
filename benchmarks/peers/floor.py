"""The least that a drift report can cost: read two Parquet files and count every column, by polars' streaming engine; nothing is compared.

    python floor.py REF CUR OUT.json

Numbers are counted into 64 bins of equal width between fixed edges, -10 and 10; what lies beyond goes into the outermost two.
"""
import json
import sys
from pathlib import Path

import polars as pl


def counts(path: str) -> dict[str, dict]:
    "Rows by bin or category, for each column."
    table = pl.scan_parquet(path)
    cell = lambda name, dtype: pl.col(name) if dtype == pl.String else ((pl.col(name) + 10) / 20 * 64).clip(-1, 64).floor().cast(pl.Int8)
    plans = [table.select(cell(name, dtype).alias("cell")).group_by("cell").len() for name, dtype in table.collect_schema().items()]
    return {name: dict(zip(found["cell"].to_list(), found["len"].to_list(), strict=True)) for name, found in zip(table.collect_schema(), pl.collect_all(plans, engine="streaming"), strict=True)}


if __name__ == "__main__": Path(sys.argv[3]).write_text(json.dumps([counts(p) for p in sys.argv[1:3]]))
