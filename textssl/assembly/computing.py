"""How a run computes: with how many threads, and by which kernels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console

from textssl import distributed
from textssl.sections import Config
from textssl.system.threads import choose_threads, use
from textssl.training.checkpoint import read_state
from textssl.training.tracking import announce


def take_threads(config: Config, newest: Path | None, console: Console) -> list[str]:
    """Compute with the threads that the run is to have, said on the first rank; a resumed run keeps those it had.

    Sums over other numbers of threads come in another order. Returns what to warn of.
    """
    before = None if newest is None else read_state(newest).get("threads")
    chosen = use(choose_threads(config.train.threads, before, name="train.threads"))
    if distributed.rank() == 0:
        announce(console, f"training with {chosen}")
    if before in (None, chosen.count):
        return []
    return [
        f"this run had {before} compute threads so far: with {chosen.count} its weights will differ from those of an "
        f"unbroken run in the last digits; train.threads={before} keeps them"
    ]


@contextmanager
def deterministic(on: bool) -> Iterator[None]:
    """Only kernels whose result is the same each time (torch.use_deterministic_algorithms); `on` false: as it was."""
    if not on:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its first product
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
