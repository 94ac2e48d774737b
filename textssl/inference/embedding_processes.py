"""Processes that each hold an encoder: windows of texts go out, their vectors come back in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, TimeoutError
from typing import Any

import numpy as np
import torch

from textssl.inference.features import Reading
from textssl.system import progress
from textssl.system.subprocesses import Helper, Pool, answer_requests

WAITING = 2  # windows per process: one being computed, one ready
PATIENCE_SECONDS = 0.2  # between two checks whether the caller wants to stop


class EmbedderPool(Pool):
    """`num_workers` processes as one encoder; the vectors do not depend on their number.

    options: arguments of `load_encoder`. GPUs are assigned to the processes in turn. Raises UserError where the model
    cannot be loaded.
    """

    def __init__(self, options: dict[str, Any], num_workers: int) -> None:
        threads = str(max(1, torch.get_num_threads() // num_workers))
        counts: dict[str, str] = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), threads)
        gpus = torch.cuda.device_count()
        devices = [f"cuda:{place % gpus}" if gpus else "cpu" for place in range(num_workers)]
        firsts = [{**options, "device": device, "speaks": not place} for place, device in enumerate(devices)]
        super().__init__([Helper("an embedding process", __name__, first, counts) for first in firsts])
        self.width, self.max_tokens = self.prepared[0]

    def embed_windows(
        self, windows: Iterable[Sequence[str]], *, on_batch: Callable[[int], None] | None = None
    ) -> Iterator[tuple[np.ndarray, Reading]]:
        """As Encoder.embed_windows, but on_batch is called for whole windows, and with 0 while one is awaited."""
        report = on_batch or (lambda _: None)
        flying: deque[Future[tuple[np.ndarray, Reading]]] = deque()
        for window in windows:
            flying.append(self.submit(list(window)))
            if len(flying) >= WAITING * len(self.helpers):
                yield wait(flying.popleft(), report)
        while flying:
            yield wait(flying.popleft(), report)


def wait(future: Future[tuple[np.ndarray, Reading]], report: Callable[[int], None]) -> tuple[np.ndarray, Reading]:
    """The result of the future; until it is there report(0) is called repeatedly, which may raise to stop."""
    while True:
        try:
            vectors, reading = future.result(timeout=PATIENCE_SECONDS)
        except TimeoutError:
            report(0)
        else:
            report(len(vectors))
            return vectors, reading


def serve() -> None:
    """In the subprocess: receives options, then windows of texts."""

    def prepare(options: dict[str, Any]) -> tuple[Any, Callable[[list[str]], Any]]:
        from textssl.inference.encoders import load_encoder  # what it prints must not mix with the answers

        if not options.pop("speaks"):  # one process speaks for all
            progress.silence()
        encoder = load_encoder(**{**options, "device": torch.device(options["device"])})
        return (encoder.width, encoder.max_tokens), lambda window: next(encoder.embed_windows([window]))

    answer_requests(prepare)
