"""rollback: any earlier champion comes back, verified first; once, whoever is in a hurry; and a kill between ledger and mirror is healed."""
# ruff: noqa: F811
import multiprocessing, os, signal, subprocess, sys
from pathlib import Path
import pytest
from model_ops.errors import ConflictError, LedgerError, PackageError, ParameterError
from model_ops.registry import mirror
from model_ops.registry.history import history
from model_ops.registry.judge import case, judge, rollback
from test_registry_apply import Book, book, empty_store  # noqa: F401

def back(book, version=0, who="Ada", why="Complaints.", **more): return rollback(version, who=who, why=why, settings=book.settings, store=book.store, **more)
def kinds(book): return [e.kind for e in book.ledger.entries()]

def reign(book: Book, count: int) -> list[str]:
    "So many versions, one after the other in charge."
    digests = []
    for i in range(count):
        digests.append(book.decide(str(i + 1), digests[-1] if digests else None))
        book.apply()
    return digests

@pytest.fixture
def bare(tmp_path, monkeypatch):
    "A workbook whose mirror is not looked at."
    monkeypatch.setattr("model_ops.registry.apply.mirror.sync", lambda *words: [])
    monkeypatch.setattr("model_ops.registry.apply.evidence", lambda *words: {})
    return Book(tmp_path/"a book")

def test_the_one_before_comes_back(book):
    first, second = reign(book, 2)
    done = back(book)
    assert (done.outcome, done.version, done.entry.kind, done.entry.challenger, book.champion()) == ("rolled back", 2, "rollback", second, first)
    assert book.aliases() == {"champion": first} and mirror.differences(book.ledger, book.settings) == []
    assert "in charge now" in done.sentence and "Ada" in done.sentence
    assert book.apply().outcome == "applied before" and book.champion() == first

def test_any_earlier_version_by_its_number(bare):
    first, second, third = reign(bare, 3)
    assert back(bare, 1).entry.champion == first
    assert back(bare, 3).entry.champion == third
    assert back(bare, 3).outcome == "nothing to do" and len(bare.ledger.entries()) == 5
    assert bare.ledger.opponent_for("9"*64) == third

def test_going_further_back_needs_a_version(bare):
    reign(bare, 3)
    back(bare)
    bare.decide("4", bare.champion(), "keep")
    bare.apply()
    with pytest.raises(ConflictError, match="Ada has gone back already.*version 2.*Name the version"): back(bare, who="Bob")
    assert back(bare, 1, "Bob").outcome == "rolled back"

def test_who_was_taken_out_is_not_the_one_before(bare):
    first, second = reign(bare, 2)
    judge("reject", who="Ada", why="Late.", settings=bare.settings, store=bare.store)
    third = bare.decide("3", first)
    bare.apply()
    assert back(bare).entry.champion == first
    fourth = bare.decide("4", first)
    bare.apply()
    assert bare.champion() == fourth and back(bare).entry.champion == first and bare.ledger.said(third).kind == "rollback"

def test_a_champion_that_was_brought_back_may_be_promoted_again(bare):
    first, second = reign(bare, 2)
    back(bare)
    back(bare, 2)
    assert bare.ledger.said(second) is None and bare.ledger.said(first).kind == "rollback"
    assert case(bare.settings, store=bare.store).done == "approve"

@pytest.mark.parametrize(("version", "error"), [(3, LedgerError), (9, LedgerError), (-1, LedgerError)])
def test_only_who_was_in_charge_comes_back(bare, version, error):
    reign(bare, 2)
    bare.decide("3", bare.champion(), "keep")
    bare.apply()
    with pytest.raises(error, match="never in charge|There is no version"): back(bare, version)
    assert kinds(bare) == ["promote", "promote", "keep"]

def test_the_first_has_nobody_before_it(bare):
    with pytest.raises(LedgerError, match="Nobody was ever in charge"): back(bare)
    reign(bare, 1)
    with pytest.raises(LedgerError, match="Nobody was in charge before version 1"): back(bare)
    with pytest.raises(ParameterError): back(bare, why=" ")

@pytest.mark.parametrize("how", ["flipped", "missing"])
def test_a_package_that_is_not_as_it_was_does_not_come_back(bare, how):
    first, second = reign(bare, 2)
    weights = bare.settings.store/first/"data"/"weights"
    weights.write_text("torn") if how == "flipped" else (bare.settings.store/first).rename(bare.root/"away")
    with pytest.raises(PackageError, match=first[:12]): back(bare)
    assert bare.champion() == second

def test_no_file_of_the_pipeline_is_needed(bare):
    first, _ = reign(bare, 2)
    (bare.root/"records"/"decision.json").unlink()
    assert back(bare).entry.champion == first

def test_what_was_not_seen_is_not_rolled_back(bare):
    reign(bare, 3)
    with pytest.raises(ConflictError, match="While you looked, ci wrote entry 3"): back(bare, seen=2)
    assert back(bare, seen=3).outcome == "rolled back"

def _press(told):
    root, who = told
    try: return rollback(who=who, why="Night.", settings=Book(Path(root)).settings, store=Book(Path(root)).store).outcome
    except ConflictError as e: return "told" if "Nothing was written" in str(e) else str(e)

def test_eight_in_a_hurry_go_back_one_step(bare):
    first, second, third = reign(bare, 3)
    with multiprocessing.get_context("fork").Pool(8) as pool: said = pool.map(_press, [(str(bare.root), who) for who in "abcdefgh"], chunksize=1)
    assert sorted(said) == ["rolled back"] + ["told"]*7 and bare.champion() == second

CUT = """
import sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_registry_apply import Book
from model_ops.registry import apply, judge
def hang(*words):
    print("between", flush=True)
    time.sleep(60)
apply.mirror.sync = hang
book = Book(Path(sys.argv[1]))
if sys.argv[3] == "apply": book.apply()
elif sys.argv[3] == "approve": judge.judge("approve", who="Ada", why="It is better.", settings=book.settings, store=book.store)
else: judge.rollback(who="Ada", why="Complaints.", settings=book.settings, store=book.store)
"""

@pytest.mark.slow
@pytest.mark.parametrize(("cut", "heal"), [("apply", "apply"), ("approve", "rollback"), ("rollback", "approve"), ("rollback", "run")], ids=["apply-then-apply", "approve-then-rollback", "rollback-then-approve", "rollback-then-run"])
def test_a_kill_between_ledger_and_mirror_is_healed_by_the_next_command(book, cut, heal):
    first, second = reign(book, 2)
    third = book.decide("3", second, "promote" if cut == "apply" else "keep")
    process = subprocess.Popen([sys.executable, "-c", CUT, str(book.root), str(Path(__file__).parent), cut], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert process.stdout.readline().strip() == "between"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    wanted = first if cut == "rollback" else third
    assert book.champion() == wanted and book.aliases()["champion"] == second
    told = history(book.settings)
    assert told.reigns[0].digest == wanted and any("@champion is version 2" in line for line in told.mirror) and "MLflow: @champion" in told.text()
    if heal == "apply": assert book.apply().outcome == "applied before"
    elif heal == "rollback": wanted = back(book, who="Grace").entry.champion
    elif heal == "approve":
        book.decide("3", first, "keep")
        wanted = judge("approve", who="Grace", why="It is better.", settings=book.settings, store=book.store).entry.champion
    else:
        from model_ops.registry.cycle import _caught_up
        assert _caught_up(book.settings)
    assert book.champion() == wanted == book.aliases()["champion"] and history(book.settings).mirror == []
