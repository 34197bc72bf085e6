"""A bare workbook for the tests of the lab."""
from pathlib import Path

import pytest


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
