"""Evidently's drift preset with its defaults, inside Evidently's own environment.

    python evidently_drift.py report REF CUR OUT.html
    python evidently_drift.py flags OUT.json REF CUR [REF CUR …]    # what it says of each column, pair by pair
"""
import json
import os
import sys
import warnings

os.environ["DO_NOT_TRACK"] = "1"  # no usage statistics leave this machine; read when the library is imported
warnings.simplefilter("ignore")

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def compared(reference: str, current: str):
    "The preset's result. Types of columns are stated, or it would take categories with many levels for text."
    tables = [pd.read_parquet(p) for p in (reference, current)]
    numbers = list(tables[0].select_dtypes("number"))
    columns = DataDefinition(numerical_columns=numbers, categorical_columns=[c for c in tables[0] if c not in numbers])
    ref, cur = (Dataset.from_pandas(t, data_definition=columns) for t in tables)
    return Report([DataDriftPreset()]).run(cur, ref)


def outcomes(result) -> dict[str, str]:
    "A column is called drifted where its p-value is below, or its distance at or above, the threshold that Evidently chose."
    found = {m["config"]["column"]: (m["config"], m["value"]) for m in result.dict()["metrics"] if "column" in m["config"]}
    return {c: "drifted" if (value < config["threshold"] if "p_value" in config["method"] else value >= config["threshold"]) else "not drifted" for c, (config, value) in found.items()}


if __name__ == "__main__":
    if sys.argv[1] == "report": compared(*sys.argv[2:4]).save_html(sys.argv[4])
    else:
        with open(sys.argv[2], "w") as out: json.dump([outcomes(compared(r, c)) for r, c in zip(sys.argv[3::2], sys.argv[4::2], strict=True)], out)
