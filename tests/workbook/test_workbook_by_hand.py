"""`%step`, what stands in for the pipeline's files, the comparison with the champion, and params files that are written."""
import json
import os
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings as told_to_hypothesis
from hypothesis import strategies as st

from model_ops import params
from model_ops.errors import ParameterError, StepError
from model_ops.settings import Settings
from model_ops.workbook import check, here, history, magic, pipeline

TRAIN = ["size: int = 1  # of the model", "from model_ops.records import Record\nfrom model_ops.workbook.here import take\nstep = take('train', writes=['package'], record='records/train.json', metrics='metrics/train.json')\nstep",
         "folder = step.write('package')\nfolder.mkdir(exist_ok=True)\n(folder/'manifest.json').write_text('{\"digest\": \"made\"}')", "step.finish(Record(summary=f'Size {size}.'), {'roc_auc': 0.7})"]
JUDGE = ["goal: float = 0.5  # to reach\nslices: list[str] = ['a']  # columns",
         "import json\nfrom model_ops.records import Record\nfrom model_ops.workbook.here import take\nstep = take('evaluate', reads=['package', 'opponent/pin.json'], record='records/evaluation.json', metrics='metrics/evaluate.json')\nstep",
         "# Who competes\ndigest = json.loads(step.read('package/manifest.json').read_text())['digest']\nopponent = json.loads(step.read('opponent/pin.json').read_text())['opponent']\n1 / goal",
         "step.finish(Record(summary=f'{digest} against {opponent}.'), {'roc_auc': goal})"]


class Asked:
    "A ledger in which version 3 is in charge."
    def __init__(self, url): pass
    def champion(self): return type("Entry", (), {"champion": "c0ffee"})
    def version(self, digest): return 3


def write(root, step, sources):
    "A step's notebook; its first cell holds the parameters."
    cells = [{"cell_type": "code", "id": f"c{i}", "metadata": {"tags": [] if i else ["parameters"]}, "source": s, "outputs": [], "execution_count": None} for i, s in enumerate(sources)]
    nb = {"cells": cells, "metadata": {"kernelspec": {"name": "python3", "language": "python", "display_name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}
    (root/f"nbs/steps/{step}.ipynb").write_text(check.as_text(check.stripped(nb)))


@pytest.fixture
def book(tmp_path, monkeypatch):
    "A workbook of two steps, whose pipeline ran an hour ago, opened in a notebook's folder."
    for folder in ("nbs/steps", "params", "package", "opponent", "records", "scratch"): (tmp_path/folder).mkdir(parents=True)
    (tmp_path/"settings.ini").write_text("[workbook]\nname = demo\n")
    write(tmp_path, "train", TRAIN)
    write(tmp_path, "evaluate", JUDGE)
    (tmp_path/"params/evaluate.yaml").write_text("goal: 0.5\nslices: [a]\n")
    (tmp_path/"package/manifest.json").write_text('{"digest": "old"}')
    (tmp_path/"opponent/pin.json").write_text('{"opponent": null}')
    for path in tmp_path.rglob("*"): os.utime(path, (time.time() - 3600,) * 2)
    monkeypatch.setenv("MODEL_OPS_ROOT", str(tmp_path))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path/"jupyter"))
    for name in (here.SCRATCH, here.TOLD, here.VARIABLE): monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path/"nbs/steps")
    return Settings.load()


def made_by_hand(root, digest="made"):
    (root/"scratch/train/package").mkdir(parents=True)
    (root/"scratch/train/package/manifest.json").write_text(json.dumps({"digest": digest}))


def declares(book): return here.declared(book.path("nbs/steps/evaluate.ipynb"))


# ---------------------------------------------------------------- what stands in

def test_what_was_made_by_hand_later_stands_in_and_nothing_else(book):
    assert here.stand_ins(declares(book), book) == {}
    made_by_hand(book.root)
    found = here.stand_ins(declares(book), book)
    assert set(found) == {"package"} and found["package"].path == "scratch/train/package"
    assert found["package"].why.startswith("reads scratch/train/package, made by hand at ")
    os.utime(book.path("package/manifest.json"))  # and then the pipeline ran
    os.utime(book.path("scratch/train/package/manifest.json"), (time.time() - 10,) * 2)
    assert here.stand_ins(declares(book), book) == {}


def test_a_plain_run_by_hand_reads_the_pipelines_files(book, monkeypatch):
    made_by_hand(book.root)
    step = here.take("evaluate", reads=["package", "opponent/pin.json"], namespace={})
    assert step.read("package/manifest.json") == book.path("package/manifest.json")
    monkeypatch.setenv(here.SCRATCH, "1")
    step = here.take("evaluate", reads=["package", "opponent/pin.json"], namespace={})
    assert step.read("package/manifest.json") == book.path("scratch/train/package/manifest.json") and step.strip()[1].startswith("reads scratch/train/package")
    with pytest.raises(StepError, match="does not declare"): step.read("package2")


def test_the_champion_in_charge_is_the_opponent(book, monkeypatch):
    monkeypatch.setattr(history, "LEDGER", f"{__name__}:Asked")
    (book.store/"c0ffee").mkdir(parents=True)
    (book.store/"c0ffee/manifest.json").write_text('{"digest": "c0ffee"}')
    found = here.stand_ins(declares(book), book)["opponent/pin.json"]
    assert json.loads(book.path(found.path).read_text()) == {"opponent": "c0ffee"} and "version 3" in found.why
    assert json.loads((book.path(found.path).parent/"package/manifest.json").read_text())["digest"] == "c0ffee"
    assert json.loads(book.path("opponent/pin.json").read_text()) == {"opponent": None}
    book.path("opponent/pin.json").write_text('{"opponent": "c0ffee"}')  # the files name it already
    assert here.stand_ins(declares(book), book) == {}


def test_a_ledger_that_cannot_be_read_is_said_below_the_comparison(book):
    (book.root/"ledger.db").write_text("no database, but long enough to be taken for one " * 20)
    namespace = {"goal": 0.5, "slices": ["a"]}
    step = here.take("evaluate", reads=["package"], record="records/evaluation.json", namespace=namespace)
    from model_ops.records import Record
    assert "Without the champion: " in step.finish(Record(summary="…"), {"roc_auc": 0.5}).note


# ---------------------------------------------------------------- %step

def in_a_kernel(book, *sources):
    "Run cells as JupyterLab does; for each what it showed, in words, its errors included."
    code = """
import json, sys
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="python3")
found = []
for source in json.load(sys.stdin):
    shown = []
    def hook(m):
        c = m["content"]
        if "data" in c: shown.append(c["data"])
        if m["msg_type"] == "error": shown.append({"error": "\\n".join(c["traceback"])})
        if m["msg_type"] == "stream": shown.append({"text/plain": c["text"]})
    client.execute_interactive(source, output_hook=hook, timeout=100)
    found.append(shown)
client.stop_channels()
manager.shutdown_kernel(now=True)
print(json.dumps(found))
"""
    env = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(sources), capture_output=True, text=True, cwd=book.path("nbs/steps"), env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def words(shown): return "\n".join(part.get("text/plain", part.get("error", "")) for part in shown)


@pytest.mark.slow
def test_a_step_is_run_from_a_notebook_with_progress_result_and_comparison(book):
    made_by_hand(book.root)
    before = {p: p.read_bytes() for p in book.root.rglob("*") if p.is_file() and "scratch" not in p.parts}
    load, ran, again, fresh, wrong, missing, failed, typo = in_a_kernel(book, "%load_ext model_ops.workbook.magic", "%step evaluate --set goal=0.25", "%step evaluate --set goal=0.75", "%step evaluate --fresh",
                                                                        "%step evaluate --set gaol=1", "%step evaluat", "%step evaluate --set goal=0", "%step evaluate --fast")
    assert words(load) == ""
    lines = [part["text/plain"] for part in ran]
    assert lines[0] == "evaluate  its kernel starts" and any("2/4" in line for line in lines) and any("done  4 cells in" in line for line in lines)
    assert "made against None." in ran[-1]["text/html"] and any("<progress" in part["text/html"] for part in ran)
    assert "+0.500 better" in words(again) and "goal | 0.75 | 0.25" in words(again)
    assert "old against None." in fresh[-1]["text/html"]
    for shown, said in ((wrong, "goal"), (missing, "'evaluate'"), (typo, "It is written %step")):
        assert said in words(shown) and "Traceback" not in words(shown) and len(words(shown).splitlines()) < 4
    last = failed[-2]["text/html"]
    assert "ZeroDivisionError" in last and "Who competes" in last and 'href="../../scratch/debug/evaluate-by-hand.ipynb#cell-id=c2"' in last
    assert words(failed[-1:]) == "The step 'evaluate' failed in the cell 'Who competes': ZeroDivisionError: float division by zero"
    reopened = json.loads(book.path("scratch/debug/evaluate-by-hand.ipynb").read_text())["cells"]
    assert reopened[1]["source"].splitlines()[1:] == ["%env MODEL_OPS_SCRATCH=1", "goal = 0"] and [c["id"] for c in reopened] == ["c0", "as-told", "c1", "failed-run", "c2", "c3"]
    assert before == {p: p.read_bytes() for p in book.root.rglob("*") if p.is_file() and "scratch" not in p.parts and "jupyter" not in p.parts}


@pytest.mark.slow
def test_interrupting_the_cell_stops_the_step(book):
    from jupyter_client.manager import start_new_kernel
    write(book.root, "evaluate", [*JUDGE[:2], "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(100)"])
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(book.path("nbs/steps")))
    shown, pid = [], book.path("nbs/steps/pid")
    try:
        def hook(m):
            if "text/plain" in (data := m["content"].get("data", {})): shown.append(data["text/plain"])
            if any("3/3" in line for line in shown) and pid.exists() and pid.read_text() and "done" not in seen:
                seen.append("done")
                manager.interrupt_kernel()
        seen = []
        client.execute_interactive("%load_ext model_ops.workbook.magic", timeout=60)
        reply = client.execute_interactive("%step evaluate", output_hook=hook, timeout=60)["content"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert reply["status"] == "error" and "KeyboardInterrupt" in reply["traceback"][-1] and len(reply["traceback"]) == 1
    with pytest.raises(ProcessLookupError): os.kill(int(pid.read_text()), 0)


def test_what_the_pipeline_runs_may_not_call_it(book, monkeypatch):
    monkeypatch.setenv(here.VARIABLE, "train")
    with pytest.raises(StepError, match="the pipeline runs"): magic.step("evaluate")
    write(book.root, "train", [*TRAIN, "%step evaluate"])
    assert any("%step" in f.what for f in check.check(book.root))


def test_a_step_that_failed_in_the_pipeline_is_shown_with_its_cell(book):
    error = {"output_type": "error", "ename": "KeyError", "evalue": "'<b>age</b>'", "traceback": ["Cell In[3], line 2\n"]}
    nb = json.loads(book.path("nbs/steps/evaluate.ipynb").read_text())
    nb["cells"][2] |= {"outputs": [error], "execution_count": 3}
    book.path("runs/failed").mkdir(parents=True)
    book.path("runs/failed/evaluate.ipynb").write_text(json.dumps(nb))
    shown = here.said("evaluate")
    html = shown._repr_mimebundle_()["text/html"]
    assert 'href="../../scratch/debug/evaluate.ipynb#cell-id=c2"' in html and "&lt;b&gt;age" in html and "→ 2  digest" in html
    assert shown._repr_mimebundle_()["text/plain"].startswith("The step 'evaluate' failed in the cell 'Who competes': KeyError")
    copy = book.path("scratch/debug/evaluate.ipynb")
    copy.write_text(copy.read_text() + "\n")  # somebody works in it
    os.utime(copy)
    magic.failure_of("evaluate", book.root)
    assert copy.read_text().endswith("\n\n")
    with pytest.raises(StepError, match="No failed run of 'train'"): magic.step("--failed train")


# ---------------------------------------------------------------- a form's choice, and params files

def test_a_choice_before_the_cells_are_run_holds_when_they_are(book):
    space = {}
    assert here.choose("evaluate", {"goal": 0.9}, space) is None and space["goal"] == 0.9
    space |= {"goal": 0.5, "slices": ["a"]}
    assert here.take("evaluate", namespace=space).own == {"goal": 0.9} and space["goal"] == 0.9
    assert here.choose("evaluate", {}, space).own == {} and space["goal"] == 0.5
    with pytest.raises(ParameterError, match="goal"): here.choose("evaluate", {"gaol": 1.0}, space)


def test_a_choice_of_one_notebook_is_not_anothers(book):
    one, other = {"goal": 0.5, "slices": ["a"]}, {"goal": 0.5, "slices": ["a"]}
    here.choose("evaluate", {"goal": 0.9}, one)
    assert here.take("evaluate", namespace=other).own == {}


VALUES = st.one_of(st.booleans(), st.integers(-10**9, 10**9), st.floats(allow_nan=False, allow_infinity=False), st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Co", "Cn"), exclude_characters="\ufeff\u2028\u2029\x85"), max_size=12),
                   st.sampled_from(["no", "yes", "on", "1e-3", "2024-01-01", "null", "~", "a: b", "# not", "0x1F", "", " x ", "[a", "1_000", "12:30", "=", "a\nb"]))


@told_to_hypothesis(deadline=None, max_examples=60)
@given(value=st.one_of(VALUES, st.lists(VALUES, max_size=3), st.dictionaries(st.sampled_from("abc"), st.one_of(VALUES, st.lists(VALUES, max_size=2)), max_size=3)), old=st.sampled_from(["[x, y]", "'x'", "5", "\n  - x\n  - y"]))
def test_what_is_written_is_read_back_and_the_rest_stays(tmp_path_factory, value, old):
    path = tmp_path_factory.mktemp("params")/"train.yaml"
    path.write_text(f"# The head.\nbefore: \"quoted\"   # kept\nkey: {old}\nafter:\n  - a  # kept too\n")
    pipeline.write_params(path, {"key": value})
    text = path.read_text()
    assert params.read_yaml(path) == {"before": "quoted", "key": value, "after": ["a"]}
    assert text.startswith("# The head.\nbefore: \"quoted\"   # kept\n") and text.endswith("after:\n  - a  # kept too\n")


def test_a_file_of_comments_keeps_them(tmp_path):
    path = tmp_path/"train.yaml"
    path.write_text("# What it is told.\n")
    pipeline.write_params(path, {"size": 2})
    assert path.read_text() == "# What it is told.\nsize: 2\n"


# ---------------------------------------------------------------- pages

def test_pages_hold_neither_outputs_nor_the_state_of_widgets(book):
    nb = {"cells": [{"cell_type": "code", "id": "a", "metadata": {"trusted": True}, "source": "1", "outputs": [{"output_type": "stream", "name": "stdout", "text": "x"}], "execution_count": 4}],
          "metadata": {"widgets": {"application/vnd.jupyter.widget-state+json": {}}}, "nbformat": 4, "nbformat_minor": 5}
    book.path("nbs/explore").mkdir()
    for path in ("nbs/explore/data.ipynb", "nbs/index.ipynb"): book.path(path).write_text(json.dumps(nb))
    said = [str(f) for f in check.check(book.root) if "holds" in f.what]
    assert said == [f"nbs/{p}.ipynb: holds outputs and the state of widgets; a page is committed without (mended by: model-ops check --fix)" for p in ("explore/data", "index")]
    check.check(book.root, fix=True)
    assert not [f for f in check.check(book.root) if "holds" in f.what]
    assert "widgets" not in json.loads(book.path("nbs/index.ipynb").read_text())["metadata"]
