"""A backup is whole or not there; a restore verifies all before it touches anything, leaves its folder by no path, and takes nothing away from a ledger."""
import hashlib, io, os, signal, subprocess, sys, tarfile
from pathlib import Path
import pytest
from hypothesis import HealthCheck, given, settings as drawn, strategies as st
from model_ops.errors import LedgerError, PackageError
from model_ops.registry import backup as module
from model_ops.registry.backup import Backup, Restored, backup, restore
from model_ops.registry.ledger import Ledger
from test_registry_keep import Shelf

@pytest.fixture(autouse=True)
def _without_mlflow(monkeypatch): monkeypatch.setattr("model_ops.registry.mirror.sync", lambda *words: [])

def save(shelf: Shelf, to: Path) -> Backup: return backup(to, shelf.settings, store=shelf.store)
def bring(shelf: Shelf, file: Path, **more) -> Restored: return restore(file, shelf.settings, store=shelf.store, **more)
def state(shelf: Shelf) -> dict: return {str(p.relative_to(shelf.root)): p.read_bytes() for p in sorted(shelf.root.rglob("*")) if p.is_file()}

@pytest.fixture
def full(tmp_path):
    shelf = Shelf(tmp_path/"old")
    for w in "12": shelf.charge(shelf.put(w))
    return shelf

@pytest.fixture
def empty(tmp_path): return Shelf(tmp_path/"new")

@pytest.fixture
def tar(full, tmp_path):
    save(full, tmp_path/"models.tar")
    return tmp_path/"models.tar"

def test_all_comes_back_as_it_was(full, empty, tar):
    done = bring(empty, tar)
    assert done.outcome == "restored" and done.added == {"versions": 2, "entries": 2} and done.packages == [v.digest for v in full.ledger.versions()]
    assert empty.ledger.entries() == full.ledger.entries() and empty.ledger.versions() == full.ledger.versions() and empty.verify().outcome == "sound"
    for digest in full.store.digests(): assert {p.relative_to(full.settings.store): p.read_bytes() for p in (full.settings.store/digest).rglob("*") if p.is_file()} == {p.relative_to(empty.settings.store): p.read_bytes() for p in (empty.settings.store/digest).rglob("*") if p.is_file()}
    assert bring(empty, tar).outcome == "nothing to do" and not [p for p in empty.settings.store.iterdir() if p.name.startswith(".")]
    assert Restored.from_json(done.to_json()) == done and "2 packages" in done.text() and "backup of" in done.__html__()

def test_a_backup_says_what_it_holds(full, tmp_path):
    made = save(full, tmp_path/"a"/"models.tar")
    with tarfile.open(tmp_path/"a"/"models.tar") as tar:
        names = tar.getnames()
        assert names == ["backup.json", "backup.json.sha256", *made.files] and all(m.isreg() and m.uid == 0 and m.mtime == 0 for m in tar)
        assert Backup.from_json(tar.extractfile("backup.json").read()) == made
    assert (made.versions, made.entries, made.left_out) == (2, 2, {}) and "2 packages and 2 entries" in made.summary
    assert [p.name for p in (tmp_path/"a").iterdir()] == ["models.tar"]

def test_an_empty_workbook_has_an_empty_backup(empty, tmp_path):
    made = save(empty, tmp_path/"m.tar")
    assert made.files == {} and not empty.ledger.file.exists()
    assert bring(empty, tmp_path/"m.tar").outcome == "nothing to do" and not empty.ledger.file.exists()

def test_a_damaged_package_is_left_out_by_name_and_the_rest_is_saved(full, empty, tmp_path):
    first, second = (v.digest for v in full.ledger.versions())
    (full.settings.store/first/"data"/"weights").write_text("torn")
    made = save(full, tmp_path/"m.tar")
    assert list(made.left_out) == [first] and made.packages == [second] and first[:12] in made.text() and "could not be taken" in made.summary
    done = bring(empty, tmp_path/"m.tar")
    assert done.packages == [second] and first[:12] in done.notes[0] and [p.state for p in empty.verify().packages] == ["missing", "sound"]

def test_a_restore_heals_what_is_damaged_and_leaves_the_rest(full, tar):
    first, second = (v.digest for v in full.ledger.versions())
    (full.settings.store/first/"data"/"weights").write_text("torn")
    before = (full.settings.store/second).stat().st_ino
    done = bring(full, tar)
    assert (done.packages, done.there) == ([first], [second]) and full.verify().outcome == "sound" and (full.settings.store/second).stat().st_ino == before

def test_a_ledger_that_holds_more_stays(full, tar):
    full.charge(full.put("3"))
    before = full.ledger.entries(), full.ledger.versions()
    done = bring(full, tar)
    assert (full.ledger.entries(), full.ledger.versions()) == before and "holds 1 more" in done.notes[0] and done.outcome == "nothing to do"

def test_a_ledger_that_holds_less_follows(full, empty, tar, tmp_path):
    bring(empty, tar)
    full.charge(full.put("3"))
    save(full, tmp_path/"later.tar")
    assert bring(empty, tmp_path/"later.tar").added == {"versions": 1, "entries": 1} and empty.ledger.entries() == full.ledger.entries()
    assert Ledger(f"sqlite:///{empty.ledger.file}.bak").entries() == full.ledger.entries()

def test_two_stories_are_not_mixed(full, empty, tar):
    empty.charge(empty.put("9"))
    before = state(empty)
    with pytest.raises(LedgerError, match="different stories"): bring(empty, tar)
    assert state(empty) == before
    assert bring(empty, tar, packages_only=True).packages == [v.digest for v in full.ledger.versions()] and len(empty.ledger.entries()) == 1

def test_a_damaged_ledger_here_is_told_before_anything_is_put_in_place(empty, tar):
    empty.ledger.file.write_bytes(os.urandom(9000))
    with pytest.raises(LedgerError, match="damaged"): bring(empty, tar)
    assert empty.store.digests() == []

def _retold(tar: Path, change) -> None:
    "The same backup with other members: `change` takes and returns a list of (member, content)."
    with tarfile.open(tar) as old: members = [(m, old.extractfile(m).read()) for m in old]
    with tarfile.open(tar, "w") as new:
        for member, content in change(members):
            member.size = len(content) if member.isreg() else 0
            new.addfile(member, io.BytesIO(content) if member.isreg() else None)

def _member(name, kind=tarfile.REGTYPE, link=""):
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found, b"x" if kind == tarfile.REGTYPE else b""

def _sealed(members):
    "The listing may say what it likes: its digest is made to fit."
    return [members[0], (members[1][0], hashlib.sha256(members[0][1]).hexdigest().encode()), *members[2:]]

HEX = "ab"*32
HOSTILE = {
    "upwards": lambda ms: [*ms, _member("../../escaped")], "inside-upwards": lambda ms: [*ms, _member(f"packages/{HEX}/../../../escaped")], "absolute": lambda ms: [*ms, _member("/escaped-from-a-backup")],
    "link": lambda ms: [*ms, _member(f"packages/{HEX}/model", tarfile.SYMTYPE, "/etc/passwd")], "hard-link": lambda ms: [*ms, _member("ledger.db", tarfile.LNKTYPE, "/etc/passwd")],
    "device": lambda ms: [*ms, _member("null", tarfile.CHRTYPE)], "pipe": lambda ms: [*ms, _member("pipe", tarfile.FIFOTYPE)], "folder": lambda ms: [*ms, _member("packages", tarfile.DIRTYPE)],
    "unlisted": lambda ms: [*ms, _member(f"packages/{HEX}/more")], "twice": lambda ms: [*ms, ms[-1]], "missing": lambda ms: ms[:-1], "no-listing": lambda ms: ms[1:], "listing-last": lambda ms: [*ms[1:], ms[0]],
    "changed": lambda ms: [*ms[:-1], (ms[-1][0], b"y"*len(ms[-1][1]))], "longer": lambda ms: [*ms[:-1], (ms[-1][0], ms[-1][1] + b"y")], "ledger": lambda ms: [*ms[:2], (ms[2][0], ms[2][1][:-1] + b"!"), *ms[3:]],
    "listed-upwards": lambda ms: _sealed([(ms[0][0], ms[0][1].replace(b'"ledger.db"', b'"../ledger.db"')), ms[1], _member("../ledger.db"), *ms[3:]]), "listing-odd": lambda ms: _sealed([(ms[0][0], b"{}"), *ms[1:]]),
    "listing-of-another-kind": lambda ms: _sealed([(ms[0][0], ms[0][1].replace(b'"kind": "backup"', b'"kind": "bakeup"')), *ms[1:]]), "listing-changed": lambda ms: [(ms[0][0], ms[0][1].replace(b"flights", b"planets")), *ms[1:]], "no-seal": lambda ms: [ms[0], *ms[2:]],
}

@pytest.mark.parametrize("how", HOSTILE)
def test_a_backup_that_is_not_ours_is_refused_and_nothing_moves(empty, tar, how, tmp_path):
    _retold(tar, HOSTILE[how])
    before = state(empty), sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(PackageError, match="models.tar is no backup that can be used"): bring(empty, tar)
    assert (state(empty), sorted(p.name for p in tmp_path.iterdir())) == before and not Path("/escaped-from-a-backup").exists()

@pytest.mark.parametrize("content", [b"", b"no tar", os.urandom(2000)], ids=["empty", "text", "noise"])
def test_what_is_no_tar_is_refused(empty, tmp_path, content):
    (tmp_path/"models.tar").write_bytes(content)
    with pytest.raises(PackageError): bring(empty, tmp_path/"models.tar")
    with pytest.raises(PackageError, match="There is no file"): bring(empty, tmp_path/"gone.tar")

def test_a_package_under_another_name_is_refused(full, empty, tar):
    first = full.ledger.versions()[0].digest
    def renamed(members):
        listing = members[0][1].replace(first.encode(), HEX.encode()).replace(f'"sha256": "{HEX}"'.encode(), f'"sha256": "{first}"'.encode())  # the stand-in's only file has its digest
        for member, _ in members: member.name = member.name.replace(first, HEX)
        return _sealed([(members[0][0], listing), *members[1:]])
    _retold(tar, renamed)
    with pytest.raises(PackageError, match=f"holds the package {first[:12]}"): bring(empty, tar)
    assert empty.store.digests() == [] and not empty.ledger.file.exists()

@drawn(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10**9), byte=st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_means_nothing(tar, at, byte):
    "Wherever it lies: refused, or in the padding, where the content is as it was."
    whole = bytearray(tar.read_bytes())
    whole[at % len(whole)] ^= byte
    torn = tar.with_name("torn.tar")
    torn.write_bytes(whole)
    told = module._unpack(tar, None)
    try: assert module._unpack(torn, None) == told
    except PackageError: pass

def test_a_backup_that_cannot_be_finished_leaves_the_old_one(full, tar, monkeypatch):
    before = tar.read_bytes()
    real = module._write
    def changed(file, made, content):
        real(file, made, {inside: path if inside == "ledger.db" else full.ledger.file for inside, path in content.items()})
    monkeypatch.setattr(module, "_write", changed)
    with pytest.raises(PackageError, match="was changed"): save(full, tar)
    assert tar.read_bytes() == before and [p.name for p in tar.parent.glob(".models*")] == []

WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from test_registry_keep import Shelf
shelf = Shelf(Path(sys.argv[1]))
for i in range(100, 10_000):
    shelf.charge(shelf.put(str(i)))
    print(i, flush=True)
"""

@pytest.mark.slow
def test_a_backup_while_others_write_is_one_moment(full, empty, tmp_path):
    "A process registers and promotes without end, and is killed: every backup meanwhile is whole, and so is what is left."
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(full.root), str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    for _ in range(3):
        process.stdout.readline()
        made = save(full, tmp_path/"m.tar")
        assert made.left_out == {} and bring(empty, tmp_path/"m.tar").added["entries"] > 0 and empty.verify().outcome == "sound"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert full.verify().outcome == "sound" and save(full, tmp_path/"m.tar").entries == len(full.ledger.entries())
