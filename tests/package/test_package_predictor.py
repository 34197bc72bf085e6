"""The one predictor: any table, many threads, few imports."""
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import polars as pl
import pytest
from model_ops.errors import ContractError, DataError
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
