"""The finding on models that were made to be so, for every task; what is left out is said."""
import os
import numpy as np
import polars as pl
import pytest
from model_ops.errors import DataError
from model_ops.train.diagnosis import Diagnosis, diagnose, flat_metrics

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # boosting on busy cores is ten times slower without


def _window(n, rule, task, rng, noise=1.0):
    X = rng.normal(size=(n, 5)).astype(np.float32)
    latent = rule(X) + rng.normal(0, noise, n)
    return X, {"binary": (latent > 0).astype(int), "multiclass": np.digitize(latent, [-0.8, 0.8]), "regression": latent}[task]


def _product(X): return 2*np.sign(X[:, 0]*X[:, 1])
def _line(X): return 1.5*X[:, 0]
def _nothing(X): return np.zeros(len(X))


def _model(kind, task):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
    number = task == "regression"
    if kind == "tree": return (DecisionTreeRegressor if number else DecisionTreeClassifier)(random_state=0)
    if kind == "line": return Ridge() if number else LogisticRegression()
    return (HistGradientBoostingRegressor if number else HistGradientBoostingClassifier)(max_iter=40, learning_rate=0.1, max_leaf_nodes=6, early_stopping=False, random_state=0)


CASES = [("tree", _line, "over-fitting"), ("tree", _nothing, "over-fitting"), ("line", _product, "under-fitting"), ("line", _line, "fine"), ("boosting", _product, "fine"), ("line", _nothing, "too noisy")]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("kind, rule, outcome", CASES, ids=lambda value: getattr(value, "__name__", value))
def test_what_was_made_wrong_is_found(task, kind, rule, outcome):
    from model_ops.train.advice import finding
    from model_ops.train.curves import Bench
    from model_ops.train.freedom import validation_curve
    rng = np.random.default_rng(1)
    windows = _window(1500, rule, task, rng) + _window(4000, rule, task, rng)
    model = _model(kind, task).fit(*windows[:2])
    curve = validation_curve(Bench(model, *windows, task), full=model)
    assert finding(curve.lead, curve.tries).outcome == outcome


def test_a_simpler_model_counts_on_all_rows_only():
    "On a sample a deep tree over-fits; whether it does on all rows is asked of all rows."
    from model_ops.train.curves import Bench
    from model_ops.train.freedom import validation_curve
    rng = np.random.default_rng(0)
    windows = _window(4000, _line, "binary", rng) + _window(3000, _line, "binary", rng)
    model = _model("tree", "binary").fit(*windows[:2])
    curve = validation_curve(Bench(model, *windows), full=model, most=800, booster=False)
    counted = [one for one in curve.tries if one.gain.low is not None and one.side == "simpler" and one.gain.low > 0]
    assert len(counted) == 1 and counted[0].rows == 4000
    late = validation_curve(Bench(model, *windows), full=model, most=800, booster=False, enough=lambda seconds, asked=[]: asked.append(1) or len(asked) > 3)
    assert "on all 4,000 was not tried" in " ".join(late.notes) and all(one.gain.low is None or one.gain.low <= 0 for one in late.tries)


def _diagnosed(task="binary", n=900, seconds=0.0, model="boosting", **more):
    rng = np.random.default_rng(0)
    (X, y), (V, yv), (T, yt) = (_window(n, _product, task, rng) for _ in range(3))
    fitted = _model(model, task).fit(X, y) if model else None
    names = list("abcde")
    frame = pl.DataFrame(V, schema=names).with_columns(sex=pl.Series(rng.choice(["f", "m"], n)))
    blocks = {key: np.arange(n) // 30 for key in ("blocks", "blocks_validation", "blocks_test")}
    return diagnose(fitted, X, y, V, yv, **{**dict(task=task, names=names, X_test=T, y_test=yt, frame_validation=frame, slices=["sex"], groups=["sex"], labels=["low", "mid", "high"], unit="days", repeats=2, seconds=seconds, rows=n, told={"max_iter": 40}), **blocks, **more})


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_whole_diagnosis_of_every_task(task):
    found = _diagnosed(task)
    assert not found.skipped and found.finding.outcome == "fine" and found.summary.startswith(found.finding.sentence)
    assert found.curve.gain and found.noise.sd is not None and found.weak.looked and found.groups.groups and found.slices.parts and found.robustness.harms and found.explanations and found.dependence
    assert [w.name for w in found.windows] == ["train", "other training rows", "validation", "test"]
    assert Diagnosis.from_json(found.to_json()) == found
    html = found.__html__()
    assert "<script" not in html and all(title in html for title in ("Would more data help?", "Single predictions", "Where it is weak", "Groups", "When the inputs get worse"))
    assert "… (" not in html  # no sentence of ours is cut
    assert flat_metrics(found)["weak_slices"] == len(found.weak.slices)


def test_the_same_seed_gives_the_same_diagnosis_but_for_the_time():
    def still(found):
        told = found.model_dump(exclude={"seconds", "costs"})
        for point in told["curve"]["points"]: point.pop("seconds")
        return told
    assert still(_diagnosed(n=600)) == still(_diagnosed(n=600))


@pytest.mark.slow
def test_what_there_is_no_time_for_is_said():
    found = _diagnosed(seconds=1e-6)
    assert found.curve is None and found.noise is None and len(found.skipped) >= 6 and all("left out" in line or "not tried" in line for line in found.skipped)
    assert "left out" in found.__html__()


def test_without_a_model_only_what_can_be_asked_is_asked():
    found = _diagnosed(model=None, says=lambda X: 1/(1 + np.exp(-2*X[:, 0]*X[:, 1])))
    assert found.finding.outcome == "not known" and found.importance and found.explanations and any("cannot be fitted again" in line for line in found.skipped)
    with pytest.raises(DataError, match="neither a model"): _diagnosed(model=None)


def test_a_gain_over_the_opponent_is_held_against_the_luck():
    rng = np.random.default_rng(0)
    found = _diagnosed(opponent=rng.random(900))
    assert found.gain.low > 0 and "larger than" in found.against_noise
    with pytest.raises(DataError, match="A label for each row"): diagnose(None, np.zeros((3, 1)), [0, 1], np.zeros((2, 1)), [0, 1], names=["a"], says=len)
