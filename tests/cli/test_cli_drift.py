"The commands drift and profile: what they print, write and end with."
import json

import numpy as np
import polars as pl
import pytest
from model_ops.cli.main import main
from model_ops.drift.verdict import Verdict


def run(capsys, *words) -> tuple[int, str, str]:
    "Exit code, output and errors of a command."
    with pytest.raises(SystemExit) as end: main([str(w) for w in words])
    said = capsys.readouterr()
    return end.value.code or 0, said.out, said.err


@pytest.fixture
def paths(tmp_path):
    rng = np.random.default_rng(0)
    for name, shift in (("was", 0), ("same", 0), ("now", 1)):
        pl.DataFrame({"row": range(20_000), "day": np.datetime64("2013-01-01") + np.arange(20_000)*40//20_000, "x": rng.normal(shift, 1, 20_000), "c": rng.choice(["a", "b"], 20_000)}).write_parquet(tmp_path/f"{name}.parquet")
    return tmp_path


def test_the_verdict_is_printed_and_written(paths, capsys):
    code, out, err = run(capsys, "drift", paths/"was.parquet", paths/"now.parquet", "--html", paths/"o/r.html", "--json", paths/"o/v.json")
    assert code == 0 and not err and "1 of 3 columns drifted: x" in out and "reference: Not compared, because windows of different times" in out and "names of rows: row" in out and "--time COLUMN" in out
    assert out.splitlines()[-2:] == [str(paths/"o/r.html"), str(paths/"o/v.json")] and "<script" not in (paths/"o/r.html").read_text()
    assert Verdict.load(paths/"o/v.json").outcome == "drifted" and json.loads((paths/"o/v.json").read_text())["summary"] in out


@pytest.mark.parametrize("current, option, code", [("now", None, 0), ("now", "drifted", 3), ("same", "drifted", 0), ("same", "not-enough-data", 0), ("now", "not-enough-data", 3)])
def test_exit_codes(paths, capsys, current, option, code):
    assert run(capsys, "drift", paths/"was.parquet", paths/f"{current}.parquet", *(["--fail-on", option] if option else []))[0] == code


def test_options(paths, capsys):
    code, out, _ = run(capsys, "drift", paths/"was.parquet", paths/"now.parquet", "--time", "day", "--chunk", "1w", "--margin", "x=0.7", "--margin", "category=0.2", "--alpha", "0.01", "--json", paths/"v.json")
    verdict = Verdict.load(paths/"v.json")
    assert code == 0 and "--time" not in out and verdict.parameters.chunk == "1w" and verdict.columns["x"].margin == 0.7 and verdict.columns["c"].margin == 0.2 and verdict.parameters.alpha == 0.01
    assert run(capsys, "drift", paths/"was.parquet", paths/"now.parquet", "--chunk", "1000 rows")[0] == 0


def test_a_profile_stands_for_its_table(paths, capsys):
    code, out, _ = run(capsys, "profile", paths/"was.parquet", "-o", paths/"was.json", "--time", "day")
    assert code == 0 and out.startswith("20,000 rows of 3 columns in 40 chunks of 1d, 2013-01-01 to 2013-02-09.") and out.splitlines()[-1] == str(paths/"was.json")
    assert run(capsys, "profile", paths/"now.parquet", "-o", paths/"now.json", "--like", paths/"was.json")[0] == 0
    (paths/"was.parquet").unlink()
    assert "stored profile" in run(capsys, "drift", paths/"was.json", paths/"now.parquet", "--json", paths/"a.json")[1]
    assert run(capsys, "drift", paths/"was.json", paths/"now.json", "--json", paths/"b.json")[0] == 0
    assert Verdict.load(paths/"a.json").columns == Verdict.load(paths/"b.json").columns


@pytest.mark.parametrize("words, code, wrong", [
    (["was.parquet", "nowhere.parquet"], 1, "There is no file"), (["was.parquet", "."], 1, "is a folder"), (["was.parquet", "now.parquet", "--time", "dya"], 1, "no time column 'dya'"),
    (["was.parquet", "now.parquet", "--margin", "x"], 2, "--margin x is no margin"), (["was.parquet", "now.parquet", "--margin", "z=0.1"], 2, "no such column"), (["was.parquet", "now.parquet", "--alpha", "7"], 2, "alpha is 7"),
    (["was.parquet", "now.parquet", "--fail-on", "rain"], 2, "rain"), (["was.parquet", "now.parquet", "--chunk", "a while"], 1, "'a while'"),
])
def test_errors_are_one_message(paths, capsys, words, code, wrong):
    found, out, err = run(capsys, "drift", *(paths/w if w.endswith((".parquet", ".")) else w for w in words), "--html", paths/"r.html")
    assert found == code and wrong in err and "Traceback" not in err and not (paths/"r.html").exists()
