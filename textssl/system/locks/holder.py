"""Who holds a lock, by its file, and whether that process may still be running."""

from __future__ import annotations

import json
import os
import platform
import secrets
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

DEAD_AFTER_SECONDS = 60.0  # without a heartbeat, where the process cannot be looked up
COMMAND_CHARACTERS = 100


@dataclass(frozen=True)
class Machine:
    """host: its name, for messages. boot: the same for all containers of one running kernel. processes: the namespace
    in which process ids are valid."""

    host: str
    boot: str
    processes: str


@dataclass(frozen=True)
class Holder:
    """Who has a lock, by its file. started: when the process did, in clock ticks since boot. token: a unique one."""

    host: str
    boot: str
    processes: str
    pid: int
    started: int | None
    since: str
    command: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since} ({self.command})"


def this_machine() -> Machine:
    host = platform.node() or "this machine"
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return Machine(host, boot, os.readlink("/proc/self/ns/pid"))
    except OSError:
        return Machine(host, host, host)


def process_started(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process; None where there is none (or no /proc to ask)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()  # the name before it may hold anything
    return None if state in "ZX" else int(rest[18])  # a zombie has ended


def this_process() -> Holder:
    machine, pid = this_machine(), os.getpid()
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] not in ("", "-c") else "python"
    command = " ".join(["textssl" if name in ("__main__.py", "textssl") else name, *sys.argv[1:]])
    command = command if len(command) <= COMMAND_CHARACTERS else f"{command[: COMMAND_CHARACTERS - 3]}..."
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return Holder(**asdict(machine), pid=pid, started=process_started(pid), since=since, command=command,
                  token=secrets.token_hex(8))  # fmt: skip


def read_holder(handle: int) -> Holder | None:
    """The holder that a lock file names; None where it names none (yet)."""
    try:
        return Holder(**json.loads(os.pread(handle, 2**16, 0)))
    except (ValueError, TypeError):
        return None


def holder_of(file: Path) -> Holder | None:
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return read_holder(handle)
    finally:
        os.close(handle)


def is_alive(holder: Holder, handle: int, file: Path, *, kernel: bool) -> bool:
    """Whether the holder named in a lock file may still be running. kernel: whether flock just gave us the lock."""
    here = this_machine()
    if holder.boot == here.boot:
        if kernel:
            return False  # a live holder would still have it
        if holder.processes == here.processes and holder.started is not None:
            return process_started(holder.pid) == holder.started
    return file_system_time(file) - os.fstat(handle).st_mtime < DEAD_AFTER_SECONDS


def file_system_time(file: Path) -> float:
    """The time now, by the clock of the file system that `file` is on."""
    probe = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()
