"""Failures of other ranks: one that waits in vain names those that are gone, and an error of one ends them all.

They tell each other through the store of the launch, which outlives any message. A thread of each rank looks there,
since the rank itself may stand in a call that waits for the others and that nothing interrupts (NCCL's).
"""

from __future__ import annotations

import platform
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any
from uuid import uuid4

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from textssl.distributed import launched_rank, launched_world, note_failure, rank, world_size
from textssl.errors import UserError, printable, words_of
from textssl.system.interrupts import end_process, say

START_SECONDS = 60.0  # from the first rank of a launch that runs to the last one
REPORT_SECONDS = 5.0  # in which all ranks have noticed that one is missing, or have heard of an error
LOOK_SECONDS = 1.0  # from one look for an error of another rank to the next
UNWINDING_SECONDS = 1.0  # in which a rank that ends by itself has done so
EARLIER_SECONDS = 10.0  # by which a silent rank is noticed before a call to it gives up
LEFT = "left"  # the last sign of a rank that has ended well
LOST_PEER = re.compile(r"Timed out waiting|[Cc]onnection (closed|reset)|Broken pipe|Socket closed")  # gloo's words


def starting_together() -> AbstractContextManager[None]:
    """As `ending_together`, for the block in which ranks read their configuration and meet."""
    return ending_together("start", patience=REPORT_SECONDS if dist.is_initialized() else START_SECONDS)


@contextmanager
def ending_together(run: str, timeout_seconds: float | None = None, patience: float = REPORT_SECONDS) -> Iterator[None]:
    """Within the block a UserError or OSError of one rank ends every rank, with its message and exit code 2.

    A rank that has failed stays until the others have heard of it, for `patience` seconds at most.

    run: a name that no other run of the launch has, the same on every rank. timeout_seconds: a rank that has died, or
    stands still as a whole, is named by the others, which end before that time has passed; None: nobody is watched.
    """
    if launched_world() == 1:
        yield
        return
    connect = store_of_group if dist.is_initialized() else store_of_launch
    key, left, ending = f"textssl/{run}/failed", threading.Event(), threading.Event()
    signs = None if timeout_seconds is None else Signs(f"textssl/{run}/alive", timeout_seconds)
    given = connect, key, left, ending, signs
    listening = threading.Thread(target=hear, args=given, name="other ranks", daemon=True)
    listening.start()
    try:
        yield
        if signs is not None:
            signs.ended_well = True
    except Exception as error:
        note_failure()
        if isinstance(error, RuntimeError) or isinstance(error.__cause__, dist.DistError):  # of a call to other ranks
            if ending.is_set() or within(LOOK_SECONDS, lambda: connect().check([key])):  # one of which has failed
                listening.join()  # which is about to end the process
        elif isinstance(error, (UserError, OSError)):
            left.set()
            words = words_of(error)
            within(patience + REPORT_SECONDS, lambda: leave(connect(), key, words, patience))
        raise
    finally:
        left.set()


def store_of_group() -> Any:
    """A connection of its own to the store of ranks that have met."""
    store: Any = dist.distributed_c10d._get_default_store()
    return store.clone()


def store_of_launch() -> Any:
    """A connection of its own to the store through which the ranks of a launch are about to meet."""
    store, _, _ = next(rendezvous("env://"))
    return store


class Signs:
    """What each rank says of being alive, a number that grows. A rank looks at that of the next one, and the last one
    at the first's.

    key: of the signs in the store. timeout_seconds: after which a call to a silent rank gives up.
    """

    def __init__(self, key: str, timeout_seconds: float) -> None:
        self.key, self.timeout_seconds, self.ended_well = key, timeout_seconds, False
        self.longest = max(timeout_seconds - EARLIER_SECONDS, REPORT_SECONDS)
        self.next = (launched_rank() + 1) % launched_world()
        self.given, self.seen, self.since = 0, "", time.monotonic()

    def give(self, store: Any) -> None:
        self.given += 1
        store.set(f"{self.key}/{launched_rank()}", LEFT if self.ended_well else str(self.given))

    def of(self, store: Any, other: int) -> str:
        key = f"{self.key}/{other}"
        return store.get(key).decode() if store.check([key]) else ""

    def missing(self, store: Any) -> str | None:
        """What to say if the next rank has been silent for too long, and which others are silent too."""
        found = self.of(store, self.next)
        if found != self.seen or found == LEFT:
            self.seen, self.since = found, time.monotonic()
        if time.monotonic() - self.since < self.longest:
            return None
        others = {other: self.of(store, other) for other in range(launched_world()) if other != launched_rank()}
        for _ in range(round(REPORT_SECONDS / LOOK_SECONDS)):
            time.sleep(LOOK_SECONDS)
            self.give(store)
        silent = [other for other, sign in others.items() if sign != LEFT and sign == self.of(store, other)]
        return no_answer(silent, self.timeout_seconds) if silent else None


def hear(
    connect: Callable[[], Any],
    key: str,
    left: threading.Event,
    ending: threading.Event,
    signs: Signs | None = None,
) -> None:
    """End the process if another rank fails, or is missing, before this one has left the block.

    ending: set once that has begun.
    """
    with suppress(RuntimeError, ValueError):  # whoever keeps the store has ended, or there is none
        store = connect()
        while not left.wait(LOOK_SECONDS):
            if signs is not None:
                signs.give(store)
                if missing := signs.missing(store):
                    tell(store, key, missing)
            if store.check([key]) and not left.wait(UNWINDING_SECONDS):
                ending.set()
                say(f"error: {printable(store.get(key).decode().partition(' ')[2])}")
                leave(store, key)
                time.sleep(2 * UNWINDING_SECONDS)  # torchrun stops all once one has ended: let that be the failed one
                end_process(2)
        if signs is not None and signs.ended_well:
            signs.give(store)


def tell(store: Any, key: str, words: str) -> str:
    """Say why this rank ends, unless another one has said so before. Returns the mark of what was said first."""
    said: bytes = store.compare_set(key, "", f"{uuid4().hex} {words} (rank {launched_rank()} on {platform.node()})")
    return said.decode().partition(" ")[0]


def leave(store: Any, key: str, words: str = "", patience: float = REPORT_SECONDS) -> None:
    """Say why this rank ends, and wait until all have heard of an error; a later attempt of the launch finds none."""
    heard_of, end = f"{key}/{tell(store, key, words)}", time.monotonic() + patience
    heard = store.add(heard_of, 1)
    while heard < launched_world() and time.monotonic() < end:
        time.sleep(0.05)
        heard = store.add(heard_of, 0)
    store.delete_key(key)


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
        absent = within(2 * REPORT_SECONDS, absent_ranks) or []
        raise UserError(no_answer(absent, timeout_seconds)) from error


def no_answer(ranks: list[int], timeout_seconds: float) -> str:
    """What to say of ranks that are missing. ranks: none where nobody can tell which."""
    names = f"rank {' and '.join(map(str, ranks))}" if ranks else "another rank"
    return (
        f"{names} of {launched_world()} did not answer for {timeout_seconds:g} seconds (train.timeout_seconds), or has "
        "ended: start the same command again to go on from the newest checkpoint"
    )


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
        with suppress(RuntimeError, ValueError):
            found.append(ask())

    asking = threading.Thread(target=answer, daemon=True)
    with suppress(RuntimeError):  # no thread can start where memory has run out
        asking.start()
        asking.join(seconds)
    return found[0] if found else None
