"""Command lines as processes of their own that need not import everything anew: forked from a server that has.

python preloaded.py serve SOCKET               imports textssl's commands, then forks a process for each request
python preloaded.py libraries SOCKET           the same, with the libraries alone: textssl is not imported
python preloaded.py run SOCKET ARGUMENTS...    hands its arguments, folder, environment and streams to the server

ARGUMENTS are those of textssl, or `-c CODE ...` and `-m MODULE ...` as Python takes them. The process ends with the
exit code of the command. What is settled before Python's first line (the encoding of file names) is the server's;
start some command lines afresh for that.
"""

import atexit
import json
import os
import resource
import runpy
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

HOLD, HELD = b"hold\n", b"+"  # what a process says that needs the server for a while, and the answer


def run(address: str, arguments: list[str]) -> int:
    """The exit code of a command line that the server runs."""
    streams = [number for number in range(3) if is_open(number)]
    with ask(address, arguments, os.getcwd(), dict(os.environ), {number: number for number in streams}) as answers:
        for number in streams:
            os.close(number)  # so that whoever reads them sees their end
        answers.readline()
        code = int(answers.readline() or 1)
    if code < 0:
        os.kill(os.getpid(), -code)
    return code


def ask(
    address: str,
    arguments: list[str],
    folder: str,
    environment: dict[str, str],
    streams: dict[int, int],
    file_bytes: int | None = None,
) -> TextIO:
    """Start a command line. streams: its number of a stream -> ours. file_bytes: no file of it may grow beyond, as on a
    full disk. The answer's first line is the process's number, its second the exit code; once the answer is closed, the
    process is ended."""
    words = [os.fsencode(word).decode("utf-8", "surrogateescape") for word in arguments]
    request = {"arguments": words, "folder": folder, "environment": environment, "streams": list(streams)}
    request["file_bytes"] = file_bytes
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [json.dumps(request).encode() + b"\n"], list(streams.values()))
        return connection.makefile("r")


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def hold(address: str) -> socket.socket:
    """A connection that keeps a server until it is closed; ConnectionError where that is about to end."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address)
        connection.sendall(HOLD)
        if connection.recv(1) != HELD:
            raise ConnectionResetError
    except OSError:
        connection.close()
        raise
    return connection


def serve(address: str, load: Callable[[], None]) -> None:
    """Answer requests until the caller has closed standard input, and all others that hold the server have ended.

    Returns in each forked process, which runs a command.
    """
    load()
    holders: list[Any] = [sys.stdin]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([server, *holders], [], [])
            holders = [holder for holder in holders if holder not in ready]
            if not holders:
                os._exit(0)
            if server not in ready:
                continue
            connection, _ = server.accept()
            text, handed, _, _ = socket.recv_fds(connection, 2**20, 3)
            while text and not text.endswith(b"\n"):
                text += connection.recv(2**20)
            if text in (HOLD, b""):
                if text:
                    connection.sendall(HELD)
                    holders.append(connection)
                continue
            if os.fork() == 0:  # several may run at once, each with a watcher
                server.close()
                for holder in holders:
                    if holder is not sys.stdin:
                        holder.close()
                begun, tell = os.pipe()
                child = os.fork()
                if child == 0:
                    connection.close()
                    become(json.loads(text), list(handed))
                    return os.close(tell)
                for number in (*handed, tell):
                    os.close(number)
                os.read(begun, 1)  # its end: the process is what it should be
                watch(child, connection)
                os._exit(0)
            for number in handed:
                os.close(number)
            connection.close()
            reap()


def load_commands() -> None:
    import textssl
    import textssl.cli.app

    for name in textssl.COMMANDS:
        getattr(textssl, name)


def load_libraries() -> None:
    import sentence_transformers  # noqa: F401
    import torch  # noqa: F401
    import transformers

    for name in ("AutoModelForCausalLM", "AutoModelForMaskedLM", "AutoModelForSequenceClassification", "AutoTokenizer"):
        getattr(transformers, name)
    assert "textssl" not in sys.modules


def reap() -> None:
    """Take note of the watchers that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def watch(child: int, connection: socket.socket) -> None:
    """Send the child's number, then its exit code; end it, and what it started, where the client is gone."""
    connection.sendall(f"{child}\n".encode())
    handle = os.pidfd_open(child)
    ready, _, _ = select.select([handle, connection], [], [])
    if handle not in ready:
        os.killpg(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(handle)
    with connection, suppress(OSError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def become(request: dict, handed: list[int]) -> None:
    """Take over a client's folder, environment and streams, as an interpreter does that starts there."""
    os.setpgid(0, 0)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    given = {number: os.dup(handle) for number, handle in zip(request["streams"], handed, strict=True)}
    for handle in handed:
        os.close(handle)
    for number in range(3):
        if number in given:
            os.dup2(given[number], number)
            os.close(given[number])
        else:
            os.close(number)
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    encoding = encoding or ("ascii" if os.environ.get("PYTHONUTF8") == "0" else "utf-8")
    sys.stdin = open(0, closefd=False) if 0 in given else None  # type: ignore[assignment]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = stream(1, encoding, errors or "strict") if 1 in given else None  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = stream(2, encoding, "backslashreplace") if 2 in given else None  # type: ignore[misc]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # a shell's background jobs ignore some
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if request.get("file_bytes") is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"], resource.RLIM_INFINITY))
    sys.argv = ["textssl", *(os.fsdecode(word.encode("utf-8", "surrogateescape")) for word in request["arguments"])]


def run_command() -> int:
    """The exit code of the command line in sys.argv."""
    try:
        if sys.argv[1:2] == ["-c"]:
            _, _, code, *words = sys.argv
            sys.argv, sys.path[:0] = ["-c", *words], [""]
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        elif sys.argv[1:2] == ["-m"]:
            _, _, module, *words = sys.argv
            sys.argv, sys.path[:0] = [module, *words], [""]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            from textssl.__main__ import main

            main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def end_at_once(code: int) -> NoReturn:
    """As an interpreter ends, but for taking all that was imported apart, which would take seconds."""
    for output in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            output.flush()
    atexit._run_exitfuncs()
    os._exit(code)


def stream(number: int, encoding: str, errors: str):
    return open(number, "w", encoding=encoding, errors=errors, closefd=False, buffering=-1 if number == 1 else 1)


if __name__ == "__main__":
    action, address, *words = sys.argv[1:]
    if action == "run":
        sys.exit(run(address, words))
    sys.path.remove(str(Path(__file__).resolve().parent))
    if action == "serve":
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    serve(address, load_commands if action == "serve" else load_libraries)
    end_at_once(run_command())
