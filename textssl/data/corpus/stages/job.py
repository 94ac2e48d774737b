"""What every task of a corpus prepared in stages knows, and where the stages leave their results."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from textssl.data.corpus.cleaning.filters import Cleaning
from textssl.data.text.documents import DropReport
from textssl.system.files import flush, settle, writing

RESULT = "result.json"
APPEARANCE_SECONDS = 10.0


@dataclass(frozen=True)
class Job:
    """The work: its folder, which all nodes see, its sources, each a part of the corpus, and the options of prepare.

    started_in: the folder that relative sources are relative to; the corpus names them as they were given.
    tokenizer: as JSON. fast: as in DocumentEncoder. main_language: of most documents at the beginning.
    versions: of what the bytes depend on, which every node must have.
    """

    out: Path
    folder: Path
    started_in: Path
    sources: tuple[str, ...]
    text_column: str
    one_document_per: str
    strict: bool
    tokenizer: str
    dtype: str
    language: str
    main_language: str
    fast: bool
    cleaning: Cleaning
    block_tokens: int
    shard_tokens: int
    versions: Mapping[str, str]

    def place(self, stage: str, index: int) -> Path:
        """The folder of the result of a task."""
        return self.folder / stage / f"{index:06d}"


def run_task(job: Job, stage: str, index: int, work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """The result of a task, made unless it is there; its folder appears whole or not at all.

    work: fills a new folder, and returns the result, which goes through JSON. Of two that do the same task at once (one
    was taken for lost), one gives way. Results are on the disk before they count as there.
    """
    place = job.place(stage, index)
    if (found := finished(place)) is not None:
        return found
    aside = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
    with writing(job.out, job.folder):
        try:
            aside.mkdir(parents=True)
            result = json.dumps(work(aside))
            (aside / RESULT).write_text(result, encoding="utf-8")
            settle(aside)
            try:
                aside.rename(place)
            except OSError:
                if finished(place) is None:
                    raise
            flush(place.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return json.loads(result)  # as whoever finds it later reads it


def finished(place: Path) -> dict[str, Any] | None:
    """The result of a task; None where it is still to be done."""
    try:
        return json.loads((place / RESULT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def appears(file: Path) -> bool:
    """Whether a file that another node wrote is there, or comes in APPEARANCE_SECONDS (caches of network disks)."""
    end = time.monotonic() + APPEARANCE_SECONDS
    while not file.is_file():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


@lru_cache(maxsize=256)
def mapped(file: Path) -> np.ndarray:
    """A memory-mapped .npy file of a finished task, as a plain array."""
    return np.asarray(np.load(file, mmap_mode="r"))


def as_plain(report: DropReport) -> dict[str, Any]:
    return {"counts": dict(report.counts), "places": report.places}


def add_report(report: DropReport, plain: dict[str, Any]) -> None:
    """Add what `as_plain` gave of a later part."""
    other = DropReport()
    other.counts.update(plain["counts"])
    other.places = plain["places"]
    report.merge(other)


def write_marks(folder: Path, parts: np.ndarray, numbers: np.ndarray, num_parts: int) -> None:
    """Documents of several parts, by part and number (documents,), for `read_marks`."""
    order = np.lexsort((numbers, parts))
    np.save(folder / "numbers.npy", numbers[order].astype(np.uint32))
    np.save(folder / "bounds.npy", np.searchsorted(parts[order], np.arange(num_parts + 1)))


def read_marks(places: Sequence[Path], part: int) -> np.ndarray:
    """Numbers of the documents of a part that were written into any of these folders, ascending."""
    found = [np.zeros(0, np.uint32)]
    for place in places:
        first, stop = mapped(place / "bounds.npy")[part : part + 2]
        if first < stop:
            found.append(mapped(place / "numbers.npy")[first:stop])
    return np.sort(np.concatenate(found)).astype(np.int64)
