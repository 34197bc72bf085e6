"""The model of a regression's error: out of fold, in whole blocks, and only where it can be had."""
import os
import numpy as np
import pytest
from model_ops.errors import DataError
from model_ops.train.loss import FEWEST, fit_loss, with_prediction

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # boosting on busy cores is ten times slower without


def _rows(n=1000, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3)).astype(np.float32)
    return X, X[:, 1].astype(float), X[:, 1] + rng.normal(size=n) * np.where(X[:, 0] > 0, 3, 1)


@pytest.mark.slow
def test_what_it_says_of_the_window_is_out_of_fold():
    X, prediction, y = _rows()
    y[:200] += 50  # the first fifth is off by far: a model of the others cannot know
    model, apart = fit_loss(X, prediction, y, blocks=np.arange(1000) // 20)
    assert apart[:200].mean() < 5 < model.predict(with_prediction(X[:200], prediction[:200])).mean()


@pytest.mark.slow
def test_a_block_is_never_split():
    X, prediction, y = _rows()
    blocks = np.random.default_rng(1).permutation(np.arange(1000) // 100)
    X[:, 2], y = blocks, prediction + blocks * 10.0  # the error is the block's number: seen rows of a block would give it away
    _, apart = fit_loss(X, prediction, y, blocks=blocks, folds=10)
    assert abs(apart - blocks * 10.0).min() > 5


@pytest.mark.parametrize("wrong, named", [(dict(prediction=np.zeros(5)), "5 predictions"), (dict(folds=1), "folds"), (dict(blocks=np.zeros(1000)), "1 blocks")])
def test_bad_input_is_named(wrong, named):
    X, prediction, y = _rows()
    with pytest.raises(DataError, match=named): fit_loss(**{**dict(X=X, prediction=prediction, y=y), **wrong})
    with pytest.raises(DataError, match=str(FEWEST)): fit_loss(X[:50], prediction[:50], y[:50])
