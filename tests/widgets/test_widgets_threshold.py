"""ThresholdExplorer: what each threshold finds, misses and costs, for all tasks, and what to write where."""
import re
import numpy as np
import pytest
import yaml
from hypothesis import given, settings as drawn, strategies as st
from model_ops.errors import DataError, ParameterError
from model_ops.evaluate.metrics import confusion
from model_ops.evaluate.threshold import choose_threshold
from model_ops.widgets.cut import Cut, Errors, Prices, cheapest, nearest_goal
from model_ops.widgets.threshold import GOALS, Scored, ThresholdExplorer, scored

def made(n=800, seed=0, share=0.3):
    rng = np.random.default_rng(seed)
    y = rng.random(n) < share
    return y, np.clip(0.3 + 0.3*y + rng.normal(0, 0.2, n), 0, 1)

def explorer(**more):
    return ThresholdExplorer(Scored({"validation": made(), "test": made(seed=1)}, **{"threshold": 0.41234, "labels": ("on time", "late"), "target": "late", "noun": "flights", **more}))

@drawn(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.500001, 1.0, 3.0])), min_size=1, max_size=30), st.sampled_from([-2.0, 0.0, 0.25, 0.3, 0.5, 1.0, 9.0]))
def test_the_counts_are_those_of_evaluate(rows, threshold):
    y, score = map(np.array, zip(*rows, strict=True))
    assert Cut(y, score).at(threshold).__dict__ == confusion(y, score, threshold)
    low, high, step = Cut(y, score).span
    assert low <= score.min() and high > score.max() and 400 <= (high - low)/step <= 6_000

def test_the_cheapest_threshold_is_the_cheapest():
    cut, prices = Cut(*made()), Prices(5, 2)
    best = cut.at(cheapest(cut, prices)).cost(5, 2)
    assert best == min(cut.at(t).cost(5, 2) for t in [*cut.score, 2.0]) and cheapest(Cut([0, 0], [0.1, 0.2]), prices) > 0.2

@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.41234, 0.6, 0.9])
def test_the_goal_gives_the_threshold(threshold):
    cut = Cut(*made())
    found = nearest_goal(cut, threshold)
    again = choose_threshold(*made(), found.goal).value
    assert again == found.threshold and abs(sum(getattr(cut.at(again), k) - getattr(cut.at(threshold), k) for k in ("tp", "fp"))) == found.otherwise <= 40
    with pytest.raises(DataError): nearest_goal(Cut([0, 0], [0.1, 0.2]), 0.15)

def test_it_opens_at_the_packages_threshold_to_the_digit():
    e = explorer()
    assert e.error is None and e.threshold == 0.41234 and e.slider.value == pytest.approx(0.412) and e.wish.value == "as I set it"
    e.slider.value = 0.412  # the browser says its own place again
    assert e.threshold == 0.41234
    e.slider.value = 0.5
    assert e.threshold == 0.5 and "at 0.500" in e.text() and "package, 0.412" in e.text()

@pytest.mark.parametrize(("wish", "goal"), [(w, g) for w, g in GOALS.items() if g], ids=lambda v: v.replace(" ", "-"))
def test_a_goal_moves_the_slider_and_a_hand_drops_the_goal(wish, goal):
    e = explorer()
    with e.together(): e.bound.value, e.miss.value = 0.7, 3
    e.wish.value = wish
    bound = "=0.7" if goal in ("precision", "recall") else ""
    assert e.threshold == choose_threshold(*made(), goal + bound, cost_miss=3).value and e.wish.value == wish
    assert e.goal == goal + bound or goal == "cost"
    assert (e.bound.layout.display is None) == bool(bound)
    e.slider.value = 0.2
    assert e.wish.value == "as I set it" and e.threshold == 0.2

def test_what_cannot_be_reached_is_said():
    e = explorer()
    with e.together(): e.bound.value, e.wish.value = 1.0, "precision of at least"
    y, score = made()
    if not choose_threshold(y, score, "precision=1").reached: assert "No threshold reaches" in e.text()
    e.window.value = "test"
    assert "flatter itself" in e.text() and e.error is None

def test_costs_move_the_minimum_and_not_the_threshold():
    e = explorer()
    before = e.threshold
    e.miss.value = 50
    assert e.threshold == before and float(re.search(r"cost is least at ([0-9]+\.[0-9]+)", e.text())[1]) < 0.3

def test_what_is_said_to_write_is_yaml():
    e = explorer()
    e.slider.value = 0.6
    line = re.search(r"<pre>(.*?)</pre>", str(e.__html__()))[1]
    assert yaml.safe_load(line) == {"threshold_goal": e.goal}

def test_one_class_against_the_rest():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], 600)
    y = np.array([rng.choice(3, p=row) for row in p])
    e = ThresholdExplorer(Scored({"validation": (y, p)}, "multiclass", ("a", "b", "c<i>"), target="letter"))
    for k in range(3):
        e.of_class.value = k
        assert e.error is None and confusion(y == k, p[:, k], e.threshold) == e.rows_of().at(e.threshold).__dict__
    assert e.goal == "" and "highest score" in e.text() and "<i>" not in str(e.__html__()) and "probabilities[:, 2]" in e.text()

def test_a_regression_is_asked_for_a_tolerance():
    rng = np.random.default_rng(0)
    y, said = rng.normal(100, 10, 500), rng.normal(100, 3, 500)
    e = ThresholdExplorer(Scored({"validation": (y, said), "test": (y[:100], said[:100])}, "regression", (), target="minutes"))
    e.slider.value = 12.0
    assert e.error is None and e.share == pytest.approx((abs(y - said) <= 12).mean()) and e.tolerance == 12 and e.goal == ""
    assert "no threshold" in e.text() and "within | " in e.text()
    with pytest.raises(ParameterError, match="tolerance"): _ = e.threshold
    with pytest.raises(DataError): Errors([1, 2], [1])

@pytest.mark.parametrize("windows", [{"validation": ([0, 0, 0], [0.1, 0.2, 0.3])}, {"validation": ([1, 1], [0.5, 0.5])}, {"validation": ([0, 1], [-40.0, 7e5])}, {"validation": ([1], [0.0])}], ids=["no-positives", "no-negatives", "wide", "one-row"])
def test_odd_windows_are_told_in_words(windows):
    e = ThresholdExplorer(Scored(windows, threshold=0.3))
    assert e.error is None or isinstance(e.error, DataError)
    assert "Traceback" not in e.text() and "rows" in e.text()

def test_hostile_names_are_escaped():
    bad = "<script>alert('&\"')</script>"
    e = explorer(target=bad, labels=(bad, bad + "2"), noun=bad)
    assert "<script" not in str(e.__html__()) and "<script" not in "".join(v.value for v in e.views.values())

def test_every_control_can_be_heard():
    e = explorer()
    assert all(c.description.strip() for c in e.controls) and 'aria-live="polite"' in e._said.value and "precision" in e._said.value

def test_without_files_it_says_what_to_do(tmp_path):
    (tmp_path/"settings.ini").write_text("[workbook]\nname = x\n")
    from model_ops.errors import PackageError
    with pytest.raises(PackageError): scored(tmp_path)
