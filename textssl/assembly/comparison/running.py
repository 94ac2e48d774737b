"""The work of a comparison, shared by every process that starts it in one folder: each takes what nobody has."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from textssl.assembly.comparison.entries import LOCK, Entry, read_record
from textssl.assembly.comparison.measuring import References, curves, measure
from textssl.assembly.comparison.training import train
from textssl.system.files import write_text
from textssl.system.locks.lock import Held, Lock
from textssl.training.tracking import announce

COSTS = ("loss", "bits_per_byte", "steps", "tokens", "seconds", "parameters")  # of RUN/summary.json


class Stopped(Exception):
    """A signal has ended a run, which has saved what it had."""


class Job:
    """A record to be made: of an entry or a baseline. retry: make it again where it says that it failed."""

    def __init__(
        self, words: str, file: Path, lock: Path, make: Callable[[], dict[str, Any]], *, retry: bool = False
    ) -> None:
        self.words, self.file, self.lock, self.make, self.retry = words, file, lock, make, retry

    @property
    def done(self) -> bool:
        record = read_record(self.file)
        return record is not None and not (self.retry and "failed" in record)

    def work(self) -> None:
        """Make the record, unless it is there by now. Raises Held where another process is making it."""
        self.lock.parent.mkdir(parents=True, exist_ok=True)
        with claimed(self.lock):
            if not self.done:
                write_text(self.file, json.dumps(self.make()) + "\n")
                self.retry = False


@contextmanager
def claimed(file: Path) -> Iterator[None]:
    lock = Lock(file)
    try:
        yield
    finally:
        lock.release()


def share(jobs: Sequence[Job], after: Callable[[], object] = lambda: None) -> dict[str, str]:
    """Do every job that nobody else is doing; returns {job: who is doing it} for the others.

    after: called when a job has ended. Raises Stopped.
    """
    left = [job for job in jobs if not job.done]
    while True:
        held: dict[str, str] = {}
        waiting = []
        for job in left:
            try:
                job.work()
                after()
            except Held as error:
                held[job.words] = str(error)
                waiting.append(job)
        if not waiting or len(waiting) == len(left):
            return held
        left = waiting  # those that have ended since are looked at again


def entry_job(entry: Entry, references: References, console: Console, *, retry: bool) -> Job:
    return Job(
        entry.words, entry.record, entry.folder / LOCK, lambda: run_entry(entry, references, console), retry=retry
    )


def run_entry(entry: Entry, references: References, console: Console) -> dict[str, Any]:
    """Train and measure; the record. Raises Stopped."""
    announce(console, f"{entry.words}: training, log in {entry.folder / 'log.txt'}")
    trained = train(entry)
    if trained.interrupted:
        raise Stopped(entry.words)
    record: dict[str, Any] = {
        "name": entry.name,
        "seed": entry.seed,
        "model": entry.model,
        "asked": entry.asked,
        "peak_bytes": trained.peak_bytes,
    }
    if trained.error:
        announce(console, f"{entry.words} failed: {trained.error}", style="red")
        return {**record, "failed": trained.error}
    announce(console, f"{entry.words}: measuring")
    summary = json.loads((entry.run / "summary.json").read_text(encoding="utf-8"))
    record |= {key: summary[key] for key in COSTS}
    return {
        **record,
        **measure(entry, references),
        "curves": curves(entry.run),
    }
