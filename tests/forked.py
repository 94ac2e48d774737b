"""Processes as subprocess.Popen starts them, forked from one that has imported everything: each saves ten seconds."""

from __future__ import annotations

import atexit
import fcntl
import functools
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import IO

import pytest
from packaging.version import Version

from tests.preloaded import ask, hold

ROOT = Path(__file__).parents[1]
SERVER = Path(__file__).with_name("preloaded.py")
RANKS_END_SECONDS = 30  # the others, after the first one that failed


@functools.cache
def server(action: str) -> str:
    """The socket of a server that lives as long as this process; the processes of pytest-xdist share one.

    action: serve, or libraries.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    folder = Path(tempfile.gettempdir(), f"textssl-{run}") if run else Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)  # a short path: a socket's may have 100 characters
    address = folder / action
    with address.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            atexit.register(hold(str(address)).close)
        except OSError:  # there is none
            address.unlink(missing_ok=True)
            start_server(action, address)
    return str(address)


def quick_interpreter() -> list[str]:
    """In the place of subprocesses.interpreter: the code runs in a process that need not import everything."""
    return [sys.executable, "-S", str(SERVER), "run", server("serve")]


def start_server(action: str, address: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(SERVER), action, str(address)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=address.parent,
        start_new_session=True,  # Ctrl-C is not for it
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    input, output = process.stdin, process.stdout

    def end() -> None:
        input.close()
        process.wait()  # for the other processes that hold it
        output.close()
        for file in (address, address.with_suffix(".lock")):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # another server is there
            address.parent.rmdir()

    atexit.register(end)
    assert output.readline() == b"ready\n"


def content(file: IO[bytes]) -> str:
    """What is in a file, which is closed then."""
    with file:
        file.seek(0)
        return file.read().decode(errors="replace")


class Forked:
    """A command line of textssl, `-c CODE` or `-m MODULE`, in a process group of its own; used as a Popen is.

    cwd: the repository unless said. libraries_only: textssl is not imported, and not to be found.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        libraries_only: bool = False,
    ) -> None:
        environment = {**(os.environ if env is None else env), "OMP_NUM_THREADS": "1"}
        self.args, self.returncode = list(arguments), None
        self.files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        self.said: tuple[str, str] | None = None
        with open(os.devnull) as nothing:
            streams = dict(enumerate([nothing.fileno(), *(file.fileno() for file in self.files)]))
            address = server("libraries" if libraries_only else "serve")
            self.answers = ask(address, self.args, str(cwd), environment, streams)
        self.pid = int(self.answers.readline())

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self.answers], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self.answers], [], [], timeout)[0]:
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = int(self.answers.readline())
            self.answers.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has written to its standard output and standard error, when it has ended."""
        self.wait(timeout)
        if self.said is None:
            output, errors = map(content, self.files)
            self.said = output, errors
        return self.said

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Ranks:
    """The processes of one world, as torchrun starts them; after one has failed, the others have some time to end.

    A test with more than one is skipped where torch is too old for that.
    """

    def __init__(self, arguments: Sequence[str], processes: int, *, cwd: Path = ROOT) -> None:
        if processes > 1 and Version(version("torch")) < Version("2.13"):
            pytest.skip("several processes train with torch 2.13 or newer")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": str(processes)}
        world |= {"WORLD_SIZE": str(processes)}
        self.ranks = [
            Forked(arguments, env={**os.environ, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)}, cwd=cwd)
            for rank in range(processes)
        ]
        self.returncode: int | None = None

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What all have written, one after the other."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while None in (codes := [rank.poll() for rank in self.ranks]):
            if any(codes) and (deadline is None or deadline > time.monotonic() + RANKS_END_SECONDS):
                deadline = time.monotonic() + RANKS_END_SECONDS
            if deadline is not None and time.monotonic() > deadline:
                for rank in self.ranks:
                    with suppress(ProcessLookupError):
                        rank.kill()
                for rank in self.ranks:
                    rank.wait()
                break
            time.sleep(0.02)
        written = [rank.communicate() for rank in self.ranks]
        self.returncode = next((rank.returncode for rank in self.ranks if rank.returncode), 0)
        return "".join(output for output, _ in written), "".join(errors for _, errors in written)


def run(
    arguments: Sequence[str], *, cwd: Path = ROOT, libraries_only: bool = False, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """As subprocess.run with captured output."""
    process = Forked(arguments, cwd=cwd, libraries_only=libraries_only)
    try:
        output, errors = process.communicate(timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.wait(), output, errors)
