"Whatever stops a run: one message, no process left, the result of the run before untouched."
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from model_ops.errors import StepError
from model_ops.workbook import engine
from model_ops.workbook.engine import execute


def write(path, *sources):
    cells = [{"cell_type": "code", "id": f"c{i}", "metadata": {}, "source": s, "outputs": [], "execution_count": None} for i, s in enumerate(sources)]
    path.write_text(json.dumps({"cells": cells, "metadata": {"kernelspec": {"name": "python3", "language": "python", "display_name": "P"}}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def living(mark):
    "Processes with MARK=mark in their environment, from /proc where there is one."
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"MARK={mark}".encode() in (entry / "environ").read_bytes() and "Z" not in (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]:
                found.append(int(entry.name))
        except OSError:
            pass
    return found


@pytest.fixture
def fails(tmp_path):
    "Run a notebook that fails; returns the error, after looking at what every failure must leave."
    def run(*sources, **options):
        out, failed, mark = tmp_path / "out.ipynb", tmp_path / "failed" / "train.ipynb", f"{os.getpid()}-{time.monotonic_ns()}"
        out.write_text("the run before")
        with pytest.raises(StepError) as caught:
            execute(write(tmp_path / "train.ipynb", *sources), out, quiet=True, env={"MARK": mark, **options.pop("env", {})}, events=tmp_path / "e.jsonl", failed_to=failed, **options)
        e = caught.value
        assert out.read_text() == "the run before" and living(mark) == []
        assert e.step == "train" and e.exit_code != 0 and "did not start" in str(e) or "model-ops debug train" in e.todo
        events = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
        assert events[-1]["event"] == "failed" and events[-1]["error"] == e.error and events[-1]["value"][:900] == e.value[:900]
        if e.cell is not None:
            cell = json.loads(failed.read_text())["cells"][e.cell]
            assert cell["id"] == e.cell_id and any(o.get("ename") == e.error for o in cell["outputs"]) and events[-2]["event"] == "cell failed" and events[-2]["cell"] == e.cell
            assert all(c["outputs"] == [] for c in json.loads(failed.read_text())["cells"][e.cell + 1:])
            e.outputs = cell["outputs"]
        return e
    return run


def test_a_cell_that_raises(fails):
    e = fails("x = 1", "def f(a):\n    # deep\n    return a['missing']\n\nprint('before')\n\n\nf({})", "print('never')")
    assert (e.cell, e.cell_id, e.error, e.value, e.line, e.exit_code) == (1, "c1", "KeyError", "'missing'", 8, 1)
    assert "failed in cell 2 of 3 (def f(a)):" in str(e) and "→ 8  f({})" in str(e) and "KeyError: 'missing'" in str(e)
    assert e.outputs[0]["text"] == ["before\n"]


@pytest.mark.parametrize("source", ["if True print(1)", "import sys; sys.exit(0)", "raise ValueError('x' * 5_000_000)"])
def test_other_ways_to_raise(fails, source):
    e = fails(source)
    assert e.error in ("SyntaxError", "SystemExit", "ValueError") and len(str(e)) < 3000


@pytest.mark.parametrize("source, said", [("print('last words', flush=True)\nimport os, time; time.sleep(0.5); os._exit(0)", "ended by itself with exit code 0"), ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "memory ran out"),
                                          ("import ctypes; ctypes.string_at(0)", "SIGSEGV")])
def test_a_kernel_that_dies(fails, source, said):
    start = time.monotonic()
    e = fails("1", source, "2")
    assert e.error == "DeadKernel" and said in e.value and e.cell == 1 and time.monotonic() - start < 30
    if "last words" in source:
        assert e.outputs[0]["text"] == ["last words\n"]
    if "ctypes" in source:
        assert "Segmentation fault" in "\n".join(e.outputs[-1]["traceback"])  # the crash dump


def test_a_cell_over_its_limit_is_interrupted_and_may_clean_up(fails, tmp_path):
    e = fails("import time, pathlib\ntry: time.sleep(60)\nfinally: pathlib.Path('cleaned').touch()", cell_timeout=1)
    assert e.error == "TimeLimit" and "longer than its limit of 1.0 s" in e.value and "--cell-timeout 2" in e.todo and "MODEL_OPS_CELL_TIMEOUT" in e.todo
    assert (tmp_path / "cleaned").exists() and [o["ename"] for o in e.outputs] == ["KeyboardInterrupt", "TimeLimit"] and e.line in (2, 3)


@pytest.mark.slow
def test_a_step_over_its_limit_in_a_cell_that_cannot_be_interrupted(fails, monkeypatch):
    monkeypatch.setattr(engine, "GRACE", 0.5)
    monkeypatch.setenv("MODEL_OPS_STEP_TIMEOUT", "2.5")
    e = fails("import signal, time, subprocess\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nsubprocess.Popen(['sleep', '60'])\nwhile True:\n    try: time.sleep(60)\n    except BaseException: pass")
    assert e.error == "TimeLimit" and "The step ran longer" in e.value and "--step-timeout 5" in e.todo


def test_a_kernel_that_does_not_start(fails):
    e = fails("1", env={"PYTHONHOME": "/nowhere"})
    assert e.error == "DeadKernel" and e.cell is None and "did not start" in str(e) and "encodings" in str(e)


def test_a_failed_notebook_that_cannot_be_saved_does_not_hide_the_failure(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StepError, match=r"(?s)ZeroDivisionError.*could not be saved"):
        execute(write(tmp_path / "train.ipynb", "1/0"), tmp_path / "out.ipynb", quiet=True, failed_to=tmp_path / "file" / "failed.ipynb")


PROGRAM = """
import sys
from model_ops.errors import StepError
from model_ops.workbook.engine import execute
try: execute("train.ipynb", "out.ipynb", failed_to="failed.ipynb", events="e.jsonl")
except StepError as e:
    print(e)
    sys.exit(e.exit_code)
"""


@pytest.mark.parametrize("sent, code, error", [(signal.SIGINT, 130, "KeyboardInterrupt"), (signal.SIGTERM, 143, "Terminated")])
def test_ctrl_c_and_sigterm(tmp_path, sent, code, error):
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    write(tmp_path / "train.ipynb", "import subprocess, time\nchild = subprocess.Popen(['sleep', '60'])\nprint('working', flush=True)\ntime.sleep(60)")
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=tmp_path, env={**os.environ, "MARK": mark}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while len(living(mark)) < 3 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)  # this program, the kernel, the kernel's child
    assert len(living(mark)) == 3
    process.send_signal(sent)
    said, progress = process.communicate(timeout=30)
    assert process.returncode == code and "cell 1 of 1" in said and "Traceback" not in said + progress and "failed after" in progress
    assert living(mark) == []
    errors = [o["ename"] for o in json.loads((tmp_path / "failed.ipynb").read_text())["cells"][0]["outputs"] if o["output_type"] == "error"]
    assert errors[0] == "KeyboardInterrupt" and errors[-1] == error and not (tmp_path / "out.ipynb").exists()


@pytest.mark.slow
def test_killed_without_a_chance_leaves_an_event_log_and_no_kernel(tmp_path):
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    write(tmp_path / "train.ipynb", "1", "import time; time.sleep(60)")
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=tmp_path, env={**os.environ, "MARK": mark}, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until and not ((tmp_path / "e.jsonl").exists() and '"number": 2' in (tmp_path / "e.jsonl").read_text()):
        time.sleep(0.05)
    process.kill()
    process.wait()
    while living(mark) and time.monotonic() < until:
        time.sleep(0.1)
    assert living(mark) == [] and (tmp_path / "e.jsonl").read_text().count("\n") >= 3


# A process's own peak in kB (the one that getrusage tells may be that of the process that started it).
PEAK = "int(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_cell_that_prints_without_end_fills_no_memory(tmp_path):
    write(tmp_path / "train.ipynb", "for i in range(150): print('x' * 1_000_000)", PEAK)
    code = f"from model_ops.workbook.engine import execute\nexecute('train.ipynb', 'out.ipynb', quiet=True)\nprint({PEAK})"
    ours = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    kernel = "".join(json.loads((tmp_path / "out.ipynb").read_text())["cells"][1]["outputs"][0]["data"]["text/plain"])
    assert int(ours) < 400_000 and int(kernel) < 300_000


@pytest.mark.slow
def test_a_kernel_that_runs_out_of_memory(fails):
    e = fails("import resource, os, signal\nheld = bytearray(400_000_000)\nimport time; time.sleep(2.5)\nos.kill(os.getpid(), signal.SIGKILL)")
    assert "memory ran out" in e.value and (not Path("/proc/self/status").exists() or "0.4 GiB" in e.value or "0.5 GiB" in e.value)
