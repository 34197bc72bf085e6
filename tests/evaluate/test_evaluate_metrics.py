"Metrics, thresholds and curves: equal to scikit-learn, true to their definitions, clear where they are undefined."
import warnings
import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from model_ops.errors import DataError, ParameterError
from model_ops.evaluate.metrics import METRICS, calibration_curve, checked, choose_threshold, confusion, measure, pr_curve, resampled, roc_curve

QUICK = settings(deadline=None, max_examples=40)


@st.composite
def judged(draw, both=True):
    "Truth, scores with many ties, and whole weights."
    n = draw(st.integers(2, 40))
    y = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    score = np.array(draw(st.lists(st.integers(0, 12), min_size=n, max_size=n))) / 12
    weight = np.array(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)))
    if both: assume(0 < (y * weight).sum() < weight.sum())
    return y, score, weight


def same(a, b): return a is None and b is None or a is not None and a == pytest.approx(b, rel=1e-9, abs=1e-12)


def scikit_learn(y, score, threshold, weight):
    from sklearn import metrics as m
    called = score >= threshold
    kw = dict(sample_weight=weight)
    return {"roc_auc": m.roc_auc_score(y, score, **kw), "average_precision": m.average_precision_score(y, score, **kw), "log_loss": m.log_loss(y, score, labels=[0, 1], **kw),
            "brier": m.brier_score_loss(y, score, **kw), "accuracy": m.accuracy_score(y, called, **kw), "precision": m.precision_score(y, called, zero_division=np.nan, **kw),
            "recall": m.recall_score(y, called, **kw), "f1": m.f1_score(y, called, **kw)}


@QUICK
@given(judged())
def test_equal_to_scikit_learn(case):
    y, score, weight = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = scikit_learn(y, score, 0.5, weight)
    found = measure(y, score, 0.5, weight)
    assert list(found) == list(METRICS)
    for name, value in expected.items():
        assert same(found[name], None if np.isnan(value) else value), name


def test_equal_to_scikit_learn_on_many_float32_scores():
    rng = np.random.default_rng(0)
    score = rng.random(20_000).astype(np.float32)
    score[:50] = 1.0  # saturated: log loss clips at the precision of float32
    y = rng.random(20_000) < score**2
    for name, value in scikit_learn(y, score, 0.3, np.ones(len(y))).items(): assert measure(y, score, 0.3)[name] == pytest.approx(value, rel=1e-5), name


@QUICK
@given(judged())
def test_weights_are_repetitions_and_order_does_not_matter(case):
    y, score, weight = case
    weighted, repeated = measure(y, score, 0.4, weight), measure(np.repeat(y, weight), np.repeat(score, weight), 0.4)
    shuffled = np.random.default_rng(0).permutation(len(y))
    again = measure(y[shuffled], score[shuffled], 0.4, weight[shuffled])
    for name in METRICS: assert same(weighted[name], repeated[name]) and same(weighted[name], again[name]), name


@QUICK
@given(judged())
def test_ranking_sees_only_the_order(case):
    y, score, weight = case
    for name in ("roc_auc", "average_precision"):
        plain = measure(y, score, weight=weight, metrics=[name])[name]
        for monotone in (lambda s: 3*s - 7, np.exp, lambda s: s**3): assert measure(y, monotone(score), weight=weight, metrics=[name])[name] == pytest.approx(plain, rel=1e-9)
    turned = measure(1 - y, -score, weight=weight, metrics=["roc_auc"])["roc_auc"]
    assert turned == pytest.approx(measure(y, score, weight=weight, metrics=["roc_auc"])["roc_auc"], rel=1e-9)
    for name, value in measure(y, score, weight=weight).items():
        low, high = METRICS[name].range
        assert value is None or low - 1e-12 <= value <= high + 1e-12


@pytest.mark.parametrize("y, score, threshold, undefined", [
    ([0, 0, 0], [.1, .6, .7], .5, {"roc_auc", "average_precision", "recall"}),
    ([0, 0, 0], [.1, .2, .3], .5, {"roc_auc", "average_precision", "precision", "recall", "f1"}),
    ([1, 1], [.1, .2], .5, {"roc_auc", "precision"}),
    ([0, 1], [.1, .2], .5, {"precision"}),
    ([0, 1], [-2., 5.], 0., {"log_loss", "brier"}),
])
def test_undefined_is_none(y, score, threshold, undefined):
    assert {name for name, value in measure(y, score, threshold).items() if value is None} == undefined
    assert all(METRICS[name].undefined != "never" for name in undefined)


def test_without_any_weight_nothing_is_defined():
    assert set(measure([0, 1], [.2, .8], weight=[0, 0]).values()) == {None}


@pytest.mark.parametrize("y, score, words", [
    ([], [], "no rows"), ([0, 1], [.1], "shape"), ([[0], [1]], [[.1], [.2]], "shape"), ([0, 2, -1], [.1, .2, .3], "2 of 3"), ([0, 1], [np.nan, np.inf], "2 of 2"),
    ([0, 1], ["a", "b"], "type"), ([0, np.nan], [.1, .2], "1 of 2"), (["no", "yes"], [.1, .2], "2 of 2"),
])
def test_arrays_that_do_not_fit(y, score, words):
    with pytest.raises(DataError, match=words): checked(y, score)


def test_unknown_names_and_bad_weights():
    with pytest.raises(ParameterError, match="Did you mean 'brier'"): measure([0, 1], [.1, .2], metrics=["brie"])
    for weight in ([1], [1, -1], [1, np.nan]):
        with pytest.raises(DataError, match="weights"): measure([0, 1], [.1, .2], weight=weight)


@QUICK
@given(judged(both=False), st.integers(0, 10_000))
def test_resampled_is_measure_on_the_resampled_rows(case, seed):
    y, score, _ = case
    rng = np.random.default_rng(seed)
    block = rng.integers(0, 5, len(y))
    weights = rng.integers(0, 3, (6, 5)).astype(float)
    found = resampled(y, score, 0.5, block, weights)
    for r, times in enumerate(weights[:, block].astype(int)):
        expected = measure(y, score, 0.5, times)
        for name in METRICS: assert same(None if np.isnan(found[name][r]) else found[name][r], expected[name]), name


def test_ranking_in_portions_is_the_same(monkeypatch):
    import model_ops.evaluate.metrics as module
    rng = np.random.default_rng(2)
    score, block = rng.integers(0, 300, 2000) / 300, rng.integers(0, 7, 2000)
    y, weights = rng.random(2000) < score, rng.integers(0, 4, (5, 7)).astype(float)
    whole = resampled(y, score, 0.5, block, weights, ["roc_auc", "average_precision"])
    counts = module._counts_above
    monkeypatch.setattr(module, "_counts_above", lambda *args: counts(*args, cells=21))  # three distinct scores at a time
    for name, value in resampled(y, score, 0.5, block, weights, ["roc_auc", "average_precision"]).items(): np.testing.assert_allclose(value, whole[name], rtol=1e-12)


def test_confusion():
    assert confusion([0, 0, 1, 1, 1], [.5, .4, .5, .6, .1], .5) == {"tp": 2, "fp": 1, "fn": 1, "tn": 1}
    assert confusion([0, 1], [.5, .5], .5, weight=[2, 3]) == {"tp": 3.0, "fp": 2.0, "fn": 0.0, "tn": 0.0}


@QUICK
@given(judged(), st.sampled_from(["f1", "cost", "precision=0.6", "recall=0.7"]))
def test_no_threshold_does_better(case, goal):
    y, score, _ = case
    assume(y.any())
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


@pytest.mark.parametrize("goal", ["f2", "precision", "precision=80%", "precision=0", "recall=1.5", "cost=2", "", "recall=nan"])
def test_goals_that_are_not_understood(goal):
    with pytest.raises(ParameterError, match="not understood"): choose_threshold([0, 1], [.1, .2], goal)


def test_no_threshold_without_positives():
    with pytest.raises(DataError, match="None of the 2 rows"): choose_threshold([0, 0], [.1, .2])


@pytest.mark.parametrize("n", [5, 50, 5000])
def test_curves_agree_with_scikit_learn(n):
    from sklearn.metrics import precision_recall_curve, roc_curve as sk_roc
    rng = np.random.default_rng(n)
    score = np.round(rng.random(n), 3)
    y = rng.random(n) < score
    y[:2] = 0, 1
    roc, pr = roc_curve(y, score), pr_curve(y, score)
    fpr, tpr, _ = sk_roc(y, score, drop_intermediate=False)
    precision, recall, _ = precision_recall_curve(y, score)
    assert len(roc.x) <= 100 and len(pr.x) <= 100 and (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1], pr.x[-1]) == (0, 0, 1, 1, 1)
    points = lambda x, y: {(round(float(a), 9), round(float(b), 9)) for a, b in zip(x, y, strict=True)}
    assert points(roc.x, roc.y) <= points(fpr, tpr)
    assert points(pr.x[1:], pr.y[1:]) <= points(recall, precision)
    if n == 5: assert points(roc.x, roc.y) == points(fpr, tpr)
    assert roc == roc_curve(y, score)


def test_curves_of_one_class_are_empty():
    assert roc_curve([0, 0], [.1, .2]).x == [] == pr_curve([0, 0], [.1, .2]).x == roc_curve([1, 1], [.1, .2]).x


def test_calibration_keeps_ties_together():
    curve = calibration_curve([0, 1, 1, 1], [.2, .2, .2, .9], bins=4)
    assert curve.rows == [3, 1] and curve.y == pytest.approx([2/3, 1]) and curve.x == pytest.approx([.2, .9])
    assert calibration_curve([0, 1], [.3, .3]).rows == [2]
    rng = np.random.default_rng(0)
    assert calibration_curve(rng.random(1000) < .5, rng.random(1000)).rows == [100]*10
