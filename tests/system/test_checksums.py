import hashlib
import json
import os

import pytest

from textssl.system import checksums as verified
from textssl.system.checksums import verify


@pytest.fixture
def files(tmp_path):
    """Three files and their sha256."""
    made = {}
    for name in "abc":
        path = tmp_path / name
        path.write_bytes(name.encode() * 1000)
        made[path] = hashlib.sha256(path.read_bytes()).hexdigest()
    return made


def test_right_files_are_read_once(files, tmp_path):
    memory = tmp_path / "memory"
    assert verify(files, memory) == ([], 3000)
    assert verify(files, memory) == ([], 0)


def test_what_changed_is_read_again_and_named(files, tmp_path):
    memory, (first, second, third) = tmp_path / "memory", files
    verify(files, memory)
    times = first.stat()
    first.write_bytes(b"x" * 1000)
    second.unlink()
    assert verify(files, memory) == ([first, second], 1000)
    assert verify(files, memory).damaged == [first, second]  # what is wrong is never remembered
    first.write_bytes(b"a" * 1000)
    os.utime(first, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert verify(files, memory) == ([second], 1000)
    assert verify({**files, third: files[first]}, memory).damaged == [second, third]  # another sum is expected


@pytest.mark.parametrize("content", ["", "[1]", "{"])
def test_a_memory_that_cannot_be_used_costs_time_alone(files, tmp_path, content):
    memory = tmp_path / "memory"
    verify(files, memory)
    (remembered,) = memory.iterdir()
    remembered.write_text(content)
    assert verify(files, memory) == ([], 3000)
    file = tmp_path / "file"
    file.write_text("no folder")
    assert verify(files, file) == ([], 3000)


def test_the_memory_stays_small(files, tmp_path, monkeypatch):
    monkeypatch.setattr(verified, "KEPT", 2)
    memory = tmp_path / "memory"
    for path, expected in files.items():
        verify({path: expected}, memory)
    assert len(list(memory.iterdir())) == 2
    assert all(json.loads(file.read_text()) for file in memory.iterdir())
