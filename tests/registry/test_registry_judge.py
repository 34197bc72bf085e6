"""judge: a person's word is one entry, under the rules of apply; of two at once one wins; the gates do not overrule it."""
# ruff: noqa: F811
import multiprocessing, os, sqlite3, subprocess, sys
from itertools import product
from pathlib import Path
import pytest
from hypothesis import HealthCheck, given, settings as drawn, strategies as st
from model_ops.errors import ConflictError, DataError, ParameterError, TrackingError
from model_ops.registry import mirror
from model_ops.registry.cycle import status
from model_ops.registry.judge import case, judge
from model_ops.release.decision import Decision
from test_registry_apply import Book, book, empty_store  # noqa: F401

def say(book, act, who="Ada", why="I looked at it.", **more): return judge(act, who=who, why=why, settings=book.settings, store=book.store, **more)
def look(book): return case(book.settings, store=book.store)
def kinds(book): return [e.kind for e in book.ledger.entries()]

@pytest.fixture
def two(book):
    "One model in charge, and another that the gates keep out; its decision is not applied yet."
    first = book.decide("1", None)
    book.apply()
    book.first, book.second = first, book.decide("2", first, "keep")
    return book

@pytest.mark.parametrize("outcome", ["promote", "keep", "not enough data"])
@pytest.mark.parametrize("before", [False, True], ids=["fresh", "applied"])
def test_a_person_may_approve_whatever_the_gates_said(book, outcome, before):
    first = book.decide("1", None)
    book.apply()
    second = book.decide("2", first, outcome)
    if before: book.apply()
    if before and outcome == "promote":
        assert say(book, "approve").outcome == "nothing to do" and "approve" not in kinds(book)
        return
    done = say(book, "approve", "Ada L.", "A new airport\n opens.")
    entry = done.entry
    assert (done.outcome, entry.kind, entry.who, entry.why, entry.champion, entry.opponent) == ("approved", "approve", "Ada L.", "A new airport opens.", second, first)
    assert entry.evidence["gates"] == {"outcome": outcome, "pass": [], "fail": [], "not enough data": []} and entry.evidence["records"] == {"evaluation": "e"*64}
    assert book.champion() == second and book.aliases() == {"champion": second} and book.ledger.version(second) == 2
    assert book.apply().outcome == "applied before" and book.champion() == second
    assert say(book, "approve", "Ada L.", "again").outcome == "nothing to do" and kinds(book).count("approve") == 1

def test_a_rejected_decision_is_never_applied(book):
    first = book.decide("1", None)
    book.apply()
    second = book.decide("2", first)
    done = say(book, "reject", why="It was a strike.")
    assert (done.outcome, done.entry.kind) == ("rejected", "reject") and book.champion() == first and book.aliases() == {"champion": first}
    again = book.apply()
    assert again.outcome == "applied before" and "rejected" in again.sentence and "Ada" in again.sentence
    Decision.load(book.root/"records"/"decision.json").model_copy(update=dict(summary="Judged anew, by other gates.")).save(book.root/"records"/"decision.json")
    overruled = book.apply()
    assert overruled.outcome == "rejected before" and overruled.entry is None and "It was a strike." in overruled.sentence
    assert book.champion() == first and kinds(book) == ["promote", "reject"]
    assert say(book, "approve", "Grace").outcome == "approved" and book.champion() == second
    third = book.decide("3", second)
    assert book.apply().outcome == "promoted" and book.champion() == third  # another package is another matter

def test_to_reject_who_is_in_charge_goes_back(book):
    first = book.decide("1", None)
    book.apply()
    second = book.decide("2", first)
    book.apply()
    assert "version 1" in look(book).would["reject"] and list(look(book).moves) == ["reject"]
    done = say(book, "reject", why="Complaints.")
    assert (done.outcome, done.entry.kind, done.entry.challenger, book.champion()) == ("rolled back", "rollback", second, first)
    assert book.aliases() == {"champion": first} and book.apply().outcome == "applied before" and book.champion() == first
    assert say(book, "reject", "Bob").outcome == "nothing to do"
    assert say(book, "approve").outcome == "approved" and book.champion() == second  # taken back
    assert kinds(book) == ["promote", "promote", "rollback", "approve"] and mirror.differences(book.ledger, book.settings) == []

def test_the_only_model_can_be_taken_out_and_the_next_one_comes_in(book):
    book.decide("1", None)
    book.apply()
    assert "nobody is in charge then" in look(book).would["reject"]
    assert say(book, "reject").entry.champion is None and book.champion() is None and book.aliases() == {}
    second = book.decide("2", book.ledger.opponent_for("2"*64))
    assert book.apply().outcome == "promoted" and book.champion() == second

def test_the_first_model_is_a_persons_choice_too(book):
    first = book.decide("1", None, "not enough data")
    assert look(book).champion == "nobody" and look(book).after == 0
    assert say(book, "approve").outcome == "approved" and book.champion() == first

def test_looking_writes_nothing(two):
    before = two.ledger.file.read_bytes(), sorted(p.relative_to(two.root) for p in two.root.rglob("*"))
    assert set(look(two).moves) == {"approve", "reject"} and look(two).done == ""
    assert (two.ledger.file.read_bytes(), sorted(p.relative_to(two.root) for p in two.root.rglob("*"))) == before

@pytest.mark.parametrize("act", ["approve", "reject"])
def test_nobody_acts_on_an_outdated_comparison(two, act):
    second = two.second
    say(two, "approve")
    two.decide("3", two.first)
    with pytest.raises(ConflictError, match="model-ops run"): say(two, act)
    assert look(two).moves == {} and two.champion() == second

def test_nobody_acts_on_another_package_than_the_judged_one(two):
    two.train("9")
    assert look(two).moves == {} and "package/ holds" in look(two).would["approve"]
    with pytest.raises(ConflictError, match="package/ holds"): say(two, "approve")
    assert kinds(two) == ["promote"]

def test_a_lost_package_cannot_come_back(two):
    say(two, "approve")
    (two.settings.store/two.first/"data"/"weights").write_text("torn")
    assert look(two).moves == {} and "cannot come back" in look(two).would["reject"]
    with pytest.raises(ConflictError, match="cannot come back"): say(two, "reject")
    assert two.champion() == two.second

@pytest.mark.parametrize("told", [dict(who=""), dict(who=" \u200b\n"), dict(why=""), dict(why=" . "), dict(who="x"*101), dict(why="x"*1001), dict(act="aprove")], ids=lambda told: f"{next(iter(told))}-{len(next(iter(told.values())))}")
def test_name_and_reason_are_asked_for(two, told):
    with pytest.raises(ParameterError): say(two, **{"act": "approve", **told})
    assert kinds(two) == ["promote"]

def test_without_a_decision_there_is_no_case(book):
    with pytest.raises(DataError, match="decision.json"): look(book)
    with pytest.raises(DataError): say(book, "reject")
    assert not book.ledger.file.exists()

def test_what_one_has_not_seen_is_not_decided(two):
    seen = look(two)
    two.decide("2", two.first, "not enough data")
    with pytest.raises(ConflictError, match="another decision"): say(two, "approve", seen=seen)
    seen = look(two)
    two.apply()
    with pytest.raises(ConflictError, match="While you looked, ci wrote entry 2"): say(two, "approve", seen=seen)
    assert kinds(two) == ["promote", "not enough data"]

@pytest.mark.parametrize("acts", list(product(["approve", "reject"], repeat=2)), ids="-".join)
def test_two_desks_one_wins_and_the_other_is_told(two, acts):
    seen = look(two)
    say(two, acts[0], "Ada", seen=seen)
    with pytest.raises(ConflictError, match="While you looked, Ada wrote entry 2") as told: say(two, acts[1], "Bob", seen=seen)
    assert told.value.entry.who == "Ada" and len(two.ledger.entries()) == 2
    assert say(two, acts[0], "Ada", seen=seen).outcome == "nothing to do" and len(two.ledger.entries()) == 2  # the same person pressed twice

def _press(told):
    root, act, who = told
    two = Book(Path(root))
    try: return say(two, act, who, seen=_SEEN).outcome
    except ConflictError as e: return type(e).__name__

def test_eight_at_once_one_is_written(two):
    global _SEEN
    _SEEN = look(two)
    with multiprocessing.get_context("fork").Pool(8) as pool: said = pool.map(_press, [(str(two.root), act, who) for who in "abcd" for act in ("approve", "reject")])
    assert len(two.ledger.entries()) == 2 and len([s for s in said if s in ("approved", "rejected")]) == 1, said
    assert set(said) <= {"approved", "rejected", "ConflictError"}  # nobody of another name is told that it was nothing

def test_the_same_person_in_eight_tabs_makes_one_entry(two):
    global _SEEN
    _SEEN = look(two)
    with multiprocessing.get_context("fork").Pool(8) as pool: said = pool.map(_press, [(str(two.root), "approve", "Ada")]*8)
    assert len(two.ledger.entries()) == 2 and sorted(said) == ["approved"] + ["nothing to do"]*7

def test_an_apply_that_is_faster_is_told(two, monkeypatch):
    seen = look(two)
    from model_ops.registry import judge as module
    def late(*words):
        two.apply()
        return {}
    monkeypatch.setattr(module, "evidence", late)  # between the look and the entry
    with pytest.raises(ConflictError, match="While you looked, ci wrote entry 2"): say(two, "approve", seen=seen)
    assert kinds(two) == ["promote", "keep"]

def test_trouble_with_mlflow_leaves_the_entry_and_says_so(two):
    with sqlite3.connect(two.root/"mlflow.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingError, match="approved by Ada. Only MLflow could not follow") as caught: say(two, "approve", patience=.1)
        other.execute("ROLLBACK")
    assert caught.value.applied.outcome == "approved" and two.champion() == two.second
    assert say(two, "approve").outcome == "nothing to do" and two.aliases() == {"champion": two.second}  # the mirror is healed

def test_status_tells_a_persons_act(two, monkeypatch):
    monkeypatch.setattr("model_ops.workbook.pipeline.stale", lambda root: {})
    say(two, "approve", "Ada", "The new airport.")
    now = status(two.settings)
    assert "promoted by Ada: The new airport." in now.text() and now.champion["kind"] == "approve" and now.decision["applied"]
    say(two, "reject", "Bob", "Complaints.")
    now = status(two.settings)
    assert "put back by Bob: Complaints." in now.text() and "its package  taken out of charge by Bob" in now.text()

@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "O'Neil & \"Söhne\"", "名前", "a\u202eb"], ids=["markup", "quotes", "wide", "turned"])
def test_hostile_names_are_told_escaped(two, name):
    done = say(two, "approve", name, name)
    for page in (done.__html__(), two.ledger.__html__()): assert "<script" not in page.lower() and "\u202e" not in page
    assert two.ledger.head().who == name.replace("\u202e", "\ufffd")

@drawn(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(st.sampled_from(["approve", "reject", "apply"]), max_size=6))
def test_whatever_is_pressed_the_ledger_says_the_last_word(tmp_path_factory, acts):
    "Without MLflow: after any acts the champion is what the last person said, and never changes without an entry."
    two = Book(tmp_path_factory.mktemp("any"))
    import model_ops.registry.apply as module
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.mirror, "sync", lambda *words: [])
        patch.setattr("model_ops.registry.apply.evidence", lambda *words: {})
        patch.setattr("model_ops.registry.judge.evidence", lambda *words: {})
        first = two.decide("1", None)
        two.apply()
        second = two.decide("2", first)
        wanted, spoken = first, False
        for act in acts:
            before = len(two.ledger.entries())
            if act == "apply":
                two.apply()
                wanted = wanted if spoken else second
            else:
                say(two, act)
                wanted, spoken = (second if act == "approve" else first), True
            assert two.champion() == wanted and len(two.ledger.entries()) - before in (0, 1)

RACER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_registry_judge import Book, say
from model_ops.errors import ConflictError
book = Book(Path(sys.argv[1]))
try: print(book.apply().outcome if sys.argv[3] == "apply" else say(book, sys.argv[3], sys.argv[4]).outcome)
except ConflictError as e: print("told")
"""

@pytest.mark.slow
def test_apply_and_people_at_once_make_one_move(book):
    first = book.decide("1", None)
    book.apply()
    book.decide("2", first)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    racers = [subprocess.Popen([sys.executable, "-c", RACER, str(book.root), str(Path(__file__).parent), act, who], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
              for act, who in (("apply", "-"), ("approve", "Ada"), ("approve", "Bob"), ("apply", "-"))]
    said = [p.communicate() for p in racers]
    assert not [err for _, err in said if "Traceback" in err], said
    assert len(book.ledger.entries()) == 2 and mirror.differences(book.ledger, book.settings) == []
