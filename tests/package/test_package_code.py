"""One's own code: recorded as source, run only where it is trusted, never confused with today's."""
import hashlib
import importlib
import io
import json
import subprocess
import sys
import zipfile
import numpy as np
import pytest
from model_ops.errors import PackageError
from model_ops.package import code as codes, trusted
from model_ops.package.manifest import Manifest, read, verify
from model_ops.package.predictor import Predictor, fitted_model


@pytest.fixture
def book(tmp_path, monkeypatch):
    "A package of one's own with two modules; returns its name, importable, and a function that rewrites it."
    name = f"book_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:8]}"
    folder = tmp_path / "src" / name
    folder.mkdir(parents=True)
    def write(factor=2):
        (folder / "__init__.py").write_text('__version__ = "1"\n')
        (folder / "geo.py").write_text("import math\nHALF = 0.5\ndef miles(X): return X * HALF\n")
        (folder / "features.py").write_text(f"from os import system\nimport numpy as np\nfrom {name}.geo import miles\nfrom . import geo\n\ndef scaled(X):\n    import {name}.geo\n    return np.nan_to_num({name}.geo.miles(X)) * {factor}\n")
        importlib.invalidate_caches()
    write()
    monkeypatch.syspath_prepend(str(tmp_path / "src"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield name, write
    for module in [m for m in sys.modules if m.partition(".")[0] == name]: del sys.modules[module]


def forget(name):
    for module in [m for m in sys.modules if m.partition(".")[0] == name]: del sys.modules[module]


@pytest.fixture
def own(book, make_case):
    "A case whose model holds a function of the package."
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer
    scaled = importlib.import_module(f"{book[0]}.features").scaled
    return make_case(make_pipeline(FunctionTransformer(scaled), LogisticRegression()))


def edited(package, change):
    "Change the manifest as a careful forger would."
    path = package / "manifest.json"
    body = json.loads(path.read_text())
    change(body)
    for name, about in body["files"].items():
        if (package / name).is_file(): about.update(sha256=hashlib.sha256((package / name).read_bytes()).hexdigest(), size=(package / name).stat().st_size)
    path.write_text(json.dumps(body))
    path.write_text(Manifest.from_json(path.read_text()).to_json())


def test_the_source_goes_along_with_what_it_imports(tmp_path, book, own, write):
    name, _ = book
    manifest = write(tmp_path / "p", own, trusted=[name])
    assert list(manifest.code) == [f"code/{name}/{file}.py" for file in ("__init__", "features", "geo")] and manifest.format == "skops" and manifest.needs == ["numpy"]
    assert verify(tmp_path / "p") == manifest and " at 0x" not in manifest.origin.estimator and "scaled" in manifest.origin.estimator
    assert (write(tmp_path / "q", own, trusted=[name])) == manifest
    answer = Predictor.open(tmp_path / "p", trusted=[name]).predict(own.frame)
    assert np.array_equal(answer.score, own.model.predict_proba(own.X)[:, 1])


def test_it_runs_as_it_was_recorded_beside_another_version(tmp_path, book, own, write):
    from sklearn.base import clone
    name, rewrite = book
    first = write(tmp_path / "one", own, trusted=[name])
    wanted = own.model.predict_proba(own.X)
    rewrite(factor=-3)
    forget(name)
    second_model = fitted_model(tmp_path / "one", trusted=[name])
    newer = clone(own.model).set_params(functiontransformer__func=importlib.import_module(f"{name}.features").scaled).fit(own.X[:1000], own.y[:1000])
    second = write(tmp_path / "two", own, model=newer, trusted=[name])
    assert first.digest != second.digest
    champion, challenger = (Predictor.open(tmp_path / which, trusted=[name]) for which in ("one", "two"))
    assert np.array_equal(champion.predict_encoded(own.X).probabilities, wanted) and np.array_equal(challenger.predict_encoded(own.X).probabilities, newer.predict_proba(own.X))
    assert write(tmp_path / "again", own, model=second_model, trusted=[name]).digest == first.digest  # what was recorded is recorded again, not what the file says today
    with pytest.raises(PackageError, match="two versions"):
        from sklearn.pipeline import make_pipeline
        write(tmp_path / "both", own, model=make_pipeline(second_model[0], newer[0], newer[1]), trusted=[name])


def test_nothing_of_it_runs_without_trust(tmp_path, book, own, write, monkeypatch):
    name, _ = book
    manifest = write(tmp_path / "p", own, trusted=[name])
    assert verify(tmp_path / "p") == manifest  # looking is free
    monkeypatch.chdir(tmp_path)
    for told in (None, (), ["other"]):
        with pytest.raises(PackageError, match=f"code of its own: {name}") as e: Predictor.open(tmp_path / "p", trusted=told)
        assert e.value.modules == [name, f"{name}.features", f"{name}.geo"]
    (tmp_path / "settings.ini").write_text(f"[workbook]\n[package]\ntrusted = {name}\n")
    assert len(Predictor.open(tmp_path / "p").predict(own.frame)) == 1500
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert Predictor.open(tmp_path / "p")
    monkeypatch.chdir("/")  # a settings.ini around the package itself is not asked
    with pytest.raises(PackageError, match="Trusted here: nobody"): Predictor.open(tmp_path / "p")
    monkeypatch.setenv("MODEL_OPS_PACKAGE_TRUSTED", name)
    assert Predictor.open(tmp_path / "p")


def test_without_trust_it_is_not_written_either(tmp_path, book, own, write, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PackageError, match=rf"{book[0]}\.features\.scaled.*trusted = NAME"): write(tmp_path / "p", own)
    (tmp_path / "settings.ini").write_text(f"[workbook]\n[package]\ntrusted = {book[0]}\n")
    assert write(tmp_path / "p", own).code


@pytest.mark.slow
def test_a_server_needs_the_package_only(tmp_path, book, own, write):
    name, _ = book
    write(tmp_path / "p", own, trusted=[name])
    script = f"from model_ops.package.pyfunc import _load_pyfunc\nimport pandas as pd\nprint(len(_load_pyfunc({str(tmp_path / 'p')!r}).predict(pd.read_csv({str(tmp_path / 'rows.csv')!r}))))"
    own.frame.head(7).select(own.contract.features).write_csv(tmp_path / "rows.csv")
    run = subprocess.run([sys.executable, "-c", script], env={"MODEL_OPS_PACKAGE_TRUSTED": name, "PATH": ""}, cwd=tmp_path, capture_output=True, text=True)
    assert run.stdout.strip() == "7", run.stderr


def test_a_flipped_byte_in_the_code_is_found(tmp_path, book, own, write):
    name, _ = book
    digest = write(tmp_path / "p", own, trusted=[name]).digest
    file = tmp_path / "p" / "code" / name / "geo.py"
    file.write_text(file.read_text().replace("0.5", "0.6"))
    with pytest.raises(PackageError, match="geo.py was changed"): verify(tmp_path / "p")
    edited(tmp_path / "p", lambda m: None)
    assert verify(tmp_path / "p").digest != digest  # a forger's package is another package
    file.unlink()
    with pytest.raises(PackageError, match="geo.py is missing"): verify(tmp_path / "p")


@pytest.mark.parametrize("path", ["code/../../outside.py", "code//outside.py", "code/sub/../outside.py", "code/a.b.py", "code/outside.pyc", "/code/x.py", "code/outside.py\n", "code/ü.py"])
def test_the_code_stays_in_its_folder(package, path):
    (package.parent / "outside.py").write_text("x = 1\n")
    (package / "code").mkdir()
    edited(package, lambda m: m["files"].update({path: {"sha256": "0" * 64, "size": 1}}))
    with pytest.raises(PackageError, match="names the file"): verify(package)


def renamed(data, old, new):
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as good, zipfile.ZipFile(out, "w") as bad:
        for name in good.namelist(): bad.writestr(name, good.read(name).replace(old.encode(), new.encode()))
    return out.getvalue()


@pytest.mark.parametrize("old, new, named", [
    ('"__class__":"scaled"', '"__class__":"system"', "features.system"),           # imported there, not defined
    ('"__class__":"scaled"', '"__class__":"vanished"', "features.vanished"),
    ('.features"', '.other"', "other.scaled"),                                     # a module that was not recorded
    ('"__loader__":"FunctionNode"', '"__loader__":"ListNode"', "ListNode"),        # a way to rebuild that would call it
])
def test_a_model_names_only_what_its_code_defines(tmp_path, book, own, write, old, new, named):
    name, _ = book
    write(tmp_path / "p", own, trusted=[name])
    file = tmp_path / "p" / "model.skops"
    file.write_bytes(renamed(file.read_bytes(), old, new))
    edited(tmp_path / "p", lambda m: None)
    with pytest.raises(PackageError, match=named): verify(tmp_path / "p")
    with pytest.raises(PackageError, match=named): trusted.load(file.read_bytes(), codes_of(tmp_path / "p"))


def codes_of(folder): return {file: content for file, content in read_raw(folder).items() if file.startswith("code/")}
def read_raw(folder): return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_recorded_module_shadows_nothing(tmp_path, book, own, write):
    "A package that brings a module called numpy changes nobody's numpy."
    alias = codes.install({"code/numpy/__init__.py": b"raise SystemExit('hostile')\n"})
    assert importlib.import_module("numpy") is np and alias.startswith(codes.PREFIX)
    with pytest.raises(PackageError, match="code of its own: numpy"): codes.check_trust({"code/numpy/__init__.py": b""}, trusted=["book"])


def test_what_was_edited_after_its_import_is_found_out(tmp_path, book, own, write):
    name, rewrite = book
    rewrite(factor=9)
    with pytest.raises(PackageError, match="edited after it was imported"): write(tmp_path / "p", own, trusted=[name])
    assert not (tmp_path / "p").exists()


def test_an_import_that_would_be_missing_later_is_found_out(tmp_path, book, own, write):
    name, _ = book
    stray = tmp_path / "src" / f"stray_{name}.py"
    stray.write_text("x = 1\n")
    with (tmp_path / "src" / name / "geo.py").open("a") as f: f.write(f"import stray_{name}\n")
    with pytest.raises(PackageError, match=rf"imports 'stray_{name}'.*trusted = "): write(tmp_path / "p", own, trusted=[name])
    assert list(write(tmp_path / "p", own, trusted=[name, f"stray_{name}"]).code)[-1] == f"code/stray_{name}.py"


@pytest.mark.slow
def test_an_estimator_of_ones_own(tmp_path, book, make_case, write):
    name, _ = book
    (tmp_path / "src" / name / "models.py").write_text(
        "from sklearn.ensemble import HistGradientBoostingClassifier\n"
        "class Careful(HistGradientBoostingClassifier):\n    def predict_proba(self, X): return 0.9*super().predict_proba(X) + 0.05\n")
    importlib.invalidate_caches()
    case = make_case(importlib.import_module(f"{name}.models").Careful(max_iter=5, random_state=0))
    manifest = write(tmp_path / "p", case, trusted=[name])
    assert Predictor.open(tmp_path / "p", trusted=[name]).predict(case.frame).score.max() <= 0.95 and f"code/{name}/models.py" in manifest.code
    assert read(tmp_path / "p")[0] == manifest


def test_with_onnx_the_code_is_not_needed_to_serve(tmp_path, book, own, write):
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from model_ops.package.convert import convert
    name, _ = book
    onnx = convert(make_pipeline(SimpleImputer(), LogisticRegression()).fit(own.X[:1000], own.y[:1000]), own.X).onnx
    manifest = write(tmp_path / "p", own, onnx=onnx, trusted=[name])
    assert manifest.format == "onnx" and manifest.parity.most == 1 and len(Predictor.open(tmp_path / "p", trusted=()).predict(own.frame)) == 1500
    with pytest.raises(PackageError, match="code of its own"): fitted_model(tmp_path / "p", trusted=())


def test_packages_of_before_have_no_code_and_keep_their_name(package, boosted, write, tmp_path):
    body = json.loads((package / "manifest.json").read_text())
    assert body.pop("needs") == []
    (package / "manifest.json").write_text(json.dumps(body))
    assert verify(package).digest == body["digest"] and Predictor.open(package) and verify(package).code == {}
