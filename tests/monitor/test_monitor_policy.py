"When a model is trained anew: blocks, triggers, holds, and the arithmetic of what it is worth."
import json
import socket
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from model_ops.drift.meaning import Change
from model_ops.drift.parts import Figure
from model_ops.monitor.book import Book
from model_ops.monitor.policy import FIRM, HOLDS, TRIGGERS, Choice, Costs, Policy, decide, worth

NOW = datetime(2026, 3, 2, 5, tzinfo=UTC)
PRICES = Costs(loss=5, retrain=200, hour=40, currency="€")


def figure(value, width=0.01): return Figure(value=value, low=value - width, high=value + width)


def judged(loss=0.05, width=0.005, reference=0.5, realized=None, metric="log_loss", labels=True, outcome=None):
    "What drift means for a model that loses so much a row."
    now = figure(reference + loss if realized is None else realized)
    change = Change(better="lower", reference=reference, realized=now if labels else None, estimated=now, loss=figure(loss, width) if labels else None, compared_with="estimate" if metric == "log_loss" else "reference",
                    margin=0.03 if labels else None, outcome="worse" if labels and loss - width > 0.03 else "holds" if labels and loss + width < 0.03 else "not enough data" if labels else None)
    return SimpleNamespace(metrics={metric: change}, outcome=outcome or change.outcome or "not enough data", judged_by="labels" if labels else "estimate")


def health(conclusion="retrain", model=None, age=40.0, causes=(), digest="seen", package="c" * 64):
    "The parts of a health record that a choice reads."
    model = model or judged()
    by_name = {name: SimpleNamespace(name=name, verdict=verdict, evidence=["It is so."]) for name, verdict in causes}
    return SimpleNamespace(conclusion=conclusion, beyond=None, cause=by_name.get, verdict=SimpleNamespace(model=model), served="3", metrics={"worse_by_labels": float(model.outcome == "worse")}, package=package, digest=digest, training=SimpleNamespace(age_days=age))


@pytest.fixture
def book(tmp_path): return Book(f"sqlite:///{tmp_path}/ledger.db")


def choose(book, seen, policy=Policy(), costs=PRICES, **told):
    return decide(seen, policy, costs, book=book, **{"rows_new": 20_000, "rows_a_day": 1000, "seconds": 1800, "now": NOW, **told})


def retrained(book, run, began, outcome="kept", **facts):
    "A retraining in the book."
    book.begin(run, {"summary": "Began.", **facts}, now=began)
    book.add("end", {"run": run, "outcome": outcome, "summary": "Ended.", **facts}, key=f"end {run}", now=began + timedelta(hours=1))


@pytest.mark.parametrize("told", [{"every_days": -1}, {"budget": 0}, {"train": "90"}, {"train": "0d"}, {"test": "3mo"}, {"budget_days": 0}, {"least_rows": -1}, {"cool_down": 3}, {"budget_days": float("inf")}, {"stale_days": float("nan")}, {"drift": "sometimes"}], ids=str)
def test_a_policy_that_cannot_be_is_refused(told):
    with pytest.raises(ValidationError): Policy.model_validate(told)


@pytest.mark.parametrize("told", [{"loss": -1}, {"hour": "cheap"}, {"price": 3}, {"loss": float("inf")}, {"retrain": float("nan")}], ids=str)
def test_costs_that_cannot_be_are_refused(told):
    with pytest.raises(ValidationError): Costs.model_validate(told)


def test_the_blocks_do_not_change():
    with pytest.raises(ValidationError): Policy().budget = 9


@settings(deadline=None, max_examples=60)
@given(loss=st.floats(-0.2, 0.5), width=st.floats(1e-4, 0.1), a_day=st.floats(1, 1e6), days=st.floats(1, 365), price=st.floats(1e-3, 1e3), fixed=st.floats(0, 1e5), hour=st.floats(0, 1e3), seconds=st.floats(0, 1e5))
def test_the_expected_value_is_a_product_and_the_cost_a_sum(loss, width, a_day, days, price, fixed, hour, seconds):
    policy, costs = Policy(horizon_days=days), Costs(loss=price, retrain=fixed, hour=hour)
    value = worth(judged(loss, width), policy, costs, rows_a_day=a_day, seconds=seconds)
    near = lambda x: pytest.approx(x, rel=2e-5, abs=1e-9)
    assert value.expected == near(float(f"{loss:.6g}") * a_day * days * price) and value.cost == near(fixed + hour * seconds / 3600)
    assert value.low <= value.expected <= value.high and value.low == near(float(f"{loss - width:.6g}") * a_day * days * price)


@pytest.mark.parametrize("promised", [-0.02, 0.0, None])
def test_only_what_was_promised_can_be_won_back(promised):
    past = [SimpleNamespace(facts={"promised": promised, "gained": gained}) for gained in (-0.03, 0.0, 0.03)]
    assert worth(judged(), Policy(), PRICES, rows_a_day=1000, seconds=None, past=past).share == 1.0


def test_an_absolute_error_is_priced_in_its_own_unit():
    "The loss of a mean absolute error is a share of what it was; the price is for a unit."
    value = worth(judged(0.1, 0.02, reference=8.0, realized=8.8, metric="mae"), Policy(horizon_days=10), Costs(loss=2), rows_a_day=100, seconds=None)
    assert value.expected == pytest.approx(0.1 * 8 * 1000 * 2) and value.cost == 0


def test_harder_rows_are_not_taken_for_a_loss():
    "The log loss has doubled, and is what the scores promise: nothing is expected to be won."
    value = worth(judged(0.0, 0.004, realized=1.0), Policy(), PRICES, rows_a_day=1000, seconds=0)
    assert value.expected == 0 and value.low < 0 < value.high


@pytest.mark.parametrize("told", [dict(model=judged(labels=False)), dict(costs=Costs(retrain=3)), dict(rows_a_day=None), dict(model=None)], ids=["no labels", "no price", "no traffic", "no model"])
def test_a_value_that_is_not_known_is_not_made_up(told):
    value = worth(told.get("model", judged()), Policy(), told.get("costs", PRICES), rows_a_day=told.get("rows_a_day", 1000), seconds=60)
    assert value.expected is None and value.recoverable and value.per_row is None or "costs" in told or "rows_a_day" in told


def test_what_retrainings_won_teaches_what_to_expect(book):
    for n, gained in enumerate((0.05, -0.2, 0.0)): retrained(book, f"r{n}", NOW - timedelta(days=200 - n), promised=0.05, gained=gained)
    share = choose(book, health()).value.share
    assert share == 0.5  # one imagined and one real success in four


@pytest.mark.parametrize("name, seen, policy", [
    ("schedule", health(model=judged(0.0), age=31), Policy(every_days=30)), ("drift", health(model=judged(0.0), causes=[("drift that matters", "likely")]), Policy()),
    ("performance", health(), Policy(value=False)), ("value", health(model=judged(0.02, 0.005)), Policy()), ("age", health(model=judged(0.0), age=181), Policy())], ids=["schedule", "drift", "performance", "value", "age"])
def test_each_trigger_fires_alone(book, name, seen, policy):
    choice = choose(book, seen, policy)
    assert [t.name for t in choice.triggers if t.fired] == [name] and choice.retrain and not choice.holds
    assert [t.name for t in choice.triggers] == list(TRIGGERS)


@pytest.mark.parametrize("policy", [Policy(performance=False, value=False), Policy(performance=False)], ids=["all off", "value on, no price"])
def test_what_is_switched_off_does_not_fire(book, policy):
    assert not choose(book, health(), policy, costs=Costs()).retrain


def test_doubt_is_not_a_reason(book):
    choice = choose(book, health("watch", model=judged(0.03, 0.02)), costs=Costs())
    assert not choice.retrain and {t.name: t.fired for t in choice.triggers}["performance"] is None


def test_an_estimate_without_labels_is_a_reason(book):
    seen = health(model=judged(labels=False))
    seen.metrics = {"worse_by_scores": 1.0}
    fired = [t for t in choose(book, seen).triggers if t.fired]
    assert [t.name for t in fired] == ["performance"] and "without labels" in fired[0].sentence


def test_the_cooldown_runs_from_the_end_and_the_budget_from_the_beginning(book):
    retrained(book, "a", NOW - timedelta(days=6))
    assert [h.name for h in choose(book, health()).holds] == ["cooldown"]
    assert not choose(book, health(), now=NOW + timedelta(days=1, hours=2)).holds
    retrained(book, "b", NOW - timedelta(days=3))
    held = [h.name for h in choose(book, health(), Policy(cooldown_days=0, budget=2)).holds]
    assert held == ["budget"] and not choose(book, health(), Policy(cooldown_days=0, budget=2), now=NOW + timedelta(days=24, hours=1)).holds


def test_one_whose_process_is_dead_neither_counts_nor_answers(book):
    dead = {"host": "elsewhere", "process": 1, "began": "1", "root": "/srv"}
    book.add("start", {"run": "lost", "summary": "Began.", "holder": dead, "health": "seen"}, key="start lost", now=NOW - timedelta(days=1))
    assert [h.name for h in choose(book, health(), Policy(budget=1)).holds] == ["running", "health", "budget"]  # within its lease it may live
    book.add("resume", {"run": "lost", "summary": "Goes on.", "holder": {**dead, "host": socket.gethostname(), "process": 2**22 + 1}})
    assert not choose(book, health(), Policy(budget=1)).holds


def test_failures_count_and_what_was_cut_off_does_not(book):
    retrained(book, "a", NOW - timedelta(days=1), "cut off")
    assert not choose(book, health()).holds
    retrained(book, "b", NOW - timedelta(days=1), "failed")
    (hold,) = choose(book, health()).holds
    assert (hold.name, hold.sentence) == ("cooldown", "The last retraining failed 1.0 days ago; the cooldown is 7 days; a person may overrule it: model-ops retrain --force")
    assert choose(book, health(), who="Ada").retrain
    retrained(book, "c", NOW - timedelta(hours=13))
    assert choose(book, health()).holds[0].sentence == "The last retraining ended 0.5 days ago; the cooldown is 7 days."


def test_names_keep_their_letters(book):
    fine, drifted = health("fine", judged(0.0)), health(model=judged(0.0), causes=[("drift that matters", "likely")])
    drifted.cause("drift that matters").evidence = ["Amount drifted: 31 % of the rows changed."]
    said = {"Ada": choose(book, fine, who="Ada"), "ada": choose(book, fine, who="ada"), "Amount": choose(book, drifted), "Late.parquet": choose(book, health(), obstacle="Late.parquet is damaged."), "no": choose(book, fine), "the": choose(book, health())}
    assert {word: choice.summary.partition(": ")[2].split()[0] for word, choice in said.items()} == {word: word for word in said}
    assert said["Ada"].summary == "Train anew: Ada insists."


@pytest.mark.parametrize("beyond", [None, figure(0.02, 0.012)], ids=["of the verdict", "of the health record"])
def test_a_loss_is_told_with_its_interval(beyond):
    said = worth(judged(0.02, 0.012), Policy(), Costs(), rows_a_day=1000, seconds=None, beyond=beyond).recoverable
    assert " show a log loss of 0.02 (0.01 to 0.03) a row beyond what " in said


@pytest.mark.parametrize("name, seen, told", [
    ("rows", health(), dict(rows_new=4999)), ("quarantine", health(), dict(quarantined=0.51)), ("data", health(), dict(obstacle="The new window 'test' would have 3 rows.")),
    ("roll back", health("roll back"), {}), ("data quality", health("watch", causes=[("data quality", "likely")]), {}), ("health", health(), dict(in_charge="d" * 64)),
    ("running", health(), dict(busy="A retraining is under way (process 7)."))], ids=["rows", "quarantine", "data", "roll back", "data quality", "health", "running"])
def test_each_hold_holds_alone(book, name, seen, told):
    choice = choose(book, seen, **told)
    assert [h.name for h in choice.holds] == [name] and not choice.retrain and choice.reason == choice.holds[0].sentence
    assert choose(book, seen, who="Ada", **told).retrain == (name not in FIRM)


def test_rows_that_were_not_counted_yet_hold_nothing_back(book):
    assert choose(book, health(), rows_new=None).retrain


def test_a_health_record_is_answered_once(book):
    retrained(book, "a", NOW - timedelta(days=20), health="seen")
    assert [h.name for h in choose(book, health()).holds] == ["health"] and choose(book, health(digest="newer")).retrain


def test_a_loss_that_is_sure_and_cheap_is_left_alone_unless_the_schedule_asks(book):
    cheap = Costs(loss=0.01, retrain=10_000)
    assert [h.name for h in choose(book, health(), costs=cheap).holds] == ["value"]
    assert choose(book, health(), Policy(every_days=30), costs=cheap).retrain


@settings(deadline=None, max_examples=40)
@given(loss=st.floats(-0.1, 0.2), age=st.one_of(st.none(), st.floats(0, 400)), rows=st.integers(0, 20_000), held=st.floats(0, 1), conclusion=st.sampled_from(["fine", "watch", "retrain", "roll back"]), person=st.booleans())
def test_it_is_done_where_something_fired_and_nothing_holds(tmp_path_factory, loss, age, rows, held, conclusion, person):
    book = Book(f"sqlite:///{tmp_path_factory.getbasetemp()}/none.db")
    choice = choose(book, health(conclusion, judged(loss), age), rows_new=rows, quarantined=held, who="Ada" if person else "")
    standing = [h for h in choice.holds if not h.overruled]
    assert choice.retrain == (any(t.fired for t in choice.triggers) and not standing) and all(h.name in HOLDS for h in choice.holds)
    assert Choice.from_json(choice.to_json()) == choice and choice.reason[1:] in choice.text()


def test_a_choice_shows_itself_escaped(book):
    choice = choose(book, health(), obstacle="<script>alert(1)</script>")
    assert "<script>alert" not in str(choice.__html__()) and json.loads(choice.to_json())["kind"] == "retraining"
