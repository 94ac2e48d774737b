"""Processes that each hold an encoder: windows of texts go out, their vectors come back in order.

Plain subprocesses that speak pickle over pipes, like those of data/workers.py, and for the same reasons: nothing of the
caller's main module is imported, and they end by themselves when the parent is gone.
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
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch

from textssl.errors import UserError
from textssl.evaluation.features import Reading

ROOT = Path(__file__).resolve().parents[2]  # the folder that holds the package
WAITING = 2  # windows a process: one being computed, one ready
PATIENCE_SECONDS = 0.2  # between two looks whether the caller wants to stop


class Embedder:
    """One process with its encoder."""

    def __init__(self, options: dict[str, Any], threads: int) -> None:
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(threads))
        environment = {**os.environ, **counts, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
        command = [sys.executable, "-P", "-c", "from textssl.evaluation.embedders import serve; serve()"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._send(options)

    def _send(self, value: Any) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # what there is to say about it, the answer says
            pickle.dump(value, self.process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self.process.stdin.flush()

    def answer(self) -> Any:
        """What the process has to say to the oldest thing it was sent. Raises UserError as it did there."""
        assert self.process.stdout is not None
        try:
            kind, value = pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            code = self.process.wait()
            why = f"killed by signal {-code}, perhaps for lack of memory" if code < 0 else f"exit code {code}"
            raise RuntimeError(f"an embedding process ended unexpectedly ({why})") from error
        if kind == "wrong input":
            raise UserError(value)
        if kind == "failed":
            raise RuntimeError(f"an embedding process failed:\n{value}")
        return value

    def embed(self, texts: Sequence[str]) -> tuple[np.ndarray, Reading]:
        self._send(list(texts))
        return self.answer()

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.kill()  # it holds nothing that is not with us already
        self.process.wait()
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()


class EmbedderPool:
    """`num_workers` processes as one encoder; the vectors do not depend on their number.

    options: arguments of `load_encoder`. On GPUs the processes take turns in choosing one. Raises UserError where the
    model cannot be loaded.
    """

    def __init__(self, options: dict[str, Any], num_workers: int) -> None:
        threads = max(1, torch.get_num_threads() // num_workers)
        gpus = torch.cuda.device_count()
        devices = [f"cuda:{place % gpus}" if gpus else "cpu" for place in range(num_workers)]
        self.embedders = [Embedder({**options, "device": device}, threads) for device in devices]
        self.idle: SimpleQueue[Embedder] = SimpleQueue()
        self.threads = ThreadPoolExecutor(num_workers)  # each only waits on a pipe
        try:
            for embedder in self.embedders:
                self.width, self.max_tokens = embedder.answer()
                self.idle.put(embedder)
        except BaseException:
            self.close()
            raise

    def embed_windows(
        self, windows: Iterable[Sequence[str]], *, on_batch: Callable[[int], None] | None = None
    ) -> Iterator[tuple[np.ndarray, Reading]]:
        """As Encoder.embed_windows; on_batch is also called with 0 while nothing is done yet."""
        report = on_batch or (lambda _: None)
        flying: deque[Future[tuple[np.ndarray, Reading]]] = deque()
        for window in windows:
            flying.append(self.threads.submit(self._embed, window))
            if len(flying) >= WAITING * len(self.embedders):
                yield self._wait(flying.popleft(), report)
        while flying:
            yield self._wait(flying.popleft(), report)

    def _embed(self, window: Sequence[str]) -> tuple[np.ndarray, Reading]:
        embedder = self.idle.get()
        try:
            return embedder.embed(window)
        finally:
            self.idle.put(embedder)

    def _wait(
        self, future: Future[tuple[np.ndarray, Reading]], report: Callable[[int], None]
    ) -> tuple[np.ndarray, Reading]:
        while True:
            try:
                vectors, reading = future.result(timeout=PATIENCE_SECONDS)
            except TimeoutError:
                report(0)
            else:
                report(len(vectors))
                return vectors, reading

    def close(self) -> None:
        for embedder in self.embedders:
            embedder.process.kill()  # first, so that no thread waits on a pipe any longer
        self.threads.shutdown(cancel_futures=True)
        for embedder in self.embedders:
            embedder.close()

    def __enter__(self) -> EmbedderPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve() -> None:
    """The life of a process: options come, then windows of texts, each answered, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with the replies
    from textssl.evaluation.encoders import load_encoder

    encoder = None
    while True:
        try:
            request = pickle.load(requests)
        except EOFError:
            return
        try:
            if encoder is None:
                encoder = load_encoder(**{**request, "device": torch.device(request["device"])})
                reply = ("ready", (encoder.width, encoder.max_tokens))
            else:
                reply = ("embedded", next(encoder.embed_windows([request])))
        except UserError as error:
            reply = ("wrong input", str(error))
        except Exception:
            reply = ("failed", traceback.format_exc())
        try:
            pickle.dump(reply, replies, protocol=pickle.HIGHEST_PROTOCOL)
            replies.flush()
        except BrokenPipeError:
            return
