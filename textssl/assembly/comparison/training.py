"""An entry's run, in a process of its own: its cost is measured separately, and its failure ends nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from textssl.assembly.comparison.entries import Entry, patient_lock
from textssl.system import subprocesses
from textssl.system.interrupts import ENDING
from textssl.system.locks.lock import NAME as RUN_LOCK
from textssl.system.progress import working

ROOT = Path(__file__).resolve().parents[3]  # the folder that holds the package
STOPPED = 75  # the exit code of a run that saved after a signal
LAST = 400  # characters of an error
CHILD = """
import os, sys, threading
from importlib import import_module
from textssl.system.subprocesses import end_with
threading.Thread(target=end_with, args=(int(sys.argv.pop(1)),), daemon=True).start()
sys.argv[0] = "textssl"
import_module("textssl.__main__").main()
"""  # the command line, which ends when the comparison is gone, however that went


@dataclass(frozen=True)
class Trained:
    """interrupted: a signal ended it. peak_bytes: of resident memory. error: of a run that failed, its last words."""

    interrupted: bool
    peak_bytes: int
    error: str = ""


def train(entry: Entry) -> Trained:
    """Train an entry, or go on where an earlier start was interrupted; what it says goes into its log.txt."""
    command = [*subprocesses.interpreter(), "-c", CHILD, str(os.getpid()), "pretrain", entry.source, *entry.given]
    command += [f"out={entry.run}", f"seed={entry.seed}"]
    paths = os.pathsep.join(path for path in (str(ROOT), os.environ.get("PYTHONPATH", "")) if path)
    log = entry.folder / "log.txt"
    if entry.run.is_dir():
        patient_lock(entry.run / RUN_LOCK).release()  # the run of a comparison that was killed ends a moment later
    with log.open("ab") as file, working(f"training {entry.words}", bar=False):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, "PYTHONPATH": paths},
            start_new_session=True,  # Ctrl-C reaches it once, from us: a second one would not let it save
        )
        with passed_on(process):
            _, status, usage = os.wait4(process.pid, 0)
    process.returncode = code = os.waitstatus_to_exitcode(status)
    peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if code == STOPPED or -code in ENDING or code - 128 in ENDING:
        return Trained(True, peak_bytes)
    if code < 0:
        return Trained(False, peak_bytes, f"killed by signal {-code}, perhaps for lack of memory")
    return Trained(False, peak_bytes, last_words(log) if code else "")


@contextmanager
def passed_on(process: subprocess.Popen) -> Iterator[None]:
    """Within the block, signals that ask for the end are passed on to the run, which saves what it has."""

    def send(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)

    before: dict[int, object] = {}
    try:
        with suppress(ValueError):  # not the main thread: whoever owns the signals keeps them
            for number in ENDING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    before[number] = signal.signal(number, send)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


def last_words(log: Path) -> str:
    """The error that ended a run: the last line of its log that says one, or its last line."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if line.startswith("error:")), lines[-1] if lines else "no word")
    return said.removeprefix("error:").strip()[:LAST]
