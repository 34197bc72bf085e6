"""Two people, one notebook: pairs of edits on two branches, merged by real git in a clone that is set up as a workbook is."""
import json
import os
import shutil
import subprocess
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_ops.workbook import check, merge
from model_ops.workbook.locks import merge_stages
from model_ops.workbook.git import git_setup

SHARE = Path(merge.__file__).parent.parent / "share"
STEP = "nbs/steps/größe und trend.ipynb"
RAN = [{"output_type": "execute_result", "execution_count": 3, "data": {"text/plain": "<Model at 0x7f2a>", "text/html": "<svg></svg>"}, "metadata": {}}]
OTHER = [{"output_type": "stream", "name": "stdout", "text": "another run\n"}]
LONG = "\n".join(f"value_{i} = {i}" for i in range(400))


def cell(id: str, source: str, kind: str = "code", tags=(), **more) -> dict:
    "A cell of a notebook file."
    return {"cell_type": kind, "id": id, "metadata": {"tags": list(tags)} if tags else {}, "source": source, **({"execution_count": None, "outputs": []} if kind == "code" else {}), **more}


def notebook(cells: list[dict], **metadata) -> dict:
    "A notebook's JSON."
    return {"cells": cells, "metadata": {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}, **metadata}, "nbformat": 4, "nbformat_minor": 5}


BASE = notebook([
    cell("head", "# Größe\n\n> How large?", "markdown"),
    cell("imports", "import json\nimport numpy as np"),
    cell("told", "rows: int = 1     # how many\nseed: int = 2     # of the draws\nshare: float = 0.5  # of the rows", tags=["parameters"]),
    cell("load", "frame = load(rows)\nframe = frame.dropna()\nframe.head()"),
    cell("why", "## The recipe\n\nTrees, since the table has gaps.", "markdown"),
    cell("recipe", "recipes = {\n    'trees': lambda: Trees(seed=seed),\n    'line': lambda: Line(),\n}\nmodel = recipes['trees']()", tags=["report"]),
    cell("long", LONG),
    cell("end", "step.finish(model)")])


@dataclass(frozen=True)
class Edit:
    "What one person does to the notebook: sources by id (`None` takes the cell away), cells behind others, and more."
    sources: dict = field(default_factory=dict)
    add: dict = field(default_factory=dict)        # id → cells to put behind it ("" = at the top)
    change: dict = field(default_factory=dict)     # id → keys of the cell
    move: tuple = ()                               # (id, behind which id)
    metadata: dict = field(default_factory=dict)
    renew: bool = False                            # other ids for all cells
    raw: bool = False                              # keys in another order, no indentation

    def apply(self, base: dict) -> dict:
        "The notebook after it."
        nb = json.loads(json.dumps(base))
        cells = [c | ({"source": self.sources[c["id"]]} if c["id"] in self.sources else {}) | self.change.get(c["id"], {}) for c in nb["cells"] if self.sources.get(c["id"], "") is not None]
        if self.move:
            moved = next(c for c in cells if c["id"] == self.move[0])
            cells.remove(moved)
            cells.insert([c["id"] for c in cells].index(self.move[1]) + 1 if self.move[1] else 0, moved)
        for after, new in self.add.items():
            at = [c["id"] for c in cells].index(after) + 1 if after else 0
            cells[at:at] = new
        if self.renew:
            cells = [{**c, "id": f"renewed-{i}"} for i, c in enumerate(cells)]
        return {**nb, "cells": cells, "metadata": {**nb["metadata"], **self.metadata}}

    def text(self, base: dict) -> str:
        "The file."
        nb = self.apply(base)
        return json.dumps(nb) if self.raw else check.as_text({**nb, "cells": [{**c, "source": c["source"].splitlines(keepends=True)} for c in nb["cells"]]})


def told(**lines: str) -> str:
    "The parameters cell with other lines."
    own = dict(zip(("rows", "seed", "share"), BASE["cells"][2]["source"].split("\n"), strict=True))
    return "\n".join({**own, **lines}.values())


def source(id: str) -> str:
    return next(c["source"] for c in BASE["cells"] if c["id"] == id)


def edited(id: str, old: str, new: str) -> dict:
    "One cell with a part of its source replaced."
    assert old in source(id)
    return {id: source(id).replace(old, new)}


# name → (ours, theirs, what stands in the merged sources, what does not any more)
CLEAN = {
    "both change different cells": (Edit(edited("load", "dropna()", "drop_nulls()")), Edit(edited("end", "(model)", "(model, {})")), ["drop_nulls", "(model, {})"], ["dropna"]),
    "neighbouring cells": (Edit(edited("told", "= 1 ", "= 9 ")), Edit(edited("load", "load(rows)", "load(rows, seed)")), ["rows: int = 9", "load(rows, seed)"], []),
    "same cell, lines apart": (Edit(edited("recipe", "seed=seed", "seed=0")), Edit(edited("recipe", "recipes['trees']()", "recipes['line']()")), ["seed=0", "model = recipes['line']()"], ["seed=seed"]),
    "same cell, neighbouring lines": (Edit({"told": told(rows="rows: int = 50    # how many")}), Edit({"told": told(seed="seed: int = 7     # of the draws")}), ["rows: int = 50", "seed: int = 7"], ["rows: int = 1 ", "seed: int = 2"]),
    "a parameter added, another changed": (Edit({"told": told(seed="seed: int = 2     # of the draws\nfolds: int = 4")}), Edit({"told": told(share="share: float = 0.8")}), ["folds: int = 4", "share: float = 0.8"], []),
    "one adds a cell, the other edits the next": (Edit(add={"load": [cell("new", "frame.describe()")]}), Edit(edited("why", "Trees", "Boosted trees")), ["frame.describe()", "Boosted trees"], []),
    "both add a cell at the same place": (Edit(add={"load": [cell("mine", "frame.describe()")]}), Edit(add={"load": [cell("yours", "frame.plot()"), cell("yours2", "frame.shape")]}), ["frame.describe()", "frame.plot()", "frame.shape"], []),
    "both add a cell at the top": (Edit(add={"": [cell("mine", "Mine first.", "markdown")]}), Edit(add={"": [cell("yours", "Yours first.", "markdown")]}), ["Mine first.", "Yours first."], []),
    "both append at the end": (Edit(add={"end": [cell("mine", "print('mine')")]}), Edit(add={"end": [cell("yours", "print('yours')")]}), ["print('mine')", "print('yours')"], []),
    "the same cell added twice": (Edit(add={"load": [cell("mine", "frame.describe()")]}), Edit(add={"load": [cell("yours", "frame.describe()")]}), ["frame.describe()"], []),
    "one takes a cell away, the other edits another": (Edit({"why": None}), Edit(edited("load", "rows", "rows * 2")), ["rows * 2"], ["Trees, since"]),
    "both take the same cell away": (Edit({"why": None}), Edit({"why": None, **edited("end", "model", "model, None")}), ["model, None"], ["Trees, since"]),
    "outputs and counts differ": (Edit(change={"load": {"outputs": RAN, "execution_count": 3}}), Edit(change={"load": {"outputs": OTHER, "execution_count": 9}, "end": {"execution_count": 12}}), ["frame.head()"], []),
    "one runs and saves, the other edits the same cell": (Edit(change={c["id"]: {"outputs": RAN, "execution_count": 3} for c in BASE["cells"] if c["cell_type"] == "code"}), Edit(edited("load", "head()", "tail()")), ["frame.tail()"], ["frame.head()"]),
    "a cell moved, and edited by the other": (Edit(move=("recipe", "imports")), Edit(edited("recipe", "'line': lambda: Line()", "'line': lambda: Line(fit=True)")), ["Line(fit=True)"], []),
    "both move cells": (Edit(move=("why", "head")), Edit(move=("long", "imports")), ["Trees, since"], []),
    "a cell moved, one added behind it": (Edit(move=("load", "end")), Edit(add={"load": [cell("new", "frame.describe()")]}), ["frame.head()", "frame.describe()"], []),
    "both change tags": (Edit(change={"recipe": {"metadata": {"tags": ["report", "mine"]}}}), Edit(change={"recipe": {"metadata": {"tags": ["report", "yours"]}}, "load": {"metadata": {"tags": ["report"]}}}), ["step.finish(model)"], []),
    "metadata of cell and notebook": (Edit(metadata={"language_info": {"name": "python", "version": "3.11"}}, change={"load": {"metadata": {"collapsed": True}}}), Edit(metadata={"language_info": {"name": "python", "version": "3.12"}, "title": "Größe"}, change={"load": {"metadata": {"scrolled": True}}}), ["frame.head()"], []),
    "a cell becomes markdown, the other edits it": (Edit(change={"end": {"cell_type": "markdown", "metadata": {}}}), Edit(edited("end", "model", "model, {}")), ["step.finish(model, {})"], []),
    "one renews all ids, the other edits": (Edit(renew=True), Edit({**edited("load", "rows", "rows * 2"), **edited("head", "How large", "How long")}), ["rows * 2", "How long"], []),
    "both renew all ids, and edit": (Edit(edited("load", "rows", "rows * 2"), renew=True), Edit(edited("end", "model", "model, {}"), renew=True), ["rows * 2", "model, {}"], []),
    "far apart in a long cell": (Edit(edited("long", "value_7 = 7\n", "value_7 = 70\n")), Edit(edited("long", "value_390 = 390\n", "value_390 = 0\nvalue_390b = 1\n")), ["value_7 = 70\n", "value_390b = 1"], ["value_390 = 390\n"]),
    "both import something": (Edit(edited("imports", "import numpy as np", "import numpy as np\nimport polars as pl")), Edit(edited("imports", "import numpy as np", "import numpy as np\nfrom math import log")), ["import polars as pl", "from math import log"], []),
    "unicode and odd line ends": (Edit(edited("head", "# Größe", "# Größe – 尺寸 📏")), Edit({"why": "## Das Rezept\n\nBäume: \u2028 mit Lücken.\x0b Ende"}), ["尺寸 📏", "\u2028 mit Lücken.\x0b Ende"], []),
    "a raw cell, and a heading": (Edit(add={"": [cell("raw", "---\nskip_exec: true\n---", "raw")]}), Edit(edited("head", "> How large?", "> How large, and when?")), ["skip_exec: true", "and when?"], []),
    "keys in another order": (Edit(edited("load", "rows", "rows * 2"), raw=True), Edit(edited("end", "model", "model, {}")), ["rows * 2", "model, {}"], []),
    "one splits a cell, the other edits its end": (Edit({"load": "frame = load(rows)\nframe = frame.dropna()"}, add={"load": [cell("split", "frame.head()")]}), Edit(edited("load", "load(rows)", "load(rows * 2)")), ["load(rows * 2)", "frame.head()"], []),
    "the same change on both": (Edit(edited("load", "rows", "rows * 2")), Edit({**edited("load", "rows", "rows * 2"), **edited("end", "model", "model, {}")}), ["rows * 2", "model, {}"], []),
}

# name → (ours, theirs, what stands in one cell between marks)
MARKED = {
    "both change the same line": (Edit({"told": told(rows="rows: int = 5")}), Edit({"told": told(rows="rows: int = 7", share="share: float = 0.1")}), "<<<<<<< HEAD\nrows: int = 5\n=======\nrows: int = 7\n>>>>>>> theirs\nseed: int = 2     # of the draws\nshare: float = 0.1"),
    "one takes away what the other changes": (Edit({"why": None}), Edit(edited("why", "Trees", "Lines")), "<<<<<<< HEAD\n=======\n## The recipe\n\nLines, since the table has gaps.\n>>>>>>> theirs"),
    "both write behind the same line": (Edit({"end": "step.finish(model)\nprint('mine')"}), Edit({"end": "step.finish(model)\nprint('yours')"}), "step.finish(model)\n<<<<<<< HEAD\nprint('mine')\n=======\nprint('yours')\n>>>>>>> theirs"),
    "both change the same heading": (Edit(edited("head", "# Größe", "# Höhe")), Edit(edited("head", "# Größe", "# Breite")), "<<<<<<< HEAD\n# Höhe\n=======\n# Breite\n>>>>>>> theirs\n\n> How large?"),
}

LOCK = "schema: '2.0'\nstages:\n" + "".join(f"  {name}:\n    cmd: model-ops step {name}\n    outs:\n    - path: records/{name}.json\n      md5: {name[0] * 4}\n" for name in ("prepare", "train", "promote"))


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    "A workbook under git, set up for notebooks, with one step committed."
    root = tmp_path_factory.mktemp("merges") / "my workbook"
    (root / STEP).parent.mkdir(parents=True)
    (root / "settings.ini").write_text("[workbook]\nname = demo\n")
    shutil.copy(SHARE / "gitattributes", root / ".gitattributes")
    (root / STEP).write_text(Edit().text(BASE))
    (root / "dvc.lock").write_text(LOCK)
    git(root, "init", "-q", "-b", "main")
    git_setup(root)
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "base")
    git(root, "tag", "base")
    return root


def git(root: Path, *words: str, code: int | None = 0) -> str:
    "Run git in the workbook; fails where it ends otherwise."
    who = {f"GIT_{w}_{k}": v for w in ("AUTHOR", "COMMITTER") for k, v in {"NAME": "Test", "EMAIL": "test@example.org"}.items()}
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, env={**os.environ, **who, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull})
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def merged(root: Path, ours: str, theirs: str, path: str = STEP, code: int = 0) -> str:
    "The file after a merge of two branches."
    git(root, "merge", "--abort", code=None)
    for name, text in {"ours": ours, "theirs": theirs}.items():
        git(root, "checkout", "-q", "-f", "-B", name, "base")
        (root / path).write_text(text)
        git(root, "commit", "-q", "--allow-empty", "-am", name)
    git(root, "checkout", "-q", "ours")
    git(root, "merge", "-q", "theirs", "-m", "both", code=code)
    return (root / path).read_text()


def valid(text: str) -> dict:
    "The notebook, which opens and has no id twice."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nbformat.validate(nbformat.reads(text, as_version=4))
    return json.loads(text)


@pytest.mark.parametrize("name", CLEAN)
def test_two_edits_merge_by_themselves(clone, name):
    ours, theirs, there, gone = CLEAN[name]
    one, other = ours.text(BASE), theirs.text(BASE)
    merged_by_git = merged(clone, one, other)
    assert git(clone, "status", "--porcelain") == ""
    turned, marks = merge.merge_texts(Edit().text(BASE), other, one)
    assert not marks
    for nb in (valid(merged_by_git), valid(turned)):
        text = "\n\n".join("".join(c["source"]) for c in nb["cells"])
        for words in there: assert text.count(words) == 1, (words, text)
        for words in gone: assert words not in text


def test_details_of_a_clean_merge(clone):
    "What the sources do not show: tags of both, the order of moved cells, kinds, outputs, metadata."
    def cells(name): return {c["id"]: c for c in valid(merged(clone, *(side.text(BASE) for side in CLEAN[name][:2])))["cells"]}
    assert cells("both change tags")["recipe"]["metadata"]["tags"] == ["report", "mine", "yours"]
    assert list(cells("both move cells")) == ["head", "why", "imports", "long", "told", "load", "recipe", "end"]
    assert list(cells("both append at the end"))[-2:] == ["mine", "yours"]
    assert list(cells("a cell moved, one added behind it"))[-3:] == ["end", "load", "new"]
    assert cells("a cell becomes markdown, the other edits it")["end"]["cell_type"] == "markdown"
    assert cells("one runs and saves, the other edits the same cell")["load"]["outputs"] == [] and cells("one runs and saves, the other edits the same cell")["end"]["outputs"]
    assert cells("metadata of cell and notebook")["load"]["metadata"] == {"collapsed": True, "scrolled": True}


@pytest.mark.parametrize("name", MARKED)
def test_what_nobody_can_decide_is_marked_in_its_cell(clone, name):
    ours, theirs, between = MARKED[name]
    nb = valid(merged(clone, ours.text(BASE), theirs.text(BASE), code=1))
    assert [("".join(c["source"])) for c in nb["cells"]].count(between) == 1
    assert len(merge.marked(nb)) == 1 and git(clone, "status", "--porcelain").startswith("UU")


def test_a_rebase_and_a_cherry_pick_merge_the_same_way(clone):
    merged(clone, CLEAN["neighbouring cells"][0].text(BASE), CLEAN["neighbouring cells"][1].text(BASE))
    git(clone, "reset", "-q", "--hard", "HEAD^1")
    git(clone, "cherry-pick", "theirs")
    picked = (clone / STEP).read_text()
    git(clone, "reset", "-q", "--hard", "HEAD~1")
    git(clone, "checkout", "-q", "theirs")
    git(clone, "rebase", "-q", "ours")
    assert (clone / STEP).read_text() == picked and "rows: int = 9" in picked and "load(rows, seed)" in picked


def test_both_make_a_notebook_of_the_same_name(clone):
    "There is no base then: what is the same stands once, the rest is of both."
    for name, edit in {"ours": Edit(), "theirs": Edit(edited("end", "model", "model, {}"))}.items():
        git(clone, "checkout", "-q", "-f", "-B", name, "base")
        (clone / "nbs/steps/new.ipynb").write_text(edit.text(BASE))
        git(clone, "add", "-A")
        git(clone, "commit", "-q", "-m", name)
    git(clone, "merge", "-q", "ours", "-m", "both", code=1)
    nb = valid((clone / "nbs/steps/new.ipynb").read_text())
    assert len(nb["cells"]) == len(BASE["cells"]) and merge.marked(nb) == ["cell 8: step.finish(model, {})"]
    git(clone, "merge", "--abort")


@pytest.mark.parametrize("text", ["<<<<<<< no notebook\nx\nz\n", "[1,\n2,\n3]\n", '{"cells": [1],\n"x": 1,\n"y": 2}\n', "\udcff\na\nb\n"])
def test_what_is_no_notebook_is_merged_as_text(text):
    lines = text.split("\n")
    one, other = "\n".join([lines[0] + " ", *lines[1:]]), "\n".join([*lines[:2], lines[2] + " ", *lines[3:]])
    assert merge.merge_texts(text, one, other) == ("\n".join([lines[0] + " ", lines[1], lines[2] + " ", *lines[3:]]), [])


def test_params_of_neighbouring_lines_merge():
    base = "# told\nmax_iter: 200\nlearning_rate: 0.1\nfolds: 4\n"
    assert merge.merge_texts(base, base.replace("200", "300"), base.replace("0.1", "0.2")) == (base.replace("200", "300").replace("0.1", "0.2"), [])
    text, marks = merge.merge_texts(base, base.replace("200", "300"), base.replace("200", "400"))
    assert marks and "<<<<<<< ours\nmax_iter: 300\n=======\nmax_iter: 400\n>>>>>>> theirs\n" in text


STAGES = "# By hand.\nstages:\n  train:\n    cmd: model-ops step train\n    deps:\n    - data/train.parquet\n  mine:\n    cmd: python mine.py\n"


def test_locks_of_two_runs_merge_by_stages(clone):
    "What one side ran is theirs; what both ran is ours, which DVC holds against the files at the next run."
    ours, theirs = LOCK.replace("tttt", "1111"), LOCK.replace("tttt", "2222").replace("md5: pppp", "md5: '3333'", 1)
    assert merged(clone, ours, theirs, "dvc.lock") == ours.replace("md5: pppp", "md5: '3333'", 1)


def test_stages_of_two_people_merge():
    new = STAGES + "  {0}:\n    cmd: model-ops step {0}\n"
    both = merge_stages(STAGES, new.format("summer"), new.format("winter"))
    assert both == new.format("summer") + new.format("winter").removeprefix(STAGES)
    assert merge_stages(STAGES, STAGES, STAGES.replace("  mine:\n    cmd: python mine.py\n", "")) == STAGES.replace("  mine:\n    cmd: python mine.py\n", "")
    written_anew = merge_stages(STAGES, STAGES.replace("train.parquet", "a.parquet"), STAGES.replace("train.parquet", "b.parquet"))
    assert written_anew == STAGES.replace("train.parquet", "a.parquet")  # model-ops check --fix says what holds
    assert merge_stages(STAGES, STAGES.replace("mine.py", "a.py"), STAGES.replace("mine.py", "b.py")) is None
    assert merge_stages("", "", STAGES) == STAGES and merge_stages(STAGES, STAGES, STAGES + "plots:\n- a.csv\n") == STAGES + "plots:\n- a.csv\n"


SOURCES = st.lists(st.sampled_from(["a = 1", "b = 2", "import os", "", "print(a)", "# ö"]), max_size=5).map("\n".join)
CELLS = st.lists(st.builds(lambda i, s, k: cell(f"c{i}", s, k), st.integers(0, 5), SOURCES, st.sampled_from(["code", "markdown"])), max_size=6, unique_by=lambda c: c["id"]).map(notebook)


@settings(max_examples=100, deadline=None)
@given(CELLS, CELLS, CELLS)
def test_any_merge_is_a_notebook_and_keeps_every_new_line(base, ours, theirs):
    done = merge.merge(base, ours, theirs)
    nbformat.validate(nbformat.from_dict({**done.nb, "cells": [{**c, "source": "".join(c["source"])} for c in done.nb["cells"]]}))
    text = "\n".join("".join(c["source"]) for c in done.nb["cells"])
    old = {line for c in base["cells"] for line in c["source"].split("\n")}
    for side in (ours, theirs):
        for line in {line for c in side["cells"] for line in c["source"].split("\n")} - old: assert line in text


@settings(max_examples=80, deadline=None)
@given(CELLS, CELLS)
def test_one_change_alone_is_taken_as_it_is(base, side):
    def shown(nb): return [(c["cell_type"], "".join(c["source"])) for c in nb["cells"]]
    assert shown(merge.merge(base, base, side).nb) == shown(merge.merge(base, side, base).nb) == shown(merge.merge(base, side, side).nb) == shown(side)


@settings(max_examples=100, deadline=None)
@given(*[st.lists(st.sampled_from(["a", "b", "c", "d = 1", "d = 2", ""]), max_size=8)] * 2)
def test_lines_of_one_side_are_taken_as_they_are(base, side):
    for pair in ((base, side), (side, base), (side, side)): assert merge.merge_lines(base, *pair) == (side, False)
