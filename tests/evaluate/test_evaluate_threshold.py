"The threshold: no other serves the goal better, and it lies between scores."
import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from model_ops.errors import DataError, ParameterError
from model_ops.evaluate.metrics import confusion, measure
from model_ops.evaluate.threshold import choose_threshold


@st.composite
def judged(draw):
    "Truth, and scores with many ties."
    n = draw(st.integers(2, 40))
    y = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    assume(y.any())
    return y, np.array(draw(st.lists(st.integers(0, 12), min_size=n, max_size=n)))/12


@settings(deadline=None, max_examples=40)
@given(judged(), st.sampled_from(["f1", "cost", "precision=0.6", "recall=0.7"]))
def test_no_threshold_does_better(case, goal):
    y, score = case
    found = choose_threshold(y, score, goal, cost_miss=3)
    at = lambda t: measure(y, score, t, metrics=["f1", "precision", "recall"]) | {"cost": -3*confusion(y, score, t)["fn"] - confusion(y, score, t)["fp"]}
    all_of_them = [at(t) for t in [*np.unique(score), 2.0]]
    value = at(found.value)
    if goal in ("f1", "cost"): assert value[goal] == pytest.approx(max(v[goal] for v in all_of_them))
    else:
        kind, bound = goal.split("=")
        other, reach = {"precision": "recall", "recall": "precision"}[kind], [v for v in all_of_them if (v[kind] or 0) >= float(bound)]
        assert found.reached == bool(reach)
        if reach: assert value[kind] >= float(bound) and value[other] == pytest.approx(max(v[other] or 0 for v in reach))
        else: assert value[kind] == pytest.approx(max(v[kind] or 0 for v in all_of_them)) and "no threshold reaches" in found.sentence


def test_threshold_lies_between_scores_and_is_short():
    y, score = np.array([0, 0, 1, 1]), np.array([.1, .2, .4, .9])
    assert choose_threshold(y, score).value == pytest.approx(0.3)
    near = np.float32(0.5), np.nextafter(np.float32(0.5), np.float32(1))
    tight = choose_threshold([0, 1], np.array(near))
    assert confusion([0, 1], np.array(near), tight.value) == {"tp": 1, "fp": 0, "fn": 0, "tn": 1}
    assert choose_threshold([0, 0, 0, 1], [.9, .8, .7, .6], "cost", cost_false_alarm=10).value > 0.9  # better to call nothing
    assert choose_threshold([0, 1], [-3., -2.]).value == -2.5


@pytest.mark.parametrize("goal", ["f2", "precision", "precision=80%", "precision=0", "recall=1.5", "cost=2", "", "recall=nan", "nan", "inf", "0.5=", "cost()", "cost(miss=0)", "cost(miss=-1)", "cost(mis=5)", "cost(miss=5", "cost(miss=5, miss=4)", "cost(miss=inf)", "f1=0.5"])
def test_goals_that_are_not_understood(goal):
    with pytest.raises(ParameterError, match="not understood"): choose_threshold([0, 1], [.1, .2], goal)


def test_no_threshold_without_positives():
    with pytest.raises(DataError, match="None of the 2 rows"): choose_threshold([0, 0], [.1, .2])


def test_a_number_is_taken_as_it_is():
    y, score = np.array([0, 0, 1, 1]), np.array([.1, .6, .4, .9])
    found = choose_threshold(y, score, "0.5")
    assert found == (0.5, True, "0.5, as told: precision 0.500, recall 0.500, F1 0.500 on 4 rows.") and choose_threshold(y, score, 0.5) == found and choose_threshold(y, score, "-2e-1").value == -.2
    assert choose_threshold([0, 0], [.1, .2], "0.5").sentence == "0.5, as told: precision undefined, recall undefined, F1 undefined on 2 rows."  # nothing is chosen, so no positive row is needed


def test_prices_may_stand_in_the_goal():
    rng = np.random.default_rng(0)
    score = rng.random(300)
    y = rng.random(300) < score
    for goal, prices in (("cost(miss=5, false_alarm=2)", (5, 2)), ("cost(false_alarm=0.5)", (1, .5)), ("cost( miss = 3 )", (3, 1)), ("cost", (1, 1))):
        assert choose_threshold(y, score, goal) == choose_threshold(y, score, "cost", cost_miss=prices[0], cost_false_alarm=prices[1]), goal
    assert "5 a miss and 2 a false alarm" in choose_threshold(y, score, "cost(miss=5, false_alarm=2)").sentence
