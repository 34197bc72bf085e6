"""A workbook from a table: what is written, that it agrees with itself, and what is said where it cannot be made."""
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from model_ops import params
from model_ops.cli.main import app
from model_ops.errors import ModelOpsError, ParameterError, PreflightError, SettingsError
from model_ops.release.gates import default_gates
from model_ops.workbook import check, layout, start
from small_workbook import BIN, QUIET, write_table


@pytest.fixture(autouse=True)
def person(monkeypatch):
    "A person whom git knows."
    for name, value in QUIET.items(): monkeypatch.setenv(name, value)
    monkeypatch.delenv("MODEL_OPS_ROOT", raising=False)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "orders 2024.csv"
    write_table(path, days=60, a_day=20)
    return path


def make(folder: Path, table: Path, **told) -> str:
    "A workbook on a table, as the command line makes it."
    found = start.look(str(table), **{"target": "returned", **told})
    return start.new(folder, start.planned(str(table), found, gates=default_gates(found.task)))


@pytest.fixture(scope="module")
def made(table, tmp_path_factory) -> Path:
    "A workbook in a folder with a space and an umlaut. Tests leave it as it is."
    folder = tmp_path_factory.mktemp("books") / "Bücher & Größen"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items(): patch.setenv(name, value)
        make(folder, table)
    return folder


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def nothing_in(folder: Path) -> bool:
    "Is nothing there, not even hidden?"
    return list(folder.iterdir()) == []


# ---------------------------------------------------------------- what is there

def test_all_parts_are_there_and_committed(made):
    committed = set(git(made, "-c", "core.quotePath=false", "ls-files").split("\n"))
    for path in ["settings.ini", "pyproject.toml", "dvc.yaml", "README.md", "Makefile", "requirements.txt", ".gitignore", ".gitattributes", ".dvcignore", ".githooks/pre-commit",
                 ".github/workflows/model-ops.yml", ".github/workflows/pull-request.yml", "tests/test_workbook.py", "nbs/index.ipynb", "nbs/steps/.notest", "data/source/orders 2024.csv.dvc", "opponent/pin.json",
                 *(f"nbs/steps/{s}.ipynb" for s in ("prepare", "train", "evaluate", "drift", "promote", "monitor")), *(f"params/{s}.yaml" for s in ("prepare", "train", "evaluate", "drift", "promote", "monitor")),
                 "nbs/bucher_grossen/features.ipynb", "bucher_grossen/features.py", "bucher_grossen/__init__.py"]:
        assert path in committed, path
    assert not {"local.mk", "data/source/orders 2024.csv"} & committed
    assert git(made, "status", "--porcelain") == "" and git(made, "log", "--format=%s") == "A workbook"
    assert not [p for p in made.parent.iterdir() if p != made]


def test_the_parts_agree(made):
    assert [str(f) for f in check.check(made)] == []
    assert (made / "data/source/orders 2024.csv").stat().st_mode & 0o200
    from dvc.repo import Repo
    with Repo(str(made)) as repo: assert "data/source/orders 2024.csv.dvc" in [os.path.relpath(stage.path, made) for stage in repo.index.stages]
    stages = yaml.safe_load((made / "dvc.yaml").read_text())["stages"]
    assert "data/source/orders 2024.csv" in stages["prepare"]["deps"]


def test_what_was_guessed_stands_in_the_params_and_in_the_readme(made):
    told = params.read_yaml(made / "params/prepare.yaml")
    assert told["source"] == "data/source/orders 2024.csv" and told["target"] == "returned" and told["time"] == "placed"
    assert list(told["windows"]) == ["train", "validation", "test", "current"]
    assert set(params.read_yaml(made / "params/evaluate.yaml")["slices"]) <= {"channel", "region"} and set(params.read_yaml(made / "params/monitor.yaml")["slices"]) <= {"channel", "region"}
    assert params.read_yaml(made / "params/promote.yaml")["gates"] == default_gates("binary")
    for step in ("prepare", "evaluate", "promote"): assert (made / f"params/{step}.yaml").read_text().startswith(f"# What the step `{step}` is told.")
    readme = (made / "README.md").read_text()
    assert "predicts `returned`" in readme and "## What was guessed, and why" in readme and not re.search(r"\{\w+\}", readme)


def test_it_names_nothing_of_this_machine(made):
    texts = [p.read_text(encoding="utf-8") for p in made.rglob("*") if p.is_file() and not {".git", ".dvc"} & set(p.parts) and p.name != "local.mk"]
    for text in texts: assert str(made.parent) not in text and sys.prefix not in text


def test_the_module_is_what_nbdev_would_write(made, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(made, copy, symlinks=True)
    for command in ("nbdev-export", "nbdev-clean"): subprocess.run([BIN / command], cwd=copy, check=True, capture_output=True)
    assert git(copy, "status", "--porcelain") == ""


def test_the_workflow_may_only_read_and_its_actions_are_pinned(made):
    text = (made / ".github/workflows/model-ops.yml").read_text()
    flow = yaml.safe_load(text)
    assert flow["permissions"] == {"contents": "read"} and "permissions" not in flow["jobs"]["workbook"]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]) for step in flow["jobs"]["workbook"]["steps"] if "uses" in step)
    assert "--no-apply" in text and "pull_request_target" not in text and "${{ github.event" not in text


def test_git_is_set_up(made):
    assert git(made, "config", "core.hooksPath") == ".githooks" and os.access(made / ".githooks/pre-commit", os.X_OK)
    assert "model_ops.workbook.merge" in git(made, "config", "merge.notebook.driver")
    for path, driver in {"nbs/steps/train.ipynb": "notebook", "params/train.yaml": "notebook", "dvc.lock": "stages", "dvc.yaml": "stages"}.items():
        assert git(made, "check-attr", "merge", path).endswith(f"merge: {driver}")


def test_make_finds_the_python_that_made_it(made, tmp_path):
    shown = subprocess.run(["make", "-n", "run"], cwd=made, capture_output=True, text=True, check=True).stdout
    assert str(BIN / "model-ops") in shown
    assert re.findall(r"^  make (\w+)", subprocess.run(["make"], cwd=made, capture_output=True, text=True, check=True).stdout, re.M) == ["help", "setup", "run", "test", "lab"]
    for text in ("PYTHON := /nowhere/bin/python\n", ""):  # an environment that is gone, a clone of somebody else
        shutil.copy(made / "Makefile", tmp_path)
        (tmp_path / "local.mk").write_text(text)
        gone = subprocess.run(["make", "-n", "run"], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert f"{tmp_path}/.venv/bin/model-ops" in gone and "requirements.txt" in gone


@pytest.mark.parametrize("name, package", [("Orders 2024", "orders_2024"), ("2024", "book_2024"), ("注文", "workbook"), ("model_ops", "model_ops_book"), ("data", "data_book"), ("Tests", "tests_book"),
                                           ("polars", "polars_book"), ("class", "class_book"), ("json", "json_book"), ("-x.y", "x_y"), ("ÅÄÖ straße", "aao_strasse")])
def test_a_package_has_a_name_of_its_own(name, package):
    assert layout.package_name(name) == package and package.isidentifier() and package.isascii()


@pytest.mark.parametrize("task, positive, of", [("binary", "it's \"yes\"", "share"), ("multiclass", "", "most_often"), ("regression", "", "mean")])
def test_the_first_function_fits_the_task(made, tmp_path, task, positive, of):
    "It compiles, and answers on a table with odd names."
    import polars as pl
    found = start.look(str(made / "data/source/orders 2024.csv"), target="returned").model_copy(update={"task": task, "positive": positive, "target": "the \"goal\"", "slices": ["it's {target}"]})
    layout.write_files(tmp_path / "book", "book", layout.Plan("data/source/a.csv", tmp_path / "a.csv", found=found))
    space: dict = {}
    exec((tmp_path / "book/book/features.py").read_text(), space)
    goal = [1.0, 2.0, 3.0] if task == "regression" else [positive or "b", "a", "a"]
    answer = space["target_by"](pl.DataFrame({"it's {target}": ["u", "u", "v"], 'the "goal"': goal}), "it's {target}")
    assert answer.columns == ["it's {target}", "rows", of] and answer["rows"].to_list() == [2, 1]
    nb = json.loads((tmp_path / "book/nbs/book/features.ipynb").read_text())
    for cell in nb["cells"]:
        if cell["cell_type"] == "code": compile("".join(cell["source"]), "cell", "exec")


VALUES = st.recursive(st.text(max_size=12) | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
                      lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["source", "roles", "windows", "gates", "new"]), VALUES, max_size=4))
def test_params_are_read_back_as_they_were_written(values):
    text = "# Head.\nsource: flights\nroles: {}  # by column\nwindows: # [from, to)\n  train: [\"2013-01-01\", \"2013-07-01\"]\nfolds: 4\ngates:\n  - {rule: drift}\n"
    written = layout.rewritten(text, values)
    kept = {**params.parse_yaml(text), **{k: v for k, v in values.items() if k != "new" or v}}
    assert params.parse_yaml(written, dates=False) == kept and written.startswith("# Head.\n")


# ---------------------------------------------------------------- the example, a database

def test_the_example_goes_the_same_way(tmp_path):
    said = start.new(tmp_path / "mine")
    assert "the example 'flights'" in said and [str(f) for f in check.check(tmp_path / "mine")] == []
    assert params.read_yaml(tmp_path / "mine/params/prepare.yaml")["source"] == "flights" and not (tmp_path / "mine/data").exists()
    assert (tmp_path / "mine/.githooks/pre-commit").exists() and git(tmp_path / "mine", "status", "--porcelain") == ""


def test_a_database_stays_where_it_is(tmp_path, table, monkeypatch):
    import polars as pl
    import sqlalchemy as sa
    engine = sa.create_engine(f"sqlite:///{tmp_path}/shop.db")
    rows = pl.read_csv(table).to_dicts()
    with engine.begin() as connection:
        connection.execute(sa.text("create table orders (placed text, amount real, channel text, returned text)"))
        connection.execute(sa.text("insert into orders values (:placed, :amount, :channel, :returned)"), rows)
    monkeypatch.setenv("SHOP", f"sqlite:///{tmp_path}/shop.db")
    query = "select * from orders"
    found = start.look("env:SHOP", target="returned", query=query)
    start.new(tmp_path / "book", start.planned("env:SHOP", found, query, default_gates(found.task)))
    told = params.read_yaml(tmp_path / "book/params/prepare.yaml")
    assert (told["source"], told["query"]) == ("env:SHOP", query) and not (tmp_path / "book/data").exists()
    with pytest.raises(SettingsError, match="env:NAME"): start.look("postgresql://anna:secret@host/shop", target="returned", query=query)


# ---------------------------------------------------------------- what cannot be made

BAD = {
    "there is no file": ({"data": "ordres 2024.csv"}, "Did you mean 'orders 2024.csv'"),
    "no such target": ({"target": "retruned"}, "Did you mean 'returned'"),
    "no such time": ({"time": "place"}, "Did you mean 'placed'"),
    "no such subject": ({"subject": "costumer"}, "costumer"),
    "time that is no time": ({"time": "channel"}, "channel"),
    "ten rows": ({"rows": 10}, "10 rows"),
    "one value": ({"constant": True}, "one value"),
    "no such task": ({"task": "clustering"}, "clustering"),
    "no such class": ({"positive": "yess"}, "yes"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_a_table_cannot_be_is_said_and_nothing_is_written(table, tmp_path, name):
    told, said = BAD[name]
    told, book = dict(told), tmp_path / "books"
    book.mkdir()
    (tmp_path / "tables").mkdir()
    copy = tmp_path / "tables" / table.name
    lines = table.read_text().splitlines()
    if rows := told.pop("rows", 0): lines = lines[:rows + 1]
    if told.pop("constant", False): lines = [lines[0], *(line.rsplit(",", 1)[0] + ",no" for line in lines[1:])]
    copy.write_text("\n".join(lines) + "\n")
    words = {"data": str(copy.parent / told.pop("data", copy.name)), "target": "returned", **told}
    done = CliRunner().invoke(app, ["new", str(book / "mine"), *(f"--{k}={v}" for k, v in words.items())])
    assert done.exit_code and isinstance(done.exception, ModelOpsError), (done.output, done.exception)
    assert said in str(done.exception) and done.exception.todo and nothing_in(book)


def test_an_existing_folder_is_never_touched(table, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(ParameterError, match="exists already"): make(tmp_path / "mine", table)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParameterError, match="exists already"): start.new(tmp_path / "empty")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(ParameterError, match="exists already"): start.new(tmp_path / "link")
    with pytest.raises(ParameterError, match="is a file"): start.new(tmp_path / "mine/notes.txt/book")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "link", "mine"] and [p.name for p in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_without_git_nothing_is_begun(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreflightError, match="git is not installed"): start.new(tmp_path / "deep/er/mine")
    assert nothing_in(tmp_path)


def test_a_disk_that_is_too_small_is_seen_before(table, tmp_path, monkeypatch):
    monkeypatch.setattr(start.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 100, 100))
    with pytest.raises(PreflightError, match="Make room"): make(tmp_path / "mine", table)
    assert nothing_in(tmp_path)


def test_a_disk_that_becomes_full_leaves_nothing(tmp_path, monkeypatch):
    def full(*words, **told): raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(start.check, "check", full)
    with pytest.raises(OSError, match="No space"): start.new(tmp_path / "deep/er/mine")
    assert nothing_in(tmp_path)


def test_what_a_killed_command_left_is_cleared(tmp_path):
    (tmp_path / ".mine.new/nbs").mkdir(parents=True)
    (tmp_path / ".mine.new/nbs/half.ipynb").write_text("{")
    start.new(tmp_path / "mine")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"] and not (tmp_path / "mine/nbs/half.ipynb").exists()


def test_without_an_identity_the_files_are_there_and_it_is_said(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("GIT_AUTHOR", "GIT_COMMITTER", "EMAIL")): monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    assert "Git does not know who you are" in start.new(tmp_path / "mine")
    assert git(tmp_path / "mine", "status", "--porcelain").startswith("A ")


# ---------------------------------------------------------------- the command

@pytest.mark.parametrize("words, said", [
    (["--target", "returned"], "no table"), (["--data", "{table}"], "No target"), (["--data", "{table}", "--target", "returned", "--example", "flights"], "Both --data and --example"),
    (["--example", "fligths"], "Did you mean 'flights'"), (["--data", "{table}", "--target", "returned", "--query", "select 1"], "no database"),
])
def test_words_that_do_not_go_together(table, tmp_path, words, said):
    done = CliRunner().invoke(app, ["new", str(tmp_path / "mine"), *(w.format(table=table) for w in words)])
    assert isinstance(done.exception, ModelOpsError) and said in str(done.exception) and nothing_in(tmp_path)


def test_where_nobody_sits_nothing_is_asked_and_what_was_taken_is_said(table, tmp_path):
    found = start.look(str(table), target="returned")
    done = CliRunner().invoke(app, ["new", str(tmp_path / "mine"), "--data", str(table), "--target", "returned"])
    assert done.exit_code == 0, done.output
    assert done.output.count("Not asked:") == len(found.questions) and "cd " in done.output.splitlines()[-1]
    assert len(done.output.splitlines()) <= 40


def test_an_answer_changes_what_follows_from_it(table):
    from model_ops.data.guesses import Question
    found = start.look(str(table), target="returned")
    asked = [Question(about="time", text="Which says when?", options={"placed": "in order", "": "none does"}, chosen="placed"), Question(about="positive", text="Which class?", options={"yes": "a", "no": "b"}, chosen="yes")]
    found, again = found.model_copy(update={"questions": asked}), lambda **told: start.look(str(table), target="returned", **told)
    assert start.answered(found, {"time": "placed", "positive": "yes"}, again) == found
    changed = start.answered(found, {"time": "", "positive": "no"}, again)
    assert changed.time == "" and changed.positive == "no" and all(isinstance(share, float) for share in changed.windows.values())
