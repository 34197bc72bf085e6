"Metrics of all tasks: equal to scikit-learn, true to their definitions, clear where they are undefined."
import warnings
import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from model_ops.errors import DataError, ParameterError
from model_ops.evaluate.metrics import HEADLINE, LEADING, METRICS, Metric, chosen, confusion, confusion_matrix, measure, neighbours, of_task, resampled, title
from model_ops.evaluate.sums import TASKS, Sums, by_class, checked, pairs_won, precisions

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
    "What scikit-learn says; undefined where it warns and gives 0."
    from sklearn import metrics as m
    called = score >= threshold
    kw = dict(sample_weight=weight)
    alike = min(weight[called].sum(), weight[~called].sum()) == 0
    return {"roc_auc": m.roc_auc_score(y, score, **kw), "average_precision": m.average_precision_score(y, score, **kw), "log_loss": m.log_loss(y, score, labels=[0, 1], **kw),
            "brier": m.brier_score_loss(y, score, **kw), "accuracy": m.accuracy_score(y, called, **kw), "precision": m.precision_score(y, called, zero_division=np.nan, **kw),
            "recall": m.recall_score(y, called, **kw), "f1": m.f1_score(y, called, **kw),
            "mcc": np.nan if alike else m.matthews_corrcoef(y, called, **kw), "balanced_accuracy": m.balanced_accuracy_score(y, called, **kw), "calibration_error": by_groups(y, score, weight)}


def by_groups(came_true, score, weight, groups=15):
    "The calibration error by its definition, a group at a time: rows are filled into the groups in the order of their scores, equal scores together."
    share, gap = np.array([weight[score <= s].sum() for s in np.unique(score)])/weight.sum(), 0.0
    edges = np.unique([np.unique(score)[np.flatnonzero(share >= k/groups - 1e-12)[0]] for k in range(1, groups)])
    for low, high in zip(np.r_[-np.inf, edges], np.r_[edges, np.inf], strict=True):
        rows = (score > low) & (score <= high)
        gap += abs((weight*(came_true - score))[rows].sum())
    return gap/weight.sum()


@QUICK
@given(judged())
def test_equal_to_scikit_learn(case):
    y, score, weight = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = scikit_learn(y, score, 0.5, weight)
    found = measure(y, score, 0.5, weight)
    assert list(found) == list(of_task("binary"))
    for name, value in expected.items():
        assert same(found[name], None if np.isnan(value) else value), name


def test_equal_to_scikit_learn_on_many_float32_scores():
    rng = np.random.default_rng(0)
    score = rng.random(20_000).astype(np.float32)
    score[:50] = 1.0  # saturated: log loss clips at the precision of float32
    y = rng.random(20_000) < score**2
    expected = {name: value for name, value in scikit_learn(y, score, 0.3, np.ones(len(y))).items() if name != "calibration_error"}  # see below
    for name, value in expected.items(): assert measure(y, score, 0.3)[name] == pytest.approx(value, rel=1e-5), name


@QUICK
@given(judged())
def test_weights_are_repetitions_and_order_does_not_matter(case):
    y, score, weight = case
    weighted, repeated = measure(y, score, 0.4, weight), measure(np.repeat(y, weight), np.repeat(score, weight), 0.4)
    shuffled = np.random.default_rng(0).permutation(len(y))
    again = measure(y[shuffled], score[shuffled], 0.4, weight[shuffled])
    for name in of_task("binary"): assert same(weighted[name], repeated[name]) and same(weighted[name], again[name]), name


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
    ([0, 0, 0], [.1, .6, .7], .5, {"roc_auc", "average_precision", "recall", "mcc"}),
    ([0, 0, 0], [.1, .2, .3], .5, {"roc_auc", "average_precision", "precision", "recall", "f1", "mcc"}),
    ([1, 1], [.1, .2], .5, {"roc_auc", "precision", "mcc"}),
    ([0, 1], [.1, .2], .5, {"precision", "mcc"}),
    ([0, 1], [-2., 5.], 0., {"log_loss", "brier", "calibration_error"}),
])
def test_undefined_is_none(y, score, threshold, undefined):
    assert {name for name, value in measure(y, score, threshold).items() if value is None} == undefined
    assert all(METRICS[name].undefined != "never" for name in undefined)


def test_without_any_weight_nothing_is_defined():
    assert set(measure([0, 1], [.2, .8], weight=[0, 0]).values()) == {None}


@pytest.mark.parametrize("y, score, words", [
    ([], [], "no rows"), ([0, 1], [.1], "shape"), ([0, 1], [[.1, .9], [.2, .8]], "one number a row"), ([[0], [1]], [[.1], [.2]], "shape"), ([0, 2, -1], [.1, .2, .3], "2 of 3"), ([0, 1], [np.nan, np.inf], "2 of 2"),
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
        for name in set(of_task("binary")) - {"calibration_error"}: assert same(None if np.isnan(found[name][r]) else found[name][r], expected[name]), name

def test_ranking_in_portions_is_the_same():
    rng = np.random.default_rng(2)
    score, block = rng.integers(0, 300, 2000)/300, rng.integers(0, 7, 2000)
    y, weights = rng.random(2000) < score, rng.integers(0, 4, (5, 7)).astype(float)
    rows = Sums(y, score, 0.5, block, weights, rng.random(2000))
    np.testing.assert_allclose(precisions(rows, y, score, cells=21), precisions(rows, y, score), rtol=1e-12)  # four distinct scores at a time
    many = Sums(y, score, 0.5, block, np.vstack([weights]*20), rows.row_weight)  # so many resamples that they are walked side by side
    np.testing.assert_allclose(precisions(many, y, score, cells=1000), np.tile(precisions(rows, y, score), 20), rtol=1e-12)


def test_pairs_are_counted_one_by_one():
    rng = np.random.default_rng(3)
    y, score, weight = rng.random(30) < .4, rng.integers(0, 6, 30)/6, rng.integers(0, 3, 30).astype(float)
    won, pairs = pairs_won(Sums(y, score, 0.5, rng.integers(0, 4, 30), np.ones((1, 4)), weight), y, score)
    each = [(weight[i]*weight[j], (score[i] > score[j]) + (score[i] == score[j])/2) for i in np.flatnonzero(y) for j in np.flatnonzero(~y)]
    assert (won[0], pairs[0]) == (pytest.approx(sum(w*v for w, v in each)), pytest.approx(sum(w for w, _ in each)))


@st.composite
def classed(draw):
    "Codes of up to five classes of which some may be missing, probabilities with ties, and whole weights."
    n, classes = draw(st.integers(2, 30)), draw(st.integers(2, 5))
    y = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)))
    odds = np.array(draw(st.lists(st.lists(st.integers(1, 6), min_size=classes, max_size=classes), min_size=n, max_size=n)), dtype=float)
    return y, odds/odds.sum(axis=1, keepdims=True), np.array(draw(st.lists(st.integers(1, 4), min_size=n, max_size=n)))


def of_classes(y, score, weight):
    "What scikit-learn says of several classes; ROC AUC by hand, because it knows no mean over the classes that occur."
    from sklearn import metrics as m
    called, kw, classes = score.argmax(axis=1), dict(sample_weight=weight), range(score.shape[1])
    auc = [m.roc_auc_score(y == k, score[:, k], **kw) for k in classes if 0 < (y == k).sum() < len(y)]
    return {"roc_auc": np.mean(auc) if auc else None, "log_loss": m.log_loss(y, score, labels=classes, **kw), "accuracy": m.accuracy_score(y, called, **kw), "balanced_accuracy": m.balanced_accuracy_score(y, called, **kw),
            "mcc": m.matthews_corrcoef(y, called, **kw) if len(set(y)) > 1 < len(set(called)) else None,
            "average_precision": np.mean([m.average_precision_score(y == k, score[:, k], **kw) for k in classes if (y == k).any()]), "brier": m.brier_score_loss(y, score, labels=classes, **kw) if len(classes) > 2 else None,
            "calibration_error": by_groups(called == y, score.max(axis=1), weight),
            **{f"{name}_{how}": of(y, called, average=how, zero_division=0, **kw) for name, of in (("f1", m.f1_score), ("precision", m.precision_score), ("recall", m.recall_score)) for how in ("macro", "weighted")}}


@QUICK
@given(classed())
def test_several_classes_are_equal_to_scikit_learn(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = of_classes(*case)
    y, score, weight = case
    found = measure(y, score, weight=weight, task="multiclass")
    assert list(found) == list(of_task("multiclass")) and set(found) == set(expected)
    if score.shape[1] == 2: expected["brier"] = (weight*((score - np.eye(2)[y])**2).sum(axis=1)).sum()/weight.sum()  # scikit-learn takes half of it where there are two
    for name, value in expected.items(): assert same(found[name], value), name
    repeated = measure(np.repeat(y, weight), np.repeat(score, weight, axis=0), task="multiclass")
    for name, value in repeated.items(): assert same(found[name], value), name


def test_roc_auc_of_several_classes_is_scikit_learns():
    from sklearn.metrics import log_loss, roc_auc_score
    rng = np.random.default_rng(0)
    y, weight = rng.integers(0, 4, 3000), rng.random(3000)
    score = np.exp(np.eye(4)[y] + rng.normal(size=(3000, 4))).astype(np.float32)
    score /= score.sum(axis=1, keepdims=True)
    score[:9] = np.eye(4)[(y[:9] + 1) % 4]  # sure and wrong: clipped at the precision of float32
    found = measure(y, score, weight=weight, task="multiclass")
    assert found["roc_auc"] == pytest.approx(roc_auc_score(y, score, multi_class="ovr", sample_weight=weight), rel=1e-9)
    assert found["log_loss"] == pytest.approx(log_loss(y, score, sample_weight=weight), rel=1e-5)


@QUICK
@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(1, 4)), min_size=2, max_size=40), st.floats(-1e6, 1e6))
def test_numbers_are_equal_to_scikit_learn(rows, shift):
    from sklearn import metrics as m
    y, score, weight = (np.array(v, dtype=float) for v in zip(*rows, strict=True))
    assume(np.ptp(y) > 1e-3)
    kw, found = dict(sample_weight=weight), measure(y, score, weight=weight, task="regression")
    assert list(found) == list(of_task("regression"))
    expected = {"rmse": m.root_mean_squared_error(y, score, **kw), "mae": m.mean_absolute_error(y, score, **kw), "r2": m.r2_score(y, score, **kw), "mse": m.mean_squared_error(y, score, **kw),
                **{f"pinball_{level}": m.mean_pinball_loss(y, score, alpha=level/100, **kw) for level in (10, 50, 90)}} | ({} if (y == 0).any() else {"mape": m.mean_absolute_percentage_error(y, score, **kw)})
    for name, value in expected.items(): assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-9) or abs(y).min() < 1e-12, name
    moved = measure(y + shift, score + shift, weight=weight, metrics=["rmse", "r2"], task="regression")
    for name, value in moved.items(): assert value == pytest.approx(found[name], rel=1e-3, abs=1e-3), name  # far from zero no digits are lost


@QUICK
@given(classed(), st.integers(0, 10_000))
def test_resampled_is_measure_on_the_resampled_rows_in_all_tasks(case, seed):
    y, score, _ = case
    rng = np.random.default_rng(seed)
    block, weights = rng.integers(0, 5, len(y)), rng.integers(0, 3, (4, 5)).astype(float)
    for task, truth, said in (("multiclass", y, score), ("regression", y + rng.normal(size=len(y)), score[:, 0])):
        found = resampled(truth, said, 0.5, block, weights, task=task)
        for r, times in enumerate(weights[:, block].astype(int)):
            if not times.any(): continue
            expected = measure(np.repeat(truth, times), np.repeat(said, times, axis=0), task=task)
            for name, value in expected.items(): assert name == "calibration_error" or (np.isnan(found[name][r]) if value is None else found[name][r] == pytest.approx(value, rel=1e-6, abs=1e-9)), (task, name)


@pytest.mark.parametrize("y, score, task, undefined", [
    ([1, 1], [[.5, .5], [.2, .8]], "multiclass", {"roc_auc", "mcc"}),
    ([0, 1], [[.5, .9], [.2, .8]], "multiclass", {"log_loss", "brier", "calibration_error", "mcc"}),
    ([0, 1], [[-1., 2.], [.2, .8]], "multiclass", {"log_loss", "brier", "calibration_error", "mcc"}),
    ([0, 2], [[.5, .3, .2], [.1, .1, .8]], "multiclass", set()),      # a class that does not occur is left out of the means
    ([3., 3.], [1., 2.], "regression", {"r2"}), ([.1, .1, .1], [1., 2., 3.], "regression", {"r2"}), ([0., 3.], [1., 2.], "regression", {"mape"}), ([5.], [5.], "regression", {"r2"}),
])
def test_undefined_is_none_in_all_tasks(y, score, task, undefined):
    assert {name for name, value in measure(y, score, task=task).items() if value is None} == undefined
    assert all(METRICS[name].undefined != "never" for name in undefined)


@pytest.mark.parametrize("y, score, task, words", [
    ([0, 2], [[.5, .5], [.1, .9]], "multiclass", "1 of 2 true values are no code.*from 0 to 1"), ([0, -1], [[.5, .5], [.1, .9]], "multiclass", "no code"), ([0, .5], [[.5, .5], [.1, .9]], "multiclass", "no code"),
    (["a", "b"], [[.5, .5], [.1, .9]], "multiclass", "2 of 2"), ([0, 1], [.1, .2], "multiclass", "a probability for each"), ([0, 1], [[.5, np.nan], [.1, .9]], "multiclass", "1 of 2 scores"), ([], np.empty((0, 2)), "multiclass", "no rows"),
    ([0., np.nan], [1., 2.], "regression", "1 of 2 true values are no finite numbers"), (["a"], [1.], "regression", "no finite numbers"), ([1., 2.], [1., np.inf], "regression", "scores are missing"), ([1.], [[1.]], "regression", "one number a row"),
])
def test_arrays_that_do_not_fit_any_task(y, score, task, words):
    with pytest.raises(DataError, match=words): checked(y, score, task)


def test_tasks_and_their_metrics():
    assert set(HEADLINE) == set(TASKS) and all(HEADLINE[task] in of_task(task) for task in TASKS) and set().union(*map(of_task, TASKS)) == set(METRICS)
    with pytest.raises(ParameterError, match="Did you mean 'regression'"): of_task("regresion")
    with pytest.raises(ParameterError, match="'rmse' is no metric of a binary task"): chosen(["rmse"])
    with pytest.raises(ParameterError, match="Did you mean 'rmse'"): chosen(["rsme"], "regression")


def test_a_metric_of_ones_own_judges_numbers_too(monkeypatch):
    largest = Metric("within 5", "predicts", "higher", (0, 1), "The share of rows that are off by at most 5.", "never", {"regression": (lambda rows: (rows.total(abs(rows.score - rows.y) <= 5), rows.total(np.ones(len(rows.y)))), lambda near, all_of_them: near/all_of_them)})
    monkeypatch.setitem(METRICS, "within_5", largest)
    assert measure([1., 2., 30.], [2., 9., 33.], metrics=["within_5"], task="regression") == {"within_5": pytest.approx(2/3)}


def test_a_class_that_a_model_does_not_know_gets_nothing():
    assert by_class(np.array([[.9, .1]]), ["b", "c"], ["a", "b", "c"]).tolist() == [[0, .9, .1]] and by_class(np.array([[.9, .1]]), [2, 0], [0, 1]).tolist() == [[.1, 0]]


def test_groups_of_the_calibration_error_are_scikit_learns_quantiles():
    from sklearn.calibration import calibration_curve
    rng = np.random.default_rng(0)
    score = rng.random(15*70)
    y = rng.random(len(score)) < score**1.5
    came_true, said = calibration_curve(y, score, n_bins=15, strategy="quantile")
    assert measure(y, score, metrics=["calibration_error"])["calibration_error"] == pytest.approx(abs(came_true - said).mean(), rel=1e-9)
    assert np.bincount(neighbours(score, np.ones(len(score)))).tolist() == [70]*15


def test_groups_weigh_about_the_same_and_keep_equal_scores_together():
    score, weight = np.repeat([.1, .2, .3, .4], 25), np.repeat([1., 3., 0., 2.], 25)
    assert neighbours(score, weight, 2).tolist() == [0]*50 + [1]*50 and neighbours(score, weight, 3).tolist() == neighbours(score, weight, 2).tolist()
    assert set(neighbours(np.full(9, .5), np.ones(9))) == {0} and neighbours(np.arange(4.), np.ones(4)).tolist() == [0, 1, 2, 3]


def test_the_calibration_error_of_resamples_keeps_the_groups():
    rng = np.random.default_rng(1)
    score, block = rng.random(600), rng.integers(0, 6, 600)
    y, weights = rng.random(600) < score, rng.integers(0, 3, (4, 6)).astype(float)
    group = neighbours(score, np.ones(600))
    by_hand = [sum(abs((times*(y - score))[group == g].sum()) for g in range(15))/times.sum() for times in weights[:, block]]
    np.testing.assert_allclose(resampled(y, score, .5, block, weights, metrics=["calibration_error"])["calibration_error"], by_hand, rtol=1e-12)


def test_what_is_read_first_is_known():
    assert set(LEADING) == set(TASKS) and all(set(LEADING[task]) <= set(of_task(task)) and HEADLINE[task] in LEADING[task] and len(LEADING[task]) <= 8 for task in TASKS)
    assert title("mcc") == "MCC" and title("my own") == "my own"


def test_confusion():
    assert confusion([0, 0, 1, 1, 1], [.5, .4, .5, .6, .1], .5) == {"tp": 2, "fp": 1, "fn": 1, "tn": 1}
    assert confusion([0, 1], [.5, .5], .5, weight=[2, 3]) == {"tp": 3.0, "fp": 2.0, "fn": 0.0, "tn": 0.0}
    assert confusion_matrix(np.array([0, 1, 1, 2]), np.array([0, 1, 0, 0]), 3) == [[1, 0, 0], [1, 1, 0], [1, 0, 0]]
