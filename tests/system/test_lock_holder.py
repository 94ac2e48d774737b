"""A lock file says whose it is, and whether that process may be at work can be told from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from textssl.system.locks.holder import COMMAND_CHARACTERS, holder_of, is_alive, process_started, this_process


def test_this_process_is_named_with_its_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/textssl/__main__.py", "embed", "--out", "v.npy"])
    holder = this_process()
    assert holder.pid == os.getpid() and holder.started == process_started(os.getpid())
    assert str(holder) == f"process {os.getpid()} on {holder.host} since {holder.since} (textssl embed --out v.npy)"
    monkeypatch.setattr(sys, "argv", ["textssl", "x" * 1000])
    assert len(this_process().command) == COMMAND_CHARACTERS and this_process().token != holder.token


def test_a_process_that_has_ended_has_no_start():
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process_started(process.pid) is None, "a zombie"
    process.wait()
    assert process_started(process.pid) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"host": "a"}'])
def test_a_file_that_says_nothing_has_no_holder(tmp_path, text):
    (tmp_path / "lock").write_text(text)
    assert holder_of(tmp_path / "lock") is None and holder_of(tmp_path / "none") is None


def test_who_may_be_alive(tmp_path):
    file, here = tmp_path / "lock", this_process()
    file.write_text(json.dumps(asdict(here)))
    assert holder_of(file) == here
    with file.open("rb") as stream:
        alive = {
            (name, kernel): is_alive(holder, stream.fileno(), file, kernel=kernel)
            for name, holder in {
                "here": here,
                "its id is another's now": replace(here, started=0),
                "other container": replace(here, processes="pid:[1]", started=0),
                "other machine": replace(here, boot="other"),
            }.items()
            for kernel in (True, False)
        }
        assert [name for name, yes in alive.items() if yes] == [
            ("here", False),
            ("other container", False),
            ("other machine", True),
            ("other machine", False),
        ]
        os.utime(file, (0, 0))  # its heart has not beaten since
        assert not is_alive(replace(here, boot="other"), stream.fileno(), file, kernel=True)
    assert os.listdir(tmp_path) == ["lock"]
