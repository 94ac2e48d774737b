"""Processes, here or on a cluster, that each hold an encoder: windows of texts go out, vectors come back in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, TimeoutError
from typing import Any

import numpy as np
import torch

from textssl import __version__
from textssl.inference.features import Reading
from textssl.system import progress
from textssl.system.ray_workers import RayWorkers, check_versions, installed
from textssl.system.subprocesses import Helper, Pool, Workers, answer_requests

WAITING = 2  # windows per process: one being computed, one ready
PATIENCE_SECONDS = 0.2  # between two checks whether the caller wants to stop
PACKAGES = ("torch", "transformers", "sentence-transformers", "tokenizers", "openvino", "onnxruntime")


def embedding_processes(options: dict[str, Any], num_workers: int) -> Pool:
    """`num_workers` processes of this machine, for Embedders. options: arguments of `load_encoder`.

    GPUs are assigned to the processes in turn. Raises UserError where the model cannot be loaded.
    """
    threads = str(max(1, torch.get_num_threads() // num_workers))
    gpus = torch.cuda.device_count()
    devices = [f"cuda:{place % gpus}" if gpus else "cpu" for place in range(num_workers)]
    firsts = [{**options, "device": device, "speaks": not place} for place, device in enumerate(devices)]
    return Pool([Helper("an embedding process", __name__, thread_settings(threads)) for _ in firsts], firsts)


def thread_settings(threads: str) -> dict[str, str]:
    """Variables of a process that computes with so many threads."""
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), threads)


def node_device(ray: Any) -> str:
    """What the nodes of a cluster compute on: `cuda` where any of them has a GPU."""
    return "cuda" if ray.cluster_resources().get("GPU") else "cpu"


def embedding_nodes(ray: Any, options: dict[str, Any], device: str, threads: int) -> RayWorkers:
    """The nodes of a Ray cluster, for Embedders. ray: as ray_cluster gives it. options: arguments of `load_encoder`.

    device: of node_device; each process has a GPU there, or `threads` CPUs. Raises UserError where a node does not see
    the model's folder, or cannot load it, or has other versions than this machine.
    """
    first = {**options, "device": device, "speaks": False, "threads": threads, "versions": versions()}
    settings = thread_settings(str(threads))
    gpus = int(device == "cuda")
    return RayWorkers(ray, "an embedding task", __name__, first, settings, cpus=threads, gpus=gpus)


def versions() -> dict[str, str]:
    """Of what the vectors of this process depend on, by name."""
    return {"textssl": __version__, **installed(*PACKAGES)}


class Embedders:
    """Workers that hold the same model each, as one encoder; the vectors do not depend on their number."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.width, self.max_tokens = workers.prepared[0]

    def embed_windows(
        self, windows: Iterable[Sequence[str]], *, on_batch: Callable[[int], None] | None = None
    ) -> Iterator[tuple[np.ndarray, Reading]]:
        """As Encoder.embed_windows, but on_batch is called for whole windows, and with 0 while one is awaited."""
        report = on_batch or (lambda _: None)
        flying: deque[Future[tuple[np.ndarray, Reading]]] = deque()
        for window in windows:
            flying.append(self.workers.submit(list(window)))
            if len(flying) >= WAITING * self.workers.size:
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


def prepare(options: dict[str, Any]) -> tuple[Any, Callable[[list[str]], Any]]:
    """(width, longest text in tokens) of the model, and the function that embeds a window of texts."""
    from textssl.inference.compute import check_runs
    from textssl.inference.encoders import load_encoder  # what it prints must not mix with the answers

    options = {**options}
    check_versions(options.pop("versions", {}), versions())
    if not options.pop("speaks"):  # one process speaks for all
        progress.silence()
    if threads := options.pop("threads", None):  # in a process that may have imported torch before
        torch.set_num_threads(threads)
    encoder = load_encoder(**{**options, "device": torch.device(options["device"])})
    if options.get("compute") == "bfloat16":
        check_runs(encoder, "bfloat16")
    return (encoder.width, encoder.max_tokens), lambda window: next(encoder.embed_windows([window]))


def serve() -> None:
    """In the subprocess: receives options, then windows of texts."""
    answer_requests(prepare)
