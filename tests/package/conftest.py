"""One small package for the tests of this room: parcels that come late."""
import os
from types import SimpleNamespace
import numpy as np
import polars as pl
import pytest
from model_ops.data.contract import learn
from model_ops.data.encode import encode, target

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # boosting on busy cores is ten times slower without


def _parcels(n=1500, seed=0):
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"number": np.arange(n) * 7 + 1000, "depot": rng.choice(["Bonn", "Köln", "Ulm"], n), "kilos": rng.gamma(2, 3, n).round(2),
                          "day": rng.integers(1, 8, n), "fragile": rng.random(n) < 0.3})
    late = rng.random(n) < 0.1 + 0.5 * (frame["depot"] == "Ulm").to_numpy() + 0.03 * frame["kilos"].to_numpy()
    frame = frame.with_columns(late=late, weight_class=pl.when(pl.col("kilos") < 3).then(pl.lit("light")).when(pl.col("kilos") < 8).then(pl.lit("middle")).otherwise(pl.lit("heavy")),
                               minutes=pl.Series(late * 30 + rng.normal(size=n) * 5))
    return frame.with_columns(kilos=pl.when(pl.int_range(n) % 20 == 3).then(None).otherwise("kilos"))


def _case(model, target_name="late", ignore=("weight_class", "minutes"), threshold=0.4, **more):
    frame = _parcels()
    contract = learn(frame[:1000], target=target_name, roles={"number": "id", **{c: "ignore" for c in ignore}}, **more)
    X, y = encode(contract, frame).X, target(contract, frame)
    return SimpleNamespace(frame=frame, contract=contract, X=X, y=y, model=model.fit(X[:1000], y[:1000]), threshold=threshold)


def _write(folder, case, **more):
    from model_ops.package.build import write_package
    facts = dict(model=case.model, X=case.X[1000:], contract=case.contract, threshold=case.threshold, params={"max_iter": 20}, windows={"train": {"rows": 1000}, "validation": {"rows": 500}})
    return write_package(folder, **{**facts, **more})


@pytest.fixture(scope="session")
def make_case():
    "A frame, its contract, encoded rows, and the given model fitted on the first 1,000 of 1,500."
    return _case


@pytest.fixture(scope="session")
def write():
    "Write the package of a case."
    return _write


@pytest.fixture(scope="session")
def boosted():
    from sklearn.ensemble import HistGradientBoostingClassifier
    return _case(HistGradientBoostingClassifier(max_iter=20, random_state=0))


@pytest.fixture(scope="session")
def native():
    from sklearn.ensemble import HistGradientBoostingClassifier
    return _case(HistGradientBoostingClassifier(max_iter=20, random_state=0, categorical_features=[0]))


@pytest.fixture
def package(tmp_path, boosted):
    _write(tmp_path / "package", boosted)
    return tmp_path / "package"
