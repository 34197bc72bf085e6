"""Folds in time order, importance, and the record of a training."""
import os
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.errors import DataError, ParameterError
from model_ops.train.recipe import CV_METRICS, Fold, Importance, Training, cross_validate, flat_metrics, importance, probabilities, scores, splits

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # boosting on busy cores is ten times slower without
rng = np.random.default_rng(0)
n = 1200
day = np.sort(rng.integers(0, 30, n))
X = rng.normal(size=(n, 3)).astype(np.float32)
y = (X[:, 0] + rng.normal(size=n) > 0.5).astype(int)


def make_model():
    from sklearn.linear_model import LogisticRegression
    return LogisticRegression()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(1, 5))
def test_the_future_never_teaches_and_no_day_is_split(blocks, folds):
    blocks = np.array(blocks)
    if len(set(blocks)) < folds + 1:
        with pytest.raises(DataError): list(splits(blocks, folds))
        return
    tested = []
    for learn, test in splits(blocks, folds):
        assert len(learn) and len(test) and blocks[learn].max() < blocks[test].min()
        assert len(learn) == (blocks < blocks[test].min()).sum()
        tested += test.tolist()
    assert len(tested) == len(set(tested)) and set(range(len(blocks))) - set(tested) == set(next(splits(blocks, folds))[0].tolist())


def test_rows_need_not_be_sorted_by_time():
    order = rng.permutation(n)
    assert cross_validate(make_model, X, y, day, folds=3) == cross_validate(make_model, X[order], y[order], day[order], folds=3)


def test_a_fold_is_what_scikit_learn_would_say():
    from sklearn.metrics import log_loss, roc_auc_score
    fold = cross_validate(make_model, X, y, day, folds=2)[1]
    learn, test = day < 20, day >= 20
    score = make_model().fit(X[learn], y[learn]).predict_proba(X[test])[:, 1]
    assert (fold.learned, fold.tested, fold.start, fold.end) == (learn.sum(), test.sum(), "20", "29") and tuple(fold.metrics) == CV_METRICS["binary"]
    assert fold.metrics["roc_auc"] == pytest.approx(roc_auc_score(y[test], score), rel=1e-5) and fold.metrics["log_loss"] == pytest.approx(log_loss(y[test], score), rel=1e-5)


def test_without_blocks_the_order_of_the_rows_is_time():
    folds = cross_validate(make_model, X, y, folds=3)
    assert [f.learned for f in folds] == [300, 600, 900] and folds[-1].end == str(n - 1)


def test_progress_is_told():
    seen = []
    cross_validate(make_model, X, y, day, folds=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("wrong, error, says", [
    (dict(folds=30), DataError, "31 at least"), (dict(folds=0), ParameterError, "folds is 0"), (dict(folds=2.5), ParameterError, "folds is 2.5"),
    (dict(y=np.where(day < 12, 0, y)), DataError, "one class"), (dict(metrics=["auc"]), ParameterError, "roc_auc"),
    (dict(folds=1, ordered=False), ParameterError, "from 2 on"), (dict(folds=31, ordered=False), DataError, "30 different blocks. 31 folds need 31 at least"), (dict(metrics=["rmse"]), ParameterError, "no metric of a binary task"),
    (dict(task="multiclass", y=np.zeros(n, dtype=int)), DataError, "At least two are needed"), (dict(task="clustering"), ParameterError, "no task 'clustering'"), (dict(y=y[:5]), DataError, "1,200 rows, 5 labels and 1,200 blocks"),
    (dict(X=X[:3], y=y[:3], blocks=None), DataError, "3 different blocks")])
def test_what_cannot_work_says_so(wrong, error, says):
    with pytest.raises(error, match=says): cross_validate(make_model, **{**dict(X=X, y=y, blocks=day, folds=4), **wrong})


def test_a_test_part_with_one_class_has_undefined_metrics():
    with pytest.warns(UserWarning, match="not defined on the test rows of fold 4"): fold = cross_validate(make_model, X, np.where(day >= 24, 0, y), day, folds=4)[-1]
    assert fold.metrics["roc_auc"] is None and fold.metrics["brier"] is not None


def test_importance_finds_what_counts():
    model = make_model().fit(X[:800], y[:800])
    found = importance(lambda A: model.predict_proba(A)[:, 1], X[800:], y[800:], ["a", "b", "c"], seed=3)
    assert found[0].name == "a" and found[0].low <= found[0].value <= found[0].high and found[0].value > 0.1 > abs(found[1].value)
    assert found == importance(lambda A: model.predict_proba(A)[:, 1], X[800:], y[800:], ["a", "b", "c"], seed=3)


def test_importance_is_what_scikit_learn_finds():
    from sklearn.inspection import permutation_importance
    model = make_model().fit(X, y)
    theirs = permutation_importance(model, X, y, scoring="roc_auc", n_repeats=30, random_state=0).importances_mean
    ours = {one.name: one.value for one in importance(lambda A: model.predict_proba(A)[:, 1], X, y, ["a", "b", "c"], repeats=30)}
    assert np.allclose([ours[c] for c in "abc"], theirs, atol=0.01)


def test_importance_of_a_metric_that_should_be_low():
    model = make_model().fit(X, y)
    for metric in ("log_loss", "brier"): assert importance(lambda A: model.predict_proba(A)[:, 1], X, y, ["a", "b", "c"], metric=metric)[0].value > 0


def test_importance_uses_a_sample_of_the_rows():
    sizes = []
    def score(A):
        sizes.append(len(A))
        return A[:, 0]
    importance(score, X, y, ["a", "b", "b"], rows=200, repeats=2)
    assert sizes == [200, 400, 400]


def test_importance_refuses_what_cannot_be():
    with pytest.raises(DataError, match="2 names"): importance(lambda A: A[:, 0], X, y, ["a", "b"])
    with pytest.raises(DataError, match="one class"): importance(lambda A: A[:, 0], X, np.zeros(n), ["a", "b", "c"])


def full(**more):
    folds = [Fold(learned=10, tested=5, start="a", end="b", metrics={"roc_auc": v}) for v in (0.6, None, 0.7)]
    return Training(**{**dict(estimator="E()", params={"max_iter": 3}, validation={"roc_auc": 0.65, "f1": None}, threshold=0.3, folds=folds,
                              importance=[Importance(name="<script>alert(1)</script>", value=0.2, low=0.1, high=0.3)], package="ab" * 32), **more})


def test_the_record_says_it_in_a_sentence_and_comes_back():
    training = full()
    assert training.summary.startswith("ROC AUC 0.650 on the validation window, 0.600 to 0.700 in 2 folds in time order; it looks most at <script>")
    assert Training.from_json(training.to_json()) == training and full(summary="Mine.").summary == "Mine."
    assert flat_metrics(training) == {"roc_auc": 0.65, "threshold": 0.3}
    assert flat_metrics(full(folds=training.folds[::2]))["cv_roc_auc"] == 0.65


def test_the_display_is_markup_without_script_and_holds_when_little_is_known():
    assert "<script" not in str(full().__html__()) and "&lt;script&gt;" in str(full().__html__())
    assert Training(estimator="E()").summary == "The model was fitted." and "<svg" not in str(Training(estimator="E()").__html__())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.integers(2, 5), st.integers(0, 9))
def test_without_order_each_block_is_tested_once_and_never_split(blocks, folds, seed):
    blocks = np.array(blocks)
    if len(set(blocks)) < folds:
        with pytest.raises(DataError): list(splits(blocks, folds, ordered=False))
        return
    found = list(splits(blocks, folds, ordered=False, seed=seed))
    assert sorted(np.concatenate([test for _, test in found]).tolist()) == list(range(len(blocks))) and len(found) == folds
    for learn, test in found: assert not set(blocks[learn]) & set(blocks[test]) and len(learn) + len(test) == len(blocks)
    sizes = [len(set(blocks[test])) for _, test in found]
    assert max(sizes) - min(sizes) <= 1
    assert all((a == b).all() for one, again in zip(found, splits(blocks, folds, ordered=False, seed=seed), strict=True) for a, b in zip(one, again, strict=True))


def test_classes_are_dealt_out_evenly():
    code = np.sort(rng.integers(0, 3, 100))
    counts = [np.bincount(code[test], minlength=3) for _, test in splits(rng.permutation(100), 4, ordered=False, strata=code)]
    assert np.ptp(counts, axis=0).max() <= 1


def test_rows_that_lie_in_an_order_do_no_harm_without_time():
    order = np.argsort(y, kind="stable")
    folds = cross_validate(make_model, X[order], y[order], folds=3, ordered=False)
    assert min(f.metrics["roc_auc"] for f in folds) > .7 and {(f.start, f.end) for f in folds} == {("", "")}


def of_classes(task):
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LinearRegression
    return LinearRegression if task == "regression" else lambda: RandomForestClassifier(10, min_samples_leaf=10, random_state=0)


code = np.where(X[:, 0] > 0.5, 1, np.where(X[:, 1] > 1, 2, 0))


@pytest.mark.parametrize("task, target", [("multiclass", code), ("regression", 100 + 10*X[:, 0] + X[:, 1])])
@pytest.mark.parametrize("ordered", [True, False])
def test_all_tasks_are_cross_validated(task, target, ordered):
    from model_ops.evaluate.metrics import measure
    folds = cross_validate(of_classes(task), X, target, day, folds=3, task=task, ordered=ordered)
    learn, test = list(splits(day, 3, ordered=ordered))[2]
    said = of_classes(task)().fit(X[learn], target[learn])
    expected = measure(target[test], scores(said, X[test], task, range(3)), metrics=CV_METRICS[task], task=task)
    assert folds[2].metrics == pytest.approx(expected, rel=1e-5) and tuple(folds[2].metrics) == CV_METRICS[task] and (folds[2].learned, folds[2].tested) == (len(learn), len(test))
    assert all(f.metrics["accuracy"] > .8 if task == "multiclass" else f.metrics["r2"] > .99 for f in folds)


def test_a_class_that_a_fold_has_not_seen_is_noted_and_gets_nothing():
    target = np.where(day < 12, np.minimum(code, 1), code)
    folds = cross_validate(of_classes("multiclass"), X, target, day, folds=3, task="multiclass")
    assert [f.missing for f in folds] == [[2], [], []] and all(f.metrics["log_loss"] < 10 for f in folds[1:])
    model = of_classes("multiclass")().fit(X[target > 0], target[target > 0])
    said = probabilities(model, X[:5], range(4))
    assert said.shape == (5, 4) and (said[:, [0, 3]] == 0).all() and said.sum(axis=1) == pytest.approx(np.ones(5))
    shown = str(Training(estimator="E()", task="multiclass", labels=["road", "rail", "<b>sea"], folds=folds).__html__())
    assert "fold 1 without “&lt;b&gt;sea”" in shown and "fold 2 without" not in shown


def test_importance_in_all_tasks():
    model = of_classes("multiclass")().fit(X, code)
    found = importance(lambda A: probabilities(model, A, range(3)), X, code, ["a", "b", "c"], task="multiclass")
    assert [one.name for one in found] == ["a", "b", "c"] and found[0].value > .2 > .05 > abs(found[2].value)
    line = importance(lambda A: 10*A[:, 0], X, 10*X[:, 0], ["a", "b", "c"], task="regression", repeats=30)
    assert line[0].value == pytest.approx(10*2**.5, rel=.05) and line[1].value == line[2].value == 0  # two independent draws differ by √2 standard deviations
    with pytest.raises(ParameterError, match="no metric of a regression task"): importance(lambda A: A[:, 0], X, X[:, 0], ["a", "b", "c"], task="regression", metric="roc_auc")


def test_the_record_speaks_the_language_of_its_task():
    folds = [Fold(learned=10, tested=5, start="", end="", metrics={"rmse": v}) for v in (11.52, 12.94)]
    training = Training(estimator="E()", task="regression", validation={"rmse": 12.134}, folds=folds, importance=[Importance(name="distance", value=2., low=1., high=3.)])
    assert training.summary == "RMSE 12.1 on the validation window, 11.5 to 12.9 in 2 folds; it looks most at distance." and Training.from_json(training.to_json()) == training
    shown = str(training.__html__())
    assert "fold 2" in shown and "time" not in shown and "hreshold" not in shown and "By how much RMSE gets worse" in shown and flat_metrics(training) == {"rmse": 12.134, "cv_rmse": 12.23}
    assert Training(estimator="E()", task="multiclass").metric == "accuracy" and Training(estimator="E()").metric == "roc_auc"


def test_a_record_of_before_there_were_tasks_loads():
    import json
    told = json.loads(full().to_json())
    for new in ("task", "labels"): del told[new]
    for fold in told["folds"]: del fold["missing"]
    assert Training.from_json(json.dumps(told)) == full() and Training.from_json(json.dumps(told)).task == "binary"
