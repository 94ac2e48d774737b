"""Encoder processes: pieces of work go out, results come back in order.

Plain subprocesses that speak pickle over pipes, rather than multiprocessing: they import nothing of the caller's main
module (so a script needs no `if __name__ == "__main__"`), share no thread pool, and end by themselves when the parent
is gone, however it went.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from tokenizers import Tokenizer

from textssl.data.encoding import DocumentEncoder, Encoded

Piece = TypeVar("Piece")
ROOT = Path(__file__).resolve().parents[2]  # the folder that holds the package
IN_FLIGHT = 3  # pieces a worker: one being encoded, one waiting, one being written
IN_FLIGHT_CHARACTERS = 2**26


class Worker:
    """One encoder process."""

    def __init__(self, tokenizer: str):
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "TOKENIZERS_PARALLELISM": "false",
            "RAYON_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        command = [sys.executable, "-P", "-c", "from textssl.data.workers import serve; serve()"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.send(tokenizer)

    def send(self, value: Any) -> None:
        assert self.process.stdin is not None
        pickle.dump(value, self.process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
        self.process.stdin.flush()

    def encode(self, texts: Sequence[str]) -> Encoded:
        assert self.process.stdout is not None
        try:
            self.send(list(texts))
            result = pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            code = self.process.wait()
            why = f"killed by signal {-code}, perhaps for lack of memory" if code < 0 else f"exit code {code}"
            raise RuntimeError(f"an encoder process ended unexpectedly ({why})") from error
        if isinstance(result, str):
            raise RuntimeError(f"an encoder process failed:\n{result}")
        return result

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.kill()  # it holds nothing that is not with us already
        self.process.wait()
        with suppress(BrokenPipeError):  # the flush of what a killed worker had not read
            self.process.stdin.close()
        self.process.stdout.close()


class EncoderPool:
    """`num_workers` encoder processes. Results come in the order of the pieces, whatever their number."""

    def __init__(self, tokenizer: Tokenizer, num_workers: int):
        state = tokenizer.to_str()
        self.workers = [Worker(state) for _ in range(num_workers)]
        self.idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self.workers:
            self.idle.put(worker)
        self.threads = ThreadPoolExecutor(num_workers)  # each only waits on a pipe

    def map(self, pieces: Iterable[Piece], texts: Callable[[Piece], Sequence[str]]) -> Iterator[tuple[Piece, Encoded]]:
        """Each piece with its encoded texts; a bounded number of pieces and characters is under way at a time."""
        flying: deque[tuple[Piece, int, Future[Encoded]]] = deque()
        characters = 0
        for piece in pieces:
            work = texts(piece)
            size = sum(map(len, work))
            while flying and (len(flying) >= IN_FLIGHT * len(self.workers) or characters + size > IN_FLIGHT_CHARACTERS):
                done, done_size, future = flying.popleft()
                characters -= done_size
                yield done, future.result()
            flying.append((piece, size, self.threads.submit(self.encode, work)))
            characters += size
        while flying:
            done, _, future = flying.popleft()
            yield done, future.result()

    def encode(self, texts: Sequence[str]) -> Encoded:
        worker = self.idle.get()
        try:
            return worker.encode(texts)
        finally:
            self.idle.put(worker)

    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()  # first, so that no thread waits on a pipe any longer
        self.threads.shutdown(cancel_futures=True)
        for worker in self.workers:
            worker.close()

    def __enter__(self) -> EncoderPool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def serve() -> None:
    """The life of a worker: a tokenizer comes, then lists of texts, each answered, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with the replies
    encoder = None
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        try:
            if encoder is None:
                encoder = DocumentEncoder(Tokenizer.from_str(request))
                continue
            reply = encoder.encode(request)
        except Exception:
            reply = traceback.format_exc()
        try:
            pickle.dump(reply, replies, protocol=pickle.HIGHEST_PROTOCOL)
            replies.flush()
        except BrokenPipeError:
            return
