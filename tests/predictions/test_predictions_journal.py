"""The journal: everything acknowledged is there, once and in order, whatever the disk does"""
import errno, os, shutil, subprocess, sys, threading, time
from contextlib import contextmanager
from queue import SimpleQueue

import pytest
from hypothesis import given, settings, strategies as st

from model_ops.errors import ModelOpsError, SettingsError
from model_ops.predictions.disk import Disk
from model_ops.predictions.journal import FRAME, HEADER, MARK, Journal, JournalError, _framed, describe, read, sealed, segments


def asks(journal, *records):
    "What the journal says of the records."
    told = SimpleQueue()
    journal.append(list(records), told.put)
    return told.get(timeout=30)


def records(folder): return [record for segment in segments(folder) for _, record in read(segment)]


class Sick(Disk):
    "A disk on which named operations fail while they are ill; it remembers what it was asked."
    def __init__(self, **ill): self.ill, self.asked = ill, []
    def _do(self, name, *told):
        self.asked.append((name, *told))
        if name in self.ill:
            if name == "write": super().write(told[0], told[1][:len(told[1])//2])
            raise OSError(self.ill[name], os.strerror(self.ill[name]))
        return getattr(super(), name)(*told)
    def create(self, path): return self._do("create", path)
    def write(self, handle, data): return self._do("write", handle, data)
    def sync(self, handle): return self._do("sync", handle)
    def cut(self, handle, size): return self._do("cut", handle, size)
    def rename(self, old, new): return self._do("rename", old, new)
    def sync_folder(self, folder): return self._do("sync_folder", folder)


class Held(Disk):
    "A disk whose sync waits until it may go on."
    def __init__(self): self.may, self.waits = threading.Event(), threading.Event()
    def sync(self, handle):
        if os.fstat(handle).st_size > len(HEADER):
            self.waits.set()
            self.may.wait(30)
        super().sync(handle)


# appending

def test_many_threads_each_in_its_own_order(tmp_path):
    journal, errors = Journal(tmp_path, "w0", segment_bytes=3000), SimpleQueue()
    def client(c):
        for k in range(50): errors.put(asks(journal, b"%d %d" % (c, k), b"%d %d b" % (c, k)))
    threads = [threading.Thread(target=client, args=(c,)) for c in range(8)]
    for t in threads: t.start()
    for t in threads: t.join()
    journal.close()
    assert {errors.get() for _ in range(400)} == {None}
    found = records(tmp_path)
    assert len(found) == 800 and len(segments(tmp_path)) > 2
    for c in range(8): assert [r for r in found if r.startswith(b"%d " % c)] == [r for k in range(50) for r in (b"%d %d" % (c, k), b"%d %d b" % (c, k))]


def test_segments_stay_below_their_size_unless_one_commit_is_larger(tmp_path):
    journal = Journal(tmp_path, "w0", segment_bytes=200)
    asked = [b"x"*n for n in (50, 60, 70, 500, 10, 20, 180, 5)]
    for record in asked: assert asks(journal, record) is None
    journal.close()
    assert records(tmp_path) == asked
    assert [s.stat().st_size for s in segments(tmp_path)] == [len(HEADER) + sum(FRAME.size + n for n in ns) for ns in ((50, 60), (70,), (500,), (10, 20), (180,), (5,))]


def test_a_reader_goes_on_where_it_was(tmp_path):
    journal = Journal(tmp_path, "w0")
    asks(journal, b"1", b"2")
    segment, = segments(tmp_path)
    (_, _), (offset, _) = read(segment)
    assert list(read(segment, offset)) == [] and not sealed(segment)
    asks(journal, b"3")
    assert [r for _, r in read(segment, offset)] == [b"3"]
    journal.close()
    assert sealed(segment)


def test_workers_and_starts_have_segments_of_their_own(tmp_path):
    for worker in ("w0", "w1", "w0"):
        journal = Journal(tmp_path, worker)
        asks(journal, worker.encode())
        journal.close()
    assert records(tmp_path) == [b"w0", b"w1", b"w0"] and len(segments(tmp_path)) == 3


def test_an_empty_list_asks_whether_the_journal_can_be_written(tmp_path):
    disk = Sick()
    journal = Journal(tmp_path, "w0", disk=disk)
    assert asks(journal) is None and [name for name, *_ in disk.asked][-1] == "sync"
    disk.ill = {"sync": errno.EIO}
    assert isinstance(asks(journal), JournalError)
    journal.close()
    assert segments(tmp_path) == [], "a segment without a record is not kept"


def test_what_waits_at_the_end_is_written(tmp_path):
    disk, told = Held(), SimpleQueue()
    journal = Journal(tmp_path, "w0", disk=disk)
    for k in range(100): journal.append([b"%d" % k], told.put)
    disk.may.set()
    journal.close()
    journal.close()
    assert [told.get_nowait() for _ in range(100)] == [None]*100 and records(tmp_path) == [b"%d" % k for k in range(100)]
    assert isinstance(asks(journal, b"late"), JournalError)


def test_the_lag_is_seen_while_the_disk_hangs(tmp_path):
    disk, told = Held(), SimpleQueue()
    journal = Journal(tmp_path, "w0", disk=disk)
    assert journal.lag == 0
    journal.append([b"1"], told.put)
    assert disk.waits.wait(30) and journal.lag > 0
    disk.may.set()
    assert told.get(timeout=30) is None and journal.lag == 0 and journal.sync_seconds > 0
    journal.close()


def test_somebody_who_cannot_be_told_stops_nobody_else(tmp_path, caplog):
    journal = Journal(tmp_path, "w0")
    journal.append([b"1"], lambda error: 1/0)
    assert asks(journal, b"2") is None
    journal.close()
    assert records(tmp_path) == [b"1", b"2"] and "cannot be told" in caplog.text


@pytest.mark.parametrize("told", [{"durability": "fast"}, {"on_full": "wait"}, {"worker": "a-b"}, {"worker": "../w"}], ids=str)
def test_what_is_not_allowed_is_said(tmp_path, told):
    with pytest.raises(SettingsError, match="Allowed"): Journal(**{"folder": tmp_path, "worker": "w0"} | told)


# how durable

def test_async_is_told_before_the_sync_and_synced_soon(tmp_path):
    disk = Held()
    journal = Journal(tmp_path, "w0", durability="async", flush_ms=1, disk=disk)
    assert asks(journal, b"1") is None and records(tmp_path) == [b"1"]
    assert disk.waits.wait(30) and journal.lag > 0
    disk.may.set()
    journal.close()
    assert journal.lag == 0 and journal.unlogged == 0


def test_async_records_of_a_failed_sync_are_counted(tmp_path):
    disk = Sick()
    journal = Journal(tmp_path, "w0", durability="async", flush_ms=60_000, disk=disk)
    assert asks(journal, b"1", b"2") is None
    disk.ill = {"sync": errno.EIO}
    journal.close()
    assert journal.unlogged == 2 and "Input/output error" in journal.trouble


def test_off_writes_nothing(tmp_path):
    journal = Journal(tmp_path, "w0", durability="off")
    assert asks(journal, b"1") is None
    journal.close()
    assert list(tmp_path.iterdir()) == [] and journal.lag == 0


# a disk that does not take it

ILL = {"full": {"write": errno.ENOSPC}, "full, and it cannot be cut": {"write": errno.ENOSPC, "cut": errno.EIO}, "quota": {"write": errno.EDQUOT}, "broken": {"write": errno.EIO, "sync": errno.EIO, "cut": errno.EIO},
       "broken when synced": {"sync": errno.EIO}, "read-only": dict.fromkeys(("create", "write", "sync", "cut", "rename"), errno.EROFS)}

@pytest.mark.parametrize("fresh", [False, True], ids=["in the middle", "from the start"])
@pytest.mark.parametrize("ill", ILL, ids=str)
def test_a_refused_record_is_not_in_the_journal_and_the_next_is(tmp_path, ill, fresh):
    disk = Sick(**ILL[ill] if fresh else {})
    journal = Journal(tmp_path, "w0", disk=disk)
    if not fresh: assert asks(journal, b"before") is None
    disk.ill = ILL[ill]
    for k in range(3):
        error = asks(journal, b"refused %d" % k)
        assert error.cause.errno in ILL[ill].values() and journal.trouble == str(error)
    disk.ill = {}
    assert asks(journal, b"after") is None and not journal.trouble
    journal.close()
    assert records(tmp_path) == [b"before"]*(not fresh) + [b"after"] and journal.unlogged == 0
    assert [name for name in os.listdir(tmp_path/"journal") if name.startswith(".")] == [] or "create" in ILL[ill]


@pytest.mark.parametrize("ill", ILL, ids=str)
def test_or_it_is_answered_and_counted(tmp_path, ill):
    disk = Sick(**ILL[ill])
    journal = Journal(tmp_path, "w0", on_full="serve", disk=disk)
    assert asks(journal, b"1", b"2") is asks(journal, b"3") is None
    assert journal.unlogged == 3 and journal.trouble
    disk.ill = {}
    assert asks(journal, b"4") is None and not journal.trouble
    journal.close()
    assert records(tmp_path) == [b"4"] and journal.unlogged == 3


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_a_file_whose_sync_failed_is_never_synced_or_written_again(tmp_path, durability):
    disk = Sick()
    journal = Journal(tmp_path, "w0", durability=durability, flush_ms=0, disk=disk)
    asks(journal, b"1")
    disk.ill = {"sync": errno.EIO}
    asks(journal, b"2")
    while not journal.trouble: time.sleep(0.001)
    disk.ill = {}
    asks(journal, b"3")
    journal.close()
    one, two = segments(tmp_path)
    assert [r for _, r in read(one)] == ([b"1"] if durability == "sync" else [b"1", b"2"]) and [r for _, r in read(two)] == [b"3"]
    assert journal.unlogged == (durability == "async")


def test_a_segment_that_somebody_deleted_is_not_written_on(tmp_path):
    journal = Journal(tmp_path, "w0")
    asks(journal, b"1")
    shutil.rmtree(tmp_path/"journal")
    assert asks(journal, b"2") is None
    journal.close()
    assert records(tmp_path) == [b"2"]


def test_what_could_not_be_cleaned_up_does_not_stop_the_next(tmp_path):
    class Stuck(Sick):
        def remove(self, path): return self._do("remove", path)
    disk = Stuck(rename=errno.EIO, remove=errno.EROFS)
    journal = Journal(tmp_path, "w0", disk=disk)
    assert isinstance(asks(journal, b"1"), JournalError) and len(os.listdir(tmp_path/"journal")) == 1
    disk.ill = {}
    assert asks(journal, b"2") is None
    journal.close()
    assert records(tmp_path) == [b"2"] and len(os.listdir(tmp_path/"journal")) == 1


@contextmanager
def small_disk(folder):
    "A real file system of 256 kB, where one may be mounted."
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True).returncode: pytest.skip("no file system can be mounted here")
    try: yield folder
    finally: subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_is_really_full(tmp_path):
    with small_disk(tmp_path/"disk") as folder:
        journal, kept = Journal(folder, "w0"), []
        while (error := asks(journal, b"%d" % len(kept) + b"x"*7000)) is None: kept.append(len(kept))
        assert error.cause.errno == errno.ENOSPC and "Make room" in str(error)
        assert asks(journal, b"y"*7000) is not None
        assert [int(r.rstrip(b"x")) for r in records(folder)] == kept
        journal.close()


def test_a_disk_that_is_really_read_only(tmp_path):
    with small_disk(tmp_path/"disk") as folder:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        journal = Journal(folder, "w0")
        error = asks(journal, b"1")
        assert error.cause.errno == errno.EROFS and "mounted read-only" in str(error)
        subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
        assert asks(journal, b"2") is None
        journal.close()
        assert records(folder) == [b"2"]


# reading what is torn

BODIES = st.lists(st.binary(max_size=40) | st.just(MARK) | st.just(MARK*3), min_size=1, max_size=12)

@settings(deadline=None, max_examples=200)
@given(BODIES, st.data())
def test_damage_takes_what_it_hits_and_nothing_is_made_up(tmp_path_factory, bodies, data):
    path = tmp_path_factory.getbasetemp()/"damaged.seg"
    whole = bytearray(HEADER + _framed(bodies, len(HEADER)))
    begin = data.draw(st.integers(len(HEADER), len(whole)))
    end = data.draw(st.integers(begin, len(whole)))
    kind = data.draw(st.sampled_from(["zeros", "cut", "noise"]))
    hit = bytes(end - begin) if kind == "zeros" else b"" if kind == "cut" else data.draw(st.binary(min_size=end - begin, max_size=end - begin))
    path.write_bytes(whole[:begin] + hit + (b"" if kind == "cut" else whole[end:]))
    after, ends = len(HEADER), []
    for body in bodies: ends.append(after := after + FRAME.size + len(body))
    changed = [i for i, (a, b) in enumerate(zip([len(HEADER), *ends], ends, strict=False)) if path.read_bytes()[a:b] != whole[a:b]]
    assert list(read(path)) == [(at, body) for i, (at, body) in enumerate(zip(ends, bodies, strict=True)) if i not in changed]


@pytest.mark.parametrize("length", range(len(HEADER) + 1))
def test_a_segment_that_is_only_begun_has_no_records(tmp_path, length):
    (tmp_path/"a.seg").write_bytes(HEADER[:length])
    assert list(read(tmp_path/"a.seg")) == []


@pytest.mark.parametrize("content", [b"PAR1....", HEADER[:-1] + b"\x02", bytes(8)], ids=["another kind", "a later version", "zeros"])
def test_a_file_that_is_no_segment_is_named(tmp_path, content):
    (tmp_path/"w0-1-0.seg").write_bytes(content + b"more")
    with pytest.raises(ModelOpsError, match="w0-1-0.seg is no journal"): list(read(tmp_path/"w0-1-0.seg"))


def test_frames_of_another_place_do_not_count(tmp_path):
    frames = _framed([b"1", b"2"], len(HEADER))
    (tmp_path/"a.seg").write_bytes(HEADER + bytes(64) + frames)
    assert list(read(tmp_path/"a.seg")) == []


# beside the journals

def test_a_contract_is_described_once(tmp_path):
    threads = [threading.Thread(target=describe, args=(tmp_path/"log", "ab12", {"a": k})) for k in range(8)]
    for t in threads: t.start()
    for t in threads: t.join()
    first = describe(tmp_path/"log", "ab12", {}).read_text()
    assert first == (tmp_path/"log"/"contracts"/"ab12.json").read_text() and '"a"' in first
    assert [path.name for path in (tmp_path/"log"/"contracts").iterdir()] == ["ab12.json"]


def test_there_are_no_segments_where_there_is_no_log(tmp_path): assert segments(tmp_path/"nowhere") == []


def test_the_journal_is_light():
    loaded = subprocess.run([sys.executable, "-c", "import sys, model_ops.predictions.journal, model_ops.predictions.ids; print(*{m.split('.')[0] for m in sys.modules})"], capture_output=True, text=True, check=True)
    assert not {"deltalake", "polars", "numpy", "pydantic", "mlflow", "pandas"} & set(loaded.stdout.split())
