"""Nothing half-written: what is there after an error at any point is the old content or the new one."""
import errno
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_ops import files


def test_a_write_is_whole_or_not_at_all(tmp_path, monkeypatch):
    files.write(tmp_path / "a", "old")
    for broken in ("fsync", "replace"):
        with monkeypatch.context() as m:
            def fail(*_, **__):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            m.setattr(os, broken, fail)
            with pytest.raises(OSError):
                files.write(tmp_path / "a", "new")
        assert [p.name for p in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"


def test_a_folder_is_replaced_whole(tmp_path):
    files.replace_folder(tmp_path / "m", lambda new: files.write(new / "a", "1"))

    def half(new):
        files.write(new / "a", "2")
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        files.replace_folder(tmp_path / "m", half)
    assert (tmp_path / "m/a").read_text() == "1" and [p.name for p in tmp_path.iterdir()] == ["m"]


def test_a_folder_that_was_left_between_two_renames_comes_back(tmp_path):
    files.replace_folder(tmp_path / "m", lambda new: files.write(new / "a", "1"))
    os.rename(tmp_path / "m", tmp_path / ".m.old")  # a crash right after the first rename
    with pytest.raises(ZeroDivisionError):
        files.replace_folder(tmp_path / "m", lambda new: 1 / 0)
    assert (tmp_path / "m/a").read_text() == "1"


def test_permissions_follow_the_umask(tmp_path):
    mask = os.umask(0o027)
    try:
        assert (files.write(tmp_path / "a", "x").stat().st_mode & 0o777) == 0o640
    finally:
        os.umask(mask)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none()))
def test_digests_do_not_depend_on_order(value):
    assert files.digest_json(value) == files.digest_json(dict(reversed(value.items())))
