"""PromotionDesk: two presses write one entry, nothing else writes; who comes second is told."""
# ruff: noqa: F811
import sqlite3
import sys
from pathlib import Path
import pytest
from model_ops.errors import ConflictError, ParameterError, TrackingError
from model_ops.release.decision import Decision
from model_ops.widgets.desk import PromotionDesk
sys.path.insert(0, str(Path(__file__).parents[1]/"registry"))
from test_registry_apply import book, empty_store  # noqa: F401

@pytest.fixture
def two(book):
    "One model in charge, and another that the gates keep out."
    book.first = book.decide("1", None)
    book.apply()
    book.second = book.decide("2", book.first, "keep")
    return book

def desk(book, who="Ada", why="I looked at it.", **more):
    found = PromotionDesk(book.root, store=book.store, **more)
    with found.together(): found.who.value, found.why.value = who, why
    return found

def press(one, act):
    one.buttons[act].click()
    one.yes.click()

def test_opening_writes_nothing(two):
    state = lambda: {p.relative_to(two.root): p.read_bytes() for p in two.root.rglob("*") if p.is_file()}
    before = state()
    found = desk(two)
    found._repr_mimebundle_(), found.text()
    found.anew.click()
    found.yes.click()   # hidden, and nothing was asked
    found.back.click()
    assert state() == before and found.error is None and found.result is None

@pytest.mark.parametrize("act", ["approve", "reject"])
def test_two_presses_write_one_entry(two, act):
    found = desk(two)
    found.buttons[act].click()
    assert len(two.ledger.entries()) == 1 and found.yes.layout.display is None and "you are about to" in found.text() and found.case.would[act] in found.text()
    for _ in range(3): found.yes.click()
    entry = two.ledger.head()
    assert len(two.ledger.entries()) == 2 and (entry.kind, entry.who, entry.why) == (act, "Ada", "I looked at it.")
    assert two.champion() == (two.second if act == "approve" else two.first) and found.result.entry == entry
    assert "To take it back" in found.text() and found.buttons[act].disabled and found.why.value == "" and found.yes.layout.display == "none"
    other = "reject" if act == "approve" else "approve"
    found.why.value = "After all."
    press(found, other)
    assert two.champion() == (two.first if act == "approve" else two.second) and len(two.ledger.entries()) == 3

@pytest.mark.parametrize("told", [dict(who="  "), dict(why=""), dict(why="\n.\n"), dict(why="x"*2000)], ids=["no-name", "no-reason", "no-word", "too-long"])
def test_name_and_reason_are_asked_for(two, told):
    found = desk(two, **told)
    found.buttons["approve"].click()
    assert isinstance(found.error, ParameterError) and len(two.ledger.entries()) == 1 and not found.asked and "mo-problem" in found._problem.value
    found.yes.click()
    assert len(two.ledger.entries()) == 1
    with found.together(): found.who.value, found.why.value = "Ada", "Now with a reason."
    assert found.error is None
    press(found, "approve")
    assert len(two.ledger.entries()) == 2

def test_what_is_changed_after_the_question_is_asked_again(two):
    found = desk(two)
    found.buttons["approve"].click()
    found.why.value = "Another reason."
    assert not found.asked and found.yes.layout.display == "none" and "about to" not in found.text()
    found.yes.click()
    assert len(two.ledger.entries()) == 1

@pytest.mark.parametrize("acts", [("approve", "approve"), ("approve", "reject"), ("reject", "approve")], ids="-".join)
def test_two_desks_the_second_is_told_and_sees_how_things_stand(two, acts):
    desks = [desk(two, who) for who in ("Ada", "Bob")]
    for one, act in zip(desks, acts, strict=True): one.buttons[act].click()
    for one in desks: one.yes.click()
    late = desks[1]
    assert isinstance(late.error, ConflictError) and "While you looked, Ada wrote entry 2" in late.text() and len(two.ledger.entries()) == 2
    assert late.case.after == 2 and late.case.said.who == "Ada" and "by Ada" in late.text() and late.result is None

def test_a_new_run_meanwhile_is_told(two):
    found = desk(two)
    found.buttons["approve"].click()
    third = two.decide("3", two.first)
    found.yes.click()
    assert "another decision" in found.text() and two.ledger.said(third) is None and len(two.ledger.entries()) == 1
    assert found.case.decision.challenger == third and found.why.value == "I looked at it."

def test_an_outdated_case_cannot_be_pressed(two):
    press(desk(two), "approve")
    two.decide("3", two.first)
    found = desk(two)
    assert all(b.disabled for b in found.buttons.values()) and "model-ops run" in found.text()
    press(found, "approve")
    assert len(two.ledger.entries()) == 2

def test_without_a_decision_the_desk_says_so(book):
    found = desk(book)
    assert "decision.json" in found.text() and all(b.disabled for b in found.buttons.values())
    press(found, "reject")
    assert not book.ledger.file.exists()
    book.decide("1", None)
    found.anew.click()
    assert found.error is None and not found.buttons["approve"].disabled

def test_trouble_with_mlflow_is_told_beside_what_was_written(two):
    found = desk(two, patience=0.1)
    with sqlite3.connect(two.root/"mlflow.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        press(found, "approve")
        other.execute("ROLLBACK")
    assert isinstance(found.error, TrackingError) and "Only MLflow could not follow" in found.text() and "approved by Ada" in found.text()
    assert two.champion() == two.second and found.result.outcome == "approved"

def test_evidence_that_has_changed_since_is_told(two):
    from model_ops.files import digest_json, write
    import json
    write(two.root/"records"/"evaluation.json", json.dumps({"kind": "evaluation", "summary": "It is <b>better</b>."}))
    decision = Decision.load(two.root/"records"/"decision.json")
    decision.model_copy(update=dict(evidence={"evaluation": digest_json(json.loads((two.root/"records"/"evaluation.json").read_text())), "verdict": "f"*64})).save(two.root/"records"/"decision.json")
    found = desk(two)
    assert "evaluation | as judged | It is <b>better</b>." in found.text() and "<b>better" not in str(found.__html__()) and "verdict | missing" in found.text()
    write(two.root/"records"/"evaluation.json", json.dumps({"kind": "evaluation", "summary": "other"}))
    found.anew.click()
    assert "evaluation | changed since" in found.text()

def test_hostile_words_stay_words(two):
    found = desk(two, "<script>alert(1)</script>", "</q><img src=x onerror=alert(1)>")
    press(found, "approve")
    for page in (str(found.__html__()), *(v.value for v in found.views.values())): assert "<script" not in page and "<img" not in page
    assert two.ledger.head().why == "</q><img src=x onerror=alert(1)>"

def test_a_machine_opens_the_desk_under_its_name(two, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTOR", "ada")
    assert PromotionDesk(two.root, store=two.store).who.value == "ada (CI)"
