"""Gates and decisions: strict blocks, outcomes by intervals, nothing about an opponent who is not there."""
import subprocess, sys
import pytest
from hypothesis import assume, given, settings, strategies as st
from pydantic import ValidationError
from model_ops import params
from model_ops.errors import DataError, ParameterError
from model_ops.release.decision import Decision, decide, outcome_of_all
from model_ops.release.gates import RULES, Gates, Judged, default_gates, outcome_of

A, C = "a"*64, "c"*64
SUPERIOR = {"rule": "superior", "metric": "roc_auc", "by": .01}

def interval(value, low, high): return {"value": value, "low": low, "high": high}

def evaluation(opponent=True, slices=None, **differences):
    "What evaluate's record says, in short."
    told = {"roc_auc": interval(.02, .015, .03)} | differences
    models = {"challenger": {"digest": C, "metrics": {"roc_auc": interval(.74, .73, .75), "log_loss": interval(.5, .49, .51)}}, "dummy": {"digest": "", "metrics": {}}}
    return {"models": models | ({"opponent": {"digest": A, "metrics": {}}} if opponent else {}), "differences": {"dummy": told} | ({"opponent": told} if opponent else {}), "slices": slices, "inference": {"level": .95}}

def one(gate, record=None, verdict=None, rejected=None) -> Judged:
    "What one gate finds; the comparison that a block needs is put behind it."
    return decide(record or evaluation(), verdict, [gate, SUPERIOR | {"by": 0.0}], rejected=rejected).gates[0]

@pytest.mark.parametrize(("gate", "outcome"), [
    ({"rule": "superior", "metric": "roc_auc", "by": .01}, "pass"), ({"rule": "superior", "metric": "roc_auc", "by": .02}, "not enough data"), ({"rule": "superior", "metric": "roc_auc", "by": .04}, "fail"),
    ({"rule": "superior", "metric": "roc_auc", "by": .015}, "not enough data"), ({"rule": "superior", "metric": "roc_auc", "by": .03}, "fail"),
    ({"rule": "superior", "metric": "roc_auc"}, "pass"), ({"rule": "superior", "metric": "roc_auc", "against": "dummy"}, "pass"),
    ({"rule": "non_inferior", "metric": "roc_auc", "margin": 0.0}, "pass"), ({"rule": "non_inferior", "metric": "f1", "margin": .1}, "not enough data"),
    ({"rule": "at_least", "metric": "roc_auc", "bound": .6}, "pass"), ({"rule": "at_least", "metric": "roc_auc", "bound": .73}, "pass"), ({"rule": "at_least", "metric": "roc_auc", "bound": .8}, "fail"),
    ({"rule": "at_most", "metric": "log_loss", "bound": .51}, "pass"), ({"rule": "at_most", "metric": "log_loss", "bound": .5}, "not enough data"), ({"rule": "at_most", "metric": "log_loss", "bound": .4}, "fail"),
    ({"rule": "at_least", "metric": "f1", "bound": .4}, "not enough data"), ({"rule": "drift"}, "not enough data"), ({"rule": "violations", "share": .1}, "not enough data"),
])
def test_outcomes(gate, outcome):
    found = one(gate)
    assert found.outcome == outcome and found.sentence

@pytest.mark.parametrize(("rejected", "outcome"), [(0.0, "pass"), (.01, "pass"), (.02, "fail")])
def test_violations(rejected, outcome): assert one({"rule": "violations", "share": .01}, rejected=rejected).outcome == outcome

@pytest.mark.parametrize(("told", "outcome"), [("stable", "pass"), ("drifted", "fail"), ("not enough data", "not enough data")])
def test_drift_informs_unless_told_to_gate(told, outcome):
    verdict = {"outcome": told, "summary": "13 columns were compared."}
    informing, gating = one({"rule": "drift"}, verdict=verdict), one({"rule": "drift", "informs": False}, verdict=verdict)
    assert (informing.outcome, gating.outcome, informing.informs, gating.informs) == (outcome, outcome, True, False)
    assert decide(evaluation(), verdict, [SUPERIOR, {"rule": "drift"}]).outcome == "promote"

def part(column, value, *numbers): return {"column": column, "value": value, "difference": dict(zip(("value", "low", "high"), numbers, strict=True))}

@pytest.mark.parametrize(("parts", "outcome"), [
    ([part("carrier", "UA", .01, 0, .02), part("carrier", "EV", 0, -.05, .05)], "pass"), ([part("carrier", "UA", .01, 0, .02), part("carrier", "EV", 0, -.06, .05)], "not enough data"),
    ([part("carrier", "UA", 0, -.1, .1), part("carrier", "EV", -.1, -.2, -.06)], "fail"), ([part("carrier", "UA", .1, None, None)], "not enough data"), ([], "not enough data")])
def test_slices(parts, outcome): assert one({"rule": "slices", "margin": .05}, evaluation(slices={"metric": "roc_auc", "parts": parts})).outcome == outcome

@pytest.mark.parametrize(("block", "told"), [
    ([SUPERIOR | {"bye": 1}], "no key 'bye'. Did you mean 'by'?"), ([{"rule": "superor", "metric": "f1"}], "Did you mean 'superior'?"), ([{"metric": "f1"}], "gate 1 has no rule"),
    ([SUPERIOR | {"metric": "roc"}], "no metric 'roc'"), ([SUPERIOR | {"by": -1.0}], "greater than or equal to 0"), ([SUPERIOR | {"by": "0.1"}], "valid number"), ([SUPERIOR | {"by": float("nan")}], "number"),
    ([SUPERIOR | {"informs": "no"}], "boolean"), ([{"rule": "superior"}], "required"), ([], "no gate compares with the opponent"), ([SUPERIOR | {"against": "dummy"}], "no gate compares"),
    ([SUPERIOR | {"informs": True}], "no gate compares"), ("superior", "list"), ([3], "gate 1 has no rule")])
def test_a_wrong_block_is_refused_in_words(block, told):
    with pytest.raises(ValidationError) as caught: Gates.model_validate(block)
    assert told in caught.value.errors()[0]["msg"]

def test_the_parameters_cell_names_the_class():
    cell = params.parse_cell('gates: "model_ops.release.gates:Gates" = []  # the rules')
    assert params.check({"gates": [SUPERIOR]}, cell)["gates"] == [SUPERIOR]
    with pytest.raises(ParameterError, match="promote.yaml.*gates.*Did you mean 'margin'"): params.check({"gates": [{"rule": "non_inferior", "metric": "f1", "margn": .1}]}, cell, "promote.yaml")

def test_each_rule_is_reachable():
    every = [SUPERIOR, {"rule": "non_inferior", "metric": "f1", "margin": .1}, {"rule": "at_least", "metric": "f1", "bound": 0}, {"rule": "at_most", "metric": "f1", "bound": 1},
             {"rule": "slices", "margin": 0}, {"rule": "violations", "share": 0}, {"rule": "drift"}, {"rule": "latency", "at_most": 1}, {"rule": "size", "larger_by": 1.5}, {"rule": "card"}]
    assert [g.rule for g in Gates.model_validate(every).root] == list(RULES)

def test_without_an_opponent_the_dummy_must_be_beaten():
    block = [{"rule": "non_inferior", "metric": "log_loss", "margin": .1}, {"rule": "slices", "margin": .1}]
    beats, fails = (decide(evaluation(opponent=False, log_loss=interval(v, v - .01, v + .01)), None, block) for v in (.1, -.1))
    assert (beats.outcome, fails.outcome, beats.opponent) == ("promote", "keep", None)
    assert [g.outcome for g in beats.gates] == ["pass", "not applicable", "not applicable"] and "no opponent" in beats.gates[1].sentence
    assert "dummy" in beats.summary and "Promote nobody" in fails.summary

def test_an_own_gate_on_the_dummy_is_not_doubled():
    assert len(decide(evaluation(opponent=False), None, [SUPERIOR | {"against": "dummy"}, SUPERIOR]).gates) == 2

def test_the_summary_speaks_to_a_manager():
    promote = decide(evaluation(), None, [SUPERIOR, {"rule": "at_least", "metric": "roc_auc", "bound": .6}])
    assert promote.summary == f"Promote the challenger {C[:12]}: it is better than the opponent {A[:12]}, by 0.020 in ROC AUC (95 % interval 0.015 to 0.030); it passes all 2 gates."
    keep = decide(evaluation(roc_auc=interval(-.02, -.03, -.01)), None, [SUPERIOR])
    assert keep.summary.startswith(f"Keep the opponent {A[:12]}") and "more than 0.01 better" in keep.summary
    unsure = decide(evaluation(roc_auc=interval(.02, -.01, .05)), None, [SUPERIOR])
    assert unsure.summary.startswith("Not enough data to promote") and "About 18 times as much test data would settle it with 80 % probability" in unsure.summary

def test_a_package_is_not_compared_with_itself():
    record = evaluation()
    record["models"]["opponent"]["digest"] = C
    with pytest.raises(DataError, match="the same package"): decide(record, None, [SUPERIOR])
    with pytest.raises(DataError, match="no challenger"): decide({"models": {}}, None, [SUPERIOR])

def test_the_same_evidence_gives_the_same_bytes():
    first, second = (decide(evaluation(), {"outcome": "stable", "summary": "x"}, [SUPERIOR, {"rule": "drift"}], rejected=.001) for _ in range(2))
    assert first.to_json() == second.to_json() and Decision.from_json(first.to_json()).digest == first.digest
    assert decide(evaluation(roc_auc=interval(.02, .014, .03)), None, [SUPERIOR]).digest != decide(evaluation(), None, [SUPERIOR]).digest

def test_hostile_names_stay_text():
    record = evaluation(slices={"metric": "roc_auc", "parts": [part("<script>alert(1)</script>", "<img onerror=x>"*100, 0, -.2, -.1)]})
    shown = str(decide(record, {"outcome": "drifted", "summary": "<b>x</b>"}, [SUPERIOR, {"rule": "slices", "margin": .05}, {"rule": "drift"}]).__html__())
    assert "<script" not in shown and "<img" not in shown and "<b>x" not in shown and "<svg" in shown

number = st.floats(-1, 1)
@settings(deadline=None, max_examples=200)
@given(number, number, st.booleans())
def test_an_interval_has_one_outcome_and_widening_never_settles(low, high, equal):
    assume(low <= high)
    found, wider = outcome_of(low, high, equal), outcome_of(low - .1, high + .1, equal)
    assert wider in (found, "not enough data")
    assert (found == "pass") == (low > 0 or equal and low == 0)
    if low < 0 < high: assert found == "not enough data"

@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.sampled_from(["pass", "fail", "not enough data", "not applicable"]), st.booleans()), max_size=6))
def test_promote_means_that_all_that_count_pass(told):
    outcome = outcome_of_all([Judged(name="x", rule="superior", asked="better", outcome=o, informs=i) for o, i in told])
    counted = {o for o, i in told if not i} - {"not applicable"}
    assert (outcome == "promote") == (counted == {"pass"}) and (outcome == "keep") == ("fail" in counted)

def test_it_takes_the_records_of_evaluate():
    import numpy as np
    from model_ops.evaluate.compare import evaluate
    rng = np.random.default_rng(0)
    signal, day = rng.normal(size=3000), np.arange(3000)//100
    y = rng.random(3000) < 1/(1 + np.exp(-2*signal))
    scores = {"challenger": 1/(1 + np.exp(-2*signal)), "opponent": 1/(1 + np.exp(-2*signal - 2*rng.normal(size=3000))), "dummy": np.full(3000, y.mean())}
    record = evaluate(y=y, scores=scores, thresholds=dict.fromkeys(scores, .5), blocks=day, digests={"challenger": C, "opponent": A}, slice_columns={"part": np.where(signal > 0, "high", "low")}, resamples=100)
    block = [SUPERIOR, SUPERIOR | {"against": "dummy"}, {"rule": "superior", "metric": "log_loss"}, {"rule": "non_inferior", "metric": "brier", "margin": .01}, {"rule": "slices", "margin": .2}]
    decision = decide(record, None, block)
    assert decision.outcome == "promote" and decision.evidence == {"evaluation": record.digest} and (decision.challenger, decision.opponent) == (C, A)
    worse = decide(evaluate(y=y, scores=scores | {"challenger": scores["opponent"], "opponent": scores["challenger"]}, thresholds=dict.fromkeys(scores, .5), blocks=day, digests={"challenger": C, "opponent": A}, resamples=100), None, block)
    assert worse.outcome == "keep"

def test_importing_gates_is_light():
    code = "import sys, model_ops.release.gates; print([m for m in ('numpy', 'pandas', 'polars', 'sklearn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"

@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_new_workbook_begins_with_gates_that_hold(task):
    from model_ops.evaluate.metrics import of_task
    block = default_gates(task)
    gates = Gates.model_validate(block).root
    assert {g.metric for g in gates if hasattr(g, "metric")} <= set(of_task(task)) and [g.rule for g in gates] == ["superior", "superior", "non_inferior", "violations", "card", "drift"]
    assert gates[0].against == "dummy" and gates[1].against == "opponent" and gates[-1].informs
    cell = params.parse_cell('gates: "model_ops.release.gates:Gates" = []  # the rules')
    assert params.check({"gates": block}, cell)["gates"] == block
    block[0]["rule"] = "changed"
    assert default_gates(task)[0]["rule"] == "superior"

def test_the_gates_of_a_binary_task_are_those_of_the_example():
    import yaml
    from pathlib import Path
    assert default_gates("binary") == yaml.safe_load((Path(__file__).parents[2]/"params/promote.yaml").read_text())["gates"]
    with pytest.raises(ParameterError, match="Did you mean 'regression'"): default_gates("regresion")

@pytest.mark.parametrize(("measured", "said"), [
    ((.004, .002, .006), "Log loss against the opponent: better by 0.0040 (0.0020 to 0.0060); asked: better."), ((-.004, -.006, -.002), "Log loss against the opponent: worse by 0.0040 (0.0020 to 0.0060); asked: better."),
    ((.001, -.001, .003), "Log loss against the opponent: better by 0.0010 (0.0010 worse to 0.0030 better); asked: better. About 8.2 times"), ((-.004, None, None), "Log loss against the opponent: worse by 0.004, without an interval (none was given).")])
def test_differences_are_said_with_their_side_and_without_signs(measured, said):
    record = evaluation(log_loss=interval(*measured))
    found = decide(record, None, [{"rule": "superior", "metric": "log_loss"}])
    assert found.gates[0].sentence.startswith(said)
    shown = str(found.__html__())
    assert ("better by" in shown) == (measured[0] > 0) and "+0.0" not in shown

def test_each_task_says_what_its_dummy_knows():
    for task, metric, knows in (("multiclass", "log_loss", "how frequent each class is"), ("regression", "rmse", "the mean")):
        record = {"task": task, "models": {"challenger": {"digest": C, "metrics": {}}}, "differences": {"dummy": {metric: interval(8.2, 7.9, 8.5)}}}
        told = decide(record, None, default_gates(task), rejected=0.0)
        assert told.outcome == "promote" and f"the dummy, which knows nothing but {knows}, by 8.2 in " in told.summary and "better by 8.2 (7.9 to 8.5)" in told.gates[0].sentence

@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_it_takes_the_records_of_all_tasks(task):
    import numpy as np
    from model_ops.evaluate.compare import evaluate
    rng = np.random.default_rng(0)
    day = np.arange(3000)//100
    if task == "multiclass":
        y, odds = rng.integers(0, 3, 3000), lambda strength, y: np.exp(strength*np.eye(3)[y] + rng.normal(size=(3000, 3)))
        scores = {m: (o := odds(s, y))/o.sum(axis=1, keepdims=True) for m, s in (("challenger", 2), ("opponent", .5))} | {"dummy": np.full((3000, 3), 1/3)}
    else:
        y = rng.normal(50, 10, 3000)
        scores = {"challenger": y + rng.normal(0, 2, 3000), "opponent": y + rng.normal(0, 5, 3000), "dummy": np.full(3000, 50.)}
    def judged(scores): return decide(evaluate(task=task, y=y, scores=scores, blocks=day, labels=("a", "b", "c") if task == "multiclass" else (), digests={"challenger": C, "opponent": A}, resamples=100), None, default_gates(task), rejected=0.0)
    better, worse = judged(scores), judged(scores | {"challenger": scores["opponent"], "opponent": scores["challenger"]})
    assert (better.outcome, worse.outcome) == ("promote", "keep") and "worse by" in worse.summary and Decision.from_json(worse.to_json()) == worse
