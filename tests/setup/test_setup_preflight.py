"""What a machine lacks is named, with its cure, before anything is installed."""
import shutil
import stat
import subprocess

import pytest

from small_workbook import REPOSITORY

TOOLS = ["bash", "env", "dirname", "uname", "df", "awk", "tail", "rm", "touch", "printf", "cat"]


@pytest.fixture
def machine(tmp_path):
    "A copy of the script in an empty project, and a folder with a few tools and nothing else."
    (tmp_path / "project/scripts").mkdir(parents=True)
    shutil.copy(REPOSITORY / "scripts/setup", tmp_path / "project/scripts/setup")
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in TOOLS:
        if found := shutil.which(tool):
            (tools / tool).symlink_to(found)

    def fake(name, text):
        (tools / name).unlink(missing_ok=True)
        (tools / name).write_text(f"#!{shutil.which('bash')}\n{text}\n")
        (tools / name).chmod(0o755 | stat.S_IXUSR)

    def run():
        return subprocess.run([tmp_path / "project/scripts/setup"], env={"PATH": str(tools), "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60)
    return fake, run, tmp_path / "project"


@pytest.mark.parametrize("lacking, said", [("git", "apt-get install git"), ("python", "PYTHON="), ("venv", "python3-venv"), ("disk", "are needed")])
def test_what_is_missing_is_named_with_its_cure(machine, lacking, said):
    fake, run, project = machine
    if lacking != "git":
        fake("git", "exit 0")
    if lacking != "python":
        fake("python3", f'case "$*" in *venv*) exit {int(lacking == "venv")};; *) exit 0;; esac')
    if lacking == "disk":
        fake("df", 'printf "Filesystem 1024-blocks Used Available Capacity Mounted\\ndisk 100 100 1024 99%% /\\n"')
    done = run()
    assert done.returncode == 1 and said in done.stderr, done.stderr
    assert not (project / ".venv").exists() and "line " not in done.stderr
