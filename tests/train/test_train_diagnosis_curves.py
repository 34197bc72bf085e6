"""Learning curves, what more rows would bring, freedom, and the noise of training."""
import os
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.errors import DataError
from model_ops.train.curves import Bench, drawn_rows, extrapolate, learning_curve, learning_sizes
from model_ops.train.freedom import freedoms, reduction, staged_scores
from model_ops.train.seeds import against_noise, cost, halves, noise

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # boosting on busy cores is ten times slower without


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(0, 5))
def test_whole_blocks_are_drawn_and_the_last_is_cut(size, each, seed):
    blocks = np.repeat(np.arange(60 // each + 1), each)
    rows = drawn_rows(len(blocks), blocks, size, np.random.default_rng(seed))
    counts = np.bincount(blocks[rows])
    assert len(rows) == len(set(rows)) == size and ((counts != 0) & (counts != each)).sum() <= 1


@settings(deadline=None, max_examples=60)
@given(st.integers(40, 100_000), st.integers(20, 50_000), st.floats(1, 500))
def test_sizes_grow_and_leave_half_of_the_window(n, most, block):
    sizes = learning_sizes(n, most, block)
    assert sizes == sorted(set(sizes)) and 1 <= sizes[0] and sizes[-1] == min(most, n // 2)


@pytest.mark.slow
@pytest.mark.parametrize("learner", ["line", "tree"])
def test_the_interval_of_the_gain_holds_the_gain(learner):
    "Real learners, whose curves are no power laws: the interval of what twice the rows bring holds the true mean gain."
    from sklearn.linear_model import LinearRegression
    from sklearn.tree import DecisionTreeRegressor
    make = LinearRegression if learner == "line" else (lambda: DecisionTreeRegressor(min_samples_leaf=5, random_state=0))
    def window(rng, n): return (X := rng.normal(size=(n, 20))), X[:, :5].sum(axis=1) + np.sign(X[:, 0]*X[:, 1]) + rng.normal(0, 2, n)
    held = window(np.random.default_rng(99), 1500)
    def error(rng, n): return np.sqrt(((make().fit(*window(rng, n)).predict(held[0]) - held[1])**2).mean())
    truth = np.mean([error(np.random.default_rng(1000 + s), 800) for s in range(50)]) - np.mean([error(np.random.default_rng(2000 + s), 1600) for s in range(50)])
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        sizes = [50, 50, 50, 100, 100, 100, 200, 200, 200, 400, 400, 400, 800]
        gain = extrapolate(sizes, [error(rng, n) for n in sizes], at=800, sign=-1)
        inside += gain.low <= truth <= gain.high
    assert inside >= 51  # 95 % but for three standard errors


def test_no_gain_is_promised_where_there_is_none():
    rng, sizes = np.random.default_rng(0), np.repeat([100, 200, 400, 800], 3)
    sure = [extrapolate([*sizes, 1600], 0.7 + rng.normal(0, 0.01, 13), at=1600).low > 0 for _ in range(60)]
    assert sum(sure) <= 6
    with pytest.raises(DataError, match="Five fits"): extrapolate([10, 20, 40], [1, 2, 3], at=40)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_learning_curve_of_every_task(task):
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1600, 3)).astype(np.float32)
    latent = X[:, 0] + 0.5*rng.normal(size=1600)
    y = {"binary": (latent > 0).astype(int), "multiclass": np.digitize(latent, [-1, 1]), "regression": latent}[task]
    model = (DecisionTreeRegressor if task == "regression" else DecisionTreeClassifier)(max_depth=4, random_state=0)
    bench = Bench(model, X[:800], y[:800], X[800:], y[800:], task, blocks=np.arange(800) // 20)
    curve = learning_curve(bench, sizes=learning_sizes(800, 400, 20), repeats=2, full=model.fit(X[:800], y[:800]), unit="days")
    assert curve.points[-1].rows == 800 and curve.gain is not None and all(p.low <= p.validation <= p.high for p in curve.points) and curve.sentence
    late = learning_curve(bench, sizes=[100, 200], enough=lambda: True)
    assert not late.points and "time" in late.notes[0]


def test_earlier_rounds_are_those_of_a_shorter_fit():
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    make = lambda rounds: make_pipeline(SimpleImputer(), HistGradientBoostingClassifier(max_iter=rounds, early_stopping=False, random_state=0)).fit(X, y)
    assert freedoms(make(20))[0].staged
    for rounds, said in staged_scores(make(20), X, [5, 10]): assert np.allclose(said, make(rounds).predict_proba(X)[:, 1])


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [None, 40])
def test_the_interval_of_a_paired_difference_holds_it(blocks):
    inside = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        block = None if blocks is None else np.sort(rng.integers(0, blocks, 1000))
        gain = 0.1 + rng.normal(0, 1, 1000) + (0 if block is None else rng.normal(0, 0.5, blocks)[block])
        found = reduction(np.zeros(1000), gain, block)
        inside += found.low <= 0.1 <= found.high
    assert 0.92 <= inside/400 <= 0.98


def test_halves_keep_blocks_whole_and_noise_is_compared():
    blocks = np.repeat(np.arange(10), 7)
    for rows in halves(70, blocks, draws=5): assert len(rows) == 35 and all(count in (0, 7) for count in np.bincount(blocks[rows], minlength=10))
    luck = noise("roc_auc", 100, [0.70, 0.71, 0.72], [0.70, 0.72, 0.74])
    assert luck.sd == pytest.approx(np.hypot(0.01, 0.02)) and "luck" in against_noise(0.01, luck) and "larger than" in against_noise(0.5, luck)
    assert noise("roc_auc", 100, [0.7, 0.7], [], random=False).seed_sd == 0


def test_a_fit_that_fails_is_not_hidden_by_the_watch():
    with pytest.raises(ZeroDivisionError): cost(lambda: 1/0, 1)
    assert cost(lambda: "model", 5)[0] == "model"
