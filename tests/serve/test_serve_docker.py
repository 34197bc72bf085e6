"""An image's build folder: closed, repeatable, without secrets, and enough to serve."""
import importlib.metadata
import json
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
import venv
import zipfile
from contextlib import suppress
from pathlib import Path
import pytest
from hypothesis import given, settings as tries, strategies as st
from serving_book import parcels, serving_book
from model_ops.errors import DataError, PackageError, PreflightError, SettingsError
from model_ops.package.manifest import read
from model_ops.package.predictor import Predictor
from model_ops.serve import docker
from model_ops.serve.config import Serving
from model_ops.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
PEERS = REPOSITORY / ".venv-peers/bin/python"


@pytest.fixture(scope="module")
def package(tmp_path_factory): return serving_book(tmp_path_factory.mktemp("made"), versions=1).root / "made/1"


@pytest.fixture
def book(tmp_path, monkeypatch):
    "Settings of a workbook; its text may be replaced."
    for name in [n for n in os.environ if n.startswith("MODEL_OPS_")]: monkeypatch.delenv(name)
    def load(text="[serve]\nworkers = 2\n"):
        (tmp_path / "settings.ini").write_text(f"[workbook]\nname = parcels\nnoun = parcels\n[registry]\nmodel = Late Parcels\n{text}")
        return Settings.load(tmp_path)
    return load


def made(settings, package): return docker.files(settings, docker.told(settings), package)


def test_the_same_is_the_same_and_another_is_another(book, package):
    first, again, other = made(book(), package), made(book(), package), made(book("[serve]\nworkers = 3\n"), package)
    assert first == again and docker.image(book(), first) == docker.image(book(), again) != docker.image(book(), other)
    assert re.fullmatch(r"late-parcels:[0-9a-f]{12}-[0-9a-f]{8}", docker.image(book(), first)) and docker.image(book(), first) in first["Dockerfile"]


def test_all_that_the_extra_names_is_installed():
    extra = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]["serve"]
    assert {re.match(r"[\w-]+", r)[0] for r in extra} - {"httpx"} <= set(docker.NEEDS)  # httpx is the client's


def test_versions_are_those_of_here_and_nothing_is_left_to_solve():
    closure = docker.pinned()
    assert all(importlib.metadata.version(name) == version for name, version in closure.items())
    assert not {"mlflow", "mlflow-skinny", "pandas", "scikit-learn", "papermill", "dvc", "jupyterlab", "skops", "matplotlib"} & set(closure)
    with pytest.raises(PreflightError, match="not-there"): docker.pinned(["not-there"])


def test_a_model_of_scikit_learn_takes_it_along(package):
    manifest = read(package)[0]
    closure = docker.pinned(docker.needs(manifest.model_copy(update={"format": "skops"})))
    assert {"scikit-learn", "skops", "scipy", "joblib"} <= set(closure) and not {"mlflow-skinny", "pandas", "dvc"} & set(closure)
    assert docker.needs(manifest.model_copy(update={"loss": "skops"})) == (*docker.needs(manifest), "scikit-learn", "skops")


@pytest.mark.parametrize("text, has", [("[log]\ndurability = async\nflush_ms = 20\n", ["durability = async", "flush_ms = 20"]), ("[serve]\nmax_rows = 99\nlive = no\n", ["max_rows = 99", "live = no"]), ("[serve]\nport = 9000\ngrpc_port = 0\n", ["port = 9000", "grpc_port = 0"])],
                         ids=["log", "limits", "ports"])
def test_the_image_is_told_what_the_workbook_says(book, package, tmp_path, monkeypatch, text, has):
    folder = docker.write(made(book(text), package), tmp_path / "image")
    assert set(has) <= set((folder / "settings.ini").read_text().splitlines())
    monkeypatch.setenv("MODEL_OPS_TOKEN", "a" * 64)
    inside, outside = Serving.of(Settings.load(folder)), docker.told(book(text))
    fixed = {"host", "open", "package", "token", "folder"}
    assert inside.model_dump(exclude=fixed) == outside.model_dump(exclude=fixed) and inside.host == "0.0.0.0" and Path(inside.package) == folder / "model" and str(inside.folder) == docker.STATE


def test_without_a_token_it_does_not_start(book, package, tmp_path, monkeypatch):
    folder = docker.write(made(book(), package), tmp_path / "image")
    monkeypatch.delenv("MODEL_OPS_TOKEN", raising=False)
    with pytest.raises(SettingsError, match="MODEL_OPS_TOKEN"): Serving.of(Settings.load(folder))


def test_no_secret_and_no_path_of_this_machine(book, package, monkeypatch, tmp_path):
    text = "[serve]\ntoken = env:SECRET_OF_HERE\ncert = here.pem\nkey = here.key\n"
    without = made(book(text), package)
    monkeypatch.setenv("SECRET_OF_HERE", "swordfish")
    monkeypatch.setenv("MODEL_OPS_SERVE_TOKEN", "swordfish")
    everything = b"".join(c if isinstance(c, bytes) else c.encode() for p, c in made(book(text), package).items() if not p.startswith("wheels/"))
    assert b"swordfish" not in everything and b"SECRET_OF_HERE" not in everything and str(tmp_path).encode() not in everything and b"here.pem" not in everything
    assert made(book(text), package) == without


def test_what_cannot_be_an_image(book, package, tmp_path):
    with pytest.raises(SettingsError, match="pyfunc"): made(book("[serve]\npyfunc = models:/x/1\n"), package)
    docker.disk.replace_folder(tmp_path / "bad", lambda new: [(new / p.name).write_bytes(p.read_bytes()) for p in package.iterdir()])
    (tmp_path / "bad/model.onnx").write_bytes(b"x")
    with pytest.raises(PackageError, match="model.onnx"): made(book(), tmp_path / "bad")


def test_the_dockerfile_keeps_the_rules(book, package):
    lines = re.sub(r"\\\n", "", made(book(), package)["Dockerfile"]).splitlines()
    said = [(line.split()[0], line.split(None, 1)[1]) for line in lines if line and not line.startswith("#")]
    values = lambda word: [rest for name, rest in said if name == word]
    assert values("FROM") == ["${BASE} AS build", "${BASE}"] and not re.search(r"latest|ADD |curl|sudo|--privileged", "\n".join(lines))
    base, (user,), (entry,) = values("ARG")[0], values("USER"), values("ENTRYPOINT")
    assert re.fullmatch(r"BASE=python:3\.\d+-slim-\w+", base) and re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user) and json.loads(entry) == ["model-ops", "serve"]
    names = [name for name, _ in said]
    assert names.index("USER") < names.index("ENTRYPOINT") and not {"COPY", "RUN", "ADD"} & set(names[names.index("USER"):])
    assert all("--no-deps" in rest and "--no-cache-dir" in rest for _, rest in said if "pip install" in rest) and len(values("HEALTHCHECK")) == len(values("VOLUME")) == len(values("STOPSIGNAL")) == 1
    json.loads(values("HEALTHCHECK")[0].partition("CMD ")[2])


PARSE = """
import sys
from dockerfile_parse import DockerfileParser
import io
parser = DockerfileParser(fileobj=io.BytesIO(sys.stdin.buffer.read()), build_args={"BASE": "registry.example/python:3"})
assert parser.is_multistage and parser.parent_images == ["registry.example/python:3"] * 2, parser.parent_images
print(*(part["instruction"] for part in parser.structure))
"""


@pytest.mark.skipif(not PEERS.exists(), reason="no .venv-peers: run scripts/peers")
def test_a_parser_of_dockerfiles_reads_it(book, package):
    done = subprocess.run([PEERS, "-c", PARSE], input=made(book(), package)["Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split()[-1] == "ENTRYPOINT", done.stderr


def test_the_context_lets_in_what_is_copied_and_nothing_else(book, package):
    files = made(book(), package)
    let_in = {line[1:] for line in files[".dockerignore"].splitlines() if line.startswith("!")}
    copied = {word.removeprefix("./") for line in files["Dockerfile"].splitlines() if line.startswith("COPY") and "--from" not in line for word in line.split()[1:-1]}
    assert files[".dockerignore"].startswith("*\n") and copied == let_in == {path.split("/")[0] for path in files} - {"Dockerfile", ".dockerignore", "README.md"}


INSIDE = """
import importlib, json, pkgutil, sys
import model_ops.cli.main, model_ops.serve, model_ops.predictions
for room in (model_ops.serve, model_ops.predictions):
    for part in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
        if part.name != "model_ops.serve.client": importlib.import_module(part.name)
import deltalake, onnxruntime
from model_ops.package.predictor import Predictor
said = Predictor.open("model").predict(json.loads(sys.argv[1]))
odd = {"mlflow", "pandas", "sklearn", "skops", "papermill", "dvc"} & set(sys.modules)
assert not odd, odd
assert all(sys.modules[name].__file__.startswith(sys.prefix) for name in ("model_ops", "numpy"))
print(json.dumps(said.score.tolist()))
"""


def _installed(folder, environment):
    "An environment that has what `requirements.txt` names, linked from here, and our wheel."
    venv.create(environment, symlinks=True)
    site = environment / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
    for name in (line.partition("==")[0] for line in (folder / "requirements.txt").read_text().split()):
        for file in importlib.metadata.distribution(name).files:
            if ".." in file.parts or "__pycache__" in file.parts: continue
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            os.link(file.locate(), site / file) if os.stat(file.locate()).st_dev == os.stat(site).st_dev else (site / file).symlink_to(file.locate())
    with zipfile.ZipFile(next((folder / "wheels").iterdir())) as archive: archive.extractall(site)
    return environment / "bin/python"


@pytest.mark.slow
def test_what_is_installed_is_enough(book, package, tmp_path):
    "A Python that sees only what the image installs imports all of the server, and predicts."
    folder, rows = docker.write(made(book(), package), tmp_path / "image"), parcels(50).drop("late").write_json()
    done = subprocess.run([_installed(folder, tmp_path / "environment"), "-I", "-c", INSIDE, rows], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == Predictor.open(package).predict(json.loads(rows)).score.tolist()


@pytest.mark.slow
def test_the_server_runs_on_what_is_installed(book, package, tmp_path):
    "Whatever it imports later than at its start is there too: it answers, logs, settles, counts, and stops."
    folder, log, ports, rows = docker.write(made(book(), package), tmp_path / "image"), tmp_path / "log", [], json.loads(parcels(50).drop("late").write_json())
    for one in (socket.socket(), socket.socket()):
        with one:
            one.bind(("127.0.0.1", 0))
            ports.append(one.getsockname()[1])
    python, url, token = _installed(folder, tmp_path / "environment"), f"http://127.0.0.1:{ports[0]}", "a" * 64
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "MODEL_OPS_ROOT": str(folder), "MODEL_OPS_TOKEN": token, "MODEL_OPS_SERVE_HOST": "127.0.0.1", "MODEL_OPS_SERVE_PORT": str(ports[0]),
           "MODEL_OPS_SERVE_GRPC_PORT": str(ports[1]), "MODEL_OPS_SERVE_WORKERS": "1", "MODEL_OPS_LOG_FOLDER": str(log), "MODEL_OPS_LOG_SETTLE_S": "1"}
    with open(tmp_path / "said", "w") as said: server = subprocess.Popen([python, "-c", "from model_ops.cli.main import main; main(['serve'])"], env=env, cwd=folder, stdout=said, stderr=said)
    def ask(path, body=None, bearer=token):
        request = urllib.request.Request(url + path, data=body and json.dumps(body).encode(), headers={"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer: return answer.read()
    try:
        until = time.monotonic() + 60
        while True:
            with suppress(OSError):
                ask("/v2/health/ready")
                break
            assert server.poll() is None and time.monotonic() < until, (tmp_path / "said").read_text()
            time.sleep(0.05)
        answer = json.loads(ask("/invocations", {"dataframe_records": rows}))
        assert [p["score"] for p in answer["predictions"]] == Predictor.open(package).predict(rows).score.tolist() and b"model_ops_requests_total" in ask("/metrics")
        with pytest.raises(urllib.error.HTTPError, match="401"): ask("/invocations", {"dataframe_records": rows}, bearer="b" * 64)
        while not list(log.rglob("*.parquet")):
            assert server.poll() is None and time.monotonic() < until, (tmp_path / "said").read_text()
            time.sleep(0.1)
    finally:
        server.terminate()
        assert server.wait(60) == 0, (tmp_path / "said").read_text()


def test_the_wheel_says_what_is_in_it():
    import base64, hashlib, io
    name, packed = docker.wheel()
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        record = [line.split(",") for line in archive.read(next(n for n in archive.namelist() if n.endswith("RECORD"))).decode().splitlines()]
        assert {n for n, *_ in record} == set(archive.namelist()) and not any("__pycache__" in n for n in archive.namelist())
        for path, digest, size in record[:-1]:
            data = archive.read(path)
            assert int(size) == len(data) and digest == "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def test_a_folder_with_something_else_stays(book, package, tmp_path):
    files, folder = made(book(), package), tmp_path / "image"
    docker.write(files, folder)
    (folder / "model/left-over").write_text("x")
    docker.write(files, folder)
    assert not (folder / "model/left-over").exists()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="notes.txt"): docker.write(files, folder)
    with pytest.raises(DataError, match="is a file"): docker.write(files, folder / "notes.txt")
    assert (folder / "notes.txt").read_text() == "mine"


@tries(deadline=None, max_examples=100)
@given(st.text(max_size=80))
def test_any_name_becomes_one_that_is_allowed(text):
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", docker.label(text))


@pytest.mark.parametrize("durability, says", [("sync", "power cut lose nothing"), ("async", "last 50 ms"), ("off", "Nothing is logged")])
def test_each_durability_says_what_it_costs(book, package, durability, says):
    files = made(book(f"[log]\ndurability = {durability}\n"), package)
    assert says in files["README.md"] and ("503" in files["README.md"]) == (durability != "off")
