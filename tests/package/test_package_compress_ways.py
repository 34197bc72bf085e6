"""Each way to make a model smaller, against scikit-learn and against the teacher."""
import copy
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.package import trusted
from model_ops.package.compress import compress
from model_ops.package.compress_bits import _no_halves, _no_products, float16, int8
from model_ops.package.convert import convert, open_session, outputs
from model_ops.package.distil import _not_taught, _students, soft
from model_ops.package.shrink import Teacher, _fewer_trees, _no_branches, _no_neurons, _no_trees, _pruned_network, _pruned_tree, arriving, parts, prices

rng = np.random.default_rng(0)
X = rng.normal(size=(600, 5)).astype(np.float32)
z = X[:, 0] + 2*X[:, 1]*(X[:, 2] > 0) + 0.3*rng.normal(size=600)
TRUTH = {"binary": (z > 0).astype(int), "multiclass": np.digitize(z, [-1, 1]), "regression": z}


def teacher(model, task="binary", onnx=None): return Teacher(model.fit(X, TRUTH[task]), onnx, 60_000, X, TRUTH[task], task)


def kinds(task):
    import sklearn.ensemble as e
    end = "Regressor" if task == "regression" else "Classifier"
    return {name: getattr(e, name + end)(random_state=0, **more) for name, more in {"RandomForest": {"n_estimators": 16, "max_depth": 5}, "ExtraTrees": {"n_estimators": 16, "max_depth": 5}, "GradientBoosting": {"n_estimators": 16},
                                                                                   "HistGradientBoosting": {"max_iter": 16, "early_stopping": False}}.items()}


@pytest.mark.parametrize("kind", ["RandomForest", "ExtraTrees", "GradientBoosting", "HistGradientBoosting"])
@pytest.mark.parametrize("task", list(TRUTH))
def test_fewer_trees_are_a_model_of_the_same_kind(kind, task):
    taught = teacher(kinds(task)[kind], task)
    before, variants = outputs(taught.model, X), list(_fewer_trees(taught))
    assert _no_trees(taught) == "" and [v.name for v in variants] == [f"fewer_trees/{n}" for n in (8, 4, 2, 1)]
    for v in variants:
        said = outputs(v.model, X)
        assert said.shape == before.shape and np.isfinite(said).all()
        again = trusted.load(trusted.dump(v.model))
        assert np.allclose(outputs(again, X), said)
        if kind == "HistGradientBoosting" and v is variants[0]: assert np.allclose(open_session(convert(v.model, X).onnx).run(None, {"X": X})[0], said, atol=1e-5)
    assert (outputs(taught.model, X) == before).all()


@pytest.mark.parametrize("kind", ["GradientBoosting", "HistGradientBoosting"])
def test_the_first_rounds_are_what_fewer_rounds_would_have_learned(kind):
    taught = teacher(kinds("binary")[kind])
    eight = next(v for v in _fewer_trees(taught) if v.name == "fewer_trees/8").model
    alone = copy.deepcopy(taught.model).set_params(**{"max_iter" if "Hist" in kind else "n_estimators": 8}).fit(X, TRUTH["binary"])
    assert np.allclose(outputs(eight, X), outputs(alone, X))


def test_the_trees_of_a_forest_that_are_kept_say_what_all_say():
    from sklearn.ensemble import RandomForestClassifier
    taught = teacher(RandomForestClassifier(64, min_samples_leaf=15, random_state=0))
    new = np.random.default_rng(1).normal(size=(1000, 5)).astype(np.float32)
    apart = {v.name: float(np.abs(outputs(v.model, new) - outputs(taught.model, new)).mean()) for v in _fewer_trees(taught)}
    assert apart["fewer_trees/32"] < apart["fewer_trees/8"] < apart["fewer_trees/2"]
    first = np.mean([outputs(t, new) for t in taught.model.estimators_[:8]], axis=0)
    assert apart["fewer_trees/8"] < np.abs(first - outputs(taught.model, new)).mean()


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.integers(3, 60), st.sampled_from(["gini", "entropy", "squared_error"]), st.floats(0, 1))
def test_pruning_is_scikit_learns(seed, leaves, criterion, at):
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(120, 3)).astype(np.float32)
    y = rng.normal(size=120) if criterion == "squared_error" else rng.integers(0, 3, 120)
    kind = DecisionTreeRegressor if criterion == "squared_error" else DecisionTreeClassifier
    full = kind(criterion=criterion, max_leaf_nodes=leaves, random_state=0).fit(A, y)
    path = full.cost_complexity_pruning_path(A, y).ccp_alphas
    price = float(np.quantile(path, at))*(1 + 1e-7) + 1e-12
    theirs = kind(criterion=criterion, max_leaf_nodes=leaves, random_state=0, ccp_alpha=price).fit(A, y)
    cost = prices(full.tree_)
    left = (cost[np.isfinite(cost)] > price).sum() + 1
    assert abs(left - theirs.get_n_leaves()) <= (np.abs(cost[np.isfinite(cost)] - price) < 1e-6*price + 1e-11).sum()


@pytest.mark.parametrize("task", list(TRUTH))
def test_a_pruned_tree(task):
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
    taught = teacher((DecisionTreeRegressor if task == "regression" else DecisionTreeClassifier)(random_state=0), task)
    before = taught.model.get_n_leaves()
    sizes = [before]
    for v in _pruned_tree(taught):
        assert (outputs(trusted.load(trusted.dump(v.model)), X) == outputs(v.model, X)).all()
        sizes.append(v.model.get_n_leaves())
        assert v.name == f"pruned_tree/{sizes[-1]}" and v.model.get_depth() <= taught.model.get_depth()
        small = convert(v.model, np.nan_to_num(X)).onnx
        assert small is None or np.allclose(open_session(small).run(None, {"X": X})[0].reshape(outputs(v.model, X).shape), outputs(v.model, X), atol=1e-4)
    assert sizes == sorted(sizes, reverse=True) and len(sizes) > 3 and taught.model.get_n_leaves() == before


def test_what_cannot_be_pruned_says_why():
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    linear, boosted = teacher(LogisticRegression()), teacher(GradientBoostingClassifier(n_estimators=4))
    assert "no forest" in _no_trees(linear) and "no tree" in _no_branches(linear) and "corrections" in _no_branches(boosted) and "no network" in _no_neurons(linear)


def test_what_arrives_at_a_part_behind_a_calibration():
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    model = CalibratedClassifierCV(make_pipeline(StandardScaler(), RandomForestClassifier(8, max_depth=4, random_state=0)), cv=2).fit(X, TRUTH["binary"])
    place = next(i for i, p in enumerate(parts(model)) if type(p).__name__ == "RandomForestClassifier" and hasattr(p, "estimators_"))
    assert np.abs(arriving(model, place, X).mean(axis=0)).max() < 0.2
    assert [v.title for v in _fewer_trees(Teacher(model, None, 0, X, TRUTH["binary"], "binary"))][0] == "8 of 16 trees"
    assert "predict_proba" not in vars(list(parts(model))[place])


@pytest.fixture(scope="module")
def network():
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    model = make_pipeline(StandardScaler(), MLPClassifier((64, 32), tol=1e-3, max_iter=400, random_state=0)).fit(X, TRUTH["binary"])
    return Teacher(model, (onnx := convert(model, X).onnx), len(onnx), X, TRUTH["binary"], "binary")


def test_fewer_neurons(network):
    before, variants = outputs(network.model, X), list(_pruned_network(network))
    assert variants[0].title == "48 of 96 neurons" and variants[0].model[-1].hidden_layer_sizes == (32, 16)
    apart = [np.abs(outputs(v.model, X) - before).mean() for v in variants]
    assert apart[0] < apart[-1] and apart[0] < 0.05
    assert convert(variants[0].model, X).onnx and len(trusted.dump(variants[0].model)) < 0.6*len(trusted.dump(network.model))
    assert (outputs(network.model, X) == before).all()


def test_neurons_that_say_the_same_are_not_missed():
    from sklearn.neural_network import MLPRegressor
    taught = teacher(MLPRegressor(hidden_layer_sizes=(8,), tol=1e-2, max_iter=400, random_state=0), "regression")
    net = taught.model
    net.coefs_ = [np.tile(net.coefs_[0], 2), np.tile(net.coefs_[1], (2, 1))/2]
    net.intercepts_ = [np.tile(net.intercepts_[0], 2), net.intercepts_[1]]
    net.hidden_layer_sizes = (16,)
    half = next(_pruned_network(taught)).model
    assert half.coefs_[0].shape[1] == 8 and np.abs(half.predict(X) - net.predict(X)).max() < 0.02*np.std(net.predict(X))


def test_fewer_bits(network):
    full = open_session(network.onnx).run(None, {"X": X})[0]
    for way, size, far in ((float16, .6, .01), (int8, .6, .2)):
        small = way(network.onnx)
        import onnx
        graph = onnx.load_from_string(small)
        onnx.checker.check_model(graph)
        assert [(i.name, i.type.tensor_type.elem_type) for i in graph.graph.input] == [("X", 1)] and [(o.name, o.type.tensor_type.elem_type) for o in graph.graph.output] == [("probabilities", 1)]
        assert len(small) < size*len(network.onnx) and np.abs(open_session(small).run(None, {"X": X})[0] - full).max() < far
        assert way(network.onnx) == small and not graph.metadata_props and {o.domain for o in graph.opset_import} <= {"", "ai.onnx.ml"}


def test_large_numbers_in_a_row_survive_16_bits(network):
    huge = X*np.float32(1e6)
    assert np.isfinite(open_session(float16(network.onnx)).run(None, {"X": huge})[0]).all()


def test_bits_need_products_of_matrices(network):
    from sklearn.linear_model import LogisticRegression
    linear = LogisticRegression().fit(X, TRUTH["binary"])
    flat = convert(linear, X).onnx
    assert "MatMul" in _no_products(Teacher(linear, flat, len(flat), X, TRUTH["binary"], "binary")) and _no_products(network) == "" == _no_halves(network)
    assert "does not convert" in _no_halves(Teacher(linear, None, 10, X, TRUTH["binary"], "binary"))


def test_weights_too_large_for_16_bits_are_left_alone(network):
    model = copy.deepcopy(network.model)
    model[-1].coefs_[0][0, 0] = 1e6
    onnx = convert(model, X).onnx
    assert "too large" in _no_halves(Teacher(model, onnx, len(onnx), X, TRUTH["binary"], "binary"))


def test_soft_labels_say_what_the_teacher_says():
    said = np.random.default_rng(0).dirichlet([1, 1, 5], 50)
    rows, code, weight = soft(np.arange(50.)[:, None], said)
    back = np.zeros((50, 3))
    np.add.at(back, (rows[:, 0].astype(int), code), weight)
    assert np.abs(back - said).max() <= 0.005 and set(code) == {0, 1, 2}


@pytest.mark.parametrize("task", list(TRUTH))
def test_students_of_neighbours(task):
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    taught = teacher((KNeighborsRegressor if task == "regression" else KNeighborsClassifier)(), task)
    students = list(_students(taught))
    assert students and _not_taught(taught) == ""
    for student in students:
        onnx = convert(student.model, X).onnx
        assert len(onnx) < taught.size/2
    said, taught_said = (outputs(m, X)[:, -1] for m in (students[0].model, taught.model))
    assert np.corrcoef(said, taught_said)[0, 1] > 0.8
    assert list(getattr(students[0].model, "classes_", [])) == list(getattr(taught.model, "classes_", []))


def test_a_small_file_has_no_student():
    from sklearn.linear_model import LogisticRegression
    model = LogisticRegression().fit(X, TRUTH["binary"])
    assert "student" in _not_taught(Teacher(model, b"x"*900, 900, X, TRUTH["binary"], "binary"))


def test_int8_is_judged_alone_and_in_company(network):
    new = np.random.default_rng(2).normal(size=(500, 5)).astype(np.float32)
    truth = (new[:, 0] + 2*new[:, 1]*(new[:, 2] > 0) > 0).astype(int)
    found = compress(network.model, X, TRUTH["binary"], new, truth, task="binary", told={"candidates": ["int8", "float16"], "margin": 0.05})
    assert "rows beside it" in found.of("int8").reason and found.of("float16").accepted and found.of("float16").agreement > 0.99
    assert found.models["float16"][0] is None and len(found.models["float16"][1]) == found.of("float16").size


@pytest.mark.slow
def test_a_wrong_acceptance_is_as_rare_as_it_is_meant_to_be():
    "A candidate whose true loss is exactly the margin, judged again and again on new rows: accepted in about 2.5 % of the rounds."
    from model_ops.evaluate.intervals import bootstrap, draw
    accepted, rounds, bound = 0, 400, 0.02
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 2, 400)
        right = lambda share, rng=rng, y=y: np.where(rng.random(400) < share, y, 1 - y).astype(float)
        found = bootstrap(y, {"candidate": right(.80), "teacher": right(.82)}, {"candidate": .5, "teacher": .5}, draw(400, resamples=500, seed=seed, unit="rows"), metrics=["accuracy"])
        accepted += found.difference("teacher", "accuracy").low >= -bound
    assert accepted/rounds < 0.05
