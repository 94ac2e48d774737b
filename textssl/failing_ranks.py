"""Failures of other ranks: one that waits in vain names those that are gone, and an error of one ends them all.

They tell each other through the store of the launch, which outlives any message.
"""

from __future__ import annotations

import platform
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch.distributed as dist

from textssl.distributed import rank, world_size
from textssl.errors import UserError, printable, words_of
from textssl.system.interrupts import end_process, say

REPORT_SECONDS = 5.0  # in which all ranks have noticed that one is missing, or have heard of an error
LOOK_SECONDS = 1.0  # from one look for an error of another rank to the next
UNWINDING_SECONDS = 1.0  # in which a rank that ends by itself has done so
LOST_PEER = re.compile(r"Timed out waiting|[Cc]onnection (closed|reset)|Broken pipe|Socket closed")  # gloo's words


@contextmanager
def ending_together(run: str) -> Iterator[None]:
    """Within the block a UserError or OSError of one rank ends every rank, with its message and exit code 2.

    A rank that has failed stays until the others have heard of it. They may stand in a call that waits for it and that
    nothing interrupts (NCCL's), so a thread of each looks for such an error, and ends the process.

    run: a name that no other run of the launch has, the same on every rank.
    """
    if world_size() == 1:
        yield
        return
    store: Any = dist.distributed_c10d._get_default_store()
    key, left = f"textssl/failed/{run}", threading.Event()
    listening = threading.Thread(target=hear, args=(store.clone(), key, left), name="other ranks", daemon=True)
    listening.start()
    try:
        yield
    except (UserError, OSError) as error:
        left.set()
        words = words_of(error)
        within(2 * REPORT_SECONDS, lambda: leave(store, key, words))
        raise
    except RuntimeError:
        if within(LOOK_SECONDS, lambda: store.check([key])):  # it comes from a call to the rank that failed
            listening.join()  # which is about to end the process
        raise
    finally:
        left.set()


def hear(store: Any, key: str, left: threading.Event) -> None:
    """End the process if another rank fails before this one has left the block. store: a connection of its own."""
    with suppress(RuntimeError):  # whoever keeps the store has ended
        while not left.wait(LOOK_SECONDS):
            if store.check([key]) and not left.wait(UNWINDING_SECONDS):
                say(f"error: {printable(store.get(key).decode())}")
                leave(store, key)
                time.sleep(2 * UNWINDING_SECONDS)  # torchrun stops all once one has ended: let that be the failed one
                end_process(2)


def leave(store: Any, key: str, words: str = "") -> None:
    """Say why this rank ends, unless another one has said so before, and wait until all have heard of an error."""
    store.compare_set(key, "", f"{words} (rank {rank()} on {platform.node()})")
    heard, end = store.add(f"{key}/heard", 1), time.monotonic() + REPORT_SECONDS
    while heard < world_size() and time.monotonic() < end:
        time.sleep(0.05)
        heard = store.add(f"{key}/heard", 0)


@contextmanager
def naming_absent(timeout_seconds: float) -> Iterator[None]:
    """Within the block, a rank that waits for others in vain raises a UserError that names them.

    Each rank whose transport gives up (gloo; with NCCL torch itself ends the process, and names no rank) notes so in
    the store of the launch: those that have not are stuck or gone.
    """
    try:
        yield
    except RuntimeError as error:
        if world_size() == 1 or LOST_PEER.search(str(error)) is None:
            raise
        absent = within(2 * REPORT_SECONDS, absent_ranks)
        names = f"rank {' and '.join(map(str, absent))}" if absent else "another rank"
        raise UserError(
            f"{names} of {world_size()} did not answer for {timeout_seconds:g} seconds (train.timeout_seconds), or has "
            "ended: start the same command again to go on from the newest checkpoint"
        ) from error


def absent_ranks() -> list[int]:
    """The ranks that do not report within REPORT_SECONDS that they miss others too."""
    store: Any = dist.distributed_c10d._get_default_store()
    store.set(f"textssl/waiting/{rank()}", "1")
    end, absent = time.monotonic() + REPORT_SECONDS, list(range(world_size()))
    while absent and time.monotonic() < end:
        absent = [one for one in absent if not store.check([f"textssl/waiting/{one}"])]
        time.sleep(0.1)
    return absent


def within(seconds: float, ask: Callable[[], Any]) -> Any:
    """What a question to the store gives; None where whoever keeps it is gone, or stuck and does not answer in time."""
    found: list[Any] = []

    def answer() -> None:
        with suppress(RuntimeError):
            found.append(ask())

    asking = threading.Thread(target=answer, daemon=True)
    with suppress(RuntimeError):  # no thread can start where memory has run out
        asking.start()
        asking.join(seconds)
    return found[0] if found else None
