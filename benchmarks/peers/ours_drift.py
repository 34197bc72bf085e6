"""What model_ops says of each column, pair by pair: python ours_drift.py OUT.json MARGIN REF CUR [REF CUR …] (margin 0: the defaults)."""
import json
import sys

import polars as pl

from model_ops.drift.compare import compare

if __name__ == "__main__":
    margin = float(sys.argv[2])
    margins = {"number": margin, "category": margin} if margin else None
    with open(sys.argv[1], "w") as out:
        json.dump([{n: c.outcome for n, c in compare(pl.read_parquet(r), pl.read_parquet(c), margins=margins).columns.items()} for r, c in zip(sys.argv[3::2], sys.argv[4::2], strict=True)], out)
