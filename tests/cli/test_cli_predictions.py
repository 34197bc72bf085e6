"""log and labels: what they print, write and end with."""
import json
import polars as pl
import pytest
import typer
from typer.testing import CliRunner
from model_ops.cli import predictions
from model_ops.errors import DataError, ModelOpsError, ParameterError
from written_log import asked, row, write

app = typer.Typer(add_completion=False, rich_markup_mode=None)
predictions.register(app)

def run(*words) -> tuple[int, str]:
    "Exit code and output; errors of ours are raised, as the command line shows them."
    done = CliRunner().invoke(app, [str(w) for w in words])
    if isinstance(done.exception, ModelOpsError): raise done.exception
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout

@pytest.fixture
def book(tmp_path, monkeypatch):
    "A workbook whose server has answered three requests."
    (tmp_path/"settings.ini").write_text("[workbook]\nname = flights\n[log]\nfolder = asked\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODEL_OPS_ROOT", raising=False)
    write(tmp_path/"asked", "w0", asked("a", row(1545)), asked("b", row(725), at=1), asked("c", row(461), at=86_400, version="4"))
    return tmp_path

def test_a_workbook_whose_server_never_ran(tmp_path, monkeypatch):
    (tmp_path/"settings.ini").write_text("[workbook]\nname = flights\n")
    monkeypatch.chdir(tmp_path)
    assert run("log") == (0, "No prediction is in the log that was asked for.\n") and run("log", "--json") == (0, "")
    assert "No slow answer" in run("log", "--slow", 3)[1] and "No refusal" in run("log", "--errors")[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["settings.ini"]

def test_log(book):
    assert "3 predictions" in (said := run("log", "--last", 2)[1]) and "flight 461" in said and "flight 1545" not in said
    assert "Settled 3 rows" in run("log", "--settle")[1] and "3 predictions" in run("log")[1]
    assert "2 predictions" in run("log", "--until", "2026-01-02")[1] and "1 prediction," in run("log", "--version", 4)[1] and "1 prediction," in run("log", "--id", "b")[1]

def test_log_as_json(book):
    lines = [json.loads(line) for line in run("log", "--json", "--last", 2, "--typed", "--settle")[1].splitlines()]
    assert [(line["request_id"], line["flight"]) for line in lines] == [("b", 725), ("c", 461)]

def test_export(book):
    assert run("log", "--export", "all.parquet", "--since", "2026-01-02") == (0, "all.parquet: 1 row\n") and pl.read_parquet("all.parquet").height == 1
    with pytest.raises(ParameterError): run("log", "--export", "all.txt")

def test_labels(book):
    (book/"late.csv").write_text("flight;late\n1545;true\n725;false\n")
    assert run("labels", "late.csv", "--by", "flight", "--label", "late") == (0, "Labels: 2 new, 0 known already, 0 corrected, 0 refused.\n")
    assert "0 new, 2 known already" in run("labels", "late.csv", "--by", "flight", "--label", "late")[1]
    lines = [json.loads(line) for line in run("log", "--json", "--labels")[1].splitlines()]
    assert [(line["actual"], line["label_source"]) for line in lines] == [("true", "late.csv"), ("false", "late.csv"), (None, None)]

def test_labels_that_cannot_be_used(book):
    (book/"some.csv").write_text("request_id,label\na,1\nb,\n")
    code, said = run("labels", "some.csv")
    assert code == 1 and "1 new" in said and "There is no label (1 row: 1)" in said
    with pytest.raises(DataError, match="no column 'late'"): run("labels", "some.csv", "--label", "late")

def test_environments_have_their_own_log(book):
    (book/"settings.ini").write_text("[workbook]\nname = flights\n[log.test]\nfolder = asked\n")
    assert "3 predictions" in run("log", "--environment", "test")[1] and "No prediction" in run("log")[1]
