"""A notebook run by hand, cell by cell in a kernel of its own folder, says what the pipeline says, and changes nothing."""
import json
import os

import pytest

from small_workbook import BIN, QUIET

pytestmark = pytest.mark.slow
STEPS = {"prepare": "prepare", "train": "train", "evaluate": "evaluation", "drift": "verdict", "promote": "decision"}


def by_hand(notebook, env=None):
    "Run the cells one after the other, as a person does: a kernel started in the notebook's folder, nothing injected."
    from jupyter_client.manager import start_new_kernel
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MODEL_OPS_")}
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(notebook.parent), env={**clean, **QUIET, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **(env or {})})
    shown = []
    try:
        for cell in json.loads(notebook.read_text())["cells"]:
            if cell["cell_type"] != "code":
                continue
            def hook(message):
                if message["msg_type"] in ("execute_result", "display_data"):
                    shown.append(message["content"]["data"].get("text/plain", ""))
            reply = client.execute_interactive("".join(cell["source"]), output_hook=hook, timeout=180)
            assert reply["content"]["status"] == "ok", "\n".join(reply["content"].get("traceback", []))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return shown


@pytest.mark.parametrize("step", STEPS)
def test_by_hand_gives_the_same_record_and_leaves_no_trace(run_workbook, tmp_path, step):
    book = run_workbook.copy(tmp_path / "orders")
    before, ledger = book.outputs(), book.ledger()
    shown = by_hand(book.root / "nbs/steps" / f"{step}.ipynb")
    assert any(s.startswith("by hand · as in") for s in shown)
    record = f"records/{STEPS[step]}.json"
    assert (book.root / "scratch" / step / record).read_text() == (book.root / record).read_text()
    assert book.outputs() == before and book.ledger() == ledger
    assert book.git("status", "--porcelain") == ""


def test_by_hand_a_changed_parameter_is_shown_and_holds(run_workbook, tmp_path):
    book = run_workbook.copy(tmp_path / "orders")
    path = book.root / "nbs/steps/train.ipynb"
    source = path.read_text()
    assert "max_iter: int = 200" in source
    path.write_text(source.replace("max_iter: int = 200", "max_iter: int = 12"))
    shown = by_hand(path)
    assert any("1 parameter differs from params/train.yaml: max_iter = 12" in s for s in shown)
    assert json.loads((book.root / "scratch/train/records/train.json").read_text())["params"]["max_iter"] == 12


def test_plain_papermill_writes_what_the_pipeline_writes(run_workbook, tmp_path):
    book = run_workbook.copy(tmp_path / "orders")
    before = book.records()
    (book.root / "records/evaluation.json").unlink()
    book.call("papermill", "nbs/steps/evaluate.ipynb", tmp_path / "out.ipynb", "-f", "params/evaluate.yaml", "--no-progress-bar")
    assert book.records() == before
