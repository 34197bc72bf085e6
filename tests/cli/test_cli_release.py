"""promote, rollback, history, store: what they print, write and end with; and on a real workbook, from a run to a backup."""
import re, shutil
import pytest
import typer
from typer.testing import CliRunner
from model_ops.cli import release
from model_ops.errors import ConflictError, LedgerError, ModelOpsError, ParameterError
from model_ops.package.opponent import earlier
from model_ops.registry.history import History
from model_ops.registry.keep import Inventory
from model_ops.registry.ledger import Ledger
from model_ops.settings import Settings

app = typer.Typer(add_completion=False, rich_markup_mode=None)
release.register(app)

def run(*words) -> tuple[int, str]:
    "Exit code and output; errors of ours are raised, as the command line shows them."
    done = CliRunner().invoke(app, [str(w) for w in words], env={"COLUMNS": "80"})
    if isinstance(done.exception, ModelOpsError): raise done.exception
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output

@pytest.fixture
def fresh(tmp_path, monkeypatch):
    "A workbook that has never run."
    (tmp_path/"settings.ini").write_text("[workbook]\nname = orders\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODEL_OPS_ROOT", raising=False)
    return tmp_path

def test_a_workbook_that_has_never_run(fresh):
    assert run("history") == (0, "Nobody was ever in charge: the ledger is empty.\n")
    assert History.from_json(run("history", "--json")[1]).acts == []
    assert run("store", "verify")[0] == 0 and run("store", "clean")[1].startswith("There is no store yet")
    with pytest.raises(LedgerError, match="Nobody was ever in charge"): run("rollback", "--by", "Ada", "--reason", "Late.")
    with pytest.raises(ModelOpsError, match="decision.json"): run("promote")
    assert sorted(p.name for p in fresh.iterdir()) == ["settings.ini"]

@pytest.mark.parametrize("words", [("promote", "--approve"), ("promote", "--reject", "--by", "Ada"), ("promote", "--approve", "--reject", "--by", "Ada", "--reason", "Late."), ("rollback", "--reason", "Late."), ("store", "clean", "--older-than", "soon")], ids="-".join)
def test_what_is_lacking_is_said(fresh, words):
    with pytest.raises(ParameterError) as told: run(*words)
    assert told.value.exit_code == 2

def test_help_shows_every_command(fresh):
    for words in (("--help",), ("store", "--help"), ("promote", "--help"), ("rollback", "--help"), ("store", "restore", "--help")): assert run(*words)[0] == 0
    assert run("promote", "--frob")[0] == 2

@pytest.mark.slow
def test_from_a_run_to_a_backup(run_workbook, tmp_path, monkeypatch):
    "The real pipeline: the pin counts the first challenger when the second is judged."
    book = run_workbook.copy(tmp_path/"orders")
    monkeypatch.chdir(book.root)
    monkeypatch.delenv("MODEL_OPS_ROOT", raising=False)
    settings = Settings.load(book.root)
    first = book.json("package/manifest.json")["digest"]
    book.told("train", max_iter=60)
    book.ops("run")
    second = book.json("package/manifest.json")["digest"]
    assert book.json("opponent/pin.json")["earlier"] == [first] and earlier(book.root/"opponent/pin.json") == 1
    assert Ledger(settings.ledger_url).judged(book.json("opponent/pin.json")["window"]) == [first, second]

    in_charge = book.ledger()[-1][2] == second
    code, said = run("promote")
    assert code == 0 and "approve" in said and "reject" in said and len(book.ledger()) == 2
    if not in_charge: assert "is in charge now: approved by Ada" in run("promote", "--approve", "--by", "Ada", "--reason", "The shop opens.")[1]
    assert "version 1" in run("rollback", "--by", "Grace", "--reason", "Too slow.")[1].lower()
    with pytest.raises(ConflictError, match="Grace has gone back already"): run("rollback", "--by", "Bob", "--reason", "Too slow.")
    assert run("rollback", 2, "--by", "Ada", "--reason", "It was the disk.")[0] == 0 and book.status()["champion"]["digest"] == second and book.status()["mirror"] == []

    code, said = run("history", "--html", "out/history.html")
    assert code == 0 and max(map(len, said.splitlines())) <= 80 and "Grace: Too slow." in said and "test window" in said and "commit" in said
    page = (book.root/"out/history.html").read_text()
    assert "<script" not in page and all((book.root/"out"/link).resolve().is_file() for link in re.findall(r'href="([^"#]+)"', page)) and "../reports/promote.html" in page
    told = History.from_json(run("history", "--json")[1])
    assert told.reigns[0].digest == second and told.acts[-1].run and told.acts[-1].commit and told.mirror == []

    assert run("store", "verify")[0] == 0 and run("store", "backup", tmp_path/"models.tar")[0] == 0
    assert run("store", "clean", "--older-than", "0h")[1].startswith("Nothing to remove")
    (book.root/"store"/first/"model.skops").write_bytes(b"torn")
    code, said = run("store", "verify", "--json")
    assert code == 1 and [p.state for p in Inventory.from_json(said).packages] == ["damaged", "sound"]
    assert "1 package" in run("store", "restore", tmp_path/"models.tar")[1] and run("store", "verify")[0] == 0

    shutil.rmtree(book.root/"store")
    (book.root/"ledger.db").unlink()
    (book.root/"ledger.db.bak").unlink()
    assert "entries of the ledger" in run("store", "restore", tmp_path/"models.tar")[1] and book.status()["champion"]["digest"] == second and run("store", "verify")[0] == 0
