"""A model that exists becomes a package that answers as the model did."""
import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from model_ops.errors import DataError, PackageError
from model_ops.package.bring import bring, imported
from model_ops.package.manifest import verify
from model_ops.package.predictor import Predictor

rng = np.random.default_rng(0)
N = 900
TABLE = pd.DataFrame({"depot": rng.choice(["Bonn", "Köln", "Ulm"], N), "kilos": rng.gamma(2, 3, N).round(2), "day": rng.integers(1, 8, N), "fragile": rng.random(N) < 0.3})
LATE = rng.random(N) < 0.1 + 0.5 * (TABLE.depot == "Ulm") + 0.03 * TABLE.kilos
SIZE = np.where(TABLE.kilos < 3, "light", np.where(TABLE.kilos < 8, "middle", "heavy"))
MINUTES = 30 * LATE + TABLE.kilos.to_numpy() + rng.normal(size=N)
NUMBERS = TABLE[["kilos", "day"]]


def piped(model):
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    return make_pipeline(make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["depot"]), (StandardScaler(), ["kilos", "day", "fragile"])), model)


def cases():
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neighbors import KNeighborsClassifier
    category = TABLE.astype({"depot": "category"})
    return {
        "frame, true and false": (piped(LogisticRegression()), TABLE, LATE, "onnx"),
        "frame, several classes": (piped(LogisticRegression(max_iter=500)), TABLE, SIZE, "onnx"),
        "frame, a number": (piped(Ridge()), TABLE, MINUTES, "onnx"),
        "numbers by name": (HistGradientBoostingClassifier(max_iter=10), NUMBERS, LATE.astype(int), "onnx"),
        "numbers, classes by name": (LogisticRegression(max_iter=500), NUMBERS, SIZE, "onnx"),
        "a forest, which sends missing values its own way": (RandomForestClassifier(5, random_state=0), NUMBERS, SIZE, "skops"),
        "an array": (KNeighborsClassifier(5), np.column_stack([TABLE.kilos, rng.normal(size=N)]), np.where(LATE, "yes", "no"), "onnx"),
        "a number from numbers": (HistGradientBoostingRegressor(max_iter=10), NUMBERS.to_numpy(), MINUTES, "onnx"),
        "pandas categories": (HistGradientBoostingClassifier(max_iter=10, categorical_features="from_dtype"), category, LATE, "skops"),
    }


NAMES = ["frame, true and false", "frame, several classes", "frame, a number", "numbers by name", "numbers, classes by name", "a forest, which sends missing values its own way", "an array", "a number from numbers", "pandas categories"]


@pytest.mark.parametrize("name", NAMES)
def test_it_answers_as_the_model_did(tmp_path, name):
    import skops.io
    model, table, y, format = cases()[name]
    model.fit(table[:600], y[:600])
    skops.io.dump(model, tmp_path / "model.skops") if not hasattr(model, "_tree") else joblib.dump(model, tmp_path / "model.skops")
    named = pd.DataFrame(table, columns=["kilos", "day"]) if isinstance(table, np.ndarray) else table.astype({"depot": "object"} if "depot" in table else {})
    sample = pl.DataFrame({**{c: named[c].tolist() for c in named}, "answer": pl.Series(y.tolist())})
    manifest = bring(tmp_path / "model.skops", data=sample[600:], target="answer", folder=tmp_path / "p", allow_pickle=True)
    answer = Predictor.open(tmp_path / "p").predict(sample[600:].drop("answer"))
    rest = table[600:]
    if manifest.task == "regression": assert np.mean(np.abs(answer.score - model.predict(rest)) > 1e-3) < 0.01
    else:
        wanted = model.predict_proba(rest)[:, [[str(c).lower() for c in model.classes_].index(c) for c in manifest.classes]]
        assert np.mean(np.abs(answer.probabilities - wanted).max(axis=1) > 1e-4) < 0.01
    assert manifest.format == format and manifest == verify(tmp_path / "p") and manifest.origin.params["sha256"]
    again, predictor = imported(tmp_path / "p")
    assert again is not None and predictor.digest == manifest.digest
    if name == "frame, several classes":  # a diagnosis fits the model anew, on parts
        from sklearn.base import clone
        from model_ops.data.encode import encode, target
        X = encode(predictor.contract, sample).X
        assert clone(again).fit(X[:300], target(predictor.contract, sample)[:300]).predict_proba(X).shape == (N, 3)


def exported(model, types):
    import skl2onnx
    return skl2onnx.to_onnx(model, initial_types=types).SerializeToString()  # as people do: labels, and probabilities as dictionaries


def test_onnx_with_an_input_for_each_column(tmp_path):
    from skl2onnx.common.data_types import BooleanTensorType, FloatTensorType, Int64TensorType, StringTensorType
    from sklearn.linear_model import LogisticRegression
    model = piped(LogisticRegression()).fit(TABLE, np.where(LATE, "yes", "no"))
    kinds = {"depot": StringTensorType, "kilos": FloatTensorType, "day": Int64TensorType, "fragile": BooleanTensorType}
    (tmp_path / "m.onnx").write_bytes(exported(model, [(c, kinds[c]([None, 1])) for c in TABLE]))
    sample = pl.DataFrame({"late": np.where(LATE, "yes", "no").tolist(), **{c: TABLE[c].tolist() for c in reversed(TABLE.columns)}})
    manifest = bring(tmp_path / "m.onnx", data=sample, target="late", positive="no", folder=tmp_path / "p", trained_until="2024-01-01")
    answer = Predictor.open(tmp_path / "p").predict(sample)
    assert manifest.classes == ["yes", "no"] and np.abs(answer.score - model.predict_proba(TABLE)[:, 0]).max() < 1e-5
    assert imported(tmp_path / "p")[0] is None and "model.skops" not in manifest.files and manifest.origin.windows["train"].end == "2024-01-01"
    assert 0 <= Predictor.open(tmp_path / "p").predict([{"depot": "Paris", "kilos": 1.0, "day": 3, "fragile": False}]).score[0] <= 1


@pytest.mark.parametrize("y, classes", [(LATE.astype(int), ["false", "true"]), (MINUTES, [])], ids=["codes", "numbers"])
def test_onnx_with_one_input(tmp_path, y, classes):
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    model = (RandomForestClassifier if classes else RandomForestRegressor)(5, random_state=0).fit(NUMBERS.to_numpy(np.float32), y)
    (tmp_path / "m.onnx").write_bytes(exported(model, [("input", FloatTensorType([None, 2]))]))
    sample = pl.DataFrame({"kilos": TABLE.kilos.tolist(), "day": TABLE.day.tolist(), "answer": (LATE.tolist() if classes else MINUTES.tolist())})
    manifest = bring(tmp_path / "m.onnx", data=sample, target="answer", folder=tmp_path / "p")
    wanted = model.predict_proba(NUMBERS.to_numpy())[:, 1] if classes else model.predict(NUMBERS.to_numpy())
    assert manifest.classes == classes and np.allclose(Predictor.open(tmp_path / "p").predict(sample).score, wanted, atol=1e-3 if classes else 0.1)
    assert not classes or "0 for false, 1 for true" in " ".join(manifest.origin.params["notes"])


@pytest.mark.slow
def test_a_pickle_says_how_it_was_read(tmp_path):
    from sklearn.linear_model import LogisticRegression
    joblib.dump(LogisticRegression().fit(NUMBERS.to_numpy(), LATE), tmp_path / "model.pkl", compress=("gzip", 3))
    sample = pl.DataFrame({**{c: NUMBERS[c].tolist() for c in NUMBERS}, "late": LATE.tolist()})
    manifest = bring(tmp_path / "model.pkl", data=sample, target="late", folder=tmp_path / "p", allow_pickle=True, name="ours")
    assert "process of its own" in manifest.origin.params["notes"][0] and manifest.origin.params["name"] == "ours" and manifest.format == "onnx"


def test_profile_and_scores_are_the_callers(tmp_path):
    import skops.io
    from sklearn.linear_model import LogisticRegression
    from model_ops.drift.profile import Profile
    skops.io.dump(LogisticRegression().fit(NUMBERS.to_numpy(), LATE), tmp_path / "m.skops")
    sample = pl.DataFrame({**{c: NUMBERS[c].tolist() for c in NUMBERS}, "late": LATE.tolist()})
    manifest = bring(tmp_path / "m.skops", data=sample, target="late", folder=tmp_path / "p", profile=lambda rows, contract: Profile.of(rows, contract=contract), threshold=0.4)
    assert manifest.profile and "profile.json" in manifest.files and manifest.threshold == 0.4


@pytest.mark.parametrize("change, told, says", [
    (lambda s: s.drop("kilos"), {}, "has 1 beside the target"), (lambda s: s.rename({"late": "Late"}), {}, "no column 'late'.*Did you mean 'Late'"),
    (lambda s: s.with_columns(late=pl.lit(True)), {}, "one class only"), (lambda s: s.with_columns(day=pl.lit("x")), {}, "does not run|text|cannot"),
    (lambda s: s, {"positive": "maybe"}, "no class 'maybe'"), (lambda s: s.with_columns(late=pl.Series(SIZE.tolist())), {"task": "multiclass"}, "knows the classes"),
    (lambda s: s.with_columns(day=pl.date(2024, 1, 1) + pl.duration(days="day")), {}, "is a date"), (lambda s: s, {"time": "when"}, "no column 'when'")])
def test_a_sample_that_does_not_fit_is_refused(tmp_path, change, told, says):
    import skops.io
    from sklearn.linear_model import LogisticRegression
    skops.io.dump(LogisticRegression().fit(NUMBERS.to_numpy(), LATE), tmp_path / "m.skops")
    sample = pl.DataFrame({**{c: NUMBERS[c].tolist() for c in NUMBERS}, "late": LATE.tolist()})
    with pytest.raises((DataError, PackageError), match=says): bring(tmp_path / "m.skops", data=change(sample), target="late", folder=tmp_path / "p", **told)
    assert not (tmp_path / "p").exists()


def test_a_model_that_says_no_probabilities_is_refused(tmp_path):
    import skops.io
    from sklearn.svm import LinearSVC
    skops.io.dump(LinearSVC().fit(NUMBERS.to_numpy(), LATE), tmp_path / "m.skops")
    with pytest.raises(DataError, match="no probabilities"):
        bring(tmp_path / "m.skops", data=pl.DataFrame({**{c: NUMBERS[c].tolist() for c in NUMBERS}, "late": LATE.tolist()}), target="late", folder=tmp_path / "p")


def test_there_is_no_such_model(tmp_path):
    sample = pl.DataFrame({"a": [1, 2], "b": [True, False]})
    with pytest.raises(PackageError, match="no file"): bring(tmp_path / "nothing", data=sample, target="b", folder=tmp_path / "p")
    with pytest.raises(PackageError, match="MLflow URI"): bring("models:/late/1", data=sample, target="b", folder=tmp_path / "p")
