"""The store: complete or absent, the same for all who put at once, and a flipped byte is found."""
import multiprocessing, os, signal, time
from pathlib import Path
import pytest
from hypothesis import given, settings, strategies as st
from model_ops import files
from model_ops.errors import PackageError
from model_ops.registry.store import Store

class Stand:
    "A package whose digest is that of its file `weights`, which must agree with its file `sum`."
    def __init__(self, folder: Path):
        if not (folder/"weights").exists(): raise PackageError(f"{folder} has no weights.")
        self.digest = files.digest_file(folder/"weights")
        if (folder/"sum").read_text() != self.digest: raise PackageError(f"{folder.name}/weights was changed.")

def package(folder: Path, weights: bytes = b"1") -> Path:
    files.write(folder/"weights", weights)
    files.write(folder/"sum", files.digest_file(folder/"weights"))
    files.write(folder/"deep"/"card.md", "a card")
    return folder

@pytest.fixture
def store(tmp_path): return Store(tmp_path/"store", verify=Stand)

def test_there_and_back(store, tmp_path):
    digest = store.put(package(tmp_path/"package", b"\x00\xff"*1000))
    assert store.put(tmp_path/"package") == digest and store.digests() == [digest]
    copy = store.materialize(digest, tmp_path/"opponent"/"package")
    assert {str(p.relative_to(copy)): p.read_bytes() for p in copy.rglob("*") if p.is_file()} == {str(p.relative_to(tmp_path/"package")): p.read_bytes() for p in (tmp_path/"package").rglob("*") if p.is_file()}
    assert not [p for p in store.folder.iterdir() if p.name.startswith(".")]

@settings(deadline=None, max_examples=8)
@given(st.lists(st.binary(max_size=50), max_size=5))
def test_one_folder_for_each_content(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("store")
    store = Store(folder/"store", verify=Stand)
    digests = [store.put(package(folder/"package", content)) for content in contents]
    assert store.digests() == sorted(set(digests))

def test_a_damaged_package_is_not_stored(store, tmp_path):
    package(tmp_path/"package")
    (tmp_path/"package"/"weights").write_bytes(b"2")
    with pytest.raises(PackageError, match="was changed"): store.put(tmp_path/"package")
    assert store.digests() == []

def test_damage_in_the_store_is_refused_then_healed(store, tmp_path):
    digest = store.put(package(tmp_path/"package"))
    (store.path(digest)/"weights").write_bytes(b"2")
    with pytest.raises(PackageError, match="was changed"): store.get(digest)
    with pytest.raises(PackageError): store.materialize(digest, tmp_path/"opponent")
    assert not (tmp_path/"opponent").exists()
    assert store.put(tmp_path/"package") == digest and store.get(digest)

def test_a_folder_under_the_wrong_name_is_refused(store, tmp_path):
    digest = store.put(package(tmp_path/"package"))
    store.path(digest).rename(store.folder/("0"*64))
    with pytest.raises(PackageError, match="holds the package"): store.get("0"*64)

@pytest.mark.parametrize("digest", ["", "..", "../../etc/passwd", "A"*64, "0"*63])
def test_only_digests_are_names(store, digest):
    with pytest.raises(PackageError, match="is no digest"): store.get(digest)

def test_what_is_missing_says_where_to_get_it(store):
    with pytest.raises(PackageError, match="backup") as caught: store.get("0"*64)
    assert caught.value.digest == "0"*64

def test_a_failed_copy_leaves_the_target_as_it_was(store, tmp_path):
    digest = store.put(package(tmp_path/"package"))
    files.write(tmp_path/"opponent"/"old", "kept")
    (store.path(digest)/"weights").unlink()
    with pytest.raises(PackageError): store.materialize(digest, tmp_path/"opponent")
    assert (tmp_path/"opponent"/"old").read_text() == "kept"

def test_links_are_followed_and_copies_are_writable(store, tmp_path):
    package(tmp_path/"cache")
    (tmp_path/"package"/"deep").mkdir(parents=True)
    for name in ("weights", "sum", "deep/card.md"):
        (tmp_path/"cache"/name).chmod(0o444)
        (tmp_path/"package"/name).symlink_to(tmp_path/"cache"/name)
    place = store.path(store.put(tmp_path/"package"))
    assert not (place/"weights").is_symlink() and os.stat(place/"weights").st_mode & 0o200

def _put(work):
    store, folder = work
    return Store(store, verify=Stand).put(folder)

def test_eight_put_the_same_package_at_once(store, tmp_path):
    source = package(tmp_path/"package", os.urandom(500_000))
    with multiprocessing.get_context("fork").Pool(8) as pool: digests = pool.map(_put, [(store.folder, source)]*8, chunksize=1)
    assert store.digests() == [digests[0]] and len(set(digests)) == 1 and store.get(digests[0])
    assert [p.name for p in store.folder.iterdir()] == [digests[0]]

def _put_slowly(store, folder):
    def slowly(path):
        if path != folder: time.sleep(30)  # the copy is there, and not yet renamed
        return Stand(path)
    Store(store, verify=slowly).put(folder)

def test_a_killed_put_stores_nothing(store, tmp_path):
    source = package(tmp_path/"package")
    child = multiprocessing.get_context("fork").Process(target=_put_slowly, args=(store.folder, source))
    child.start()
    deadline = time.monotonic() + 10
    while not list(store.folder.glob(".*/package/deep/card.md")) and time.monotonic() < deadline: time.sleep(.01)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert store.digests() == []
    assert store.get(store.put(source))
