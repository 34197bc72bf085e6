"""Files in, files out: every row keeps its place, and nothing is half-written."""
import subprocess
import sys
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from model_ops.data.contract import Violations, check
from model_ops.errors import ContractError, DataError, PackageError
from model_ops.package.batch import merge, predict_file
from model_ops.package.predictor import Predictor


@pytest.fixture
def source(tmp_path, boosted):
    "Rows to predict; two break an enforced rule (no depot), one has a new category."
    spoil = pl.when(pl.int_range(pl.len()).is_in([5, 900])).then(None).when(pl.int_range(pl.len()) == 7).then(pl.lit("Paris")).otherwise("depot")
    frame = boosted.frame.drop("late").with_columns(depot=spoil)
    frame.write_parquet(tmp_path / "rows.parquet")
    frame.write_csv(tmp_path / "rows.csv")
    return tmp_path / "rows.parquet"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("to", ["csv", "parquet"])
def test_every_row_comes_out_once_and_in_order(package, source, tmp_path, boosted, kind, to):
    out = tmp_path / f"out.{to}"
    batch = predict_file(package, source.with_suffix(f".{kind}"), out, batch_rows=400)
    table = pl.read_parquet(out) if to == "parquet" else pl.read_csv(out, schema_overrides={"label": pl.String})
    assert table.columns == ["row", "number", "score", "label"] and table["row"].to_list() == list(range(1500)) and table["number"].to_list() == boosted.frame["number"].to_list()
    assert table.filter(pl.col("score").is_null())["row"].to_list() == [5, 900] == batch.violations.rejected_index()
    assert (batch.rows, batch.predicted, batch.violations.rejected) == (1500, 1498, 2) and "1,498 of 1,500" in batch.summary
    good = [i for i in range(1500) if i not in (5, 7, 900)]
    assert (table["score"].to_numpy()[good] == Predictor.open(package).predict(boosted.frame).score[good]).all()


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 700), st.integers(0, 99))
def test_reports_of_slices_add_up(boosted, size, seed):
    random = np.random.default_rng(seed).random((2, 600))
    frame = boosted.frame[:600].with_columns(depot=pl.when(pl.Series(random[0] < 0.05)).then(None).otherwise(pl.lit("Ulm")), day=pl.when(pl.Series(random[1] < 0.5)).then(1).otherwise(99))
    whole = check(boosted.contract, frame, labelled=False)
    parts = merge([check(boosted.contract, frame[i:i + size], labelled=False) for i in range(0, 600, size)])
    assert parts.rejected_index() == whole.rejected_index()
    plain = lambda report: {**report.model_dump(exclude={"summary", "rejected_rows"}), "found": sorted(map(str, report.found))}
    assert plain(parts) == plain(whole)


def test_a_batch_that_is_stopped_leaves_the_old_file(package, source, tmp_path):
    out = tmp_path / "out.parquet"
    out.write_bytes(b"yesterday")
    def stop(done, total):
        if done >= 800: raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): predict_file(package, source, out, batch_rows=400, progress=stop)
    assert out.read_bytes() == b"yesterday" and {p.name for p in tmp_path.iterdir()} == {"out.parquet", "package", "rows.csv", "rows.parquet"}


def test_progress_is_told(package, source, tmp_path):
    seen = []
    predict_file(package, source, tmp_path / "out.csv", batch_rows=1000, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1000, 1500), (1500, 1500)]


def test_a_missing_column_stops_at_once(package, source, tmp_path):
    pl.read_parquet(source).rename({"kilos": "kilo"}).write_parquet(tmp_path / "odd.parquet")
    with pytest.raises(ContractError, match="kilos"): predict_file(package, tmp_path / "odd.parquet", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_nothing_is_written_where_every_row_is_rejected(package, source, tmp_path):
    pl.read_parquet(source).with_columns(depot=pl.lit(None, dtype=pl.String)).write_parquet(tmp_path / "odd.parquet")
    with pytest.raises(ContractError, match="Every one of the 1,500 rows.*depot"): predict_file(package, tmp_path / "odd.parquet", tmp_path / "out.csv", batch_rows=400)
    assert not (tmp_path / "out.csv").exists()


def test_a_slice_without_a_good_row_is_no_obstacle(package, source, tmp_path):
    frame = pl.read_parquet(source).with_columns(depot=pl.when(pl.int_range(pl.len()) < 100).then(None).otherwise(pl.lit("Ulm")))
    frame.write_parquet(tmp_path / "odd.parquet")
    for name in ("out.csv", "out.parquet"): assert predict_file(package, tmp_path / "odd.parquet", tmp_path / name, batch_rows=50).predicted == 1400
    assert pl.read_parquet(tmp_path / "out.parquet")["score"].null_count() == 100


def test_the_target_of_the_source_is_not_judged(package, source, tmp_path):
    pl.read_parquet(source).with_columns(late=pl.lit("who knows")).write_parquet(tmp_path / "odd.parquet")
    assert predict_file(package, tmp_path / "odd.parquet", tmp_path / "out.csv").predicted == 1498


def test_an_id_that_is_called_like_an_answer_is_renamed(tmp_path, boosted, write):
    contract = boosted.contract.model_copy(update={"columns": {{"number": "score"}.get(n, n): c for n, c in boosted.contract.columns.items()}})
    write(tmp_path / "p", boosted, contract=contract)
    boosted.frame.rename({"number": "score"}).write_parquet(tmp_path / "rows.parquet")
    predict_file(tmp_path / "p", tmp_path / "rows.parquet", tmp_path / "out.parquet")
    assert pl.read_parquet(tmp_path / "out.parquet").columns == ["row", "input_score", "score", "label"]


@pytest.mark.parametrize("out, says", [("out.xlsx", "cannot be written"), ("rows.parquet", "source itself")])
def test_outputs_that_cannot_be(package, source, tmp_path, out, says):
    before = source.read_bytes()
    with pytest.raises(DataError, match=says): predict_file(package, source, tmp_path / out)
    assert source.read_bytes() == before


def test_a_damaged_package_predicts_nothing(package, source, tmp_path):
    (package / "model.onnx").write_bytes(b"x")
    with pytest.raises(PackageError, match="model.onnx"): predict_file(package, source, tmp_path / "out.csv")


def test_an_empty_report_is_one(): assert merge([Violations(rows=3), Violations(rows=4)]).rows == 7


PEAK = """
import resource, sys
from model_ops.package.batch import predict_file
done = predict_file(*sys.argv[1:4], batch_rows=20_000)
print(done.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(package, tmp_path, boosted):
    part = pl.concat([boosted.frame.drop("late")] * 100)
    peaks = []
    for times in (1, 12):  # 150,000 and 1,800,000 rows; as one frame the second would be about 120 MB larger than the first
        pl.concat([part] * times).with_columns(number=pl.int_range(150_000 * times)).write_parquet(tmp_path / "rows.parquet", row_group_size=50_000)
        done = subprocess.run([sys.executable, "-c", PEAK, package, tmp_path / "rows.parquet", tmp_path / "out.parquet"], capture_output=True, text=True, check=True)
        rows, peak = map(float, done.stdout.split())
        peaks.append(peak)
        assert rows == 150_000 * times
    assert peaks[1] - peaks[0] < 60, peaks
