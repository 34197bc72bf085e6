"""Weights, early stops with the best state, calibration, checkpoints; and what is refused before the first round."""
import os
import signal
import subprocess
import sys
import time
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.errors import DataError, ModelOpsError, ParameterError
from model_ops.train.calibrate import calibrated, measured
from model_ops.train.course import Course, tensorboard
from model_ops.train.fitting import Fitting, balanced, fit, weights
from model_ops.train.folds import check_folds, check_rows, held_out, splits
from model_ops.train.recipe import Fold, Training, cross_validate
from model_ops.train.select import Kept

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # boosting on busy cores is ten times slower without
rng = np.random.default_rng(1)
n = 1500
X = rng.normal(size=(n, 5)).astype(np.float32)
raw = X[:, 0] + X[:, 1]*X[:, 2] + rng.normal(size=n)
TARGETS = {"binary": (raw > 0.7).astype(int), "multiclass": np.digitize(raw, [0, 1.2]), "regression": raw}
day = np.repeat(np.arange(30), 50)


def growing(name, task):
    from sklearn import ensemble, linear_model, neural_network
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    of = lambda module, kind, **params: getattr(module, kind + ("Regressor" if task == "regression" else "Classifier"))(random_state=0, **params)
    return {"boosted": lambda: of(ensemble, "HistGradientBoosting", max_iter=30, max_leaf_nodes=8, early_stopping=False, max_features=0.7), "gradient": lambda: of(ensemble, "GradientBoosting", n_estimators=50, subsample=0.8),
            "forest": lambda: make_pipeline(SimpleImputer(), of(ensemble, "RandomForest", n_estimators=30, max_depth=5)), "network": lambda: make_pipeline(StandardScaler(), of(neural_network, "MLP", hidden_layer_sizes=(8,), max_iter=15)),
            "line": lambda: make_pipeline(StandardScaler(), of(linear_model, "SGD", max_iter=15, **({} if task == "regression" else {"loss": "log_loss"})))}[name]()


def said(model, rows): return model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", ["binary", pytest.param("multiclass", marks=pytest.mark.slow), "regression"])
@pytest.mark.parametrize("name", ["boosted", "gradient", "forest", "network", "line"])
def test_the_best_state_is_kept(name, task):
    from sklearn.metrics import log_loss, root_mean_squared_error
    y, model = TARGETS[task], growing(name, task)
    before = repr(model)
    found = fit(model, X, y, task=task, blocks=day, told=Fitting(early_stopping=10, held_out=0.2))
    learn, stop = held_out(day, 0.2)
    loss = root_mean_squared_error(y[stop], said(found.model, X[stop])) if task == "regression" else log_loss(y[stop], said(found.model, X[stop]), labels=np.unique(y))
    assert repr(model) == before and found.rounds == found.course.best == found.course.kept and min(found.course.held_out) == pytest.approx(loss, rel=1e-4)
    assert found.course.rows == len(stop) == 300 and "has not learned from those rows" in found.notes[-1] and "from 24" in found.notes[-1]


@pytest.mark.parametrize("name", ["boosted", "gradient", "forest"])
def test_growing_gives_the_model_that_scikit_learn_fits(name, tmp_path):
    plain = growing(name, "binary").fit(X, TARGETS["binary"])
    found = fit(growing(name, "binary"), X, TARGETS["binary"], task="binary", told=Fitting(checkpoint_every=1e-6), checkpoint=tmp_path/"state", watch=(X[:100], TARGETS["binary"][:100]))
    assert (said(found.model, X) == said(plain, X)).all() and repr(found.model) == repr(plain) and not list(tmp_path.iterdir())


def stops_after(rounds):
    def progress(done, total):
        if done >= rounds: raise KeyboardInterrupt
    return progress


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["boosted", "gradient", "forest", "network", "line"])
def test_a_fit_that_was_broken_off_goes_on(name, tmp_path):
    y, state, told = TARGETS["binary"], tmp_path/"state", Fitting(early_stopping=12, balance=True, checkpoint_every=1e-6)
    with pytest.raises(KeyboardInterrupt): fit(growing(name, "binary"), X, y, task="binary", blocks=day, told=told, checkpoint=state, progress=stops_after(14))
    assert state.exists()
    again = fit(growing(name, "binary"), X, y, task="binary", blocks=day, told=told, checkpoint=state)
    straight = fit(growing(name, "binary"), X, y, task="binary", blocks=day, told=told)
    assert (said(again.model, X) == said(straight.model, X)).all() and again.course == straight.course and not state.exists()
    assert any("went on from its checkpoint" in note for note in again.notes)


def test_a_checkpoint_of_another_fit_or_a_damaged_one_is_left_alone(tmp_path):
    y, state, told = TARGETS["binary"], tmp_path/"state", Fitting(checkpoint_every=1e-6)
    with pytest.raises(KeyboardInterrupt): fit(growing("forest", "binary"), X, y, task="binary", told=told, checkpoint=state, progress=stops_after(10))
    kept = state.read_bytes()
    plain = growing("forest", "binary").fit(X, 1 - y)
    for content in (kept, kept[:1000], b"", b"\x80\x04K\x01."):
        state.write_bytes(content)
        found = fit(growing("forest", "binary"), X, 1 - y, task="binary", told=told, checkpoint=state)
        assert not any("checkpoint" in note for note in found.notes) and (said(found.model, X) == said(plain, X)).all()


PROGRAM = '''
import sys, numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from model_ops.train.fitting import fit
rng = np.random.default_rng(1)
X = rng.normal(size=(4000, 8)).astype(np.float32)
y = (X[:, 0] + X[:, 1]*X[:, 2] + rng.normal(size=4000) > 0.7).astype(int)
model = GradientBoostingClassifier(n_estimators=200, subsample=0.8, random_state=0)
found = fit(model, X, y, task="binary", told={"early_stopping": 60, "checkpoint_every": 0.01}, checkpoint=sys.argv[1] if sys.argv[1] else None)
np.save(sys.argv[2], found.model.predict_proba(X))
print(*found.notes)
'''


@pytest.mark.slow
def test_a_fit_killed_with_kill_9_ends_as_without(tmp_path):
    state, run = tmp_path/"state", lambda *args: subprocess.Popen([sys.executable, "-c", PROGRAM, *map(str, args)], stdout=subprocess.PIPE, text=True)
    killed = run(state, tmp_path/"killed.npy")
    while not state.exists() and killed.poll() is None: time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert state.exists() and not (tmp_path/"killed.npy").exists()
    again, straight = run(state, tmp_path/"again.npy"), run("", tmp_path/"straight.npy")
    assert "went on from its checkpoint" in again.communicate()[0] and straight.communicate()[0]
    assert (np.load(tmp_path/"again.npy") == np.load(tmp_path/"straight.npy")).all() and not state.exists()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=60).filter(lambda c: len(set(c)) > 1))
def test_balanced_weights_are_those_of_scikit_learn(codes):
    from sklearn.utils.class_weight import compute_sample_weight
    assert balanced(np.array(codes)) == pytest.approx(compute_sample_weight("balanced", codes))


def test_weights_of_rows_reach_the_estimator():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    y, weight = TARGETS["binary"], rng.integers(0, 3, n).astype(float)
    for model in (LogisticRegression(C=100), make_pipeline(StandardScaler(with_mean=False, with_std=False), LogisticRegression(C=100))):
        found = fit(model, X, y, task="binary", weight=weight)
        repeated = LogisticRegression(C=100).fit(np.repeat(X, weight.astype(int), axis=0), np.repeat(y, weight.astype(int)))
        assert said(found.model, X) == pytest.approx(said(repeated, X), abs=1e-3)
    folds = cross_validate(lambda: LogisticRegression(), X, y, day, folds=2, weight=np.ones(n))
    assert folds == cross_validate(lambda: LogisticRegression(), X, y, day, folds=2)
    assert folds != cross_validate(lambda: LogisticRegression(), X, y, day, folds=2, weight=weight)


def test_the_contract_names_the_weights():
    from model_ops.data.contract import learn
    frame = pl.DataFrame({"late": [0, 1]*10, "wind": np.arange(20.0), "count": np.arange(20)})
    contract = learn(frame, target="late", roles={"count": "weight"})
    assert weights(contract, frame).tolist() == list(range(20)) and weights(learn(frame, target="late"), frame) is None
    with pytest.raises(DataError, match="negative"): weights(contract, frame.with_columns(pl.col("count") - 5))


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("task", ["binary", pytest.param("multiclass", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["boosted", "network", "forest"])
@pytest.mark.filterwarnings("ignore")
def test_calibrated_models_convert_and_know_their_classes(name, task, method):
    from sklearn.base import clone
    from model_ops.package.convert import convert
    y = TARGETS[task]
    base = growing(name, task).fit(X[:700], y[:700])
    model = calibrated(base, X[700:1200], y[700:1200], method)
    found = convert(model, X[1200:])
    assert found.onnx, found.reason
    assert model.classes_.tolist() == np.unique(y).tolist() and said(model, X).sum(axis=1) == pytest.approx(np.ones(n))
    assert (said(base, X) != said(model, X)).any()
    if name == "network": assert hasattr(clone(model).fit(X, y), "predict_proba")


def test_calibration_mends_balanced_scores_and_is_measured_on_rows_it_has_not_seen():
    y = (raw > 1.8).astype(int)
    found = fit(growing("boosted", "binary"), X, y, task="binary", blocks=day, told=Fitting(balance=True, calibrate="sigmoid", held_out=0.4))
    one = found.calibration
    assert one.gains["log_loss"].low > 0 and (one.start, one.end, one.rows) == ("18", "29", 600) and set(one.curves) == {"before", "after"}
    noise = measured(growing("boosted", "binary").fit(X[:900], y[:900]), X[900:], rng.permutation(y[900:]), "isotonic", task="binary", blocks=day[900:])
    assert noise.after["log_loss"].value > 0.3  # a calibrator of pure luck gains nothing by knowing its own rows
    assert Training.from_json(Training(estimator="E()", calibration=one, course=Course(steps=[1, 2], train=[.5, .4], held_out=[.6, .5], best=2, kept=2)).to_json()).calibration == one


@pytest.mark.parametrize("wrong, said", [
    (dict(y=np.where(day == 3, np.nan, TARGETS["regression"]), task="regression"), "50 of 1,500 labels are missing"), (dict(y=np.zeros(n)), "one class"), (dict(y=np.full(n, "a")), "no numbers"),
    (dict(y=TARGETS["binary"] + 0.5), "no code"), (dict(weight=-np.ones(n)), "weights"), (dict(weight=np.ones(3)), "weights"), (dict(blocks=day[:5]), "5 blocks"),
    (dict(y=np.where(day > 26, 0, TARGETS["binary"]), told={"calibrate": "sigmoid"}), "of the class 1"), (dict(y=np.where(day > 26, 2, TARGETS["binary"]), task="multiclass", told={"early_stopping": 5}), "class 2"),
    (dict(task="regression", y=TARGETS["regression"], told={"balance": True}), "classes")])
def test_what_cannot_be_learned_is_refused_before_the_first_round(wrong, said):
    class Never:
        def fit(self, *args, **more): raise AssertionError("it was fitted")
        def predict_proba(self, X): raise AssertionError
        def get_params(self, deep=True): return {}
    model = growing("boosted", wrong.get("task", "binary")) if "told" in wrong else Never()
    with pytest.raises(ModelOpsError, match=said): fit(model, X, **{**dict(y=TARGETS["binary"], task="binary", blocks=day), **wrong})


def test_an_estimator_that_does_not_allow_it_is_refused():
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import LinearSVC
    for model, told, said in [(LogisticRegression(), {"early_stopping": 3}, "in one go"), (KNeighborsClassifier(), {"balance": True}, "no weights"), (LinearSVC(), {}, "no probabilities")]:
        with pytest.raises(ParameterError, match=said): fit(model, X, TARGETS["binary"], task="binary", told=told)
    with pytest.raises(ParameterError, match="no weights"): cross_validate(KNeighborsClassifier, X, TARGETS["binary"], day, weight=np.ones(n))


def test_folds_by_strategy():
    from sklearn.linear_model import LogisticRegression
    y, customer = TARGETS["binary"], rng.integers(0, 60, n)
    rare = np.where(customer < 5, 1, 0)
    for strategy, whole in [("groups", True), ("stratified", True), ("shuffled", False)]:
        parts = list(splits(customer, 4, ordered=False, strata=y, strategy=strategy))
        assert sorted(np.concatenate([test for _, test in parts]).tolist()) == list(range(n)) and all((not set(customer[a]) & set(customer[b])) == whole for a, b in parts)
    assert all(rare[test].any() for _, test in splits(customer, 4, ordered=False, strata=rare, strategy="stratified"))
    dealt = cross_validate(LogisticRegression, X, y, customer, folds=3, ordered=True, strategy="stratified")
    assert {f.start for f in dealt} == {""} and len(dealt) == 3
    with pytest.raises(ParameterError, match="Did you mean 'groups'"): list(splits(day, 3, strategy="group"))
    with pytest.raises(ParameterError, match="no classes"): list(splits(day, 3, strategy="stratified"))


def test_folds_that_cannot_be_judged_are_told_before_the_first_fit():
    never = lambda: pytest.fail("it was fitted")
    late = np.where(day >= 6, 0, TARGETS["binary"])
    with pytest.raises(DataError, match="not defined on the test rows of 3 folds"): cross_validate(never, X, late, day, folds=3)
    with pytest.raises(DataError, match="R² is not defined"): check_folds(list(splits(day, 2)), np.where(day < 10, raw, 1.0), "regression", ["r2"])
    with pytest.warns(UserWarning, match="fold 3"): check_folds(list(splits(day, 3)), np.where(day >= 23, 0, TARGETS["binary"]), "binary", ["roc_auc"])
    with pytest.raises(DataError, match="labels are missing"): cross_validate(never, X, np.where(day == 3, np.nan, raw), day, task="regression")
    with pytest.raises(DataError, match="no rows"): check_rows(X[:0], raw[:0], "regression")


def test_cross_validation_fits_as_it_is_told_and_notes_what_was_kept():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from model_ops.train.select import Select
    seen = []
    def careful(model, A, b, rows):
        seen.append(rows)
        return fit(model, A, b, task="binary", blocks=day[rows], told={"calibrate": "sigmoid", "held_out": 0.3}).model
    make = lambda: make_pipeline(Select(by="univariate", keep=1).step("binary"), LogisticRegression())
    folds = cross_validate(make, X, TARGETS["binary"], day, folds=3, fit=careful, names=list("abcde"))
    assert [len(rows) for rows in seen] == [f.learned for f in folds] and [f.kept for f in folds] == [["a"]]*3


def test_the_record_shows_the_new_parts_and_reads_old_files():
    import json
    training = Training(estimator="E()", course=Course(steps=[1, 2, 3], train=[.5, .4, .3], held_out=[.6, .5, .55], best=2, kept=2, rows=10),
                        selection=[Kept(name="<b>a", kept=True, score=3.0, folds=1, of=2), Kept(name="b", kept=False)], folds=[Fold(learned=1, tested=1, start="", end="", metrics={"roc_auc": 0.6}, kept=["a"])])
    shown = str(training.__html__())
    assert "Training curve" in shown and "&lt;b&gt;a" in shown and "taken back there" in shown and "<script" not in shown
    told = json.loads(training.to_json())
    for new in ("selection", "course", "calibration", "search", "compression"): del told[new]
    del told["folds"][0]["kept"]
    assert Training.from_json(json.dumps(told)).selection == []


def test_tensorboard_reads_what_was_written(tmp_path):
    course = Course(steps=[1, 2, 3], train=[.5, .4, .3], held_out=[.6, .5, .55], best=2, kept=2, rows=10)
    tensorboard(course, tmp_path/"run", {"max_iter": 3, "name": "x", "none": None})
    from tensorboardX.proto import event_pb2
    import struct
    values = {}
    for file in (tmp_path/"run").glob("events*"):
        data, at = file.read_bytes(), 0
        while at < len(data):
            size, = struct.unpack("<Q", data[at:at + 8])
            event = event_pb2.Event.FromString(data[at + 12:at + 12 + size])
            for value in event.summary.value: values.setdefault(value.tag, []).append((event.step, round(value.simple_value, 3)))
            at += 16 + size
    assert values["log_loss/held_out"] == [(1, .6), (2, .5), (3, .55)] and values["log_loss/learned_from"] == [(1, .5), (2, .4), (3, .3)]


def test_without_tensorboard_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ModelOpsError, match=r"model_ops\[tensorboard\]"): tensorboard(Course(), tmp_path)
