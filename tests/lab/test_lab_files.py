"""What JupyterLab's save hook, diffs, hooks of git and the debug page do to files: with Jupyter's own contents managers and with real git."""
import asyncio
import inspect
import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from model_ops.errors import StepError
from model_ops.workbook import check, lab
from model_ops.workbook import git as gits

RAN = [{"output_type": "execute_result", "execution_count": 3, "data": {"text/plain": "<Model at 0x7f2a>", "text/html": "<svg></svg>"}, "metadata": {}}]


def cell(id: str, source: str, kind: str = "code", tags=(), outputs=(), **metadata) -> dict:
    "A cell of a notebook file."
    extra = {"execution_count": 3 if outputs else None, "outputs": list(outputs)} if kind == "code" else {}
    return {"cell_type": kind, "id": id, "metadata": {**({"tags": list(tags)} if tags else {}), **metadata}, "source": source, **extra}


def notebook(*cells: dict, **metadata) -> dict:
    "A notebook's JSON."
    spec = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return {"cells": list(cells), "metadata": {"kernelspec": spec, **metadata}, "nbformat": 4, "nbformat_minor": 5}


BASE = (cell("a", "# Größe", "markdown"), cell("b", "rows: int = 1  # how many\nseed: int = 2  # of it", tags=["parameters"]), cell("c", "z = rows + seed\nz", tags=["report"]), cell("d", "step.finish(z)"))


def changed(**sources: str) -> dict:
    "BASE with other sources, by cell id; an empty one takes the cell away."
    return notebook(*({**c, "source": sources.get(c["id"], c["source"])} for c in BASE if sources.get(c["id"]) != ""))


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    "A workbook without anything, and a person of its own for Jupyter and git."
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path/"jupyter"))
    monkeypatch.setenv("HOME", str(tmp_path/"home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "test@example.org")
    folder = tmp_path/"my workbook"
    for sub in ("nbs/steps", "runs/failed", "scratch", "home"):
        (folder/sub).mkdir(parents=True)
    (folder/"settings.ini").write_text("[workbook]\nname = demo\n")
    (folder/"pyproject.toml").write_text('[tool.nbdev]\nnbs_path = "nbs"\nlib_path = "demo"\nallowed_cell_metadata_keys = ["tags"]\njupyter_hooks = false\n')
    return folder


# ---------------------------------------------------------------- the save hook

def managers():
    from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager, LargeFileManager
    return [LargeFileManager, AsyncLargeFileManager]


@pytest.fixture(params=managers(), ids=lambda kind: kind.__name__)
def server(request, root):
    "Jupyter's contents manager, with the extension loaded into it; `folder` below the root, if other than it."
    def made(folder: str = "") -> SimpleNamespace:
        manager = request.param(root_dir=str(root/folder))
        lab._load_jupyter_server_extension(SimpleNamespace(contents_manager=manager, log=logging.getLogger("test")))
        def waited(result): return asyncio.run(result) if inspect.isawaitable(result) else result
        def save(path, nb): return waited(manager.save({"type": "notebook", "format": "json", "content": json.loads(json.dumps(nb))}, path))
        def get(path, **how): return waited(manager.get(path, **how))
        return SimpleNamespace(save=save, get=get, manager=manager, waited=waited)
    return made


@pytest.mark.parametrize("folder", ["", "nbs", "nbs/steps"])
def test_a_step_is_saved_as_it_is_committed(root, server, folder):
    "Wherever the server was started."
    path = root/"nbs/steps/train.ipynb"
    path.write_text(check.as_text(check.stripped(changed())))
    before = path.read_bytes()
    ran = notebook(*({**c, "metadata": {**c["metadata"], "trusted": True, "collapsed": False}, **({"outputs": RAN, "execution_count": 9} if c["cell_type"] == "code" else {})} for c in BASE), language_info={"version": "3.11"})
    server(folder).save(path.relative_to(root/folder).as_posix(), ran)
    assert path.read_bytes() == before


@pytest.mark.parametrize("path", ["nbs/index.ipynb", "nbs/explore/data.ipynb"])
def test_the_index_and_the_explorers_are_pages_too(root, server, path):
    "Without outputs, and without the state of their widgets."
    state = {"application/vnd.jupyter.widget-state+json": {"state": {"a1": {"model_name": "FloatSliderModel"}}}}
    (root/path).parent.mkdir(exist_ok=True)
    server().save(path, notebook(cell("a", "1 + 1", outputs=RAN), widgets=state))
    saved = json.loads((root/path).read_text())
    assert saved["cells"][0]["outputs"] == [] and list(saved["metadata"]) == ["kernelspec"]


def test_a_library_notebook_is_saved_as_nbdev_clean_would_leave_it(root, server):
    path = root/"nbs/data/source.ipynb"
    path.parent.mkdir()
    server().save("nbs/data/source.ipynb", notebook(cell("a", "1 + 1", outputs=RAN, collapsed=True), language_info={"version": "3.11"}))
    saved = path.read_bytes()
    only = json.loads(saved)["cells"][0]
    assert only["outputs"][0]["data"]["text/html"] == ["<svg></svg>"] and only["execution_count"] is None and only["outputs"][0]["execution_count"] is None and only["metadata"] == {}
    subprocess.run([Path(sys.executable).with_name("nbdev-clean"), "--fname", path], cwd=root, check=True, capture_output=True)
    assert path.read_bytes() == saved


@pytest.mark.parametrize("path", ["scratch/idea.ipynb", "idea.ipynb"])
def test_other_notebooks_of_a_workbook_are_saved_as_they_are(root, server, path):
    server().save(path, notebook(cell("a", "1 + 1", outputs=RAN)))
    assert json.loads((root/path).read_text())["cells"][0]["execution_count"] == 3


def test_outside_a_workbook_nothing_is_touched(root, server):
    (root/"settings.ini").unlink()
    server().save("nbs/steps/train.ipynb", notebook(cell("a", "1 + 1", outputs=RAN)))
    assert json.loads((root/"nbs/steps/train.ipynb").read_text())["cells"][0]["execution_count"] == 3


def test_other_files_are_untouched(root, server):
    one = server()
    one.waited(one.manager.save({"type": "file", "format": "text", "content": "a: 1\n"}, "nbs/steps/notes.txt"))
    assert (root/"nbs/steps/notes.txt").read_text() == "a: 1\n"


@pytest.mark.parametrize("path", ["runs/train.ipynb", "runs/failed/train.ipynb"])
def test_what_the_pipeline_wrote_is_read_only(root, server, path):
    from tornado.web import HTTPError
    (root/path).write_text(json.dumps(notebook(cell("a", "1 + 1", outputs=RAN))))
    before, one = (root/path).read_bytes(), server()
    for how in ({}, {"content": False}): assert one.get(path, **how)["writable"] is False
    with pytest.raises(HTTPError, match="Save Notebook As"): one.save(path, notebook(cell("a", "2 + 2")))
    assert (root/path).read_bytes() == before
    assert one.get("nbs", content=True)["writable"] is True


def test_an_output_that_is_a_link_into_a_cache_is_read_only_too(root, tmp_path):
    (tmp_path/"cache").mkdir()
    (tmp_path/"cache/ab12").write_text("{}")
    (root/"runs/train.ipynb").symlink_to(tmp_path/"cache/ab12")
    assert lab.role(root/"runs/train.ipynb") == "output"


# ---------------------------------------------------------------- trust

def test_trust_holds_for_a_notebook_as_it_was_signed(root):
    path = root/"runs/train.ipynb"
    path.write_text(json.dumps(notebook(cell("a", "1 + 1", outputs=RAN))))
    assert not lab.trusted(path)
    lab.trust(path)
    assert lab.trusted(path)
    path.write_text(path.read_text().replace("<svg>", "<svg onload='x'>"))
    assert not lab.trusted(path)


def test_where_signatures_cannot_be_kept_a_notebook_stays_untrusted(root, tmp_path, monkeypatch):
    (tmp_path/"a file").touch()
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path/"a file"/"below"))
    (root/"runs/train.ipynb").write_text(json.dumps(notebook(cell("a", "1 + 1", outputs=RAN))))
    lab.trust(root/"runs/train.ipynb")
    assert not lab.trusted(root/"runs/train.ipynb")


# ---------------------------------------------------------------- the failed run

def failed(root: Path) -> Path:
    "A failed run of `train`, injected parameters and all."
    error = {"output_type": "error", "ename": "ZeroDivisionError", "evalue": "division by zero", "traceback": ["…"]}
    cells = (BASE[0], BASE[1], cell("i", "# Parameters\nrows = 50\n", tags=["injected-parameters"], outputs=RAN), cell("c", "1/0", outputs=[error]), cell("d", "step.finish(z)"))
    (root/"nbs/steps/train.ipynb").write_text(json.dumps(changed()))
    path = root/"runs/failed/train.ipynb"
    path.write_text(json.dumps(notebook(*cells)))
    return path


def test_the_failed_run_is_copied_with_its_parameters_and_found_at_its_cell(root):
    before = failed(root).read_bytes()
    assert lab.failed_run("train", root) == "scratch/debug/train.ipynb#cell-id=c"
    copy = json.loads((root/"scratch/debug/train.ipynb").read_text())["cells"]
    assert [c["id"] for c in copy] == ["a", "b", "i", "failed-run", "c", "d"]
    assert copy[2]["source"] == "# The parameters of the failed run\nrows = 50\n"  # without papermill's head: a person runs it
    assert "scratch/train" in copy[3]["source"] and copy[4]["outputs"][0]["ename"] == "ZeroDivisionError"
    assert (root/"runs/failed/train.ipynb").read_bytes() == before
    assert lab.failed_run("train", root) == "scratch/debug/train.ipynb#cell-id=c"  # twice is once


def test_the_copy_is_trusted_where_the_run_is(root):
    source = failed(root)
    lab.failed_run("train", root)
    assert not lab.trusted(root/"scratch/debug/train.ipynb")
    lab.trust(source)
    lab.failed_run("train", root)
    assert lab.trusted(root/"scratch/debug/train.ipynb")


def test_a_run_that_was_stopped_between_cells_is_opened_at_its_head(root):
    failed(root)
    (root/"runs/failed/train.ipynb").write_text(json.dumps(changed()))
    assert lab.failed_run("train", root) == "scratch/debug/train.ipynb"


def test_what_cannot_be_opened_is_said_with_the_nearest_name(root):
    (root/"nbs/steps/train.ipynb").write_text("{}")
    for call in (lab.notebook_of, lab.failed_run):
        with pytest.raises(StepError, match="train"): call("trian", root)
        with pytest.raises(StepError, match="There is no step"): call("../train", root)
    with pytest.raises(StepError, match="No failed run of 'train'"): lab.failed_run("train", root)


# ---------------------------------------------------------------- git

def git(root: Path, *words: str, code: int = 0) -> str:
    "Run git in a workbook; fails where it ends otherwise."
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


STEP = "nbs/steps/my step.ipynb"


def write(root: Path, nb: dict, path: str = STEP) -> None:
    (root/path).write_text(check.as_text(check.stripped(nb)))


@pytest.fixture
def clone(root) -> Path:
    "A workbook under git, set up for notebooks, with one step committed."
    (root/".gitattributes").write_bytes((Path(lab.__file__).parent.parent/"share/gitattributes").read_bytes())
    git(root, "init", "-q", "-b", "main")
    write(root, changed())
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "base")
    git(root, "tag", "base")
    assert gits.git_setup(root) == "Git shows and merges notebooks of this clone by cells."
    return root


def test_setting_git_up_changes_the_clones_own_configuration_and_nothing_else(clone):
    def state(): return {str(p.relative_to(clone.parent)): p.read_bytes() for p in clone.parent.rglob("*") if p.is_file()}
    for key in ("diff.notebook", "merge.notebook", "merge.stages", "model-ops"): git(clone, "config", "--remove-section", key)
    before = state()
    gits.git_setup(clone)
    after = state()
    assert {p for p in before | after if before.get(p) != after.get(p)} == {f"{clone.name}/.git/config"}
    gits.git_setup(clone)
    assert state() == after


def test_without_git_nothing_is_set_up(root):
    assert gits.git_setup(root) == "No git here: nothing to set up."
    assert not (root/".git").exists()


def test_a_diff_shows_the_cells_that_changed(clone):
    write(clone, changed(b="rows: int = 5  # how many\nseed: int = 2  # of it"))
    lines = [line for line in git(clone, "diff").splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert lines == ["-rows: int = 1  # how many", "+rows: int = 5  # how many"]
    assert "Größe" in git(clone, "diff") and "── code [parameters]" in git(clone, "diff")


def test_a_diff_shows_outputs_as_a_line(clone):
    (clone/STEP).write_text(json.dumps(notebook(*BASE[:3], cell("d", "step.finish(z)", outputs=RAN))))
    assert "+   ⇒ execute_result: <Model at 0x7f2a>" in git(clone, "diff") and "svg" not in git(clone, "diff")


@pytest.mark.parametrize("text", ["<<<<<<< no notebook\n", "[1, 2]\n", '{"cells": [1]}\n', "\n"])
def test_a_diff_of_what_is_no_notebook_shows_it_as_it_is(clone, text):
    (clone/STEP).write_text(text)
    assert f"+{text}" in git(clone, "diff")


def test_git_still_works_when_the_environment_is_gone(clone):
    config = clone/".git/config"
    config.write_text(config.read_text().replace(str(Path(sys.executable).parent), "/nowhere/bin"))
    write(clone, changed(b="rows: int = 5"))
    assert "rows: int = 5" in git(clone, "diff")
    git(clone, "commit", "-qam", "ours")
    git(clone, "checkout", "-q", "-b", "theirs", "base")
    write(clone, changed(d="step.finish(z, {})"))
    git(clone, "commit", "-qam", "theirs")
    git(clone, "merge", "-q", "main", "-m", "both")
    assert sources(clone) == ["# Größe", "rows: int = 5", "z = rows + seed\nz", "step.finish(z, {})"]


def sources(root: Path) -> list[str]:
    "The sources of the step, from a notebook that nbformat takes."
    import nbformat
    nb = nbformat.read(root/STEP, as_version=4)
    nbformat.validate(nb)
    return [c.source for c in nb.cells]


HOOK = Path(lab.__file__).parent.parent/"share/workbook/pre-commit"


@pytest.fixture
def hooked(clone) -> Path:
    "The same with the hooks of a workbook."
    (clone/".githooks").mkdir()
    (clone/".githooks/pre-commit").write_bytes(HOOK.read_bytes())
    (clone/".githooks/pre-commit").chmod(0o755)
    assert gits.git_setup(clone).endswith("The hooks in .githooks/ look at what is committed.")
    return clone


def refused(root: Path, *words: str) -> str:
    "What git says when it does not commit."
    done = subprocess.run(["git", "commit", "-qm", "x", *words], cwd=root, capture_output=True, text=True)
    assert done.returncode == 1 and "Not committed" in done.stderr, done.stderr
    return done.stderr


def test_a_page_is_committed_without_outputs(hooked):
    page = hooked/"nbs/index.ipynb"
    page.write_text(json.dumps(notebook(cell("a", "1 + 1", outputs=RAN))))
    git(hooked, "add", "-A")
    git(hooked, "commit", "-qm", "index")
    assert json.loads(git(hooked, "show", "HEAD:nbs/index.ipynb"))["cells"][0]["outputs"] == []
    assert git(hooked, "status", "--porcelain") == "" and "svg" not in page.read_text()


def test_what_is_not_staged_stays_in_the_file(hooked):
    "Half of the work is staged; the hook cleans what is committed and leaves the file alone."
    page = hooked/"nbs/index.ipynb"
    page.write_text(json.dumps(notebook(cell("a", "1 + 1", outputs=RAN))))
    git(hooked, "add", "-A")
    later = json.dumps(notebook(cell("a", "2 + 2", outputs=RAN)))
    page.write_text(later)
    git(hooked, "commit", "-qm", "index")
    committed = json.loads(git(hooked, "show", "HEAD:nbs/index.ipynb"))["cells"][0]
    assert "".join(committed["source"]) == "1 + 1" and committed["outputs"] == [] and page.read_text() == later


def test_a_commit_of_one_file_asks_for_a_second_try(hooked):
    "git commit FILE uses an index of its own, which the hook must not change behind the real one."
    page = hooked/"nbs/index.ipynb"
    page.write_text(check.as_text(notebook(cell("a", "1 + 1"))))
    git(hooked, "add", "-A")
    git(hooked, "commit", "-qm", "index")
    page.write_text(json.dumps(notebook(cell("a", "2 + 2", outputs=RAN))))
    assert "commit it again" in refused(hooked, "nbs/index.ipynb")
    git(hooked, "commit", "-qm", "index", "nbs/index.ipynb")
    assert git(hooked, "status", "--porcelain") == "" and "svg" not in page.read_text()


@pytest.mark.parametrize("path, content, said", [
    ("data.csv", b"1" * 5_000_001, "data.csv is 5 MB"),
    ("größe 1.bin", b"\0" * 6_000_000, "größe 1.bin is 6 MB"),
    ("notes.md", b"<<<<<<< HEAD\na\n=======\nb\n>>>>>>> anna\n", "notes.md, line 1: left by a merge"),
    ("nbs/index.ipynb", json.dumps(notebook(cell("a", "<<<<<<< HEAD\nx = 1\n=======\nx = 2\n>>>>>>> anna"))).encode(), "nbs/index.ipynb, cell 1: x = 1: left by a merge"),
    ("nbs/index.ipynb", b"<<<<<<< HEAD\n{", "nbs/index.ipynb, this is no notebook"),
], ids=["large", "large, not text", "marks in text", "marks in a cell", "no notebook"])
def test_what_is_hard_to_take_back_is_refused(hooked, path, content, said):
    (hooked/path).write_bytes(content)
    git(hooked, "add", "-A")
    assert said in refused(hooked)
    git(hooked, "commit", "-qm", "all the same", "--no-verify")


def test_a_heading_that_looks_like_a_mark_is_committed(hooked):
    (hooked/"notes.md").write_text("Summary\n=======\n\n<<<<<<< is what git writes\n")
    git(hooked, "add", "-A")
    git(hooked, "commit", "-qm", "notes")


def test_steps_that_disagree_are_refused(hooked):
    write(hooked, notebook(BASE[1], cell("t", 'take("my step")')))
    git(hooked, "add", "-A")
    assert "no cell calls step.finish" in refused(hooked)


STEP_CELLS = [cell("p", "rows: int = 1  # how many", tags=["parameters"]), cell("t", 'step = take("my step", record="records/a.json")'), cell("e", "step.finish(1)")]


def test_dvc_yaml_is_committed_as_the_steps_declare_it(hooked):
    write(hooked, notebook(*STEP_CELLS))
    git(hooked, "add", "-A")
    git(hooked, "commit", "-qm", "a step")
    assert "records/a.json" in git(hooked, "show", "HEAD:dvc.yaml") and git(hooked, "status", "--porcelain") == ""
    write(hooked, notebook(STEP_CELLS[0], cell("t", 'step = take("my step", record="records/b.json")'), STEP_CELLS[2]))
    assert "dvc.yaml: the stage 'my step' differs" in refused(hooked, STEP)  # git commit FILE: dvc.yaml would not come along
    assert "records/a.json" in (hooked/"dvc.yaml").read_text()


def test_a_persons_own_hooks_stay(hooked, tmp_path):
    git(hooked, "config", "core.hooksPath", str(tmp_path))
    assert "stay as they are" in gits.git_setup(hooked) and git(hooked, "config", "core.hooksPath").strip() == str(tmp_path)
    git(hooked, "config", "--unset", "core.hooksPath")
    (hooked/".git/hooks/pre-push").write_text("#!/bin/sh\n")
    assert "Your hooks (pre-push) stay as they are" in gits.git_setup(hooked)
    subprocess.run(["git", "config", "core.hooksPath"], cwd=hooked, check=False)
    assert "core.hooksPath" not in (hooked/".git/config").read_text()


def test_without_the_environment_the_hook_lets_pass(hooked):
    git(hooked, "config", "model-ops.python", "/nowhere/bin/python")
    (hooked/"nbs/index.ipynb").write_text(json.dumps(notebook(cell("a", "1 + 1", outputs=RAN))))
    git(hooked, "add", "-A")
    git(hooked, "commit", "-qm", "index")


# ---------------------------------------------------------------- starting

def test_the_command_names_the_page_and_a_port_that_is_free(root):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        words = lab.command("nbs/steps/my step.ipynb#cell-id=a1", root, port=port, browser=False)
    told = dict(w.removeprefix("--").split("=", 1) for w in words if "=" in w)
    assert told["LabApp.default_url"] == "/lab/tree/nbs/steps/my%20step.ipynb#cell-id=a1"
    assert told["ServerApp.ip"] == "127.0.0.1" and int(told["ServerApp.port"]) > port and "--no-browser" in words


def test_the_environment_adds_to_what_is_there(monkeypatch):
    monkeypatch.setenv("JUPYTER_PATH", "/elsewhere")
    told = lab.environment(Path("book"))
    share, elsewhere = told["JUPYTER_PATH"].split(os.pathsep)
    assert elsewhere == "/elsewhere" and (Path(share)/"labextensions/model_ops/static/cell.js").exists()
    assert told["PYTHONPATH"].split(os.pathsep)[0] == "book"
    assert told["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert all(json.loads(p.read_text()) for p in Path(told["JUPYTER_CONFIG_PATH"].split(os.pathsep)[0]).rglob("*.json"))


def test_a_new_workbook_comes_with_its_git_set_up(fresh_workbook):
    assert "diff=notebook merge=notebook" in (fresh_workbook.root/".gitattributes").read_text()
    assert "model_ops.workbook.git" in fresh_workbook.git("config", "diff.notebook.textconv") and fresh_workbook.git("config", "core.hooksPath") == ".githooks"
    assert (fresh_workbook.root/"nbs/index.ipynb").exists()
