"Files of any size: the same profile as their frame, by whatever way it is read."
import os
import signal
import subprocess
import sys
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from model_ops.data.contract import learn
from model_ops.data.source import read
from model_ops.drift import rows, stream
from model_ops.drift.profile import Profile
from model_ops.drift.stream import profile_file
from model_ops.errors import DataError


def table(n: int, seed=0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    day = [datetime(2013, 1, 1) + timedelta(days=i) for i in range(40)]
    return pl.DataFrame({"x": np.where(rng.random(n) < 0.05, np.nan, rng.normal(size=n)), "k": rng.integers(0, 1_000_000, n), "f": rng.random(n).astype(np.float32), "c": rng.choice(["a", "b", "ü", "d"], n),
                         "t": [f"{'x'*(i % 13)}{i}" for i in range(n)], "b": rng.random(n) < 0.2, "when": pl.Series(day).sample(n, with_replacement=True, seed=seed)}).with_columns(
                             c=pl.when(pl.col("f") < 0.01).then(None).otherwise("c"), k=pl.when(pl.col("f") > 0.99).then(None).otherwise("k"))


@pytest.fixture(params=["as it is", "in many slices"])
def small_blocks(request, monkeypatch):
    "Everything twice: held in blocks, and streamed in slices, as if the table were huge."
    if request.param != "as it is":
        monkeypatch.setattr(rows, "CELLS", rows.BLOCK)
        monkeypatch.setattr(stream, "HELD", 0)


@pytest.mark.parametrize("write", ["parquet", "ipc", "csv"])
def test_a_file_is_its_frame(small_blocks, write, tmp_path):
    frame, path = table(40_000), tmp_path/f"table.{write}"
    getattr(frame, f"write_{write}")(path, **({"row_group_size": 7_000} if write == "parquet" else {}))
    frame = read(path).frame if write == "csv" else frame
    for options in (dict(time="when"), dict(time="when", chunk="1w"), dict(chunk="10000 rows")):
        profile, _ = profile_file(path, **options)
        plain = Profile.of(frame if "time" in options else frame.drop("when"), **options)
        assert profile.columns == plain.columns and profile.chunk_rows == plain.chunk_rows and profile.chunks == plain.chunks
        assert profile.columns["t"].type == "text" and profile.columns["t"].low == 1
        now, _ = profile_file(path, like=profile)
        assert {n: c.counts for n, c in now.columns.items()} == {n: c.counts for n, c in profile.columns.items()} and not now.differs


def test_one_large_row_group_and_a_long_reference(small_blocks, tmp_path):
    rng, n = np.random.default_rng(0), 250_000
    frame = pl.DataFrame({"x": rng.lognormal(size=n), "c": rng.choice([f"v{i}" for i in range(1_500)], n), "k": rng.integers(0, 9, n)})
    frame.write_parquet(tmp_path/"table.parquet", row_group_size=n)
    contract = learn(frame.head(5_000), target="k", task="multiclass", dtypes={"c": "category"})
    profile, _ = profile_file(tmp_path/"table.parquet", contract=contract)
    assert profile == Profile.of(frame, contract=contract) and profile.columns["c"].open and profile.columns["c"].table[0, 2] > 0.9*n
    assert profile_file(tmp_path/"table.parquet", like=profile)[0].columns["c"].counts == profile.columns["c"].counts


def test_gzipped_and_foreign_text_is_streamed_too(tmp_path):
    import gzip
    frame = table(3_000).drop("when", "x")
    frame.write_csv(tmp_path/"table.csv")
    (tmp_path/"packed.csv.gz").write_bytes(gzip.compress((tmp_path/"table.csv").read_bytes()))
    (tmp_path/"old.csv").write_bytes((tmp_path/"table.csv").read_text().encode("cp1252"))
    plain, _ = profile_file(tmp_path/"table.csv")
    assert profile_file(tmp_path/"packed.csv.gz")[0] == plain
    old, told = profile_file(tmp_path/"old.csv")
    assert old == plain and "Windows-1252" in " ".join(told)


def test_what_nobody_said_is_told(tmp_path):
    frame = table(5_000).with_columns(row=pl.int_range(pl.len()), tags=pl.lit([1, 2]))
    frame.write_parquet(tmp_path/"table.parquet")
    profile, told = profile_file(tmp_path/"table.parquet")
    said = " ".join(told)
    assert "when" not in profile.columns and "when (dates)" in said and "names of rows: row." in said and "length of their texts, because nearly all of them differ: t." in said and "for their type: tags." in said
    assert "row" in profile.columns and "when" in profile_file(tmp_path/"table.parquet", time="when")[0].left_out
    (tmp_path/"table.csv").write_bytes((tmp_path/"table.parquet").read_bytes())
    assert "The file is parquet, in spite of its name." in profile_file(tmp_path/"table.csv")[1]


def test_zones_are_told(tmp_path):
    for name, zone in (("naive", None), ("tokyo", "Asia/Tokyo")): table(500).with_columns(pl.col("when").dt.replace_time_zone(zone)).write_parquet(tmp_path/f"{name}.parquet")
    naive, told = profile_file(tmp_path/"naive.parquet", time="when")
    assert naive.zone == "" and not any("clock" in s for s in told)
    assert "the clock of Asia/Tokyo, in the reference of a clock without a time zone" in " ".join(profile_file(tmp_path/"tokyo.parquet", like=naive)[1])


def test_progress_ends_with_all(small_blocks, tmp_path):
    table(40_000).write_parquet(tmp_path/"table.parquet")
    seen = []
    profile_file(tmp_path/"table.parquet", progress=lambda done, total: seen.append((done, total)))
    assert seen and seen[-1][0] == seen[-1][1] and all(0 <= done <= total for done, total in seen) and [d for d, _ in seen] == sorted(d for d, _ in seen)


def test_too_little_to_count(tmp_path):
    pl.DataFrame({"when": [datetime(2013, 1, 1)]}).write_parquet(tmp_path/"times.parquet")
    with pytest.raises(DataError, match="No column can be counted"): profile_file(tmp_path/"times.parquet")
    pl.DataFrame({"x": pl.Series([], dtype=pl.Float64)}).write_parquet(tmp_path/"none.parquet")
    with pytest.raises(DataError, match="no rows"): profile_file(tmp_path/"none.parquet")


SLOW = """
import sys, polars as pl
from model_ops.drift import stream
from model_ops.cli.main import main
def progress(done, total):
    print("counting", flush=True)
    import time; time.sleep(0.05)
import model_ops.cli.tables as tables
tables._progress = lambda: progress
main(["profile", sys.argv[1], "-o", sys.argv[2]])
"""


def test_ctrl_c_leaves_nothing_half_written(tmp_path):
    rng = np.random.default_rng(0)
    pl.DataFrame({f"x{i}": rng.normal(size=100_000) for i in range(80)}).write_parquet(tmp_path/"table.parquet")
    (tmp_path/"out").mkdir()
    (tmp_path/"out/profile.json").write_text("as it was")
    child = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path/"table.parquet"), str(tmp_path/"out/profile.json")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "counting\n"
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)
    assert child.returncode == 130 and "Traceback" not in said
    assert os.listdir(tmp_path/"out") == ["profile.json"] and (tmp_path/"out/profile.json").read_text() == "as it was"


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the peak is read from /proc")
def test_memory_does_not_grow_with_rows(tmp_path):
    rng, peaks = np.random.default_rng(0), []
    code = "import sys; from model_ops.drift.stream import profile_file; profile_file(sys.argv[1]); print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    for n in (1_000_000, 6_000_000):
        one = pl.DataFrame({f"x{i}": rng.normal(size=500_000) for i in range(4)})
        pl.concat([one.lazy()]*(n//500_000)).sink_parquet(tmp_path/"table.parquet", row_group_size=250_000)
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path/"table.parquet")], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[1]))
    assert peaks[1] < 2*peaks[0] and peaks[1] < 500*1024, peaks
