"""Smaller models: accepted only where they are surely as good, chosen by a rule, and answering as they were judged."""
import numpy as np
import pytest
from model_ops.errors import DataError, ParameterError
from model_ops.evaluate.intervals import Interval
from model_ops.package.compress import FAMILIES, Candidate, Compress, Compression, choose, compress
from model_ops.package.compress_cost import Timing, latency, memory
from model_ops.package.convert import open_session, outputs

rng = np.random.default_rng(0)


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6)).astype(np.float32)
    return X, X[:, 0] + 2*X[:, 1]*(X[:, 2] > 0) + 0.3*rng.normal(size=n)


@pytest.fixture(scope="module")
def forest():
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    X, z = rows(2000)
    y = (z > 0).astype(int)
    return make_pipeline(SimpleImputer(), RandomForestClassifier(32, min_samples_leaf=10, random_state=0)).fit(X[:1000], y[:1000]), X, y


def ask(case, *names, **more):
    model, X, y = case
    return compress(model, X[:1000], y[:1000], X[1000:], y[1000:], task="binary", told={"candidates": list(names), **more})


@pytest.fixture(scope="module")
def found(forest): return ask(forest, "fewer_trees", "int8")


def test_fewer_trees_of_a_forest(found, forest):
    best, teacher = found.of(found.chosen), found.of("teacher")
    assert best.family == "fewer_trees" and best.size < 0.6*teacher.size and best.accepted
    assert best.difference.low >= -found.bound and found.bound == pytest.approx(found.margin*teacher.metric.value, rel=1e-4)
    model, onnx = found.models[found.chosen]
    assert len(onnx) == best.size and len(model[-1].estimators_) == model[-1].n_estimators == int(found.chosen.split("/")[1])
    X = forest[1][1000:]
    assert np.abs(open_session(onnx).run(None, {"X": X})[0] - outputs(model, X)).max() < 1e-5
    assert "instead of" in found.summary and len(forest[0][-1].estimators_) == 32


def test_what_does_not_apply_is_listed_with_the_reason(found):
    one = found.of("int8")
    assert not one.applies and "MatMul" in one.reason and one.size is None and not one.accepted
    assert "MatMul" in str(found.__html__())


def test_the_record_survives_its_file(found):
    again = Compression.from_json(found.to_json())
    assert again.to_json() == found.to_json() and again.models == {} and str(again.__html__()) == str(found.__html__())


def test_every_candidate_has_its_costs(found):
    for c in found.candidates:
        if c.metric is None: continue
        assert set(c.latency) == {"1", "1000"} and all(0 < t.low <= t.median <= t.high for t in c.latency.values())
        assert c.memory_mb is not None and c.memory_mb >= 0 and 0 <= c.agreement <= 1


def test_a_margin_of_nothing_accepts_nobody(forest):
    found = ask(forest, "fewer_trees", margin=0.0)
    judged = [c for c in found.candidates if c.difference is not None]
    assert found.chosen == "teacher" and "stays as it is" in found.summary
    assert judged and not any(c.accepted for c in judged) and all("urely" in c.reason for c in judged)


def test_whoever_is_accepted_hands_its_share_on(found):
    handed, left, most = 0, 0.025, FAMILIES["fewer_trees"].most
    for place, c in enumerate((c for c in found.candidates if c.difference is not None), start=1):
        share = handed + (left if place == most else left/2)
        assert c.level == pytest.approx(1 - 2*share, abs=1e-5)
        handed, left = share if c.accepted else 0, left/2


@pytest.mark.slow
@pytest.mark.slow
def test_a_tree_that_knows_its_rows_by_heart_gets_better():
    from sklearn.tree import DecisionTreeClassifier
    X, z = rows(4000)
    y = (z + 2*np.random.default_rng(3).normal(size=len(z)) > 0).astype(int)
    model = DecisionTreeClassifier(random_state=0).fit(X[:2000], y[:2000])
    found = compress(model, X[:2000], y[:2000], X[2000:], y[2000:], task="binary", told={"candidates": ["pruned_tree"]})
    best = found.of(found.chosen)
    assert best.family == "pruned_tree" and best.size < .3*found.of("teacher").size and best.difference.low > 0


def test_too_few_blocks_accept_nobody(forest):
    model, X, y = forest
    found = compress(model, X[:1000], y[:1000], X[1000:], y[1000:], task="binary", blocks=np.arange(1000) // 200, told={"candidates": ["fewer_trees"]})
    assert found.chosen == "teacher" and "Not enough data" in found.candidates[1].reason


def test_without_candidates_the_model_stays(forest):
    found = ask(forest)
    assert found.chosen == "teacher" and len(found.candidates) == 1 and "no way to make it smaller was tried" in found.summary


@pytest.mark.parametrize("told, said", [({"candidates": ["fewer_tree"]}, "fewer_trees"), ({"metric": "roc_aux"}, "roc_auc"), ({"margin": -1}, "margin"), ({"marginn": 0.1}, "marginn"), ({"metric": "rmse", "candidates": ["auto"]}, "rmse"), ({"prefer": "cheapest"}, "smallest")])
def test_what_it_is_told_is_checked(forest, told, said):
    model, X, y = forest
    with pytest.raises(ParameterError, match=said): compress(model, X[:1000], y[:1000], X[1000:], y[1000:], task="binary", told=told)


def test_rows_that_do_not_fit_are_refused(forest):
    model, X, y = forest
    for wrong in ({"X_validation": X[:10].astype(float)}, {"y_train": y[:10]}, {"X_validation": X[1000:, :3]}, {"blocks": np.arange(3)}):
        told = {"X_train": X[:1000], "y_train": y[:1000], "X_validation": X[1000:], "y_validation": y[1000:], "told": {"candidates": ["auto"]}} | wrong
        with pytest.raises(DataError): compress(model, task="binary", **told)


def candidate(name, size, median, spread=0.05): return Candidate(name=name, title=name, size=size, latency={"1000": Timing(median=median, low=median*(1 - spread), high=median*(1 + spread))})


@pytest.mark.parametrize("those, prefer, chosen", [
    ([("teacher", 100, 5), ("a", 50, 2), ("b", 52, 1)], "smallest", "b"), ([("teacher", 100, 5), ("a", 50, 2), ("b", 52, 1.95)], "smallest", "a"), ([("teacher", 100, 5), ("a", 95, 4.9)], "smallest", "teacher"),
    ([("teacher", 100, 5), ("a", 20, 6)], "smallest", "a"), ([("teacher", 100, 5), ("a", 20, 6)], "fastest", "teacher"), ([("teacher", 100, 5), ("a", 99, 4.9), ("b", 50, 5.1)], "fastest", "b")])
def test_ties_and_noise(those, prefer, chosen):
    assert choose([candidate(*one) for one in those], prefer).name == chosen


def test_all_families_have_a_name_that_can_be_told():
    assert Compress(candidates=["auto", "int8"]).candidates == list(FAMILIES) and Compress(candidates=["int8", "int8"]).candidates == ["int8"]


def test_foreign_text_in_a_record_is_escaped(found):
    odd = found.model_copy(deep=True)
    odd.candidates[1].title = "<script>x</script>"
    odd.candidates[1].reason = "<b>"
    assert "<script>" not in str(odd.__html__()) and "<b></span>" not in str(odd.__html__())


@pytest.mark.slow
def test_a_model_that_does_not_convert_is_judged_as_scikit_learn_has_it():
    from sklearn.ensemble import HistGradientBoostingClassifier
    X, z = rows(2000)
    X[:, 5] = np.random.default_rng(1).integers(0, 4, len(X))
    y = ((z > 0) ^ (X[:, 5] == 2)).astype(int)
    model = HistGradientBoostingClassifier(max_iter=40, categorical_features=[5], early_stopping=False, random_state=0).fit(X[:800], y[:800])
    found = compress(model, X[:800], y[:800], X[800:], y[800:], task="binary", told={"candidates": ["fewer_trees", "float16"], "margin": 0.05})
    assert found.of("teacher").format == "skops" and not found.of("float16").applies and "does not convert" in found.of("float16").reason
    small = found.of("fewer_trees/20")
    assert small.format == "skops" and small.size < found.of("teacher").size and found.models["fewer_trees/20"][1] is None


def test_latency_of_few_rows_and_memory_of_nothing():
    X = np.ones((3, 2), np.float32)
    found = latency({"a": lambda rows: rows.sum(), "b": lambda rows: rows.sum()}, X, rounds=3)
    assert set(found) == {"a", "b"} and set(found["a"]) == {"1", "1000"}
    assert memory({"no": (b"damaged", "onnx")}, X) == {"no": None}


def test_older_records_are_read(found):
    import json
    body = json.loads(found.to_json())
    del body["prefer"]
    assert Compression.from_json(json.dumps(body)).prefer == "smallest"
    assert isinstance(found.of("teacher").metric, Interval)
