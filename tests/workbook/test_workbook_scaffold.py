"""A new step is three files that agree; a name that the library has brings the library's own notebook."""
import json
import shutil
from pathlib import Path

import pytest

from model_ops.errors import ParameterError
from model_ops.params import read_yaml
from model_ops.settings import Settings
from model_ops.workbook import check
from model_ops.workbook.scaffold import add

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def book(tmp_path):
    "An older workbook on another table, without the step monitor."
    for folder in ("nbs/steps", "params"): shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    shutil.copy(REPOSITORY / "settings.ini", tmp_path)
    for file in ("nbs/steps/monitor.ipynb", "params/monitor.yaml"): (tmp_path / file).unlink()
    evaluate = tmp_path / "params/evaluate.yaml"
    evaluate.write_text(evaluate.read_text().replace("[origin, carrier]", "[channel, region]"))
    check.check(tmp_path, fix=True)
    return Settings.load(tmp_path)


def cells(path): return [(c["id"], "".join(c["source"]), c["metadata"].get("tags")) for c in json.loads(path.read_text())["cells"]]


def test_a_step_of_the_library_is_copied_with_the_slices_of_the_workbook_and_is_no_stage(book):
    stages = book.path("dvc.yaml").read_text()
    said = add("monitor", settings=book)
    assert cells(book.path("nbs/steps/monitor.ipynb")) == cells(REPOSITORY / "nbs/steps/monitor.ipynb")
    assert read_yaml(book.path("params/monitor.yaml")) == {**read_yaml(REPOSITORY / "params/monitor.yaml"), "slices": ["channel", "region"]}
    assert book.path("params/monitor.yaml").read_text() == (REPOSITORY / "params/monitor.yaml").read_text().replace("[origin, carrier]", "[channel, region]")
    assert book.path("dvc.yaml").read_text() == stages and check.check(book.root) == []
    assert all(words in said for words in ("nbs/steps/monitor.ipynb", "params/monitor.yaml", "channel, region", "no stage", "model-ops open monitor"))
    with pytest.raises(ParameterError, match="exists already"): add("monitor", settings=book)


@pytest.mark.parametrize("evaluate", [None, "", "slices: []\n"], ids=["no file", "an empty file", "no slices"])
def test_without_slices_of_the_workbook_there_are_none(book, evaluate):
    path = book.path("params/evaluate.yaml")
    path.unlink() if evaluate is None else path.write_text(evaluate)
    assert "slices are none" in add("monitor", settings=book) and read_yaml(book.path("params/monitor.yaml"))["slices"] == []


def test_a_params_file_that_is_there_stays(book):
    path = book.path("params/monitor.yaml")
    path.write_text("policy: {train: 60d}\n")
    assert "stays as it is" in add("monitor", settings=book) and path.read_text() == "policy: {train: 60d}\n" and check.check(book.root) == []


def test_a_step_of_the_pipeline_is_a_stage_again(book):
    for file in ("nbs/steps/drift.ipynb", "params/drift.yaml"): book.path(file).unlink()
    assert "is a stage" in add("drift", settings=book) and "drift" in check.stages(book.root) and check.check(book.root) == []
    assert book.path("params/drift.yaml").read_text() == (REPOSITORY / "params/drift.yaml").read_text()


def test_nothing_is_written_where_it_cannot_be(book):
    with pytest.raises(ParameterError, match="--after"): add("monitor", after="evaluate", settings=book)
    book.path("params/evaluate.yaml").write_text("slices: [")
    with pytest.raises(ParameterError, match="not YAML"): add("monitor", settings=book)
    assert not book.path("nbs/steps/monitor.ipynb").exists() and not book.path("params/monitor.yaml").exists()


def test_a_name_of_its_own_makes_a_new_step(book):
    said = add("seasons", after="evaluate", settings=book)
    assert said.startswith("Made ") and check.stages(book.root)["seasons"]["deps"] == ["nbs/steps/seasons.ipynb", "records/evaluation.json"] and check.check(book.root) == []
    for name, why in {"seasons": "exists already", "Seasons": "no name", "../x": "no name"}.items():
        with pytest.raises(ParameterError, match=why): add(name, settings=book)
    with pytest.raises(ParameterError, match="Did you mean 'evaluate'"): add("summers", after="evalute", settings=book)
