"""One job at a time in a place: a lock that names its holder and does not outlive its process.

The kernel's flock decides wherever it can be trusted: it is released with its process, however that ends. The lock file
says who holds it (host, process, since when, command). This decides where flock is not enough, on network file systems:
a holder on this machine is alive while its process exists, one on another machine while it keeps touching the file.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from textssl.errors import UserError
from textssl.system.interrupts import undone
from textssl.system.locks.holder import Holder, holder_of, is_alive, read_holder, this_process

NAME = ".textssl.lock"  # inside a folder; `.FILE.textssl.lock` beside a file or a folder that appears whole
HEARTBEAT_SECONDS = 5.0
SETTLE_SECONDS = 0.5  # in which two that took the lock at once see each other, where flock does not decide
ATTEMPTS = 10


class Held(Exception):
    """Another process has the lock. holder: who, if the file says so."""

    def __init__(self, holder: Holder | None) -> None:
        super().__init__(str(holder or "another process"))
        self.holder = holder


class Lock:
    """A lock that this process holds from its construction until `release`. Raises Held where another has it."""

    def __init__(self, file: Path) -> None:
        self.file, self.owner = file, this_process()
        self.handle = self._take()
        self.ended, self.beating = threading.Event(), None
        HELD.add(self)
        self.start_heartbeat()

    def _take(self) -> int:
        while True:
            handle, taken = os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), False
            try:
                kernel = try_kernel(handle)
                if kernel is False:
                    raise Held(read_holder(handle))
                if not is_at(handle, self.file):  # its last holder removed it while it was being opened
                    os.close(handle)
                    continue
                left = read_holder(handle)
                if left is not None and is_alive(left, handle, self.file, kernel=bool(kernel)):
                    raise Held(left)
                taken = True
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(asdict(self.owner)).encode(), 0)
                os.fsync(handle)
                if not kernel or (left is not None and left.boot != self.owner.boot):
                    time.sleep(SETTLE_SECONDS)
                    now = holder_of(self.file)
                    if now is None or now.token != self.owner.token:
                        raise Held(now)
                return handle
            except BaseException as error:
                with suppress(OSError):
                    if taken and not isinstance(error, Held):  # a full disk: an empty lock file would stay
                        self.file.unlink()
                os.close(handle)
                raise

    def start_heartbeat(self) -> None:
        self.ended.clear()
        self.beating = threading.Thread(target=self._beat, name="lock heartbeat", daemon=True)
        self.beating.start()

    def stop_heartbeat(self) -> None:
        self.ended.set()
        if self.beating is not None:
            self.beating.join()
        self.beating = None

    def _beat(self) -> None:
        while not self.ended.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # a network file system may be unavailable for a while
                os.utime(self.handle)

    def release(self) -> None:
        """Give up the lock and remove its file; whoever has opened the file meanwhile notices that it is gone."""
        HELD.discard(self)
        self.stop_heartbeat()
        with suppress(OSError):
            if is_at(self.handle, self.file):
                self.file.unlink()
        os.close(self.handle)


HELD: set[Lock] = set()


def _before_fork() -> None:
    for lock in list(HELD):
        lock.stop_heartbeat()


def _after_fork() -> None:
    for lock in list(HELD):
        lock.start_heartbeat()


def _forget() -> None:
    for lock in HELD:
        os.close(lock.handle)  # flock stays with the parent's
    HELD.clear()


# A forked child (a loader worker) must not keep the lock after its parent has died, nor fork while a thread runs.
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_forget)


def try_kernel(handle: int) -> bool | None:
    """Whether flock gave us the lock; None where the file system does not support it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_at(handle: int, file: Path) -> bool:
    """Whether an open file is still the one at this path."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(file))
    except OSError:
        return False


def check_free(file: Path, what: str, option: str) -> None:
    """UserError where another process holds the lock of that file now; what, option: as in `hold`. Leaves no file."""
    if file.is_file():
        try:
            Lock(file).release()
        except Held as held:
            raise UserError(in_use(what, held.holder, option)) from None


@contextmanager
def hold(file: Path, what: str, option: str) -> Iterator[Lock]:
    """Hold the lock of that file while the block runs; folders made for it are removed if they are still empty.

    what: the place in error messages. option: what the user can choose differently. Raises UserError where another
    process holds the lock, or the file cannot be made.
    """
    made: list[Path] = []
    lock: Lock | None = None
    try:
        for attempt in range(ATTEMPTS):
            try:
                made += make_folders(file.parent)
                lock = Lock(file)
                break
            except Held as held:
                raise UserError(in_use(what, held.holder, option)) from None
            except OSError as error:
                gone = isinstance(error, FileNotFoundError)  # the folder was removed by its last holder
                if not gone or attempt == ATTEMPTS - 1:
                    raise UserError(f"{what} cannot be written: {error.strerror or error}") from None
        assert lock is not None
        with undone(lock.release):
            yield lock
    finally:
        if lock is not None:
            lock.release()
        for folder in reversed(made):
            with suppress(OSError):
                folder.rmdir()


def in_use(what: str, holder: Holder | None, option: str) -> str:
    return f"{what} is in use by {holder or 'another process'}: wait for it, or choose another {option}"


def make_folders(folder: Path) -> list[Path]:
    """Make a folder and those above it; returns the new ones, the outermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()][::-1]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def lock_file(out: str | Path) -> Path:
    """The lock file of a file or folder that appears whole."""
    out = Path(os.path.abspath(out))
    return out.with_name(f".{out.name}{NAME}")
