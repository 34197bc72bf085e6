"""Any estimator by name, what stands before it, which columns are kept: all checked before a fit, all convertible."""
import os
import numpy as np
import pytest
from model_ops.data.encode import Encoded
from model_ops.errors import ParameterError
from model_ops.train.columns import Columns, names_after, preprocessing
from model_ops.train.estimators import FAMILIES, default_space, estimator, family_of, known_params
from model_ops.train.select import Select, kept, sources, with_folds

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # boosting on busy cores is ten times slower without
rng = np.random.default_rng(0)
n = 900
raw = np.column_stack([rng.integers(-1, 4, n), rng.integers(0, 70, n), rng.normal(size=n), rng.gamma(2, 300, n), rng.normal(size=n)]).astype(np.float32)
signal = raw[:, 0]/3 + raw[:, 1] % 5/4 + raw[:, 2]
raw[rng.random(raw.shape) < 0.04] = np.nan
NAMES = ["origin", "tail", "wind", "distance", "noise"]
X = Encoded(raw, NAMES, ["category", "category", "number", "number", "number"], NAMES)
TARGETS = {"binary": (signal + rng.normal(size=n) > 1).astype(int), "multiclass": np.digitize(signal + rng.normal(size=n), [0.5, 2]), "regression": 10 + signal + rng.normal(size=n)}
QUICK = {"hist_gradient_boosting": {"max_iter": 10}, "gradient_boosting": {"n_estimators": 10}, "random_forest": {"n_estimators": 10, "max_depth": 6}, "extra_trees": {"n_estimators": 10, "max_depth": 6},
         "neural_network": {"hidden_layer_sizes": [8], "max_iter": 10}, "tree": {"max_depth": 5}}
PAIRS = [(name, task) for name, family in FAMILIES.items() for task in family.classes]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name, task", PAIRS)
def test_every_family_learns_with_its_preprocessing_and_converts(name, task):
    from model_ops.package.convert import convert
    y = TARGETS[task]
    model = Columns().pipeline(X, estimator(name, QUICK.get(name), task=task), task=task).fit(raw[:700], y[:700])
    assert model.predict(raw[700:]).shape == (200,) and (task == "regression" or np.allclose(model.predict_proba(raw[700:]).sum(axis=1), 1))
    found = convert(model, raw[700:])
    if name != "dummy": assert found.onnx, found.reason


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
@pytest.mark.parametrize("name, task", PAIRS)
def test_the_same_seed_gives_the_same_model(name, task):
    make = lambda: Columns().pipeline(X, estimator(name, QUICK.get(name), task=task, seed=3), task=task, seed=3).fit(raw, TARGETS[task])
    said = [one.predict(raw) if task == "regression" else one.predict_proba(raw) for one in (make(), make())]
    assert (said[0] == said[1]).all()


def test_a_class_by_name_and_a_family_are_the_same():
    assert repr(estimator("ExtraTreesRegressor", task="regression")) == repr(estimator("extra_trees", task="regression"))
    assert estimator("HistGradientBoostingClassifier", {"early_stopping": True}, task="binary").early_stopping is True
    assert estimator("GammaRegressor", {"alpha": 0.1}, task="regression").alpha == 0.1 and family_of(estimator("QuadraticDiscriminantAnalysis", task="binary")) == ""
    assert estimator("neural_network", {"hidden_layer_sizes": [8, 4]}, task="binary").hidden_layer_sizes == (8, 4)
    assert estimator("random_forest", {"random_state": 7}, task="binary", seed=1).random_state == 7


@pytest.mark.parametrize("wrong, said", [
    (dict(name="random_forrest"), "Did you mean 'random_forest'"), (dict(name="LogisticRegresion"), "Did you mean 'LogisticRegression'"), (dict(name="forest", params={}), "no estimator 'forest'"),
    (dict(name="random_forest", params={"n_estimator": 5}), "Did you mean 'n_estimators'"), (dict(name="random_forest", params={"n_estimators": "many"}), "must be an int"),
    (dict(name="random_forest", params={"n_estimators": 0}), r"range \[1, inf\)"), (dict(name="Lasso"), "is a regressor"), (dict(name="LogisticRegression", task="regression"), "Ridge is the one"),
    (dict(name="naive_bayes", task="regression"), "no model of a regression"), (dict(name="VotingClassifier"), "made from parameters alone"), (dict(name="linear", task="ranking"), "no task")])
def test_what_cannot_be_is_refused_by_name(wrong, said):
    with pytest.raises(ParameterError, match=said): estimator(**{"task": "binary", **wrong})


def test_spaces_hold_known_parameters_that_are_valid():
    for name, task in PAIRS:
        for key, space in default_space(name, task).items():
            assert key in known_params(name, task)
            for value in (space if isinstance(space, list) else [space["low"], space["high"]]): estimator(name, {key: value}, task=task)


def test_a_classifier_without_probabilities_gets_them():
    model = estimator("LinearSVC", {"C": 0.5}, task="binary").fit(np.nan_to_num(raw), TARGETS["binary"])
    assert model.predict_proba(np.nan_to_num(raw)).shape == (n, 2) and model.estimator.C == 0.5
    with pytest.raises(ParameterError, match="LinearSVC has no parameter"): estimator("svm", {"gamma": 1}, task="binary")


def test_preprocessing_is_what_it_is_told():
    linear = estimator("linear", task="binary")
    assert [name for name, _, _ in preprocessing(X, linear).transformers] == ["one_hot", "target", "numbers"]
    assert [name for name, _, _ in preprocessing(X, linear, task="multiclass").transformers] == ["one_hot", "numbers"]
    assert [name for name, _, _ in preprocessing(X, linear, categories="codes").transformers] == ["codes", "numbers"]
    assert preprocessing(X, estimator("hist_gradient_boosting", task="binary")) == "passthrough"
    scaled = preprocessing(X, estimator("tree", task="binary"), scale=True).fit_transform(raw, TARGETS["binary"])
    assert np.allclose(scaled[:, 2:].mean(axis=0), 0, atol=1e-3) and np.allclose(scaled[:, 2:].std(axis=0), 1, atol=1e-3) and not np.isnan(scaled).any()
    assert (scaled[np.isnan(raw[:, 0]), 0] == -2).all()


def test_a_level_that_was_never_seen_and_an_empty_column_do_no_harm():
    few = raw[:300].copy()
    few[:, 3] = np.nan
    few[few[:, 0] == 2, 0] = 1
    model = Columns().pipeline(X._replace(X=few), estimator("linear", task="binary")).fit(few, TARGETS["binary"][:300])
    assert np.isfinite(model.predict_proba(raw)).all() and len(names_after(model[0], NAMES)) == model[-1].coef_.shape[1]


def test_a_row_does_not_encode_its_own_target():
    noise = rng.integers(0, 400, 1200).astype(np.float32)[:, None]
    y = rng.integers(0, 2, 1200)
    before = preprocessing(Encoded(noise, ["id"], ["category"], ["id"]), estimator("linear", task="binary"))
    assert abs(np.corrcoef(before.fit_transform(noise, y)[:, 0], y)[0, 1]) < 0.15 < np.corrcoef(before.transform(noise)[:, 0], y)[0, 1]


@pytest.mark.parametrize("by", ["univariate", "model", pytest.param("recursive", marks=pytest.mark.slow)])
@pytest.mark.parametrize("keep", [2, 0.5, "auto"])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_selection_keeps_what_matters_and_converts(by, keep, task):
    from model_ops.package.convert import convert
    y = TARGETS[task]
    model = Columns().pipeline(X, estimator("hist_gradient_boosting", {"max_iter": 10}, task=task), Select(by=by, keep=keep), task=task).fit(raw[:700], y[:700])
    found = {one.name: one for one in kept(model, NAMES)}
    assert set(found) == set(NAMES) and found["wind"].kept and (keep == "auto" or not found["noise"].kept)
    if keep == 2: assert sum(one.kept for one in found.values()) == 2
    assert convert(model, raw[700:]).onnx


def test_kept_goes_back_to_the_raw_columns():
    model = Columns(categories="one_hot").pipeline(X, estimator("linear", task="binary"), Select(by="univariate", keep=3)).fit(raw, TARGETS["binary"])
    support, origin = model[1].get_support(), sources(model[0], 5)
    assert len(support) == len(origin) > 70 and {one.name for one in kept(model, NAMES) if one.kept} == {NAMES[i] for i, on in zip(origin, support, strict=True) if on}
    assert kept(estimator("linear", task="binary"), NAMES) == []
    one = with_folds(kept(model, NAMES), [["wind"], ["wind", "noise"]])
    assert {k.name: (k.folds, k.of) for k in one}["noise"] == (1, 2)


def test_selection_that_cannot_be_is_refused():
    with pytest.raises(ParameterError, match="there are 5"): Columns().pipeline(X, estimator("linear", task="binary"), Select(by="model", keep=9))
    with pytest.raises(ParameterError, match="F-test"): Columns(missing="keep").pipeline(X, estimator("hist_gradient_boosting", task="binary"), Select(by="univariate"))
    with pytest.raises(ParameterError, match="LogisticRegression takes none"): Columns(missing="keep").pipeline(X, estimator("linear", task="binary"))
    for keep in (0, -1, 1.5, True, "some"):
        with pytest.raises(ValueError): Select(by="model", keep=keep)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name, by", [("linear", "univariate"), ("hist_gradient_boosting", "model"), ("knn", "recursive"), ("svm", ""), ("neural_network", "")])
def test_what_is_built_here_may_stand_in_a_package(name, by):
    from model_ops.package.trusted import dump, load
    few = X._replace(X=np.where(np.arange(5) == 1, raw % 7, raw).astype(np.float32))
    model = Columns().pipeline(few, estimator(name, QUICK.get(name), task="binary"), Select(by=by, keep=3) if by else None).fit(few.X, TARGETS["binary"])
    assert (load(dump(model)).predict_proba(few.X) == model.predict_proba(few.X)).all()
