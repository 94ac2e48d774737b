"""One job at a time on a place: refused in one line that names the holder, and free as soon as that one is dead."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from textssl.errors import UserError
from textssl.system.locks import holder, lock
from textssl.system.locks.holder import Machine
from textssl.system.locks.lock import Held, Lock, check_free, hold, lock_file

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from textssl.system.locks.lock import hold
with hold(Path(sys.argv[1]), "out=here", "out"):
    print("held", flush=True)
    time.sleep(600)
"""


def start_holder(file: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(file)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def soon(act: Callable[[], None], error: type[Exception]) -> None:
    """Try again while a child that was forked just now has not run yet."""
    for _ in range(100):
        with suppress(error):
            return act()
        time.sleep(0.1)
    act()


@pytest.fixture
def elsewhere(monkeypatch):
    """Pretend to be another machine, whose kernel's locks are not seen here, or one without locks."""

    def pretend(host: str, boot: str, *, kernel: bool | None = True, processes: str = "pid:[1]"):
        monkeypatch.setattr(holder, "this_machine", lambda: Machine(host, boot, processes))
        monkeypatch.setattr(lock, "try_kernel", lambda handle: kernel)
        monkeypatch.setattr(lock, "SETTLE_SECONDS", 0.05)

    return pretend


def test_the_holder_is_named_and_its_death_frees_the_place(tmp_path):
    file = tmp_path / "run" / lock.NAME
    process = start_holder(file)
    try:
        with pytest.raises(UserError) as caught, hold(file, "out=run", "out"):
            raise AssertionError("two have it")
        who = f"process {process.pid} on {os.uname().nodename} since "
        assert f"out=run is in use by {who}" in str(caught.value) and "\n" not in str(caught.value)
        assert str(caught.value).endswith(": wait for it, or choose another out")
    finally:
        end(process)
    assert file.is_file()  # what a killed holder leaves
    with hold(file, "out=run", "out"):
        assert json.loads(file.read_text())["pid"] == os.getpid()
    assert os.listdir(tmp_path / "run") == []


def test_nothing_is_left_where_nothing_came(tmp_path):
    with pytest.raises(KeyError), hold(tmp_path / "a" / "b" / lock.NAME, "b", "out"):
        raise KeyError
    assert os.listdir(tmp_path) == []
    with hold(tmp_path / "a" / "b" / lock.NAME, "b", "out"):
        (tmp_path / "a" / "b" / "result").touch()
    assert os.listdir(tmp_path / "a" / "b") == ["result"]


def test_a_place_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="v cannot be written"), hold(lock_file(tmp_path / "file" / "v"), "v", "--out"):
        pass


def test_a_file_that_its_holder_removed_meanwhile_is_no_lock(tmp_path, monkeypatch):
    """Opened before the holder's release, locked after it: the second must not sit on a file without a name."""
    file, first, real = tmp_path / "lock", Lock(tmp_path / "lock"), lock.try_kernel

    def late(handle: int) -> bool | None:
        monkeypatch.setattr(lock, "try_kernel", real)
        first.release()
        return real(handle)

    monkeypatch.setattr(lock, "try_kernel", late)
    second = Lock(file)
    assert file.is_file()
    with pytest.raises(Held):
        Lock(file)
    second.release()


def test_forked_children_do_not_keep_it(tmp_path):
    """As loader workers that outlive a killed parent for some seconds."""
    file = tmp_path / "lock"
    held = Lock(file)
    assert held.beating is not None
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    child.start()
    assert held.beating is not None and held.beating.is_alive()  # it stood still for the fork
    os.close(held.handle)  # as the kernel does for a killed process
    handle = os.open(file, os.O_RDWR)
    try:
        soon(lambda: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB), BlockingIOError)
    finally:
        os.close(handle)
        child.kill()
        child.join()
        held.handle = os.open(file, os.O_RDWR)
        held.release()


def test_a_dead_process_with_running_children_holds_nothing(tmp_path):
    fork = "    import os\n    if os.fork() == 0:\n        time.sleep(600)\n        os._exit(0)\n"
    code = HOLD.replace("    print(", f"{fork}    print(")
    file = tmp_path / "lock"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(file)], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    try:
        process.kill()
        process.wait()
        soon(lambda: Lock(file).release(), Held)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_the_heartbeat_touches_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 0.05)
    held = Lock(tmp_path / "lock")
    os.utime(held.file, (0, 0))
    deadline = time.monotonic() + 10
    while held.file.stat().st_mtime < 1e9:
        assert time.monotonic() < deadline, "no heartbeat"
        time.sleep(0.02)
    held.release()


@pytest.mark.parametrize("kernel", [True, None])
def test_a_holder_on_another_machine_counts_while_its_heart_beats(tmp_path, elsewhere, kernel):
    file = tmp_path / "lock"
    elsewhere("first", "boot-1", kernel=kernel)
    held = Lock(file)
    elsewhere("second", "boot-2", kernel=kernel)
    with pytest.raises(UserError, match=r"v is in use by process \d+ on first since"), hold(file, "v", "--out"):
        pass
    check = pytest.raises(UserError, match="on first since")
    with check:
        check_free(file, "v", "--out")
    assert json.loads(file.read_text())["host"] == "first"
    old = time.time() - 2 * holder.DEAD_AFTER_SECONDS
    os.utime(file, (old, old))
    with hold(file, "v", "--out"):
        assert json.loads(file.read_text())["host"] == "second"
    assert os.listdir(tmp_path) == []
    held.release()


def test_whoever_cannot_ask_for_the_time_leaves_the_holder_its_lock(tmp_path, elsewhere, monkeypatch):
    file = tmp_path / "lock"
    elsewhere("first", "boot-1", kernel=None)
    held = Lock(file)
    elsewhere("second", "boot-2", kernel=None)

    def full(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

    monkeypatch.setattr(holder, "file_system_time", full)
    with pytest.raises(UserError, match="v cannot be written: No space left"), hold(file, "v", "--out"):
        pass
    assert json.loads(file.read_text())["host"] == "first"
    held.release()


def test_a_restarted_container_of_the_same_kernel_need_not_wait(tmp_path, elsewhere):
    file = tmp_path / "lock"
    elsewhere("first", "boot-1")
    dead = Lock(file)
    left = file.read_text()
    dead.release()
    file.write_text(left)
    elsewhere("second", "boot-1")
    taken = Lock(file)
    assert json.loads(file.read_text())["host"] == "second"
    taken.release()


def test_without_kernel_locks_the_process_decides(tmp_path, elsewhere):
    file = tmp_path / "lock"
    elsewhere("here", "boot", kernel=None)
    held = Lock(file)
    with pytest.raises(Held, match=f"process {os.getpid()} on here"):
        Lock(file)
    left = json.loads(file.read_text())
    for changed in ({"started": left["started"] + 1}, {"pid": 2**22 + 1}):  # the id is another's now; nobody's
        file.write_text(json.dumps({**left, **changed}))
        Lock(file).release()
    held.release()


def test_without_kernel_locks_the_last_to_write_has_it(tmp_path, elsewhere, monkeypatch):
    file = tmp_path / "lock"
    elsewhere("here", "boot", kernel=None)
    won = json.loads('{"host": "there", "boot": "b", "processes": "p", "pid": 7, "started": 1, "since": "now", '
                     '"command": "textssl", "token": "t"}')  # fmt: skip
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: file.write_text(json.dumps(won)))
    with pytest.raises(Held, match="process 7 on there"):
        Lock(file)
    assert json.loads(file.read_text()) == won
