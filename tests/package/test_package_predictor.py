"""The one predictor: any table, many threads, few imports."""
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import polars as pl
import pytest
from model_ops.errors import ContractError, DataError, PackageError
from model_ops.package.predictor import Predictor


@pytest.fixture
def predictor(package): return Predictor.open(package)


def test_every_form_of_a_table_gives_the_same(predictor, boosted):
    frame = boosted.frame
    score = predictor.predict(frame).score
    assert np.abs(score - boosted.model.predict_proba(boosted.X)[:, 1]).max() < 1e-5
    for table in (frame.to_dicts(), frame.to_dict(as_series=False), frame.drop("late", "number"), frame.to_pandas()): assert (predictor.predict(table).score == score).all()
    assert (predictor.predict_encoded(boosted.X).score == score).all()


def test_labels_follow_the_threshold(predictor, boosted):
    answer = predictor.predict(boosted.frame)
    assert ((answer.label == "true") == (answer.score >= 0.4)).all() and answer.threshold == 0.4 and answer.classes == ("false", "true")


def test_no_rows_no_answers(predictor, boosted):
    for table in (boosted.frame[:0], []):
        answer = predictor.predict(table)
        assert len(answer) == 0 and answer.label.shape == (0,) and pl.DataFrame(answer.columns()).schema == {"score": pl.Float64, "label": pl.String}


def test_what_cannot_be_encoded_is_refused_by_name(predictor):
    with pytest.raises(ContractError, match="kilos"): predictor.predict([{"depot": "Ulm", "kilos": "heavy", "day": 1, "fragile": False}])
    with pytest.raises(ContractError, match="depot"): predictor.predict([{"kilos": 1.0, "day": 1, "fragile": False}])
    with pytest.raises(DataError, match="4 encoded columns"): predictor.predict_encoded(np.zeros((2, 3), np.float32))


def test_unseen_and_missing_values_are_answered(predictor):
    answer = predictor.predict([{"depot": "Paris", "kilos": None, "day": 99, "fragile": None}])
    assert 0 <= answer.score[0] <= 1


def test_many_threads_at_once(predictor, boosted):
    rows = boosted.frame.to_dicts()[:400]
    alone = predictor.predict(rows).score
    with ThreadPoolExecutor(8) as pool: scores = list(pool.map(lambda row: predictor.predict([row]).score[0], rows))
    assert (np.array(scores) == alone).all()


def test_one_row_is_fast(predictor, boosted):
    row = boosted.frame.to_dicts()[:1]
    times = []
    for _ in range(200):
        start = time.perf_counter()
        predictor.predict(row)
        times.append(time.perf_counter() - start)
    assert sorted(times)[20] < 0.002  # measured 0.04 ms on a quiet machine


def test_an_onnx_package_needs_no_heavy_library(package):
    code = f"""import sys
from model_ops.package.predictor import Predictor
Predictor.open({str(package)!r}).predict([{{"depot": "Ulm", "kilos": 1.5, "day": 3, "fragile": True}}])
print(sorted({{"sklearn", "pandas", "mlflow", "skops", "skl2onnx", "onnx", "scipy", "yaml", "matplotlib"}} & set(sys.modules)))"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_without_onnx_scikit_learn_answers(tmp_path, native, write):
    write(tmp_path / "p", native)
    answer = Predictor.open(tmp_path / "p").predict(native.frame)
    assert (answer.score == native.model.predict_proba(native.X)[:, 1]).all()


def test_a_regression_says_how_wrong_it_expects_to_be(tmp_path, make_case, write):
    from sklearn.ensemble import HistGradientBoostingRegressor
    from model_ops.train.loss import fit_loss, with_prediction
    case = make_case(HistGradientBoostingRegressor(max_iter=20, random_state=0), "minutes", ("weight_class", "late"), None)
    prediction = case.model.predict(case.X[1000:])
    loss_model, _ = fit_loss(case.X[1000:], prediction, case.y[1000:])
    manifest = write(tmp_path / "a", case, loss_model=loss_model)
    assert manifest.loss == "onnx" and manifest.digest == write(tmp_path / "b", case).digest
    predictor = Predictor.open(tmp_path / "a")
    said = predictor.predict(case.frame[1000:]).score  # by ONNX, in 32 bits: the model of the error reads this one
    wanted = np.maximum(0, loss_model.predict(with_prediction(case.X[1000:], said)))
    assert abs(predictor.expected_error(case.frame[1000:]) - wanted).max() < 1e-3
    assert Predictor.open(tmp_path / "a").expected_error(case.frame[:0]).shape == (0,)
    with pytest.raises(PackageError, match="no model of its error"): Predictor.open(tmp_path / "b").expected_error(case.frame)
    with pytest.raises(DataError, match="reads 2 columns"): write(tmp_path / "c", case, loss_model=HistGradientBoostingRegressor(max_iter=2).fit(case.X[:50, :2], case.y[:50]))
    (tmp_path / "a" / "loss.onnx").write_bytes(b"x")
    with pytest.raises(PackageError, match="loss.onnx"): Predictor.open(tmp_path / "a")


def test_a_classifier_has_no_model_of_its_error(tmp_path, boosted, write):
    with pytest.raises(DataError, match="Only a regression"): write(tmp_path / "c", boosted, loss_model=boosted.model)
