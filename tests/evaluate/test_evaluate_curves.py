"Curves: equal to scikit-learn, the same points each time, empty where there is none."
import numpy as np
import pytest
from model_ops.evaluate.curves import calibration_curve, error_curve, mean_curve, pr_curve, roc_curve, within_curve


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


def test_means_of_neighbours():
    by, value = np.arange(100.), np.arange(100.)*2
    curve = mean_curve(by, value)
    assert curve.rows == [10]*10 and curve.y == pytest.approx([2*x for x in curve.x]) and curve.x[0] == 4.5
    assert mean_curve(np.full(5, 3.), np.arange(5.)) == mean_curve(np.full(5, 3.), np.arange(5.)[::-1]) and mean_curve(np.full(5, 3.), np.arange(5.)).y == [2.0]


def test_errors_are_counted_once():
    error = np.array([-100., -1, 0, 1, 2, 100])
    curve = error_curve(error, (-3, 3), bins=6)
    assert curve.x == [-2.5, -1.5, -.5, .5, 1.5, 2.5] and curve.rows == [0, 0, 1, 1, 1, 1] and sum(curve.y) == pytest.approx(4/6)
    within = within_curve(error)
    assert within.x == sorted(within.x) and (within.x[0], within.y[0], within.y[-1]) == (0, 0, .98) and within.x[25] == 1.5
