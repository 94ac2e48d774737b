"""Two names change places, or nothing is changed."""

from __future__ import annotations

import errno
import os

import pytest

from textssl.system import exchange as module
from textssl.system.exchange import exchange


@pytest.fixture
def two(tmp_path):
    first, second = tmp_path / "caf\udce9", tmp_path / "b"
    first.mkdir()
    (first / "in the first").write_text("")
    second.mkdir()
    return first, second


def test_two_folders_change_places(two):
    first, second = two
    if not exchange(first, second):
        pytest.skip("this file system cannot exchange names")
    assert os.listdir(first) == [] and os.listdir(second) == ["in the first"]


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, None])
def test_where_it_cannot_be_done_nothing_is_changed(two, code, monkeypatch):
    """code: the kernel's answer; None: the C library knows no such call."""
    first, second = two
    monkeypatch.setattr(module, "renameat2", lambda: None if code is None else (lambda *_: code))
    assert not exchange(first, second)
    assert os.listdir(first) == ["in the first"] and os.listdir(second) == []


def test_another_refusal_is_an_error_that_names_both(two):
    first, second = two
    if not exchange(first, second):
        pytest.skip("this file system cannot exchange names")
    second.joinpath("in the first").unlink()
    second.rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        exchange(first, second)
    assert (caught.value.filename, caught.value.filename2) == (str(first), str(second))
