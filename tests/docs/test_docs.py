"""The docs say what the code says."""
import re
import subprocess

from small_workbook import REPOSITORY

import docs


def test_readme_and_reference_are_of_today():
    assert (REPOSITORY / "README.md").read_text() == docs.readme(), "python scripts/docs.py"
    assert (REPOSITORY / "docs/reference.md").read_text() == docs.reference(), "python scripts/docs.py"


def test_the_readme_is_short():
    assert len((REPOSITORY / "README.md").read_text().splitlines()) < 140


def test_every_command_that_the_readme_types_exists():
    text = (REPOSITORY / "README.md").read_text()
    known = set(re.findall(r"^\| `([\w-]+)` \|", docs.commands(), re.M))
    assert set(re.findall(r"model-ops ([a-z][\w-]*)", text)) <= known
    made = subprocess.run(["make", "-s", "help"], cwd=REPOSITORY, capture_output=True, text=True).stdout
    for target in set(re.findall(r"`?make ([a-z-]+)`?", text)):
        assert f"make {target}" in made, target


def test_every_decision_is_listed():
    folder = REPOSITORY / "docs/decisions"
    index = (folder / "README.md").read_text()
    for page in folder.glob("0*.md"):
        assert f"({page.name})" in index
        assert {"**Context.**", "**Choice.**", "**What it costs.**"} <= set(re.findall(r"\*\*[A-Z][^*]+\.\*\*", page.read_text())), page.name


def test_links_in_the_docs_lead_somewhere():
    for page in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_nothing_in_the_tree_names_this_machine_or_an_index():
    shown = subprocess.run(["git", "grep", "-lE", r"/work/|/root/|files\.pythonhosted|pypi\.org/simple"], cwd=REPOSITORY, capture_output=True, text=True).stdout.split()
    assert [f for f in shown if f not in {"tests/docs/test_docs.py"}] == []
