"""The package is an MLflow model."""
import json
import numpy as np
import pytest
import yaml
from model_ops.package.predictor import Predictor


def test_the_signature_names_raw_columns(package):
    signature = yaml.safe_load((package / "MLmodel").read_text())["signature"]
    assert [(c["name"], c["type"]) for c in json.loads(signature["inputs"])] == [("depot", "string"), ("kilos", "double"), ("day", "long"), ("fragile", "boolean")]
    assert [c["name"] for c in json.loads(signature["outputs"])] == ["score", "label"]


def test_requirements_name_what_predicting_needs(package, tmp_path, native, write):
    write(tmp_path / "n", native)
    names = lambda folder: [line.split("==")[0] for line in (folder / "requirements.txt").read_text().splitlines()]
    assert names(package) == ["model_ops", "onnxruntime"] and names(tmp_path / "n") == ["model_ops", "scikit-learn", "skops"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_opens_it_and_answers_as_we_do(package, boosted):
    import mlflow.pyfunc
    model, frame = mlflow.pyfunc.load_model(str(package)), boosted.frame.to_pandas()
    answer = model.predict(frame)
    ours = Predictor.open(package).predict(boosted.frame)
    assert (answer["score"].to_numpy() == ours.score).all() and answer["label"].tolist() == ours.label.tolist()
    assert model.metadata.signature.inputs.input_names() == ["depot", "kilos", "day", "fragile"]
    with pytest.raises(mlflow.MlflowException, match="depot"): model.predict(frame.drop(columns="depot"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_scores_the_json_of_its_server(package, boosted):
    import mlflow.pyfunc
    from mlflow.pyfunc.scoring_server import invocations, load_model
    frame = boosted.frame.head(3).select("depot", "kilos", "day", "fragile")
    body = json.dumps({"dataframe_records": frame.to_dicts()})
    model = load_model(str(package))
    result = invocations(data=body, content_type="application/json", model=model, input_schema=model.metadata.get_input_schema())
    answers = json.loads(result.response)["predictions"]
    assert np.allclose([a["score"] for a in answers], Predictor.open(package).predict(frame).score)
    assert mlflow.pyfunc.load_model(str(package)) is not None
