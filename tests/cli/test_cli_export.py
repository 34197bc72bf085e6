"""`model-ops export`: the files of the model in charge, or of the one that is named."""
import os
import pytest
import typer
import yaml
from typer.testing import CliRunner
from serving_book import serving_book
from model_ops.cli import export
from model_ops.errors import DataError, LedgerError, ParameterError, SettingsError
from model_ops.package.manifest import read


SERVE = "max_rows = 50\ntoken = env:OF_THIS_MACHINE\n[serve.production]\nmax_rows = 70\n[log.test]\ndurability = off"


@pytest.fixture(scope="module")
def made(tmp_path_factory): return serving_book(tmp_path_factory.mktemp("made") / "book", versions=2, serve=SERVE)


@pytest.fixture
def book(made, tmp_path, monkeypatch):
    "A workbook with two versions, the first in charge; commands run beside it."
    for name in [n for n in os.environ if n.startswith("MODEL_OPS_")]: monkeypatch.delenv(name)
    monkeypatch.setenv("MODEL_OPS_ROOT", str(made.root))
    monkeypatch.chdir(tmp_path)
    return made


def typed(*words):
    app = typer.Typer()
    export.register(app)
    return CliRunner().invoke(app, ["export", *map(str, words)])


def test_the_champion_with_the_settings_of_production(book, tmp_path):
    done = typed("docker", "deploy/image")
    assert done.exit_code == 0, done.exception
    assert "docker build -t late-parcels:" in done.output and "power cut" in done.output
    said = (tmp_path / "deploy/image/settings.ini").read_text()
    assert "max_rows = 70" in said and "OF_THIS_MACHINE" not in said and read(tmp_path / "deploy/image/model")[0].digest == book.digests[0]


def test_another_version_another_package_another_environment(book, tmp_path):
    assert typed("docker", "image", "--version", 2).exit_code == 0 and read(tmp_path / "image/model")[0].digest == book.digests[1]
    done = typed("docker", "image", "--package", book.root / "made/1", "--environment", "test")
    assert "Nothing is logged" in done.output and "max_rows = 50" in (tmp_path / "image/settings.ini").read_text() and read(tmp_path / "image/model")[0].digest == book.digests[0]
    with pytest.raises(SettingsError, match="moon"): raise typed("docker", "image", "--environment", "moon").exception
    with pytest.raises(LedgerError, match="no version 9"): raise typed("docker", "image", "--version", 9).exception


def test_manifests_for_a_cluster(book, tmp_path):
    done = typed("kubernetes", "cluster", "--image", "registry.example/parcels:7", "--replicas", 3, "--max", 5, "--storage", "1Gi")
    assert done.exit_code == 0 and "kubectl apply -f cluster" in done.output, done.exception
    assert yaml.safe_load((tmp_path / "cluster/autoscaler.yaml").read_text())["spec"]["minReplicas"] == 3 and "1Gi" in (tmp_path / "cluster/statefulset.yaml").read_text()
    with pytest.raises(ParameterError, match="tomorrow"): raise typed("kubernetes", "cluster", "--image", "parcels:latest").exception


def test_both_name_the_same_image(book, tmp_path):
    named = next(word for word in typed("docker", "image").output.split() if word.startswith("late-parcels:"))
    assert typed("kubernetes", "cluster").exit_code == 0 and f"image: {named}" in (tmp_path / "cluster/statefulset.yaml").read_text()


def test_somebody_elses_folder_stays(book, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="notes.txt"): raise typed("kubernetes", ".").exception
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
