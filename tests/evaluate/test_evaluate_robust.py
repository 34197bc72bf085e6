"""Worse inputs: the columns that count lose, the others do not, and a model that refuses says so."""
import numpy as np
import pytest
from model_ops.errors import DataError
from model_ops.evaluate.robust import NOISE, robustness

rng = np.random.default_rng(0)
X = np.column_stack([rng.normal(size=(2000, 2)), rng.integers(0, 3, 2000)]).astype(np.float32)
NAMES, KINDS = ["signal", "noise", "kind"], ["number", "number", "category"]


def _chance(rows): return 1/(1 + np.exp(-2*np.nan_to_num(rows[:, 0])))
def _classes(rows): return np.column_stack([1 - _chance(rows), _chance(rows)*0.6, _chance(rows)*0.4])


@pytest.mark.parametrize("task, says, y, metric", [("binary", _chance, (rng.random(2000) < _chance(X)).astype(int), "roc_auc"), ("multiclass", _classes, (rng.random(2000) < _chance(X)).astype(int), "accuracy"),
                                                   ("regression", lambda rows: np.nan_to_num(rows[:, 0]), X[:, 0] + rng.normal(0, 0.1, 2000), "rmse")])
def test_what_counts_loses_and_what_does_not_stays(task, says, y, metric):
    found = robustness(says, X, y, NAMES, KINDS, task=task, resamples=100)
    by = {(h.kind, h.column, h.size): h.loss for h in found.harms}
    assert found.metric == metric and by["missing", "signal", 0].low > 0 and by["missing", "noise", 0].value == 0
    assert by["noise", "", NOISE[0]].value < by["noise", "", NOISE[1]].value < by["noise", "", NOISE[2]].value
    assert ("shifted", "kind", 1.0) not in by and ("shifted", "signal", -1.0) in by and "most when signal is" in found.sentence
    assert found == robustness(says, X, y, NAMES, KINDS, task=task, resamples=100)


def test_a_model_that_refuses_missing_values_says_so():
    def strict(rows):
        if np.isnan(rows).any(): raise ValueError("Input X contains NaN.")
        return _chance(rows)
    found = robustness(strict, X, (X[:, 0] > 0).astype(int), NAMES, KINDS, resamples=50)
    assert "contains NaN" in found.notes[0] and all(h.loss.value is None for h in found.harms if h.kind == "missing")


def test_what_does_not_fit_is_named():
    with pytest.raises(DataError, match="2 names"): robustness(_chance, X, X[:, 0] > 0, ["a", "b"], KINDS)
    with pytest.raises(DataError, match="not defined"): robustness(_chance, X, np.ones(2000), NAMES, KINDS)
