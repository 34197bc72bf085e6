"""ONNX: equal numbers, equal bytes, or a reason."""
import subprocess
import sys
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from model_ops.package.convert import OPERATORS, convert, open_session, outputs, _floor32

rng = np.random.default_rng(0)
X = np.column_stack([rng.integers(0, 4, 800), rng.normal(size=800), rng.normal(size=800)]).astype(np.float32)
y = ((X[:, 0] == 2) ^ (X[:, 1] > 0)).astype(int)
gaps = X.copy()
gaps[rng.random(X.shape) < 0.1] = np.nan


@settings(deadline=None, max_examples=200)
@given(st.floats(width=32, allow_nan=False), st.floats(allow_nan=False))
def test_a_floored_threshold_splits_32_bit_numbers_as_before(x, t):
    assert (x <= t) == (x <= _floor32(np.array([t]))[0])


@settings(deadline=None, max_examples=5)
@given(hnp.arrays(np.float32, (60, 2), elements=st.floats(-2.0**90, 2.0**90, width=32)), st.integers(0, 5))
def test_boosted_trees_agree_on_any_numbers(A, seed):
    from sklearn.ensemble import HistGradientBoostingClassifier
    labels = np.arange(60) % 2
    model = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=2, random_state=seed).fit(A, labels)
    result = convert(model, A)
    assert result.parity.beyond == 0 and result.onnx


def test_native_categories_are_refused_with_numbers():
    from sklearn.ensemble import HistGradientBoostingClassifier
    result = convert(HistGradientBoostingClassifier(max_iter=10, categorical_features=[0], random_state=0).fit(gaps, y), gaps)
    assert result.onnx is None and not result.parity.holds and result.parity.beyond > 0.01 and "wrong" in result.reason


def test_the_model_itself_is_left_alone():
    from sklearn.ensemble import HistGradientBoostingClassifier
    model = HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(gaps, y)
    before = [tree.nodes.tobytes() for round_ in model._predictors for tree in round_]
    convert(model, gaps)
    assert before == [tree.nodes.tobytes() for round_ in model._predictors for tree in round_]


@pytest.mark.parametrize("kind", ["multiclass", "regression", "no missing values"])
def test_other_tasks(kind):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression
    model = {"multiclass": HistGradientBoostingClassifier(max_iter=5), "regression": HistGradientBoostingRegressor(max_iter=5), "no missing values": LogisticRegression()}[kind]
    model.fit(X, {"multiclass": X[:, 0].astype(int), "regression": X[:, 1] * 1000, "no missing values": y}[kind])
    result = convert(model, X)
    assert result.parity.holds and result.parity.rows == (800 if kind == "no missing values" else 1600)
    answer = open_session(result.onnx).run(None, {"X": X})
    assert len(answer) == 1 and np.allclose(answer[0], outputs(model, X), rtol=1e-4, atol=1e-4)


def test_the_graph_says_nothing_of_its_making():
    import onnx
    from sklearn.linear_model import LogisticRegression
    graph = onnx.load_from_string(convert(LogisticRegression().fit(X, y), X).onnx)
    assert all(o.version <= OPERATORS[o.domain] for o in graph.opset_import)
    assert [o.domain for o in graph.opset_import] == sorted(OPERATORS)
    assert [o.name for o in graph.graph.output] == ["probabilities"] and [i.name for i in graph.graph.input] == ["X"]
    assert not graph.producer_version and not graph.doc_string
    onnx.checker.check_model(graph)


CODE = """
import hashlib, numpy as np
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from model_ops.package import convert, trusted
rng = np.random.default_rng(0)
X = np.column_stack([rng.integers(0, 4, 300), rng.normal(size=300)]).astype(np.float32)
model = make_pipeline(make_column_transformer((OneHotEncoder(handle_unknown="ignore"), [0]), (StandardScaler(), [1])), LogisticRegression()).fit(X, X[:, 1] > 0)
print(hashlib.sha256(convert.convert(model, X).onnx + trusted.dump(model)).hexdigest())
"""


@pytest.mark.slow
def test_the_same_bytes_whatever_the_hash_seed():
    seen = {subprocess.run([sys.executable, "-c", CODE], env={"PYTHONHASHSEED": seed, "PATH": "", "GOMP_SPINCOUNT": "1000"}, capture_output=True, text=True, check=True).stdout for seed in ("1", "3")}
    assert len(seen) == 1


def test_one_session_serves_many_threads():
    from concurrent.futures import ThreadPoolExecutor
    from sklearn.ensemble import HistGradientBoostingClassifier
    session = open_session(convert(HistGradientBoostingClassifier(max_iter=20).fit(gaps, y), gaps).onnx)
    alone = session.run(None, {"X": gaps})[0]
    with ThreadPoolExecutor(4) as pool: parts = list(pool.map(lambda i: session.run(None, {"X": gaps[i:i + 1]})[0], range(len(gaps))))
    assert (np.vstack(parts) == alone).all()
