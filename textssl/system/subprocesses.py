"""Subprocesses that each hold something heavy, such as a model: requests go out, answers come back.

Plain ones that exchange pickles over pipes, not multiprocessing: they import nothing of the caller's main module
(so a script needs no `if __name__ == "__main__"`), share no thread pool, and end by themselves when the parent is gone,
however it ended.
"""

from __future__ import annotations

import fcntl
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Protocol, Self

from textssl.errors import UserError, words_of

ROOT = Path(__file__).resolve().parents[2]  # the folder that holds the package
MOST_WORKERS = 1024  # processes of one command; more are a slip of the keyboard, and take all memory
PARENT_SECONDS = 0.5  # between two checks that it is alive
PIPE_BYTES = 2**20  # of each pipe, where Linux grants it: a request or an answer mostly fits, and nobody waits for room
END_SECONDS = 10  # from a broken answer to the end of a process that dies


def interpreter() -> list[str]:
    """The start of a command that runs `-c CODE` without the current folder on the import path."""
    return [sys.executable, "-P"]


class Helper:
    """One subprocess, which prepares itself from the first request that it is sent.

    what: its name in errors, e.g. "an encoder process". module: its `serve` function, which calls `answer_requests`,
    runs there. environment: variables added to the caller's own.
    """

    def __init__(self, what: str, module: str, environment: Mapping[str, str]) -> None:
        self.what = what
        paths = os.pathsep.join(path for path in (str(ROOT), os.environ.get("PYTHONPATH", "")) if path)
        self.process = subprocess.Popen(
            [*interpreter(), "-c", f"from {module} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment, "PYTHONPATH": paths},
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        widen(self.process.stdin, self.process.stdout)

    def send(self, request: Any) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # the process has ended: `answer` says why
            pickle.dump(request, self.process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self.process.stdin.flush()

    def answer(self) -> Any:
        """The answer to the oldest request. Raises UserError if it did there, RuntimeError for any other failure."""
        assert self.process.stdout is not None
        try:
            kind, value = pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise RuntimeError(f"{self.what} {self.end()}") from error
        if kind == "wrong input":
            raise UserError(value)
        if kind == "failed":
            raise RuntimeError(f"{self.what} failed:\n{value}")
        return value

    def end(self) -> str:
        """What happened to a process whose answer could not be read, in words."""
        try:
            code = self.process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            return "sent something other than an answer"
        why = f"killed by signal {-code}, perhaps for lack of memory" if code < 0 else f"exit code {code}"
        return f"ended unexpectedly ({why})"

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.kill()  # it holds nothing that is still needed
        self.process.wait()
        with suppress(BrokenPipeError):  # the flush of what a killed process had not read
            self.process.stdin.close()
        self.process.stdout.close()


def widen(*pipes: IO[bytes]) -> None:
    """Enlarge pipes to PIPE_BYTES. Those beyond the limit of a user (64 MiB of pipes, mostly) stay as they are."""
    if sys.platform != "linux":
        return
    for pipe in pipes:
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


class Workers(Protocol):
    """Who answers requests: subprocesses of this machine (Pool), or the nodes of a Ray cluster (RayWorkers).

    prepared: the answers of those that there are to the first request. size: how many requests are answered at once;
    that of a cluster changes.
    """

    prepared: list[Any]

    @property
    def size(self) -> int: ...

    def submit(self, request: Any) -> Future[Any]:
        """The answer to a request. Raises UserError if it did there, RuntimeError for any other failure."""
        ...

    def everywhere(self, request: Any) -> list[Future[Any]]:
        """The answers of all machines, one each."""
        ...


class Pool:
    """Helpers that share requests. firsts: the first one of each, its own; `prepared`: the answers to these.

    Raises what `Helper.answer` raises, and closes the helpers then.
    """

    def __init__(self, helpers: Sequence[Helper], firsts: Iterable[Any]) -> None:
        self.helpers = helpers
        self.idle: SimpleQueue[Helper] = SimpleQueue()
        self.threads = ThreadPoolExecutor(len(helpers))  # each only waits on a pipe
        try:
            for helper, first in zip(helpers, firsts, strict=True):
                helper.send(first)
            self.prepared = [helper.answer() for helper in helpers]
        except BaseException:
            self.close()
            raise
        for helper in helpers:
            self.idle.put(helper)

    @property
    def size(self) -> int:
        return len(self.helpers)

    def everywhere(self, request: Any) -> list[Future[Any]]:
        """The answer of this machine."""
        return [self.submit(request)]

    def submit(self, request: Any) -> Future[Any]:
        """The answer to a request, from the first helper that is idle."""
        return self.threads.submit(self._ask, request)

    def _ask(self, request: Any) -> Any:
        helper = self.idle.get()
        try:
            helper.send(request)
            return helper.answer()
        finally:
            self.idle.put(helper)

    def close(self) -> None:
        for helper in self.helpers:
            helper.process.kill()  # first, so that no thread waits on a pipe any longer
        self.threads.shutdown(cancel_futures=True)
        for helper in self.helpers:
            helper.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Here:
    """A worker that is this process, where a subprocess would only share its core: requests are answered as they come.

    prepare: as in `answer_requests`.
    """

    size = 1

    def __init__(self, first: Any, prepare: Callable[[Any], tuple[Any, Callable[[Any], Any]]]) -> None:
        value, self.answer = prepare(first)
        self.prepared = [value]

    def submit(self, request: Any) -> Future[Any]:
        done = Future[Any]()
        done.set_result(self.answer(request))
        return done

    def everywhere(self, request: Any) -> list[Future[Any]]:
        return [self.submit(request)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


def answer_requests(prepare: Callable[[Any], tuple[Any, Callable[[Any], Any]]]) -> None:
    """The life of a subprocess, until the pipe closes.

    prepare: the first request -> its answer, and the function that answers all others.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent decides
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with the replies
    answer: Callable[[Any], Any] | None = None
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        try:
            if answer is None:
                value, answer = prepare(request)
                gc.freeze()  # what was imported stays: it need not be looked through again and again
            else:
                value = answer(request)
            reply = ("answer", value)
        except Exception as error:
            reply = reply_of(error)
        try:
            pickle.dump(reply, replies, protocol=pickle.HIGHEST_PROTOCOL)
            replies.flush()
        except BrokenPipeError:
            return


def reply_of(error: Exception) -> tuple[str, str]:
    """A worker's answer where it has none: `wrong input` and a message for the user, or `failed` and the traceback."""
    if isinstance(error, UserError) or (isinstance(error, OSError) and error.filename is not None):
        return "wrong input", words_of(error)
    return "failed", "".join(traceback.format_exception(error))


def end_with(parent: int) -> None:
    """End this process soon after its parent, even in the middle of an answer."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)
