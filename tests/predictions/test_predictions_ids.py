"""Request ids: the same question again is right, another one under an old name is not"""
import os, subprocess, sys, time
from collections import defaultdict

import pytest
from hypothesis import given, settings, strategies as st

from model_ops.predictions.ids import Ids

INT64 = st.integers(-2**63, 2**63 - 1)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.tuples(st.sampled_from(["", "a", "b", "ü", "x"*500, "\ud800"]) | st.text(max_size=3), INT64 | st.integers(0, 2)), max_size=6), max_size=6))
def test_the_first_inputs_of_an_id_hold(tmp_path_factory, batches):
    folder = tmp_path_factory.mktemp("ids")
    known = {}
    for batch in batches:
        ids = Ids(folder, 1 << 12)  # each time a worker that has just started
        assert ids.claim(batch) == [known.setdefault(id, digest) == digest for id, digest in batch]
        ids.close()


def test_the_oldest_of_a_full_bucket_is_forgotten(tmp_path):
    ids = Ids(tmp_path, slots=8)
    ids.claim([(f"{k}", k) for k in range(8)])
    assert ids.claim([(f"{k}", -1) for k in range(8)]) == [False]*8
    ids.claim([("8", 8)])
    assert ids.claim([("1", -1), ("8", -1), ("0", -1)]) == [False, False, True]


def test_many_ids_do_not_meet(tmp_path):
    ids = Ids(tmp_path, slots=1 << 15)
    asked = [(f"id {k}", k) for k in range(3000)]
    assert all(ids.claim(asked)) and all(ids.claim(asked))
    assert not any(ids.claim([(id, digest + 1) for id, digest in asked]))
    assert ids.path.stat().st_size == 128 + 16*(1 << 15)


@pytest.mark.parametrize("damage", [lambda c: b"", lambda c: c[:5], lambda c: c[:-1], lambda c: c + b"x", lambda c: bytes(len(c)), lambda c: b"x"*len(c)], ids=["empty", "begun", "cut", "longer", "zeros", "noise"])
def test_a_torn_file_is_begun_anew(tmp_path, damage):
    ids = Ids(tmp_path, slots=64)
    ids.claim([("a", 1)])
    ids.close()
    ids.path.write_bytes(damage(ids.path.read_bytes()))
    again = Ids(tmp_path, slots=64)
    assert again.claim([("a", 2), ("a", 1)]) == [True, False] and not again.trouble


def test_a_file_of_another_size_is_begun_anew_and_others_follow(tmp_path):
    first, same = Ids(tmp_path, slots=64), Ids(tmp_path, slots=64)
    first.claim([("a", 1)])
    assert same.claim([("a", 2)]) == [False]
    Ids(tmp_path, slots=128).claim([("a", 3)])
    Ids(tmp_path, slots=64).claim([("a", 4)])
    assert first.claim([("a", 1)]) == [False] and same.claim([("a", 4)]) == [True]


def test_without_the_file_all_are_answered(tmp_path):
    (tmp_path/"file").write_text("")
    ids = Ids(tmp_path/"file")
    assert ids.claim([("a", 1), ("a", 2)]) == [True, True] and "not compared" in ids.trouble
    (tmp_path/"file").unlink()
    assert ids.claim([("a", 1), ("a", 2)]) == [True, False] and not ids.trouble


def test_a_full_disk_is_told_and_kills_nobody(tmp_path):
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True).returncode: pytest.skip("no file system can be mounted here")
    try:
        ids = Ids(tmp_path)
        assert ids.claim([(f"{k}", k) for k in range(100)]) == [True]*100 and "No space left" in ids.trouble
        ids.close()
    finally: subprocess.run(["umount", "-l", tmp_path], check=True)


WORKER = """
import sys
from model_ops.predictions.ids import Ids
ids, own = Ids(sys.argv[1], 1 << 15), int(sys.argv[2])
sys.stdin.readline()
for begin in range(0, 2000, 20): print(*map(int, ids.claim([(f"{k}", own) for k in range(begin, begin + 20)])), flush=True)
"""

def test_of_two_processes_one_wins(tmp_path):
    workers = [subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), str(own)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for own in range(3)]
    for worker in workers: worker.stdin.write("go\n")
    said = [worker.communicate(timeout=60)[0].split() for worker in workers]
    won = defaultdict(list)
    for own, answers in enumerate(said):
        for k, answer in enumerate(answers): won[k] += [own]*int(answer)
    assert len(won) == 2000 and all(len(owners) == 1 for owners in won.values())


LOOP = """
import sys
from model_ops.predictions.ids import Ids
ids, k = Ids(sys.argv[1], 256), 0
print("ready", flush=True)
while True: k += 1; ids.claim([(f"{k % 1000}", k % 1000)])
"""

def test_a_killed_process_leaves_nothing_that_lies(tmp_path):
    for delay in (0.01, 0.03, 0.05):
        worker = subprocess.Popen([sys.executable, "-c", LOOP, str(tmp_path)], stdout=subprocess.PIPE)
        worker.stdout.readline()
        time.sleep(delay)
        worker.kill()
        worker.communicate()
        ids = Ids(tmp_path, 256)
        assert all(ids.claim([(f"{k}", k) for k in range(1000)])), "an id with the inputs of another"
        assert not ids.trouble
        ids.close()
