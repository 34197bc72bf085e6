"""What diffs and hooks do to notebooks of a clone, with real git."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
from lab_notebooks import BASE, RAN, cell, changed, notebook

from model_ops.workbook import check, lab
from model_ops.workbook import git as gits


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


def test_a_new_workbook_comes_with_its_git_set_up(fresh_workbook):
    assert "diff=notebook merge=notebook" in (fresh_workbook.root/".gitattributes").read_text()
    assert "model_ops.workbook.git" in fresh_workbook.git("config", "diff.notebook.textconv") and fresh_workbook.git("config", "core.hooksPath") == ".githooks"
    assert (fresh_workbook.root/"nbs/index.ipynb").exists()
