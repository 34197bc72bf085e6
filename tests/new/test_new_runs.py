"""A new workbook at work: `make run`, `make test`, `make lab`; two people and their clones; a command that is killed."""
import csv
import json
import os
import pty
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model_ops.workbook import check, lab
from small_workbook import BIN, QUIET, write_table

pytestmark = pytest.mark.slow
OPS = str(BIN / "model-ops")


@pytest.fixture(autouse=True)
def person(monkeypatch, tmp_path):
    "A person of our own for git, DVC and Jupyter, with no environment switched on."
    for name, value in {**QUIET, "PATH": "/usr/local/bin:/usr/bin:/bin", "JUPYTER_DATA_DIR": tmp_path / "jupyter", "JUPYTER_RUNTIME_DIR": tmp_path / "runtime", "JUPYTER_CONFIG_DIR": tmp_path / "config"}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("MODEL_OPS_ROOT", raising=False)


def call(*words, cwd: Path, code: int | None = 0) -> str:
    "Run a program; what it said."
    done = subprocess.run([str(w) for w in words], cwd=cwd, capture_output=True, text=True, timeout=400, stdin=subprocess.DEVNULL)
    assert code is None or done.returncode == code, f"{words}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def orders(path: Path) -> str:
    "Two classes and a time."
    write_table(path, days=100)
    return "returned"


def houses(path: Path) -> str:
    "An amount and no time, as a spreadsheet in Germany writes it."
    rng = random.Random(2)
    with open(path, "w", encoding="cp1252") as file:
        file.write("Größe in m²;rooms;town;price\n")
        for _ in range(2500):
            size, rooms, town = rng.uniform(30, 200), rng.randint(1, 6), rng.choice("ABCD")
            price = size * 3000 + rooms * 9000 + "ABCD".index(town) * 25000 + rng.gauss(0, 20000)
            file.write(f"{size:.1f}".replace(".", ",") + f";{rooms};{town};" + f"{price:,.2f}".replace(",", " ").replace(".", ",").replace(" ", ".") + "\n")
    return "price"


def flowers(path: Path) -> str:
    "Three classes and no time, in the order of the classes."
    rng = random.Random(3)
    rows = [[k, f"{rng.gauss(5 + k, 0.4):.2f}", f"{rng.gauss(3 - k, 0.4):.2f}", rng.choice(["blue", "red"])] for k in range(3) for _ in range(700)]
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["species", "petal.length", "petal width", "colour"])
        out.writerows([["setosa", "versicolor", "virginica"][k], *rest] for k, *rest in rows)
    return "species"


@pytest.mark.parametrize("write, task", [(orders, "binary"), (houses, "regression"), (flowers, "multiclass")], ids=lambda v: v if isinstance(v, str) else "")
def test_a_workbook_runs_tests_itself_and_opens(write, task, tmp_path):
    target = write(tmp_path / "my table.csv")
    root = tmp_path / "my book"
    said = call(OPS, "new", root, "--data", tmp_path / "my table.csv", "--target", target, "--yes", cwd=tmp_path)
    assert task in said and check.check(root) == []
    said = call("make", "run", cwd=root)
    assert "in charge now" in said and (root / "reports/index.html").exists()
    evaluation = json.loads((root / "records/evaluation.json").read_text())
    assert evaluation["task"] == task
    call("make", "test", cwd=root)
    assert call("git", "status", "--porcelain", cwd=root).split() == ["??", "dvc.lock"]
    call("git", "add", "-A", cwd=root)
    call("git", "commit", "-qm", "First run", cwd=root)
    if task == "binary": opens(root)


def opens(root: Path) -> None:
    "`make lab` starts a JupyterLab on the workbook."
    process = subprocess.Popen(["make", "lab"], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, env={**os.environ, "BROWSER": "true"})
    try:
        until = time.monotonic() + 60
        while not lab.running(root):
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.3)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def test_two_people_and_their_clones(tmp_path):
    "Notebooks, params and locks merge; the table follows the commit."
    write_table(tmp_path / "orders.csv", days=60, a_day=20)
    anna, bert, store = tmp_path / "anna", tmp_path / "bert", tmp_path / "store"
    call(OPS, "new", anna, "--data", tmp_path / "orders.csv", "--target", "returned", "--yes", cwd=tmp_path)
    branch = call("git", "branch", "--show-current", cwd=anna).strip()
    call(BIN / "dvc", "remote", "add", "-q", "-d", "shared", store, cwd=anna)
    call("git", "commit", "-qam", "A remote", cwd=anna)
    call(BIN / "dvc", "push", "-q", cwd=anna)
    call("git", "clone", "-q", anna, bert, cwd=tmp_path)
    shutil.copy(anna / "local.mk", bert)
    assert "look at what is committed" in call("make", "setup", cwd=bert)
    call(BIN / "dvc", "pull", "-q", cwd=bert, code=None)  # it ends with 1, since outputs of steps that never ran are in no remote

    def edited(root: Path, path: str, old: str, new: str) -> None:
        text = (root / path).read_text()
        assert old in text
        (root / path).write_text(text.replace(old, new))

    edited(anna, "nbs/steps/train.ipynb", "# Train\\n", "# Train, by Anna\\n")
    edited(anna, "params/train.yaml", "max_iter: 200", "max_iter: 50")
    lines = (anna / "data/source/orders.csv").read_text().splitlines()
    (anna / "data/source/orders.csv").write_text("\n".join(lines[:-5]) + "\n")
    call(BIN / "dvc", "add", "-q", "data/source/orders.csv", cwd=anna)
    call(OPS, "add", "summer", cwd=anna)
    call("git", "add", "-A", cwd=anna)
    call("git", "commit", "-qm", "Anna's", cwd=anna)
    call(BIN / "dvc", "push", "-q", cwd=anna)

    edited(bert, "nbs/steps/train.ipynb", "# Record", "# Record, by Bert")
    edited(bert, "params/train.yaml", "learning_rate: 0.05", "learning_rate: 0.2")
    call(OPS, "add", "winter", cwd=bert)
    call("git", "add", "-A", cwd=bert)
    call("git", "commit", "-qm", "Bert's", cwd=bert)
    call("git", "fetch", "-q", cwd=bert)
    call("git", "merge", "-q", "--no-edit", f"origin/{branch}", cwd=bert)
    source = (bert / "nbs/steps/train.ipynb").read_text()
    assert "by Anna" in source and "by Bert" in source and json.loads(source)
    told = (bert / "params/train.yaml").read_text()
    assert "max_iter: 50" in told and "learning_rate: 0.2" in told
    assert check.check(bert) == [] and {"summer", "winter"} <= set(check.stages(bert))
    call(BIN / "dvc", "pull", "-q", cwd=bert, code=None)
    assert (bert / "data/source/orders.csv").read_text() == (anna / "data/source/orders.csv").read_text()
    call("git", "checkout", "-q", "HEAD~1", cwd=bert)
    assert (bert / "data/source/orders.csv").read_text().splitlines() == lines  # the hook brought what belongs to the commit


def test_a_command_that_is_killed_leaves_nothing_but_what_the_next_clears(tmp_path):
    write_table(tmp_path / "orders.csv", days=60, a_day=20)
    words = [OPS, "new", str(tmp_path / "books/mine"), "--data", str(tmp_path / "orders.csv"), "--target", "returned", "--yes"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    hidden = tmp_path / "books/.mine.new"
    while not (hidden / "params").exists(): assert process.poll() is None
    process.kill()
    process.wait()
    assert [p.name for p in (tmp_path / "books").iterdir()] == [hidden.name]
    call(*words, cwd=tmp_path)
    assert [p.name for p in (tmp_path / "books").iterdir()] == ["mine"] and check.check(tmp_path / "books/mine") == []


def test_at_a_terminal_the_open_questions_are_asked(tmp_path):
    "Two columns of times: a person says which."
    rng = random.Random(1)
    with open(tmp_path / "trips.csv", "w") as file:
        file.write("booked,left,seats,late\n")
        for i in range(1500):
            file.write(f"2024-{1 + i // 250:02d}-{1 + i % 28:02d} 10:00,2024-{2 + i // 250:02d}-{1 + i % 27:02d} 08:00,{rng.randint(1, 4)},{rng.choice(['yes', 'no'])}\n")
    here, there = pty.openpty()
    words = [OPS, "new", str(tmp_path / "mine"), "--data", str(tmp_path / "trips.csv"), "--target", "late"]
    process = subprocess.Popen(words, stdin=there, stdout=there, stderr=there, close_fds=True, start_new_session=True)
    os.close(there)
    seen, answered = "", 0
    while process.poll() is None:
        if select.select([here], [], [], 0.2)[0]:
            try: seen += os.read(here, 4096).decode(errors="replace")
            except OSError: break
        if seen.count("Your answer") > answered:
            os.write(here, b"nonsense\n" if not answered else b"left\n" if "left" in seen.rsplit("Which", 1)[-1] else b"\n")
            answered += 1
    assert process.wait(60) == 0, seen
    assert "is none of them" in seen and "time: left" in (tmp_path / "mine/params/prepare.yaml").read_text(), seen


def test_a_file_that_is_no_table_ends_with_words_and_without_a_traceback(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\x00\x01\x02" * 100)
    said = call(OPS, "new", tmp_path / "mine", "--data", tmp_path / "a.csv", "--target", "x", cwd=tmp_path, code=1)
    assert "Traceback" not in said and "✗" in said and not (tmp_path / "mine").exists() and sys.prefix not in said
