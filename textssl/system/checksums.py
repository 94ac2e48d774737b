"""Files checked against the sha256 that they were written with: read once, then remembered by size and time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

KEPT = 200  # sets of files that are remembered, the latest ones
THREADS = 8  # hashing releases the interpreter's lock, so threads read in parallel


class Verified(NamedTuple):
    """damaged: files that are missing or hold other bytes. read: number of bytes that had to be read."""

    damaged: list[Path]
    read: int


def verify(expected: Mapping[Path, str], memory: Path) -> Verified:
    """Compare files with their sha256.

    memory: a folder that remembers the files that passed; one is read again when its size or modification time has
    changed. Where this folder cannot be read or written, files are only read more often.
    """
    files = {path: path.absolute() for path in expected}
    known_file = memory / f"{hashlib.sha256(repr(sorted(map(str, files.values()))).encode()).hexdigest()[:32]}.json"
    known = recall(known_file)
    stamps = {path: stamp(path) for path in files}
    entries = {path: [*stamps[path], expected[path]] for path in files if stamps[path]}
    unknown = [path for path, entry in entries.items() if known.get(str(files[path])) != entry]
    with ThreadPoolExecutor(max(1, min(THREADS, len(os.sched_getaffinity(0))))) as pool:
        sums = dict(zip(unknown, pool.map(sha256_of, unknown), strict=True))
    damaged = [path for path in files if not stamps[path] or sums.get(path, expected[path]) != expected[path]]
    right = {str(files[path]): entry for path, entry in entries.items() if path not in damaged}
    if unknown:
        remember(known_file, right)
    return Verified(damaged, sum(stamps[path][0] for path in unknown))


def stamp(path: Path) -> tuple[int, ...]:
    """(size in bytes, modification time in nanoseconds); empty where there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_size, found.st_mtime_ns


def identify(path: Path) -> tuple[int, ...]:
    """A file's number on its disk beside its `stamp`, the same wherever it is reached; empty where there is none."""
    found = stamp(path)
    return (path.stat().st_ino, *found) if found else ()


def recall(file: Path) -> dict[str, list]:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def remember(file: Path, right: dict[str, list]) -> None:
    """Write a memory, whole or not at all; where the folder cannot be written, nothing is remembered."""
    side = file.with_name(f".{file.name}-{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        side.write_text(json.dumps(right), encoding="utf-8")
        os.replace(side, file)
        older = sorted(file.parent.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)[:-KEPT]
        for path in older:
            path.unlink(missing_ok=True)
    except OSError:
        with contextlib.suppress(OSError):
            side.unlink()


def sha256_of(path: Path) -> str:
    """The hexadecimal sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
