"""Writing a package: whole or not at all, the same bytes each time, and only what fits."""
import subprocess
import sys
import numpy as np
import pytest
from model_ops.data.contract import learn
from model_ops.data.encode import encode, target
from model_ops.errors import DataError, PackageError
from model_ops.package.manifest import verify
from model_ops.package.predictor import Predictor


def contents(folder): return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_the_same_inputs_give_the_same_bytes(tmp_path, boosted, write):
    for name in "ab": write(tmp_path / name, boosted, metrics={"roc_auc": 0.71})
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_failure_leaves_the_last_good_package(package, boosted, write):
    before = contents(package)
    with pytest.raises(DataError): write(package, boosted, threshold=1.5)
    with pytest.raises(AttributeError): write(package, boosted, profile=object())
    assert contents(package) == before and [p.name for p in package.parent.iterdir()] == ["package"]


def test_a_regression_has_no_threshold_and_no_labels(tmp_path, make_case, write):
    from sklearn.ensemble import HistGradientBoostingRegressor
    case = make_case(HistGradientBoostingRegressor(max_iter=20, random_state=0), "minutes", ("weight_class", "late"), None)
    manifest = write(tmp_path / "p", case)
    answer = Predictor.open(tmp_path / "p").predict(case.frame)
    assert manifest.task == "regression" and answer.label is None and list(answer.columns()) == ["score"]
    assert np.allclose(answer.score, case.model.predict(case.X), rtol=1e-4)
    with pytest.raises(DataError, match="no threshold"): write(tmp_path / "p", case, threshold=0.5)


def test_several_classes_come_with_the_probability_of_each(tmp_path, make_case, write):
    from sklearn.ensemble import HistGradientBoostingClassifier
    case = make_case(HistGradientBoostingClassifier(max_iter=20, random_state=0), "weight_class", ("late", "minutes"), None)
    manifest = write(tmp_path / "p", case)
    answer = Predictor.open(tmp_path / "p").predict(case.frame)
    assert manifest.classes == ["heavy", "light", "middle"] and list(answer.columns()) == ["score", "label", "score_heavy", "score_light", "score_middle"]
    assert (answer.label == np.array(manifest.classes)[case.model.predict(case.X)]).mean() > 0.999
    assert np.allclose(answer.probabilities.sum(axis=1), 1, atol=1e-5) and (answer.score == answer.probabilities.max(axis=1)).all()


def test_the_positive_class_may_be_the_first_in_the_alphabet(tmp_path, make_case, write):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.impute import SimpleImputer
    case = make_case(make_pipeline(SimpleImputer(), LogisticRegression()), positive="false")
    manifest = write(tmp_path / "p", case)
    answer = Predictor.open(tmp_path / "p").predict(case.frame)
    assert manifest.classes == ["true", "false"] and np.allclose(answer.score, case.model.predict_proba(case.X)[:, 1], atol=1e-5)
    assert set(answer.label[answer.score >= 0.4]) == {"false"}


@pytest.mark.parametrize("wrong, says", [
    (dict(X=np.zeros((3, 4))), "float64"), (dict(X=np.zeros((3, 3), np.float32)), "shape"), (dict(X=np.zeros((0, 4), np.float32)), "shape"),
    (dict(threshold=None), "threshold"), (dict(threshold=-0.1), "threshold")])
def test_what_does_not_fit_is_refused(tmp_path, boosted, write, wrong, says):
    with pytest.raises(DataError, match=says): write(tmp_path / "p", boosted, **wrong)
    assert not (tmp_path / "p").exists()


def test_models_that_cannot_answer_are_refused(tmp_path, boosted, write):
    from sklearn.linear_model import LogisticRegression, RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    X, y = np.nan_to_num(boosted.X), boosted.y
    with pytest.raises(DataError, match="no probabilities"): write(tmp_path / "p", boosted, model=RidgeClassifier().fit(X, y))
    with pytest.raises(DataError, match="classes"): write(tmp_path / "p", boosted, model=LogisticRegression().fit(X, np.where(y, "yes", "no")))
    with pytest.raises(DataError, match="reads 2 columns"): write(tmp_path / "p", boosted, model=LogisticRegression().fit(X[:, :2], y))
    with pytest.raises(PackageError, match="triple"): write(tmp_path / "p", boosted, model=make_pipeline(FunctionTransformer(triple), LogisticRegression()).fit(X, y), X=X[1000:])
    assert not (tmp_path / "p").exists()


def triple(x): return 3 * x


HOSTILE = ["<script>alert(1)</script>", "a`b``c", "# head\n- item", "عمود", "x" * 10_000, "{}[]: '\"", "-->"]


def test_hostile_names_stay_text(tmp_path, boosted, write):
    import yaml
    from sklearn.linear_model import LogisticRegression
    frame = boosted.frame.select("late", **{name: boosted.frame["day"] for name in HOSTILE})
    frame = frame.with_columns((frame[name] + i).alias(name) for i, name in enumerate(HOSTILE))
    contract = learn(frame, target="late")
    X, y = encode(contract, frame).X, target(contract, frame)
    manifest = write(tmp_path / "p", boosted, model=LogisticRegression().fit(X, y), X=X, contract=contract, params={"<b>": "</code>"}, metrics={"<i>": 0.5})
    assert verify(tmp_path / "p") == manifest
    card = (tmp_path / "p" / "card.md").read_text()
    assert "\n# head" not in card and "`<script>alert(1)</script>`" in card
    assert "<script" not in manifest.__html__() and "<b>" not in manifest.__html__().replace("<body>", "")
    assert yaml.safe_load((tmp_path / "p" / "MLmodel").read_text())["metadata"]["target"] == "late"
    assert len(Predictor.open(tmp_path / "p").predict(frame)) == len(frame)


CODE = """
import sys, hashlib, pathlib
sys.path.insert(0, {tests!r})
import conftest
from sklearn.ensemble import HistGradientBoostingClassifier
folder = pathlib.Path({folder!r})
conftest._write(folder, conftest._case(HistGradientBoostingClassifier(max_iter=20, random_state=0)))
print(hashlib.sha256(b"".join(p.read_bytes() for p in sorted(folder.iterdir()))).hexdigest())
"""


@pytest.mark.slow
def test_another_process_with_other_threads_gives_the_same_bytes(tmp_path):
    seen = set()
    for seed in ("1", "2"):
        code = CODE.format(tests=str(__import__("pathlib").Path(__file__).parent), folder=str(tmp_path / seed))
        seen.add(subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": seed, "PATH": ""}, capture_output=True, text=True, check=True).stdout)
    assert len(seen) == 1
