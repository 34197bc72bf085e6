"""A package is what its manifest says, or it is refused with the file's name."""
import hashlib
import io
import json
import shutil
import zipfile
import pytest
from model_ops.errors import DataError, PackageError
from model_ops.package.manifest import FILES, Manifest, read, verify

PRESENT = [f for f in FILES if f not in ("profile.json", "scores.json", "loss.onnx", "loss.skops")]


def edited(package, change):
    "Change the manifest as a careful forger would: sizes, sums and the stated digest are made to fit."
    path = package / "manifest.json"
    body = json.loads(path.read_text())
    change(body)
    for name, about in body["files"].items():
        if (package / name).is_file(): about.update(sha256=hashlib.sha256((package / name).read_bytes()).hexdigest(), size=(package / name).stat().st_size)
    path.write_text(json.dumps(body))
    path.write_text(Manifest.from_json(path.read_text()).to_json())


def test_an_untouched_package_is_whole(package):
    manifest, contents = read(package)
    assert set(contents) == set(PRESENT) and len(manifest.digest) == 64 and manifest.format == "onnx"


@pytest.mark.parametrize("name", PRESENT)
def test_a_flipped_bit_is_found(package, name):
    content = bytearray((package / name).read_bytes())
    content[len(content) // 2] ^= 1
    (package / name).write_bytes(content)
    with pytest.raises(PackageError, match=name) as e: verify(package)
    assert e.value.file == name


@pytest.mark.parametrize("name", [*PRESENT, "manifest.json"])
def test_a_missing_file_is_found(package, name):
    (package / name).unlink()
    with pytest.raises(PackageError, match=name) as e: verify(package)
    assert e.value.file == name


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "sub/model.pkl"])
def test_a_file_too_many_is_found(package, name):
    (package / name).parent.mkdir(exist_ok=True)
    (package / name).write_text("x")
    with pytest.raises(PackageError, match=name.split("/")[0]): verify(package)


@pytest.mark.parametrize("change, named", [
    (lambda m: m.update(threshold=0.9, digest="0" * 64), "manifest.json"), (lambda m: m.update(kind="verdict"), "manifest.json"),
    (lambda m: m.update(version=99), "manifest.json"), (lambda m: m.pop("inputs"), "manifest.json")])
def test_a_manifest_that_does_not_fit_is_refused(package, change, named):
    body = json.loads((package / "manifest.json").read_text())
    change(body)
    (package / "manifest.json").write_text(json.dumps(body))
    with pytest.raises(PackageError) as e: verify(package)
    assert e.value.file == named


def test_a_changed_threshold_is_found_by_the_stated_digest(package):
    text = (package / "manifest.json").read_text()
    (package / "manifest.json").write_text(text.replace('"threshold": 0.4', '"threshold": 0.2'))
    with pytest.raises(PackageError, match="digest that is not its own"): verify(package)


def test_another_contract_is_found_though_its_sum_fits(package):
    contract = json.loads((package / "contract.json").read_text())
    contract["columns"]["kilos"]["high"] = 10**6
    (package / "contract.json").write_text(json.dumps(contract))
    edited(package, lambda m: None)
    with pytest.raises(PackageError, match="contract.json is not the contract"): verify(package)


def test_a_foreign_type_is_found_though_its_sum_fits(package):
    good = zipfile.ZipFile(io.BytesIO((package / "model.skops").read_bytes()))
    with zipfile.ZipFile(package / "model.skops", "w") as forged:
        for name in good.namelist(): forged.writestr(name, good.read(name).replace(b'"__class__":"_BinMapper"', b'"__class__":"BinMapper"'))
    edited(package, lambda m: None)
    with pytest.raises(PackageError, match="binning.BinMapper") as e: verify(package)
    assert e.value.types == ["sklearn.ensemble._hist_gradient_boosting.binning.BinMapper"]


@pytest.mark.parametrize("path", ["../outside.json", "/etc/hostname", "other.bin"])
def test_a_manifest_cannot_name_other_files(package, path):
    (package.parent / "outside.json").write_text("{}")
    edited(package, lambda m: m["files"].update({path: {"sha256": "0" * 64, "size": 1}}))
    with pytest.raises(PackageError, match="names the file"): verify(package)


def test_the_identity_is_the_model_and_what_decides_with_it(package, tmp_path, boosted, write):
    digest = verify(package).digest
    assert write(tmp_path / "b", boosted, metrics={"roc_auc": 0.5}, params={}, windows={}).digest == digest
    assert write(tmp_path / "b", boosted, threshold=0.41).digest != digest
    assert write(tmp_path / "b", boosted, contract=boosted.contract.model_copy(update={"severities": {**boosted.contract.severities, "range": "enforce"}})).digest != digest
    assert write(tmp_path / "b", boosted, profile=boosted.contract).digest != digest


def test_without_onnx_the_identity_is_how_the_model_came_to_be(tmp_path, native, write):
    first = write(tmp_path / "a", native)
    assert first.format == "skops" and first.model.startswith("recipe:")
    assert write(tmp_path / "b", native, metrics={"roc_auc": 0.5}).digest == first.digest
    assert write(tmp_path / "b", native, params={"max_iter": 21}).digest != first.digest
    assert write(tmp_path / "b", native, windows={"train": {"rows": 1000, "digest": "ab"}}).digest != first.digest


def test_scores_and_importance_come_along_and_are_no_part_of_the_identity(package, tmp_path, boosted, write):
    scores = boosted.contract.model_copy(update={"summary": "stands for condensed scores"})
    manifest = write(tmp_path / "b", boosted, scores=scores, importance={"kilos": 0.123456789, "depot": 0.2})
    assert manifest.digest == verify(package).digest and manifest.importance == {"kilos": 0.123457, "depot": 0.2}
    assert read(tmp_path / "b")[1]["scores.json"] == scores.to_json().encode()
    (tmp_path / "b" / "scores.json").write_text(boosted.contract.to_json())
    edited(tmp_path / "b", lambda m: None)
    with pytest.raises(PackageError, match="scores.json is not the scores"): verify(tmp_path / "b")
    with pytest.raises(DataError, match="'tare'"): write(tmp_path / "c", boosted, importance={"tare": 0.1})
    assert not (tmp_path / "c").exists()


def test_a_copy_of_a_package_is_the_package(package, tmp_path):
    shutil.copytree(package, tmp_path / "copy")
    assert verify(tmp_path / "copy") == verify(package)
