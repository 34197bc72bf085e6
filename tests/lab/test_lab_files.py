"""What JupyterLab's save hook and the debug page do to files, with Jupyter's own contents managers; and how it is started."""
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
from lab_notebooks import BASE, RAN, cell, changed, notebook

from model_ops.errors import StepError
from model_ops.workbook import check, lab


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
