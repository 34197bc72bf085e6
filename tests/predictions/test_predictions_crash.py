"""The log's life, cut off at random: nothing acknowledged is lost, nothing is there twice"""
import os, subprocess, sys, threading, time
from collections import Counter
from pathlib import Path
from queue import SimpleQueue
from random import Random

import pytest
from torn_disk import TornDisk

from model_ops.errors import ModelOpsError
from model_ops.predictions import journal as journals
from model_ops.predictions.disk import Disk
from model_ops.predictions.journal import Journal, read, sealed, segments

TRIES = 1000  # lives of a log, each with three starts that end at a random operation
KILLS = 100   # kill -9 of real processes under load
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # a journal's thread dies with its disk


class Life:
    "A log in one folder, over several starts and crashes; a table takes what is settled, as one transaction with the offset."
    def __init__(self, root: Path, seed: int, disk: type = TornDisk, durability: str = "sync"):
        self.root, self.random, self.disk, self.durability = root, Random(seed), disk, durability
        self.asked, self.acknowledged, self.table, self.offsets = set(), set(), Counter(), {}
        self.crashes = self.operations = 0
        root.mkdir()

    def live(self):
        "Start, write, rotate, settle; until the end, or until the disk dies. Then look at what is there."
        random, news = self.random, SimpleQueue()
        disk = self.disk(self.root, random, dies_at=random.randint(1, 150), power=random.random() < 0.7, failing=random.choice((0.0, 0.0, 0.05)), died=lambda: news.put("off"))
        journal = Journal(self.root, "w0", durability=self.durability, flush_ms=5, segment_bytes=random.choice((100, 400, 5000)), disk=disk)
        for _ in range(random.randint(1, 25)):
            records = [b'{"id":"%d","pad":"%s"}' % (len(self.asked) + k, b"x"*random.randint(0, 150)) for k in range(random.randint(0, 4))]
            self.asked.update(records)
            journal.append(records, news.put)
            answer = news.get(timeout=30)
            if answer == "off": break
            if answer is None: self.acknowledged.update(records)
            if random.random() < 0.2 and not self.settle(disk): break
        journal.close()
        if not disk.gone and random.random() < 0.5: disk.power = False  # an orderly end; the rest are power cuts right after it
        self.crashes, self.operations = self.crashes + disk.gone, self.operations + disk.operations
        disk.crash()

    def settle(self, disk) -> bool:
        "Whether the disk lived through it."
        try:
            for segment in segments(self.root):
                done = sealed(segment)
                for offset, record in read(segment, self.offsets.get(segment.name, 0)):
                    self.table[record] += 1
                    self.offsets[segment.name] = offset
                if done:
                    disk.remove(segment)
                    disk.sync_folder(segment.parent)
        except SystemExit: return False
        except OSError: pass  # the next one tries again
        return True

    def found(self) -> Counter:
        "Each record with how often it is in the table and what is not settled yet."
        return self.table + Counter(record for s in segments(self.root) for _, record in read(s, self.offsets.get(s.name, 0)))

    def lost(self) -> set:
        found = self.found()
        assert set(found) <= self.asked, "a record that nobody wrote"
        assert max(found.values(), default=1) == 1, "a record twice"
        return self.acknowledged - set(found)


def lived(root: Path, seed: int, **told) -> Life:
    life = Life(root/str(seed), seed, **told)
    for _ in range(3):
        life.live()
        assert all(sealed(s) for s in segments(life.root))
        if life.lost(): break
    return life


def test_nothing_acknowledged_is_lost_at_some_random_points(tmp_path):
    assert not [seed for seed in range(60) if lived(tmp_path, seed).lost()]


@pytest.mark.slow
@pytest.mark.parametrize("hundred", range(TRIES//100))
def test_nothing_acknowledged_is_lost_at_a_thousand_random_points(tmp_path, hundred):
    lives = [lived(tmp_path, 1000 + 100*hundred + k) for k in range(100)]
    assert not [life.root.name for life in lives if life.lost()]
    assert sum(life.crashes for life in lives) >= 100 and sum(len(life.acknowledged) for life in lives) > 1000


class Forgetful(TornDisk):
    "Names are never durable."
    def sync_folder(self, folder): self._turn()

class Lying(TornDisk):
    "A sync that does nothing."
    def sync(self, handle): self._turn()

class Trusted(TornDisk):
    "A failed sync is told as a good one."
    def sync(self, handle):
        try: super().sync(handle)
        except OSError: pass

@pytest.mark.parametrize("disk", [Forgetful, Lying, Trusted], ids=lambda disk: disk.__name__.lower())
def test_the_simulation_finds_a_promise_that_is_not_kept(tmp_path, disk):
    def found(seed):
        try: return lived(tmp_path, seed, disk=disk).lost()
        except ModelOpsError: return True  # even the segment's head is gone
    assert any(found(seed) for seed in range(100))


def test_asynchronous_records_survive_the_death_of_the_process(tmp_path):
    class Killed(TornDisk):
        power = property(lambda self: False, lambda self, value: None)
    assert not [seed for seed in range(40) if lived(tmp_path, seed, disk=Killed, durability="async").lost()]


def test_asynchronous_records_may_be_lost_with_the_power_but_are_never_doubled(tmp_path):
    assert any(lived(tmp_path, seed, durability="async").lost() for seed in range(60))


WORKER = """
import os, sys, threading
from model_ops.predictions.journal import Journal
journal = Journal(sys.argv[1], sys.argv[2], durability=sys.argv[3], segment_bytes=20_000)
told = threading.Lock()
def ask(client):
    done, k = threading.Event(), 0
    while True:
        records = [b'{"id":"%s-%d-%d-%d","pad":"%s"}' % (sys.argv[2].encode(), client, k, row, b"x"*(97*k % 700)) for row in range(1 + k % 3)]
        def answered(error):
            if error is None: os.write(1, b"".join(r + b"\\n" for r in records))  # what a client would have read
            done.set()
        journal.append(records, answered)
        done.wait(); done.clear(); k += 1
for client in range(8): threading.Thread(target=ask, args=(client,), daemon=True).start()
threading.Event().wait()
"""


def killed(root: Path, worker: str, random: Random, durability: str = "sync") -> set[bytes]:
    "Run a worker, kill it in the middle, and give what it acknowledged."
    process = subprocess.Popen([sys.executable, "-c", WORKER, str(root), worker, durability], stdout=subprocess.PIPE)
    said = [process.stdout.readline()]
    reader = threading.Thread(target=lambda: said.append(process.stdout.read()))
    reader.start()
    living = any(not sealed(s) for _ in range(100) for s in segments(root) if s.name.startswith(f"{worker}-"))  # one may be rotated between two looks
    time.sleep(random.uniform(0, 0.08))
    process.kill()
    process.wait()
    reader.join()
    process.stdout.close()
    assert living
    return {line for line in b"".join(said).splitlines() if line.endswith(b"}")}


def loaded(root: Path, kills: int, seed: int, durability: str):
    random, acknowledged = Random(seed), set()
    for k in range(kills): acknowledged |= killed(root, f"w{k % 2}.{k}", random, durability)
    found = Counter(record for s in segments(root) for _, record in read(s))
    assert all(sealed(s) for s in segments(root))
    assert max(found.values()) == 1 and acknowledged <= set(found)
    assert len(acknowledged) > 20*kills


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_three_killed_processes_lose_nothing(tmp_path, durability): loaded(tmp_path, 3, 1, durability)


@pytest.mark.slow
@pytest.mark.parametrize("ten", range(KILLS//10))
def test_a_hundred_killed_processes_lose_nothing(tmp_path, ten): loaded(tmp_path, 10, ten, "sync")


def test_a_segment_that_was_never_named_is_not_read(tmp_path):
    class Dies(Disk):
        def rename(self, old, new): raise SystemExit("before it has its name")
    with pytest.raises(SystemExit): journals._Tail(tmp_path/"journal", "w0", 1000, Dies()).append([b"1"])
    assert segments(tmp_path) == [] and [name[0] for name in os.listdir(tmp_path/"journal")] == ["."]
