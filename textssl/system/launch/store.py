"""The store of a launch, under a name that no earlier start of its processes has used.

torchrun keeps its store where it starts the processes again, with all that was written there; and torch's NCCL reads
in it, under the same key each time, where the first rank can be met: one that reads before that rank has written would
look for a process that has ended. Nor do all hosts count restarts alike. So the first rank draws a name and answers
each other rank that asks, by a name that it has drawn itself.
"""

from __future__ import annotations

import os
import platform
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

from torch._C._distributed_c10d import PrefixStore
from torch.distributed import DistStoreError
from torch.distributed.rendezvous import rendezvous

from textssl.errors import UserError

VARIABLES = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}  # of torchrun, by which processes meet
ASKING = "textssl/asking"
LOOK_SECONDS = 0.02  # from one look for ranks that ask to the next


def launch_arguments(device: str, timeout: timedelta) -> dict[str, Any]:
    """`store`, `rank` and `world_size` for torch's init_process_group; none without a launch of several processes.

    device: the kind that this process computes on. Raises UserError where the first rank has another one, as where one
    host finds no GPU: they would wait for each other in vain; DistStoreError where others are not there in time.
    """
    if not os.environ.keys() >= VARIABLES or int(os.environ["WORLD_SIZE"]) == 1:
        return {}
    store, rank, world = next(rendezvous("env://", timeout=timeout))
    store.set_timeout(timeout)
    name = answer_all(store, world, device, timeout) if rank == 0 else ask(store, rank, device, timeout)
    return {"store": PrefixStore(f"textssl/{name}", store), "rank": rank, "world_size": world}


def answer_all(store: Any, world: int, device: str, timeout: timedelta) -> str:
    """As the first rank, tell a new name to every rank that asks, those of an earlier start too, until all have heard
    it."""
    name, end = uuid4().hex, time.monotonic() + timeout.total_seconds()
    while (heard := store.add(f"textssl/heard/{name}", 0)) < world - 1:
        while store.queue_len(ASKING):
            asking = store.queue_pop(ASKING).decode()
            store.set(f"textssl/answer/{asking}", f"{name} {device} rank 0 on {platform.node()}")
        if time.monotonic() > end:
            raise DistStoreError(f"{world - 1 - heard} of {world} processes have not asked for the first one")
        time.sleep(LOOK_SECONDS)
    return name


def ask(store: Any, rank: int, device: str, timeout: timedelta) -> str:
    """The name that the first rank has drawn. Raises UserError where it computes on another kind of device."""
    asking = uuid4().hex
    store.queue_push(ASKING, asking)
    store.wait([f"textssl/answer/{asking}"], timeout)
    name, kind, first = store.get(f"textssl/answer/{asking}").decode().split(" ", 2)
    if kind != device:
        raise UserError(
            f"rank {rank} on {platform.node()} computes on {device}, and {first} on {kind}: see `textssl doctor` on "
            "the host that finds no GPU, or say train.device=cpu"
        )
    store.add(f"textssl/heard/{name}", 1)
    return name
