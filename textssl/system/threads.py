"""How many threads compute: as many as the process may use cores, unless a number is given.

Never by how busy the machine is, since the number decides the order of summation: equal starts get equal bytes. On a
machine that others use too, though, two threads of one matrix product wait for each other, and can take several times
as long as one: so the load is measured all the same, and said.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil

from textssl.errors import UserError

SAMPLE_SECONDS = 0.25  # for which the load by others is measured, at least
STALE_SECONDS = 10  # after which a load says nothing of now
VARIABLE = "OMP_NUM_THREADS"
MOST = 4096
CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Threads:
    """How many threads, and why, in words."""

    count: int
    why: str

    def __str__(self) -> str:
        return f"{self.count} compute thread{'s' * (self.count > 1)} ({self.why})"


def choose_threads(given: int | None = None, before: int | None = None, *, name: str = "--threads") -> Threads:
    """The number that was given, else OMP_NUM_THREADS, else that of an earlier start, else the cores.

    given: by the option or key `name`. before: how many an earlier start of the same work had, as the number of
    threads decides the order of summation. Raises UserError for a number out of range.
    """
    if given is not None:
        if not 1 <= given <= MOST:
            raise UserError(f"{name} is {given}, it must be from 1 to {MOST}")
        return Threads(given, name)
    wanted = os.environ.get(VARIABLE, "").split(",")[0].strip()
    if wanted.isdecimal() and 1 <= int(wanted) <= MOST:
        return Threads(int(wanted), VARIABLE)
    if before is not None:
        return Threads(before, "as in the start before")
    return threads_of_cores()


class Moment(NamedTuple):
    """seconds: on a clock. busy: seconds that each core of the machine has worked. own: that this process has."""

    seconds: float
    busy: list[float]
    own: float

    @classmethod
    def now(cls) -> Moment:
        cores = [core._asdict() for core in psutil.cpu_times(percpu=True)]
        waits = ("idle", "iowait", "guest", "guest_nice")  # the last two are counted as `user` too
        busy = [sum(core.values(), 0.0) - sum(core.get(kind, 0.0) for kind in waits) for core in cores]
        return cls(time.monotonic(), busy, time.process_time())


IMPORTED = Moment.now()


@cache
def threads_of_cores() -> Threads:
    """As many as there are cores that this process may use; several processes started together each get an equal share.

    `why` says if others keep these cores busy: since this module was imported, unless that was long ago, and for
    SAMPLE_SECONDS at least.
    """
    allowed, cores = allowed_cores(), usable_cores()
    if (processes := processes_here()) > 1:
        return Threads(max(1, cores // processes), f"{cores} cores for {processes} processes")
    if cores == 1:
        return Threads(1, "of 1 core")
    busy, own = loads()
    others = of_load(cores, [busy[core] for core in allowed if core < len(busy)], own)
    return Threads(cores, f"of {cores} cores{others}")


def processes_here() -> int:
    """How many processes a launcher has started together on this machine, this one included."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("WORLD_SIZE") or 1)


def loads() -> tuple[list[float], float]:
    """Which share of its time each core works, from 0 to 1, and how many cores' worth of it is this process's own."""
    before = IMPORTED if time.monotonic() < IMPORTED.seconds + STALE_SECONDS else Moment.now()
    time.sleep(max(0.0, before.seconds + SAMPLE_SECONDS - time.monotonic()))
    after = Moment.now()
    seconds = after.seconds - before.seconds
    busy = [(last - first) / seconds for first, last in zip(before.busy, after.busy, strict=False)]
    return busy, (after.own - before.own) / seconds


def of_load(cores: int, busy: Sequence[float], own: float = 0.0) -> str:
    """What to say of a load that leaves fewer cores free than may be used; nothing of a smaller one.

    cores: the number that may be used. busy: the share of its time that each works; own: cores' worth of it that is not
    by others.
    """
    used = max(0.0, sum(busy) - own)
    fewer = max(1, round(len(busy) - used))
    return f", others use {used:.1f}: {fewer} may be faster" if busy and fewer < cores else ""


def allowed_cores() -> list[int]:
    """Numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """How many cores this process may keep busy."""
    return max(1, min(len(allowed_cores()), math.floor(cpu_limit())))


def cpu_limit(root: Path = CGROUP) -> float:
    """Cores' worth of time that the container may use, at least 1; the number of cores where nothing limits it."""
    try:
        quota, period = (root / "cpu.max").read_text().split()  # version 2
    except (OSError, ValueError):
        try:
            quota, period = ((root / "cpu" / f"cpu.cfs_{part}_us").read_text() for part in ("quota", "period"))
        except OSError:
            return float(os.cpu_count() or 1)
    try:
        limit = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        limit = 0.0
    return max(1.0, limit) if limit > 0 else float(os.cpu_count() or 1)


def use(threads: Threads) -> Threads:
    """Let torch, BLAS and the tokenizers library compute with this many threads from now on."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads.count)
    threadpool_limits(threads.count)
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads.count))
    return threads


def use_rayon(threads: Threads) -> Threads:
    """The same for the tokenizers library alone, which reads the number when it first computes."""
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads.count))
    return threads
