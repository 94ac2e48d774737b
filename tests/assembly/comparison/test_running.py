"""Sharing the work: each record is made once, whoever makes it."""

from __future__ import annotations

import json
from pathlib import Path

from textssl.assembly.comparison.running import Job, share
from textssl.system.locks.lock import Lock


def job(folder: Path, name: str, made: list[str], **options) -> Job:
    def make():
        made.append(name)
        return {"name": name}

    return Job(name, folder / name / "record.json", folder / name / ".lock", make, **options)


def test_each_record_is_made_once(tmp_path):
    made: list[str] = []
    ended = []
    assert share([job(tmp_path, name, made) for name in "ab"], lambda: ended.append(len(made))) == {}
    assert share([job(tmp_path, name, made) for name in "abc"]) == {}
    assert made == ["a", "b", "c"] and ended == [1, 2]
    assert json.loads((tmp_path / "a" / "record.json").read_text()) == {"name": "a"}


def test_what_another_process_has_is_left_to_it_and_looked_at_again(tmp_path):
    made: list[str] = []
    (tmp_path / "a").mkdir()
    lock = Lock(tmp_path / "a" / ".lock")
    try:
        held = share([job(tmp_path, name, made) for name in "ab"])
        assert made == ["b"] and list(held) == ["a"] and "process" in held["a"]
    finally:
        lock.release()
    theirs = job(tmp_path, "a", made)
    lock = Lock(tmp_path / "a" / ".lock")
    last = job(tmp_path, "c", made)
    last.make = lambda: lock.release() or made.append("c") or {}  # the other one ends while we work
    assert share([theirs, last]) == {}
    assert made == ["b", "c", "a"]


def test_a_record_made_between_the_look_and_the_lock_is_kept(tmp_path):
    made: list[str] = []
    ours = job(tmp_path, "a", made)
    assert not ours.done
    job(tmp_path, "a", made).work()
    ours.work()
    assert made == ["a"]


def test_what_failed_is_run_again_only_where_that_is_asked(tmp_path):
    made: list[str] = []
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "record.json").write_text('{"failed": "no room"}')
    share([job(tmp_path, "a", made)])
    assert made == []
    share([job(tmp_path, "a", made, retry=True)])
    assert made == ["a"]
