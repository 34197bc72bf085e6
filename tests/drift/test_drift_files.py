"Verdicts on files: tables, stored profiles, model packages; and the page."
import json

import numpy as np
import polars as pl
import pytest
from model_ops.data.contract import learn
from model_ops.drift import stream
from model_ops.drift.compare import compare
from model_ops.drift.files import compare_files, page
from model_ops.drift.profile import Profile
from model_ops.drift.stream import profile_file
from model_ops.errors import DataError, ParameterError


def table(rows=5_000, seed=0, shift=0.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame({"id": [f"r{seed}-{i}" for i in range(rows)], "day": np.datetime64("2013-01-01") + np.arange(rows)*40//rows, "x": rng.normal(shift, 1, rows), "c": rng.choice(["a", "b"], rows), "y": (rng.random(rows) < 0.3).astype(int)})


@pytest.fixture
def paths(tmp_path):
    for name, frame in {"was": table(), "now": table(seed=1, shift=1.0)}.items():
        frame.write_parquet(tmp_path/f"{name}.parquet")
        frame.write_csv(tmp_path/f"{name}.csv")
    return tmp_path


def test_a_table_a_profile_and_a_package_are_the_same_reference(paths):
    contract = learn(table(), target="y", time="day", roles={"id": "id"})
    (paths/"package").mkdir()
    contract.save(paths/"package/contract.json")
    profile_file(paths/"was.parquet", contract=contract)[0].save(paths/"package/profile.json")
    verdicts = [compare_files(reference, paths/"now.parquet", contract=told) for reference, told in (
        (paths/"was.parquet", contract), (paths/"was.parquet", paths/"package/contract.json"), (paths/"package/profile.json", None), (paths/"package", None), (paths/"was.csv", contract))]
    assert all(v.columns == verdicts[0].columns and v.outcome == "drifted" for v in verdicts) and set(verdicts[0].columns) == {"x", "c", "y"}
    assert verdicts[0].columns == compare(table(), table(seed=1, shift=1.0), contract=contract).columns and len(verdicts[0].windows["reference"].starts) == 40


def test_with_a_stored_profile_only_the_current_file_is_read(paths, monkeypatch):
    profile_file(paths/"was.parquet")[0].save(paths/"was.json")
    (paths/"was.parquet").unlink()
    opened, plain = [], stream.open_table
    monkeypatch.setattr(stream, "open_table", lambda path: opened.append(path) or plain(path))
    verdict = compare_files(paths/"was.json", paths/"now.parquet")
    assert opened == [paths/"now.parquet"] and verdict.windows["reference"].told[0].startswith("The window is a stored profile: 5,000 rows")


def test_two_stored_profiles(paths):
    was, _ = profile_file(paths/"was.parquet")
    was.save(paths/"was.json")
    profile_file(paths/"now.parquet", like=was)[0].save(paths/"now.json")
    assert compare_files(paths/"was.json", paths/"now.json").columns == compare_files(paths/"was.parquet", paths/"now.parquet").columns
    Profile.of(table(seed=1)).save(paths/"other.json")
    with pytest.raises(DataError, match="other cells"): compare_files(paths/"was.json", paths/"other.json")


def test_options_reach_the_verdict(paths):
    verdict = compare_files(paths/"was.parquet", paths/"now.parquet", time="day", chunk="1w", margins={"columns": {"x": 0.6}}, alpha=0.01)
    assert verdict.parameters.alpha == 0.01 and verdict.parameters.chunk == "1w" and verdict.columns["x"].margin == 0.6 and verdict.windows["current"].starts[0] == "2012-12-31"
    by_rows = compare_files(paths/"was.parquet", paths/"now.parquet", chunk="500 rows")
    assert by_rows.windows["current"].starts == [str(i) for i in range(0, 5_000, 500)] and any("in them: day (dates)" in s for s in by_rows.windows["reference"].told)
    with pytest.raises(ParameterError): compare_files(paths/"was.parquet", paths/"now.parquet", alpha=2)


def test_what_was_found_out_is_kept(paths):
    verdict = compare_files(paths/"was.csv", paths/"now.csv")
    assert "Fields are separated by commas." in verdict.windows["current"].told and any("day (dates)" in s for s in verdict.windows["reference"].told)
    assert json.loads(verdict.to_json())["windows"]["current"]["told"]


@pytest.mark.parametrize("reference, options, wrong", [
    ("empty", {}, "no model package"), ("was.json", {"time": "when"}, "told to be 'when'"), ("was.json", {"chunk": "1h"}, "told to be '1h'"), ("was.parquet", {"time": "when"}, "no time column 'when'"),
    ("was.parquet", {"contract": "nowhere.json"}, "no nowhere.json"), ("was.parquet", {"contract": "was.json"}, "kind 'profile'"),
])
def test_errors_say_what_is_wrong(paths, reference, options, wrong):
    (paths/"empty").mkdir()
    profile_file(paths/"was.parquet")[0].save(paths/"was.json")
    with pytest.raises(DataError, match=wrong): compare_files(paths/reference, paths/"now.parquet", **({**options, "contract": paths/options["contract"]} if "contract" in options else options))


def test_the_page_does_not_grow_with_rows(paths):
    sizes = []
    for rows in (2_000, 60_000):
        for name, seed in (("a", 0), ("b", 1)): table(rows, seed).write_parquet(paths/f"{name}.parquet")
        sizes.append(len(page(compare_files(paths/"a.parquet", paths/"b.parquet"), "Drift")))
    assert sizes[1] < 1.2*sizes[0] < 100_000


def test_a_page_of_a_thousand_columns_is_small():
    rng = np.random.default_rng(0)
    was, now = (pl.DataFrame({f"x{i}": rng.normal(shift*(i % 2), size=1_000) for i in range(1_000)}) for shift in (0, 1))
    verdict = compare(was, now)
    assert verdict.metrics["drifted"] > 400 and len(page(verdict, "Drift").encode()) < 600_000
