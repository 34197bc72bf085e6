"""The flights' scores, and what model_ops estimates from them without labels.

    python ours_cbpe.py scores OUT.parquet [SCORES.parquet]    # a model of January to March scores what comes later; April is the validation window
    python ours_cbpe.py estimate SCORES.parquet OUT.json       # by month and by week; and what came, from every row by scikit-learn

The threshold of the answers is the one with the largest F1 in the validation window.
"""
import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
from sklearn import metrics

from model_ops.drift.estimate import estimate
from model_ops.drift.scores import Scores

TRUTH = {"roc_auc": (metrics.roc_auc_score, "score"), "average_precision": (metrics.average_precision_score, "score"), "log_loss": (metrics.log_loss, "score"), "brier": (metrics.brier_score_loss, "score"),
         "accuracy": (metrics.accuracy_score, "predicted"), "f1": (metrics.f1_score, "predicted"), "precision": (metrics.precision_score, "predicted"), "recall": (metrics.recall_score, "predicted"),
         "specificity": (lambda y, p: metrics.recall_score(~y, ~p), "predicted")}


def made(out: str, source: str = "") -> None:
    "The table of scores with the model's answers."
    if not source:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
        from drift_estimate import flights_scores
        flights_scores(source := out)
    table = pl.read_parquet(source)
    past = table.filter(pl.col("window") == "validation")
    precision, recall, thresholds = metrics.precision_recall_curve(past["label"].to_numpy(), past["score"].to_numpy())
    threshold = float(thresholds[np.argmax((precision * recall / np.maximum(1e-12, precision + recall))[:-1])])
    table.with_columns(threshold=pl.lit(threshold), predicted=pl.col("score") >= threshold).write_parquet(out)


def came(table: pl.DataFrame) -> dict[str, float]:
    "What the labels show, by metric."
    return {name: float(function(table["label"].to_numpy(), table[column].to_numpy())) for name, (function, column) in TRUTH.items()}


def counted(table: pl.DataFrame, like: Scores | None = None) -> Scores:
    "Condensed scores by day."
    label = table["label"].to_numpy().astype(int) if like is None else None
    return Scores.of(table["score"].to_numpy(), label, task="binary", threshold=table["threshold"][0], chunk=table["day"].cast(pl.String).to_numpy(), like=like)


def estimated(path: str, out: str) -> None:
    "Estimates and what came, by month and by week."
    table = pl.read_parquet(path)
    past, later = (table.filter(pl.col("window") == w).sort("day") for w in ("validation", "current"))
    reference, found = counted(past), {"realized": {}, "validation": came(past)}
    for period, every in (("month", "1mo"), ("week", "1w")):
        found["realized"][period], found[period] = [], []
        for (start,), rows in later.group_by(pl.col("day").dt.truncate(every), maintain_order=True):
            start, told = str(start), estimate(reference, counted(rows, reference))
            found["realized"][period] += [dict(start=start, metric=m, value=v) for m, v in came(rows).items()]
            found[period] += [dict(start=start, metric=m, value=f.value, low=f.low, high=f.high) for m, f in told.metrics.items()]
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__": {"scores": made, "estimate": estimated}[sys.argv[1]](*sys.argv[2:])
