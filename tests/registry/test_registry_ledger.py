"""The ledger: append-only, one winner, nothing touched when it is locked or damaged, and a cure that works."""
import multiprocessing, os, resource, signal, sqlite3, subprocess, time
from pathlib import Path
import pytest
from hypothesis import given, settings, strategies as st
from model_ops.errors import ConflictError, LedgerError
from model_ops.registry import ledger as module
from model_ops.registry.ledger import Ledger

A, B, C = "a"*64, "b"*64, "c"*64
FORK = multiprocessing.get_context("fork")

def at(folder: Path, **more) -> Ledger: return Ledger(f"sqlite:///{folder}/ledger.db", **more)

@pytest.fixture
def ledger(tmp_path):
    found = at(tmp_path)
    for digest in (A, B): found.register(digest)
    found.append("promote", after=0, champion=A, challenger=A, decision="1"*64, who="ci", why="beats the dummy", evidence={"commit": "abc"})
    return found

def test_looking_creates_nothing(tmp_path):
    ledger = at(tmp_path)
    assert (ledger.entries(), ledger.versions(), ledger.head(), ledger.champion(), ledger.applied(A), ledger.opponent_for(A), ledger.version(A)) == ([], [], None, None, None, None, None)
    assert "nobody is in charge" in str(ledger.__html__())
    assert not list(tmp_path.iterdir())

def test_entries_come_back_as_written(ledger):
    entry = ledger.entries()[0]
    assert (entry.seq, entry.kind, entry.champion, entry.who, entry.evidence) == (1, "promote", A, "ci", {"commit": "abc"})
    assert entry == ledger.head() == ledger.champion() == ledger.applied("1"*64)
    assert entry.at.endswith("Z") and ledger.digest(2) == B and ledger.version(B) == 2

def test_a_second_registration_changes_nothing(ledger):
    before = ledger.versions()
    assert ledger.register(A, "elsewhere", {"x": 1}) == 1 and ledger.versions() == before

def test_champion_is_the_entry_that_put_it_in_charge(ledger):
    ledger.append("keep", after=1, champion=A, challenger=B, opponent=A, who="ci", why="no gain")
    assert ledger.champion().seq == 1 and ledger.head().seq == 2
    ledger.append("rollback", after=2, champion=None, who="Ada", why="switched off")
    assert ledger.champion() is None and ledger.opponent_for(B) is None  # nobody is in charge, so nobody is to be beaten
    ledger.append("promote", after=3, champion=B, challenger=B, who="ci", why="beats the dummy")
    assert ledger.opponent_for(B) is None and ledger.opponent_for(A) == B

@pytest.mark.parametrize(("arguments", "error"), [
    (dict(kind="crown", after=1, champion=A), LedgerError),
    (dict(kind="keep", after=1, champion=B), LedgerError),           # a keep that would move the champion
    (dict(kind="promote", after=1, champion=C), LedgerError),        # never registered
    (dict(kind="keep", after=0, champion=A), ConflictError),         # somebody was faster
    (dict(kind="keep", after=1, champion=A, decision="1"*64), ConflictError),  # applied before
])
def test_refused_entries_leave_no_line(ledger, arguments, error):
    with pytest.raises(error): ledger.append(arguments.pop("kind"), **arguments, who="x", why="y")
    assert len(ledger.entries()) == 1

@pytest.mark.parametrize("sql", ["UPDATE ledger_entries SET who='x'", "DELETE FROM ledger_entries", "UPDATE ledger_versions SET digest='x'", "DELETE FROM ledger_versions"])
def test_lines_cannot_be_altered(ledger, sql):
    with sqlite3.connect(ledger.file) as raw, pytest.raises(sqlite3.IntegrityError, match="append-only"): raw.execute(sql)

def _append(url):
    try: return Ledger(url).append("keep", after=1, champion=A, who=str(os.getpid()), why="race").seq
    except ConflictError: return None

def _register(work):
    url, digest = work
    return Ledger(url).register(digest)

def test_of_eight_at_once_one_wins(ledger):
    with FORK.Pool(8) as pool: wins = pool.map(_append, [ledger.url]*8, chunksize=1)
    assert sorted(wins, key=str) == [2] + [None]*7
    assert len(ledger.entries()) == 2

def test_eight_first_writers_lay_out_one_ledger(tmp_path):
    url = at(tmp_path).url
    work = [(url, f"{i % 4}"*64) for i in range(8)]
    with FORK.Pool(8) as pool: numbers = pool.map(_register, work, chunksize=1)
    assert sorted(numbers) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert numbers == [Ledger(url).version(d) for _, d in work]
    copy = sqlite3.connect(f"{Ledger(url).file}.bak")
    assert copy.execute("SELECT count(*) FROM ledger_versions").fetchone() == (4,)  # the newest copy wins

def _climb(url):
    ledger, written = Ledger(url), 0
    while written < 5:
        try: ledger.append("keep", after=ledger.head().seq, champion=A, who=str(os.getpid()), why="climb")
        except ConflictError: continue
        written += 1

def test_no_entry_is_lost_and_none_skipped(ledger):
    with FORK.Pool(4) as pool: pool.map(_climb, [ledger.url]*4, chunksize=1)
    entries = ledger.entries()
    assert [e.seq for e in entries] == list(range(1, 22)) and len({e.who for e in entries[1:]}) == 4

def test_a_locked_ledger_says_so(ledger):
    patient = Ledger(ledger.url, patience=.1)
    with sqlite3.connect(ledger.file, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        for attempt in (patient.entries, lambda: patient.append("keep", after=1, champion=A, who="x", why="y"), lambda: patient.register(C)):
            with pytest.raises(LedgerError, match="locked by another process.*Nothing was changed"): attempt()
        other.execute("ROLLBACK")
    assert len(patient.entries()) == 1

def damage(file: Path, how: str):
    size = file.stat().st_size
    with open(file, "r+b") as f:
        if how == "garbage": f.write(os.urandom(size))
        if how == "half": f.truncate(size//2)
        if how == "empty": f.truncate(0)
        if how == "middle":
            f.seek(100)
            f.write(os.urandom(size - 4096))

@pytest.mark.parametrize("how", ["garbage", "half", "empty", "middle"])
def test_damage_is_refused_and_the_cure_works(tmp_path, how):
    folder = tmp_path/"it's a folder"
    folder.mkdir()
    ledger = at(folder)
    ledger.register(A)
    before = ledger.append("promote", after=0, champion=A, who="ci", why="first")
    damage(ledger.file, how)
    torn = ledger.file.read_bytes()
    for attempt in (ledger.champion, lambda: ledger.append("rollback", after=1, champion=None, who="x", why="y"), lambda: ledger.register(B)):
        with pytest.raises(LedgerError, match="damaged.*Nothing was changed") as caught: attempt()
    assert ledger.file.read_bytes() == torn
    subprocess.run(caught.value.todo.split(": ", 1)[1], shell=True, check=True)
    assert ledger.entries() == [before] and ledger.register(B) == 2

def test_damage_without_a_sound_copy_says_so(ledger):
    damage(ledger.file, "garbage")
    damage(Path(f"{ledger.file}.bak"), "garbage")
    with pytest.raises(LedgerError, match="no sound ledger.db.bak"): ledger.entries()

def test_a_missing_ledger_with_a_copy_is_no_new_beginning(ledger):
    ledger.file.unlink()
    with pytest.raises(LedgerError, match="missing") as caught: ledger.champion()
    with pytest.raises(LedgerError, match="missing"): ledger.register(C)
    subprocess.run(caught.value.todo.split(": ", 1)[1].split("  (")[0], shell=True, check=True)
    assert ledger.champion().champion == A

def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path/"file").write_text("")
    with pytest.raises(LedgerError, match="out of reach.*settings.ini"): Ledger(f"sqlite:///{tmp_path}/file/ledger.db").register(A)

def _write_beyond_the_limit(ledger, answer):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = ledger.file.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try: ledger.append("keep", after=1, champion=A, who="x", why="y"*100_000)
    except LedgerError as e: answer.put(str(e))

def test_no_room_to_write_leaves_the_ledger_as_it_was(ledger):
    answer = FORK.Queue()
    child = FORK.Process(target=_write_beyond_the_limit, args=(ledger, answer))
    child.start()
    assert "Nothing was changed" in answer.get(timeout=20)
    child.join()
    assert len(ledger.entries()) == 1 and ledger.append("keep", after=1, champion=A, who="x", why="y").seq == 2

@pytest.mark.parametrize(("complaint", "told"), [("database or disk is full", "Free some space"), ("database is locked", "fuser"), ("connection refused", "settings.ini")])
def test_each_complaint_has_its_cure(tmp_path, complaint, told):
    assert told in str(module._explain(sqlite3.OperationalError(complaint), tmp_path/"ledger.db", "ledger.db", 10))

@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_ledger_in_memory_is_refused(url):
    with pytest.raises(LedgerError, match="names no file"): Ledger(url)

@pytest.mark.parametrize("url", ["postgresql+psycopg2://me:secret@127.0.0.1:1/x", "nonsense://x"])
def test_a_server_out_of_reach_keeps_the_password(url):
    with pytest.raises(LedgerError, match="out of reach") as caught: Ledger(url).entries()
    assert "secret" not in str(caught.value)

def test_a_newer_layout_is_refused(ledger):
    with sqlite3.connect(ledger.file) as raw: raw.execute("INSERT INTO ledger_layout VALUES (9)")
    with pytest.raises(LedgerError, match="Update model_ops"): ledger.entries()

def test_the_statements_compile_for_postgresql():
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateTable
    ddl = [str(CreateTable(t).compile(dialect=postgresql.dialect())) for t in module._tables().values()]
    assert len(ddl) == 3 and not any("AUTOINCREMENT" in d or "SERIAL" in d for d in ddl)

def _write_for_ever(url):
    ledger = Ledger(url)
    while True: ledger.append("keep", after=ledger.head().seq, champion=A, who="x", why="y")

def test_a_killed_writer_leaves_whole_entries(ledger):
    writer = FORK.Process(target=_write_for_ever, args=(ledger.url,))
    writer.start()
    deadline = time.monotonic() + 10
    while len(ledger.entries()) < 5 and time.monotonic() < deadline: time.sleep(.01)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    seqs = [e.seq for e in ledger.entries()]
    assert seqs == list(range(1, len(seqs) + 1)) and len(seqs) >= 5
    assert ledger.append("keep", after=seqs[-1], champion=A, who="after", why="the kill").seq == seqs[-1] + 1

def test_hostile_text_stays_text(ledger):
    ledger.append("keep", after=1, champion=A, who="<script>alert(1)</script>", why="\"'; DROP TABLE ledger_entries; --")
    assert "<script>" not in str(ledger.__html__()) and ledger.head().why.startswith("\"';")

@settings(deadline=None, max_examples=8)
@given(st.lists(st.sampled_from([A, B, C, None]), max_size=6), st.sampled_from([A, B, C, "d"*64, None]))
def test_the_opponent_is_the_newest_other_champion(tmp_path_factory, champions, challenger):
    ledger = at(tmp_path_factory.mktemp("ledger"))
    for digest in (A, B, C): ledger.register(digest)
    for i, champion in enumerate(champions): ledger.append("rollback", after=i, champion=champion, who="x", why="y")
    assert ledger.opponent_for(challenger) == next((c for c in reversed(champions) if challenger is None or c != challenger), None)  # nobody, where nobody was in charge since
