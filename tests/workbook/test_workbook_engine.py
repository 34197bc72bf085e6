"The engine at work: the same bytes, nothing lost, nothing given away."
import asyncio
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from model_ops.errors import ParameterError, SettingsError, StepError
from model_ops.workbook.engine import execute

PYTHON = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python"}}
CANARY = "c4n'ary/50%"


@pytest.fixture
def notebook(tmp_path):
    "Write a notebook: Markdown starts with '# ', a first cell of annotated names is tagged parameters."
    def write(*sources, metadata=PYTHON, tags=None, name="train.ipynb", minor=5):
        cells = []
        for i, source in enumerate(sources):
            kind = "markdown" if source.startswith("# ") and "\n" not in source else "code"
            cell = {"cell_type": kind, "id": f"c{i}", "metadata": {"tags": (tags or {}).get(i, ["parameters"] if i == 0 and ": " in source else [])}, "source": source}
            cells.append(cell | ({"outputs": [], "execution_count": None} if kind == "code" else {}))
            if minor < 5:
                del cells[-1]["id"]
        path = tmp_path / name
        path.write_text(json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": minor}))
        return path
    return write


def read(path):
    return json.loads(Path(path).read_text())


def outputs(path):
    "All outputs, as texts."
    return ["".join(o.get("text") or o.get("data", {}).get("text/plain", "")) for c in read(path)["cells"] for o in c.get("outputs", [])]


def cells_of(log):
    return [json.loads(line) for line in Path(log).read_text().splitlines()]


def test_the_same_inputs_give_the_same_bytes_and_times_are_in_the_event_log(notebook, tmp_path):
    path = notebook("rows: int = 3", "# Printing", "import sys\nfor i in range(rows):\n    print(i, flush=True); print('warn', i, file=sys.stderr, flush=True)\ndisplay(rows)\nprint('after')\nset('abcdefgh')",
                    "# shown twice\nfrom IPython.display import update_display\nh = display('first', display_id='x')", "update_display('second', display_id='x')", "", minor=4)
    runs = [execute(path, tmp_path / f"{i}.ipynb", parameters={"rows": 4}, quiet=True, events=tmp_path / f"{i}.jsonl") for i in range(2)]
    assert runs[0].path.read_bytes() == runs[1].path.read_bytes()
    text = runs[0].path.read_text()
    assert "papermill" not in text and "start_time" not in text and "iopub" not in text and sys.version.split()[0] not in text
    cells = read(runs[0].path)["cells"]
    assert [c["id"] for c in cells] == ["cell-0", "injected-parameters", "cell-1", "cell-2", "cell-3", "cell-4", "cell-5"]
    kinds = [(o.get("name"), o["output_type"]) for o in cells[3]["outputs"]]
    assert kinds == [("stdout", "stream"), ("stderr", "stream"), (None, "display_data"), ("stdout", "stream"), (None, "execute_result")]
    assert "".join(cells[3]["outputs"][0]["text"]) == "0\n1\n2\n3\n" and outputs(runs[0].path)[5] == "'second'"
    events = cells_of(tmp_path / "0.jsonl")
    assert [e["event"] for e in events] == ["started", *["cell started", "cell finished"] * 5, "finished"] and events[0]["cells"] == 5
    assert events[6]["title"] == "Printing" and events[6]["cell"] == 3 and events[6]["id"] == "cell-2" and all(e["seconds"] >= 0 for e in events if "finished" in e["event"])
    assert [c.title for c in runs[0].cells] == ["rows: int = 3", "Parameters", "Printing", "shown twice", "Printing"] and runs[0].seconds > 0


def test_a_secret_is_nowhere(notebook, tmp_path, monkeypatch):
    monkeypatch.delenv("CANARY", raising=False)
    code = ["password: str = ''", "import os, sys, json, base64, urllib.parse\nvalue = os.environ[password.removeprefix('env:')]",
            "for c in value: print(c, end='', flush=True)\nprint(); print(repr(value), file=sys.stderr)\nos.write(1, value.encode())",
            "from IPython.display import HTML, JSON\nimport html\ndisplay(HTML(f'<b title=\"{html.escape(value)}\">'), JSON({'k': [value]}), metadata={'note': value})\n{'url': urllib.parse.quote(value, safe=''), 'b': base64.b64encode(value.encode())}",
            f"# connect with {CANARY}\nraise ValueError(f'no access with {{value}}')"]
    log = io.StringIO()
    with pytest.raises(StepError) as caught:
        execute(notebook(*code), tmp_path / "out.ipynb", parameters={"password": "env:CANARY"}, secrets={"CANARY": CANARY}, log=log, log_output=True, events=tmp_path / "e.jsonl", failed_to=tmp_path / "failed.ipynb")
    e = caught.value
    for text in (Path(e.failed).read_text(), Path(tmp_path / "e.jsonl").read_text(), log.getvalue(), str(e), repr(e.facts), e.source):
        assert "ary/50" not in text and "ary%2F50" not in text and "ary/50" not in json.dumps(text), text
    assert '\'env:CANARY\'' in Path(e.failed).read_text() or 'env:CANARY' in "".join(read(e.failed)["cells"][1]["source"])
    assert e.value == "no access with ‹env:CANARY›" and "connect with ‹env:CANARY›" in log.getvalue()
    assert outputs(e.failed)[0].startswith("‹env:CANARY›\n") and e.__cause__ is None


def test_nothing_that_is_printed_or_shown_is_lost_and_an_overflow_says_so(notebook, tmp_path):
    late = "import sys, threading, time\nparent = get_ipython().get_parent()\ndef work():\n    getattr(sys.stdout, 'set_thread_parent', print)(parent); time.sleep(0.2); print('late')\nthreading.Thread(target=work).start()"
    path = notebook("for i in range(5_000): print(i, flush=True)", "for i in range(1_500): display(i)", "for i in range(30): print('x'*99_999)", "import subprocess; _ = subprocess.run(['seq', '50000'])",
                    late, "time.sleep(0.6)")
    done = execute(path, tmp_path / "out.ipynb", quiet=True, events=tmp_path / "e.jsonl")
    cells = read(done.path)["cells"]
    assert "".join(cells[0]["outputs"][0]["text"]) == "".join(f"{i}\n" for i in range(5_000)) and len(cells[0]["outputs"]) == 1
    assert [o["data"]["text/plain"] for o in cells[1]["outputs"]] == [[str(i)] for i in range(1_500)]
    printed = "".join(cells[2]["outputs"][0]["text"])
    assert len(printed) < 1_000_100 and "‹2,000,000 characters cut here: a cell keeps 1,000,000›" in printed
    assert "".join(cells[3]["outputs"][0]["text"]).split() == [str(i) for i in range(1, 50_001)]
    assert cells[4]["outputs"][0]["text"] == ["late\n"] and cells[5]["outputs"] == []  # from a thread, after its cell had ended
    assert [e["cut"] for e in cells_of(tmp_path / "e.jsonl") if e["event"] == "cell finished"] == [0, 0, 2_000_000, 0, 0, 0]


def test_a_step_has_its_folder_its_python_its_environment_and_leaves_nothing(notebook, tmp_path, monkeypatch, capfd):
    temporary = Path(tempfile.mkdtemp(prefix="t"))  # short: a socket's path has its limit
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    path = notebook("import os, sys\nos.getcwd(), sys.executable, os.environ['COLOUR'], os.environ['IPYTHONDIR'].startswith(os.environ['BASE'])", "raise KeyError('allowed')", "1/0", "input()", tags={1: ["raises-exception"], 2: ["skip-execution"], 3: ["raises-exception"]},
                    metadata={"kernelspec": {"name": "somebody-elses-kernel", "language": "python", "display_name": "Mine"}})
    done = execute(path, tmp_path / "out.ipynb", env={"COLOUR": "blue", "BASE": str(temporary)}, log=io.StringIO())
    assert eval(outputs(done.path)[0]) == (str(tmp_path), sys.executable, "blue", True)
    assert read(done.path)["metadata"]["kernelspec"]["name"] == "somebody-elses-kernel" and len(done.cells) == 3
    assert list(temporary.iterdir()) == []
    assert capfd.readouterr() == ("", "")  # not a word of the kernel's own


def test_from_inside_a_running_event_loop(notebook, tmp_path):
    async def from_a_notebook():
        return execute(notebook("1 + 1"), tmp_path / "out.ipynb", quiet=True)
    assert outputs(asyncio.run(from_a_notebook()).path) == ["2"]


@pytest.mark.parametrize("text, said", [(None, "There is no notebook"), ("", "is no notebook"), ('{"cells": [\n<<<<<<< HEAD\n', "merge conflict"), ("[]", "no notebook of the present format")])
def test_what_is_no_notebook(tmp_path, text, said):
    if text is not None:
        (tmp_path / "train.ipynb").write_text(text)
    with pytest.raises(StepError, match=said):
        execute(tmp_path / "train.ipynb", tmp_path / "out.ipynb", quiet=True)


def test_wrong_limits_and_short_secrets_stop_before_a_kernel_starts(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_OPS_CELL_TIMEOUT", "soon")
    with pytest.raises(SettingsError, match="MODEL_OPS_CELL_TIMEOUT is 'soon'"):
        execute(notebook("1"), tmp_path / "out.ipynb", quiet=True)
    with pytest.raises(ParameterError, match="env:PIN"):
        execute(notebook("1"), tmp_path / "out.ipynb", secrets={"PIN": "12"}, quiet=True)


def test_a_result_that_cannot_be_written(notebook, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StepError, match=r"ran, but .* could not be written"):
        execute(notebook("1"), tmp_path / "file" / "out.ipynb", quiet=True)


def test_importing_the_entry_point_imports_almost_nothing():
    code = "import sys; before = set(sys.modules); import model_ops.workbook.engine; print(*{m.split('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["model_ops"]


def papermill(*words, **env):
    return subprocess.run([sys.executable, "-m", "papermill", *map(str, words), "--engine", "model_ops"], capture_output=True, text=True, env={**os.environ, **env}, timeout=120)


def test_plain_papermill_with_this_engine(notebook, tmp_path):
    path, printed = notebook("rows: int = 3\npassword: str = ''", "import os\nprint(rows, os.environ[password[4:]])"), tmp_path / "printed"
    done = papermill(path, tmp_path / "out.ipynb", "-p", "rows", 4, "-p", "password", "env:CANARY", "--stdout-file", printed, CANARY=CANARY)
    assert done.returncode == 0, done.stderr
    assert outputs(tmp_path / "out.ipynb") == ["4 ‹env:CANARY›\n"] and printed.read_text() == "4 ‹env:CANARY›\n"
    assert "done  3 cells" in done.stderr and "Executing" not in done.stderr.replace("Executing notebook", "") and CANARY not in (tmp_path / "out.ipynb").read_text()


def test_plain_papermill_keeps_its_own_error_for_a_cell_that_raises(notebook, tmp_path):
    done = papermill(notebook("x: int = 1", "1 / 0", "print('never')"), tmp_path / "out.ipynb", "--no-progress-bar", "--log-output")
    assert done.returncode == 1 and "PapermillExecutionError" in done.stderr and "ZeroDivisionError" in done.stderr
    assert "never" not in "".join(outputs(tmp_path / "out.ipynb")) and any(o.get("ename") == "ZeroDivisionError" for c in read(tmp_path / "out.ipynb")["cells"] for o in c.get("outputs", []))


@pytest.mark.slow
def test_papermill_options_have_their_effect(notebook, tmp_path):
    import papermill
    out = str(tmp_path / "out.ipynb")
    path = notebook("rows: int = 3", "import time; time.sleep(1.1)\nprint('saved', 'so far')", f"'saved so far' in open({out!r}).read()")
    papermill.execute_notebook(str(path), out, engine_name="model_ops", autosave_cell_every=1, progress_bar=False)
    assert outputs(out)[-1] == "True"
    with pytest.raises(StepError, match="limit of 0.5 s"):
        papermill.execute_notebook(str(path), out, engine_name="model_ops", execution_timeout=0.5, progress_bar=False)
    assert any(o.get("ename") == "TimeLimit" for c in read(out)["cells"] for o in c.get("outputs", []))
