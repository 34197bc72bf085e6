"""NannyML's univariate drift calculator with its defaults, inside NannyML's own environment.

    python nannyml_drift.py results REF CUR OUT.parquet             # the numbers only
    python nannyml_drift.py each REF CUR OUT.html                   # and a figure for each column, in one page
    python nannyml_drift.py together REF CUR OUT.html               # and the one figure that `plot` makes of all columns
    python nannyml_drift.py flags OUT.json REF CUR [REF CUR …]      # what it says of each column, pair by pair
"""
import json
import os
import sys
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"  # no usage statistics leave this machine; read when the library is imported
warnings.simplefilter("ignore")

import nannyml as nml
import pandas as pd


def compared(reference: str, current: str):
    "The calculator's result: both windows in ten chunks each, Jensen-Shannon distance, thresholds of three standard deviations."
    tables = [pd.read_parquet(p) for p in (reference, current)]
    return nml.UnivariateDriftCalculator(column_names=list(tables[0])).fit(tables[0]).calculate(tables[1])


def outcomes(result) -> dict[str, str]:
    "A column is called drifted where it has an alert in any chunk of the current window."
    table = result.filter(period="analysis").to_df()
    return {c: "drifted" if any(table[k].any() for k in table.columns if k[0] == c and k[-1] == "alert") else "not drifted" for c in result.column_names}


if __name__ == "__main__":
    if sys.argv[1] == "flags":
        with open(sys.argv[2], "w") as out: json.dump([outcomes(compared(r, c)) for r, c in zip(sys.argv[3::2], sys.argv[4::2], strict=True)], out)
    else:
        found, path = compared(*sys.argv[2:4]), sys.argv[4]
        table = found.to_df(multilevel=False)
        if sys.argv[1] == "results": table.to_parquet(path)
        elif sys.argv[1] == "together": found.plot(kind="drift").write_html(path)
        else:
            found.reference_data = found.analysis_data = None  # `filter` would copy them for each column, and the figures do not need them
            figures = [found.filter(column_names=[c]).plot(kind="drift").to_html(full_html=False, include_plotlyjs=i == 0) for i, c in enumerate(found.column_names)]
            with open(path, "w") as out: out.write(f"<!doctype html><meta charset=utf-8>{''.join(figures)}{table.to_html()}")
