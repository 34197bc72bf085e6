"""Shapley values against what is known of them, partial dependence against scikit-learn."""
from itertools import combinations
from math import factorial
import os
import numpy as np
import pytest
from model_ops.errors import DataError, ParameterError
from model_ops.train.explain import explain, partial_dependence

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # boosting on busy cores is ten times slower without
rng = np.random.default_rng(0)
X = rng.normal(size=(300, 4)).astype(np.float32)
y = np.sin(2*X[:, 0]) + X[:, 1]*(X[:, 2] > 0) + rng.normal(0, 0.1, 300)


def _exact(says, background, row, groups):
    "By all coalitions of the groups."
    k = len(groups)
    def worth(s):
        mixed = background.copy()
        for g in s: mixed[:, groups[g]] = row[groups[g]]
        return says(mixed).mean()
    return [sum(factorial(size)*factorial(k - size - 1)/factorial(k)*(worth((*s, j)) - worth(s)) for size in range(k) for s in combinations([g for g in range(k) if g != j], size)) for j in range(k)]


@pytest.mark.parametrize("names", [["a", "b", "c", "d"], ["a", "b", "b", "d"]])
def test_sampled_values_are_the_exact_ones_within_their_error(names):
    def says(rows): return np.where(rows[:, 0]*rows[:, 1] > 0, 1.0, 0.0) + rows[:, 2]*rows[:, 3]
    unique = list(dict.fromkeys(names))
    groups = [[j for j, name in enumerate(names) if name == one] for one in unique]
    found = explain(says, X[:20], X[200], names, orders=4000)
    by = {part.name: part for part in found.parts}
    for name, value in zip(unique, _exact(says, X[:20], X[200], groups), strict=True): assert by[name].effect == pytest.approx(value, abs=4*by[name].se + 1e-5)
    assert found.base == pytest.approx(says(X[:20]).mean(), rel=1e-5)


@pytest.mark.parametrize("background", [1, 7, 40])
def test_they_add_up_to_the_prediction_whatever_is_drawn(background):
    from sklearn.ensemble import HistGradientBoostingRegressor
    model = HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(X, y)
    found = explain(model.predict, X[:background], X[250], list("abcd"), orders=10, seed=3)
    assert found.base == pytest.approx(model.predict(X[:background]).mean(), rel=1e-5) and found.prediction == pytest.approx(model.predict(X[[250]])[0], rel=1e-5)
    assert found.base + sum(part.effect for part in found.parts) == pytest.approx(found.prediction, abs=1e-5)
    assert found == explain(model.predict, X[:background], X[250], list("abcd"), orders=10, seed=3)


def test_of_a_line_they_are_weight_times_distance():
    from sklearn.linear_model import LinearRegression
    line = LinearRegression().fit(X, y)
    found = explain(line.predict, X[:50], X[60], list("abcd"), orders=2)
    truth = dict(zip("abcd", line.coef_*(X[60] - X[:50].mean(axis=0)), strict=True))
    assert all(part.effect == pytest.approx(truth[part.name], abs=1e-5) for part in found.parts)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("column", [0, 3])
def test_partial_dependence_is_that_of_scikit_learn(task, column):
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.inspection import partial_dependence as theirs
    data = X.copy()
    data[:, 3] = rng.integers(0, 5, 300)
    target = {"binary": y > 0, "multiclass": np.digitize(y, [-0.5, 0.5]), "regression": y}[task]
    model = (RandomForestRegressor if task == "regression" else RandomForestClassifier)(15, random_state=0).fit(data, target)
    known = theirs(model, data, [column], method="brute", kind="average", grid_resolution=10)
    says = model.predict if task == "regression" else (lambda rows: model.predict_proba(rows)[:, 1]) if task == "binary" else model.predict_proba
    ours = partial_dependence(says, data, column, values=known["grid_values"][0], name="c", outputs=["x", "y", "z"])
    assert len(ours) == len(known["average"]) and all(np.allclose(one.mean, average, rtol=1e-4, atol=1e-6) for one, average in zip(ours, known["average"], strict=True))
    assert all(low <= mean + 1e-6 for one in ours for low, mean in zip(one.low, one.mean, strict=True)) or task != "regression"


def test_categories_have_their_names_and_missing_columns_no_curve():
    data = np.column_stack([rng.integers(0, 3, 100), np.full(100, np.nan)]).astype(np.float32)
    found = partial_dependence(lambda rows: rows[:, 0], data, 0, kind="category", labels=["red", "green", "blue"])[0]
    assert set(found.labels) == {"red", "green", "blue"} and dict(zip(found.labels, found.mean, strict=True))["blue"] == 2
    assert partial_dependence(lambda rows: rows[:, 0], data, 1) == []


def test_what_does_not_fit_is_named():
    with pytest.raises(DataError, match="3 names"): explain(lambda rows: rows[:, 0], X, X[0], list("abc"))
    with pytest.raises(ParameterError, match="orders"): explain(lambda rows: rows[:, 0], X, X[0], list("abcd"), orders=1)
    with pytest.raises(ParameterError, match="column 9"): partial_dependence(lambda rows: rows[:, 0], X, 9)
