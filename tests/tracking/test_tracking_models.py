"""Models of MLflow's store come as folders."""
import pytest
from model_ops.errors import TrackingError
from model_ops.settings import Settings
from model_ops.tracking.models import download


@pytest.fixture
def settings(tmp_path, monkeypatch):
    for name in ("MODEL_OPS_ROOT", "MLFLOW_TRACKING_URI"): monkeypatch.delenv(name, raising=False)
    (tmp_path / "settings.ini").write_text("[workbook]\nname = demo\n")
    return Settings.load(tmp_path)


@pytest.mark.slow
def test_a_registered_model_comes_as_a_folder(settings, tmp_path):
    from model_ops.tracking.runs import log_run
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors: {}\n")
    run = log_run(settings, step="train", artifacts=[tmp_path / "model", tmp_path / "settings.ini"])
    found = download(f"runs:/{run}/model", settings, tmp_path / "out")
    assert (found / "MLmodel").read_text() == "flavors: {}\n" and found.is_relative_to(tmp_path / "out")
    for uri in (f"runs:/{run}/nothing", f"runs:/{run}/", "models:/nobody/1", "runs:/0000/model"):
        with pytest.raises(TrackingError, match=uri.split(":")[0]): download(uri, settings, tmp_path / "other")
