"""NannyML's CBPE with its defaults, inside NannyML's own environment: python nannyml_cbpe.py SCORES.parquet OUT.json

The validation window is the reference, months (then weeks) are the chunks. Its band is three sampling errors to each side; the error is kept, so other bands can be made.
"""
import json
import os
import sys
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # no usage statistics leave this machine; read when the library is imported
warnings.simplefilter("ignore")

import nannyml as nml
import pandas as pd

METRICS = ["roc_auc", "average_precision", "accuracy", "f1", "precision", "recall", "specificity"]


def estimated(scores: pd.DataFrame, period: str) -> list[dict]:
    "A row for each chunk and metric."
    table = scores.assign(day=pd.to_datetime(scores["day"]), label=scores["label"].astype(int), predicted=scores["predicted"].astype(int)).sort_values("day")
    cbpe = nml.CBPE(metrics=METRICS, y_pred_proba="score", y_pred="predicted", y_true="label", timestamp_column_name="day", problem_type="classification_binary", chunk_period=period)
    cbpe.fit(table[table["window"] == "validation"])
    found = cbpe.estimate(table[table["window"] == "current"]).filter(period="analysis").to_df()
    start = pd.to_datetime(found["chunk", "start_date"]).dt.date.astype(str)
    pick = lambda i, m, what: float(found[m, what].iloc[i])
    return [dict(start=start.iloc[i], metric=m, value=pick(i, m, "value"), low=pick(i, m, "lower_confidence_boundary"), high=pick(i, m, "upper_confidence_boundary"),
                 error=pick(i, m, "sampling_error"), alert=bool(found[m, "alert"].iloc[i])) for i in range(len(found)) for m in METRICS]


if __name__ == "__main__":
    table = pd.read_parquet(sys.argv[1])
    with open(sys.argv[2], "w") as out: json.dump({name: estimated(table, period) for name, period in (("month", "M"), ("week", "W"))}, out)
