"""One clear message, a non-zero exit, and everything as it was: data that are no good, parameters, cells, kernels, locks, damage, a full disk."""
import os
import shutil
import signal
import sqlite3
import subprocess
import time

import psutil
import pytest

from small_workbook import BIN, QUIET, Workbook, write_table

pytestmark = pytest.mark.slow


@pytest.fixture
def book(run_workbook, tmp_path) -> Workbook:
    return run_workbook.copy(tmp_path / "orders")


def refused(book: Workbook, *words, code=1, env=None) -> str:
    "The command fails with one message, and changes neither outputs nor ledger."
    before, entries = book.outputs(), book.ledger()
    done = book.ops(*words, check=False, env=env)
    assert done.returncode == code, f"{done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert "Traceback (most recent call last)" not in done.stdout + done.stderr
    assert book.outputs() == before and book.ledger() == entries
    return done.stdout + done.stderr


def lines(path, keep):
    text = path.read_text().splitlines()
    path.write_text("\n".join(keep(text)) + "\n")


DATA = {
    "missing file": (lambda p: p.rename(p.with_name("order.csv")), ["source/orders.csv", "order.csv"]),
    "empty table": (lambda p: lines(p, lambda t: t[:1]), ["no row"]),
    "empty file": (lambda p: p.write_text(""), ["empty"]),
    "one-class target": (lambda p: lines(p, lambda t: [t[0], *(r for r in t[1:] if r.endswith(",no"))]), ["returned", "one"]),
    "absent target": (lambda p: lines(p, lambda t: [t[0].replace("returned", "return"), *t[1:]]), ["returned", "return"]),
}


@pytest.mark.parametrize("what", DATA)
def test_data_that_are_no_good(book, what):
    spoil, said = DATA[what]
    spoil(book.root / "source/orders.csv")
    text = refused(book, "step", "prepare")
    for word in said:
        assert word in text.replace("No row", "no row"), text[-1500:]


def test_an_all_null_column_is_no_feature_and_is_said(book):
    lines(book.root / "source/orders.csv", lambda t: [t[0] + ",empty", *(r + "," for r in t[1:])])
    book.ops("step", "prepare")
    column = book.json("records/contract.json")["columns"]["empty"]
    assert column["role"] == "ignore" and column["why"]


@pytest.mark.parametrize("step, told, said", [("train", {"max_itre": 5}, "max_iter"), ("train", {"max_iter": "5"}, "int"), ("promote", {"gates": [{"rule": "superor", "metric": "roc_auc"}]}, "superior"),
                                              ("promote", {"gates": [{"rule": "superior", "metric": "roc_acu"}]}, "roc_auc")])
def test_wrong_parameters_stop_before_a_kernel_starts(book, step, told, said):
    book.told(step, **told)
    start = time.monotonic()
    assert said in refused(book, "step", step, code=2)
    assert time.monotonic() - start < 10
    assert said in refused(book, "run", code=2)


def test_an_unknown_step(book):
    assert "train" in refused(book, "step", "trian", code=2)


def add_cell(book: Workbook, step: str, source: str) -> None:
    import json
    path = book.root / f"nbs/steps/{step}.ipynb"
    nb = json.loads(path.read_text())
    nb["cells"].insert(len(nb["cells"]) - 1, {"cell_type": "code", "id": "added", "metadata": {}, "source": [source], "outputs": [], "execution_count": None})
    path.write_text(json.dumps(nb))


def kernels(book: Workbook) -> list[int]:
    "The kernels that run for this workbook now."
    found = []
    for process in psutil.process_iter():
        try:
            if "ipykernel_launcher" in " ".join(process.cmdline()) and process.environ().get("MODEL_OPS_ROOT") == str(book.root):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_a_kernel_that_dies(book, end):
    add_cell(book, "promote", f"import os; {end}")
    text = refused(book, "run")
    assert "kernel" in text.lower() and "model-ops debug promote" in text


def test_ctrl_c_in_the_middle(book):
    add_cell(book, "promote", "import time; print('asleep', flush=True); time.sleep(120)")
    before, entries = book.outputs(), book.ledger()
    env = {**{k: v for k, v in os.environ.items() if not k.startswith("MODEL_OPS_")}, **QUIET, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    with open(book.root.parent / "said.txt", "w+") as said:
        run = subprocess.Popen([BIN / "model-ops", "run"], cwd=book.root, env=env, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a runner in the background may have it ignored
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            time.sleep(0.5)
            if "7/8" in (book.root.parent / "said.txt").read_text() or "promote" in (book.root.parent / "said.txt").read_text() and (book.root / "runs/promote.events.jsonl").exists() and '"cell": 10' in (book.root / "runs/promote.events.jsonl").read_text():
                break
        time.sleep(2)
        assert kernels(book)
        os.killpg(run.pid, signal.SIGINT)  # what a terminal does: the whole group
        assert run.wait(60) == 130
        said.seek(0)
        assert "Ctrl-C" in said.read()
    assert book.outputs() == before and book.ledger() == entries
    time.sleep(1)
    assert kernels(book) == [], "no kernel is left behind"
    book.git("checkout", "-q", "nbs")
    book.ops("run")
    assert book.outputs().keys() == before.keys()


def test_two_runs_at_once(book):
    from model_ops.workbook.pipeline import alone
    with alone(book.root, "model-ops run"):
        text = refused(book, "run")
    assert "busy" in text and str(os.getpid()) in text


@pytest.mark.parametrize("name", ["mlflow.db", "ledger.db"])
@pytest.mark.parametrize("how", ["locked", "garbage", "truncated"])
def test_a_locked_or_damaged_store(run_workbook, tmp_path, name, how):
    book = run_workbook.copy(tmp_path / "orders")
    book.told("train", max_iter=7)
    path, lock = book.root / name, None
    whole = path.read_bytes()  # before the lock: closing a file gives up this process's locks on it
    if how == "locked":
        lock = sqlite3.connect(path, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
    else:
        path.write_bytes(os.urandom(len(whole)) if how == "garbage" else whole[:len(whole) // 2])
    damaged = whole if how == "locked" else path.read_bytes()
    files, start = book.outputs(), time.monotonic()
    done = book.ops("run", check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and name in said and "Traceback" not in said, said[-2000:]
    if lock:
        lock.close()
    assert book.outputs() == files and path.read_bytes() == damaged and time.monotonic() - start < 60
    if name == "ledger.db" and not lock:  # the message names the cure, and the cure works
        command = said[said.index("mv "):].splitlines()[0].rstrip(".")
        subprocess.run(command, shell=True, check=True, cwd=book.root)
        assert book.ledger() == run_workbook.ledger()


def test_a_full_disk(run_workbook, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("a small disk can only be mounted by root")
    try:
        book = run_workbook.copy(disk / "orders")
        book.told("train", max_iter=9)
        before, entries = book.outputs(), book.ledger()
        filler = disk / "filler"
        with open(filler, "wb") as f:
            try:
                while True:
                    f.write(b"\0" * 65536)
                    f.flush()
            except OSError:
                pass
        done = book.ops("run", check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 1 and "space" in said.lower() and "Traceback (most recent call last)" not in done.stderr, said[-3000:]
        filler.unlink()
        assert book.outputs() == before and book.ledger() == entries
        book.ops("run")
        assert book.status()["stale"] == {}
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)
        shutil.rmtree(disk, ignore_errors=True)


def test_no_workbook_here(tmp_path):
    done = subprocess.run([BIN / "model-ops", "status"], cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "MODEL_OPS_ROOT": ""})
    assert done.returncode == 1 and "not inside a workbook" in done.stderr and "model-ops new" in done.stderr


def test_drift_and_predict_on_bad_tables(book, tmp_path):
    write_table(tmp_path / "good.csv", days=30)
    (tmp_path / "bad.csv").write_text("order_id,placed\no1,2024-01-01\n")
    assert "nowhere.csv" in refused(book, "drift", str(tmp_path / "good.csv"), str(tmp_path / "nowhere.csv"))
    assert "amount" in refused(book, "predict", str(tmp_path / "bad.csv"), "-o", str(tmp_path / "out.csv"))
    assert not (tmp_path / "out.csv").exists()
