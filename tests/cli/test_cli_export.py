"""`model-ops export`: the files of the model in charge, or of the one that is named."""
import os
import shutil
from pathlib import Path
import pytest
import typer
import yaml
from typer.testing import CliRunner
from serving_book import serving_book
from model_ops.cli import export
from model_ops.errors import DataError, LedgerError, ParameterError, SettingsError
from model_ops.package.manifest import read


REPOSITORY = Path(__file__).resolve().parents[2]
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


# ---------------------------------------------------------------- what watches the model

@pytest.fixture
def watched(tmp_path, monkeypatch):
    "A workbook that has the step monitor; commands run beside it."
    root = tmp_path / "book"
    for name in ("nbs/steps/monitor.ipynb", "params/monitor.yaml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, root / name)
    (root / "settings.ini").write_text("[workbook]\nname = parcels\n[registry]\nmodel = late-parcels\n[serve]\nport = 8080\n[serve.production]\nport = 9000\n")
    for name in [n for n in os.environ if n.startswith("MODEL_OPS_")]: monkeypatch.delenv(name)
    monkeypatch.setenv("MODEL_OPS_ROOT", str(root))
    monkeypatch.chdir(tmp_path)
    return root


def test_what_watches_it_with_checked_parameters_and_beside_its_token(watched, tmp_path, monkeypatch):
    done = typed("monitoring", "alerts")
    assert done.exit_code == 0, done.exception
    assert "promtool test rules" in done.output and "127.0.0.1:9000" in (tmp_path / "alerts/prometheus.yml").read_text()
    (tmp_path / "alerts/token").write_text("secret")
    assert "nothing: all is as it was" in typed("monitoring", "alerts").output
    assert "127.0.0.1:8080" not in (tmp_path / "alerts/prometheus.yml").read_text()
    assert "new     prometheus.yml, README.md\n" in typed("monitoring", "alerts", "--environment", "test").output and (tmp_path / "alerts/token").read_text() == "secret"
    assert (tmp_path / "alerts/alertmanager.yml").stat().st_mode & 0o044
    told = watched / "params/monitor.yaml"
    told.write_text(told.read_text().replace("alerts: {}", "alerts: {webhook: 'env:CHAT'}"))
    monkeypatch.setenv("CHAT", "https://chat.example.org/tomato")
    assert "alertmanager.yml" in typed("monitoring", "alerts").output and (tmp_path / "alerts/alertmanager.yml").stat().st_mode & 0o077 == 0
    assert [p.name for p in (tmp_path / "alerts").iterdir() if "tomato" in p.read_text()] == ["alertmanager.yml"] and "0600" in (tmp_path / "alerts/README.md").read_text()
    told.write_text(told.read_text().replace("alerts: {webhook: 'env:CHAT'}", "alerts: {p99_ms: -1}"))
    with pytest.raises(ParameterError, match="p99_ms"): raise typed("monitoring", "alerts").exception


def test_the_workflows_go_into_the_workbook_and_not_over_others(watched, tmp_path):
    flows = watched / ".github/workflows"
    flows.mkdir(parents=True)
    (flows / "mine.yml").write_text("name: mine\n")
    assert typed("github", "--when", "0 6 * * 1").exit_code == 0 and sorted(p.name for p in flows.iterdir()) == ["mine.yml", "monitor.yml", "pull-request.yml"]
    assert yaml.safe_load((flows / "monitor.yml").read_text())[True]["schedule"] == [{"cron": "0 6 * * 1"}]
    assert typed("github", "elsewhere", "--environment", "test").exit_code == 0 and "MODEL_OPS_ENVIRONMENT: test" in (tmp_path / "elsewhere/.github/workflows/monitor.yml").read_text()
    (flows / "pull-request.yml").write_text("name: mine too\n")
    with pytest.raises(DataError, match=r"pull-request\.yml was not made"): raise typed("github").exception


def test_a_line_for_cron_and_a_timer(watched, tmp_path):
    done = typed("cron", "clock", "--when", "0 6 * * *", "--user", "parcels")
    assert done.exit_code == 0 and "clock/README.md" in done.output, done.exception
    assert sorted(p.name for p in (tmp_path / "clock").iterdir()) == ["README.md", "crontab", "late-parcels-monitor.service", "late-parcels-monitor.timer"]
    assert "User=parcels\n" in (tmp_path / "clock/late-parcels-monitor.service").read_text() and "OnCalendar=*-*-* 06:00:00" in (tmp_path / "clock/late-parcels-monitor.timer").read_text()
    with pytest.raises(ParameterError, match="schedule"): raise typed("cron", "clock", "--when", "daily").exception
