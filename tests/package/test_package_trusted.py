"""Skops files: our list, canonical bytes, and files that were forged."""
import importlib
import io
import json
import warnings
import zipfile
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.errors import PackageError
from model_ops.package import trusted

rng = np.random.default_rng(0)
X = np.abs(rng.normal(size=(200, 4)))
y = (X[:, 0] > X[:, 1]).astype(int)


def estimators():
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import AdaBoostClassifier, ExtraTreesClassifier, GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier, StackingClassifier, VotingClassifier
    from sklearn.feature_selection import RFE, RFECV, GenericUnivariateSelect, SelectFdr, SelectFromModel, SelectKBest, SelectPercentile, chi2, f_classif, f_regression, mutual_info_classif
    from sklearn.frozen import FrozenEstimator
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, PassiveAggressiveRegressor, Perceptron, SGDClassifier
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, PolynomialFeatures, StandardScaler, TargetEncoder
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier
    return [
        HistGradientBoostingClassifier(max_iter=3, random_state=0), HistGradientBoostingClassifier(max_iter=3, categorical_features=[2], early_stopping=True, random_state=0),
        RandomForestClassifier(3, random_state=0), ExtraTreesClassifier(3, random_state=0), GradientBoostingClassifier(n_estimators=3, random_state=0), AdaBoostClassifier(n_estimators=3, random_state=0),
        DecisionTreeClassifier(random_state=0), LogisticRegression(), SGDClassifier(loss="log_loss", random_state=0), GaussianNB(), SVC(), MLPClassifier((3,), max_iter=5, random_state=0),
        CalibratedClassifierCV(LogisticRegression(), cv=2), VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())]), StackingClassifier([("a", GaussianNB())], cv=2),
        make_pipeline(make_column_transformer((OneHotEncoder(handle_unknown="ignore"), [2]), (make_pipeline(SimpleImputer(), StandardScaler()), [0, 1, 3])), LogisticRegression()),
        make_pipeline(FunctionTransformer(np.log1p), PolynomialFeatures(), KBinsDiscretizer(3), LogisticRegression()),
        *(make_pipeline(select, LogisticRegression()) for select in (SelectKBest(f_classif, k=2), SelectKBest(chi2, k=2), SelectPercentile(mutual_info_classif), SelectFdr(f_regression), SelectFromModel(LogisticRegression()),
                                                                     RFE(LogisticRegression()), RFECV(LogisticRegression(), cv=2), GenericUnivariateSelect(f_classif))),
        KNeighborsClassifier(algorithm="brute"), KNeighborsRegressor(algorithm="brute", weights="distance"), make_pipeline(TargetEncoder(random_state=0), LogisticRegression()),
        *(CalibratedClassifierCV(FrozenEstimator(LogisticRegression().fit(X, y)), method=method) for method in ("sigmoid", "isotonic", "temperature")),
        Perceptron(), PassiveAggressiveRegressor(max_iter=5, tol=None),
    ]


@pytest.fixture(scope="module")
def forest():
    from sklearn.ensemble import RandomForestClassifier
    return RandomForestClassifier(3, random_state=0).fit(X, y)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("i", range(33))
def test_a_model_comes_back_as_it_was(i):
    A = X.copy()
    A[:, 2] = (A[:, 2] * 3).astype(int)
    model = estimators()[i].fit(A, y)
    data = trusted.dump(model)
    again = trusted.load(data)
    assert (again.predict(A) == model.predict(A)).all()
    assert trusted.dump(again) == data == trusted.dump(model)


def test_every_name_on_the_list_exists():
    for name in trusted.ALLOWED:
        module, _, attribute = name.rpartition(".")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert hasattr(importlib.import_module(module), attribute), name


@pytest.mark.parametrize("algorithm", ["kd_tree", "ball_tree", "auto"])
def test_neighbours_are_kept_without_their_search_tree(algorithm):
    from sklearn.neighbors import KNeighborsClassifier
    model = KNeighborsClassifier(algorithm=algorithm).fit(X, y)
    again = trusted.load(trusted.dump(model))
    assert model._tree is not None and again._tree is None and np.allclose(again.predict_proba(X), model.predict_proba(X))


def test_padding_between_the_fields_of_a_record_is_zeroed():
    dtype = np.dtype({"names": ["a", "b"], "formats": ["<i8", "u1"], "offsets": [0, 8], "itemsize": 16})
    files = []
    for noise in (0, 255):
        array = np.full(16 * 3, noise, dtype=np.uint8).view(dtype)
        array["a"], array["b"] = [1, 2, 3], 4
        out = io.BytesIO()
        np.save(out, array)
        files.append(trusted._settled(out.getvalue()))
    assert files[0] == files[1] and np.load(io.BytesIO(files[0]))["a"].tolist() == [1, 2, 3]


def forged(data: bytes, change) -> bytes:
    "The file with its schema changed."
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "schema.json":
                schema = json.loads(content)
                change(schema)
                content = json.dumps(schema)
            new.writestr(name, content)
    return out.getvalue()


EVIL = [
    {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"},
    {"__class__": "Popen", "__module__": "subprocess", "__loader__": "ObjectNode", "content": None},
    {"__class__": "eval", "__module__": "builtins", "__loader__": "TypeNode"},
    {"__class__": "methodcaller", "__module__": "operator", "__loader__": "OperatorFuncNode", "attrs": {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": []}},
    {"__class__": "Path", "__module__": "pathlib", "__loader__": "ConstructorFromReduceNode", "content": {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": []}},
    {"__class__": "int", "__module__": "builtins", "__loader__": "CachedNode", "__id__": 1},
    {"__class__": "KDTree", "__module__": "sklearn.neighbors._kd_tree", "__loader__": "ObjectNode", "content": None},
]


@pytest.mark.parametrize("node", EVIL, ids=[n["__class__"] for n in EVIL])
def test_a_foreign_type_is_refused_by_name(forest, node):
    data = forged(trusted.dump(forest), lambda schema: schema["content"]["content"].update(verbose=node))
    with pytest.raises(PackageError, match=f"{node['__module__']}.{node['__class__']}"): trusted.load(data)


def test_a_foreign_bit_generator_is_refused_by_name():
    from sklearn.ensemble import HistGradientBoostingClassifier
    data = trusted.dump(HistGradientBoostingClassifier(max_iter=2, random_state=0).fit(X, y))
    def change(schema):
        node = next(n for n in trusted._nodes(schema) if n["__loader__"] == "RandomGeneratorNode")
        node["content"]["bit_generator"]["content"]["bit_generator"]["content"] = '"seed"'
    with pytest.raises(PackageError, match="numpy.random.seed"): trusted.load(forged(data, change))


def test_a_function_of_ones_own_is_refused_when_writing():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    with pytest.raises(PackageError, match="double"): trusted.dump(make_pipeline(FunctionTransformer(double), LogisticRegression()).fit(X, y))


def double(x): return 2 * x


@pytest.mark.parametrize("field, value", [("left_child", 10**6), ("right_child", 0), ("left_child", -7), ("feature", 10**9), ("feature", -3)])
def test_a_tree_that_points_outside_is_refused(forest, field, value):
    tree = trusted.load(trusted.dump(forest))
    state = tree.estimators_[1].tree_.__getstate__()
    state["nodes"] = state["nodes"].copy()
    state["nodes"][field][0] = value
    tree.estimators_[1].tree_.__setstate__(state)
    with pytest.raises(PackageError, match="points outside"): trusted.load(trusted.dump(tree))


@pytest.mark.parametrize("field, value", [("left", 0), ("right", 2**31), ("feature_idx", 4), ("feature_idx", -1)])
def test_a_boosted_tree_that_points_outside_is_refused(field, value):
    from sklearn.ensemble import HistGradientBoostingClassifier
    model = HistGradientBoostingClassifier(max_iter=2, random_state=0).fit(X, y)
    model._predictors[1][0].nodes[field][0] = value
    with pytest.raises(PackageError, match="points outside"): trusted.load(trusted.dump(model))


@pytest.mark.parametrize("data", [b"", b"not a zip", b"\x80\x04K\x01."], ids=["empty", "text", "pickle"])
def test_what_is_no_skops_file_is_refused(data):
    with pytest.raises(PackageError, match="cannot be read"): trusted.load(data)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_damaged_file_gives_a_package_error_or_the_model(data):
    good = GOOD
    at, byte = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 255))
    try: trusted.load(good[:at] + bytes([byte]) + good[at + 1:])
    except PackageError: pass


def _good():
    from sklearn.linear_model import LogisticRegression
    return trusted.dump(LogisticRegression().fit(X, y))


GOOD = _good()
