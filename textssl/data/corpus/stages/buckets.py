"""The shuffle: keys of documents in files ordered by bucket, so that one task can read a bucket of every part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from textssl.data.corpus.dedup import DIGEST
from textssl.data.corpus.shards import NpyStream

BUCKETS = 1024  # by the first bits of a key
BUCKET_BITS = BUCKETS.bit_length() - 1


class BucketWriter:
    """Writes keys with the numbers of their documents into a folder, each call as a run ordered by bucket.

    name: of the files, which are open until `files` ends. dtype: uint64, or DIGEST.
    """

    def __init__(self, files: ExitStack, folder: Path, name: str, dtype: np.dtype) -> None:
        self.file = folder / f"{name}-bounds.npy"
        self.keys = files.enter_context(NpyStream(folder / f"{name}-keys.npy", dtype))
        self.numbers = files.enter_context(NpyStream(folder / f"{name}-numbers.npy", np.dtype(np.uint32)))
        self.bounds: list[np.ndarray] = []

    def add(self, keys: np.ndarray, numbers: np.ndarray) -> None:
        """Append a run: keys and numbers (entries,)."""
        buckets = bucket_of(keys)
        order = np.argsort(buckets, kind="stable")
        counts = np.bincount(buckets, minlength=BUCKETS)
        self.bounds.append(self.keys.length + np.concatenate([[0], np.cumsum(counts)]))
        self.keys.write(keys[order])
        self.numbers.write(numbers[order])

    def close(self) -> None:
        self.keys.finish()
        self.numbers.finish()
        np.save(self.file, np.array(self.bounds, dtype=np.int64).reshape(-1, BUCKETS + 1))


def read_buckets(folder: Path, name: str, first: int, stop: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Keys and numbers of the buckets from `first` to `stop`, run by run; equal keys are in the order of the part."""
    keys, numbers = (np.load(folder / f"{name}-{kind}.npy", mmap_mode="r") for kind in ("keys", "numbers"))
    for bounds in np.load(folder / f"{name}-bounds.npy"):
        low, high = int(bounds[first]), int(bounds[stop])
        if low < high:
            yield np.array(keys[low:high]), np.array(numbers[low:high])


def gathered(
    folders: list[Path], name: str, first: int, stop: int, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(keys, parts, numbers) of the buckets from `first` to `stop` of all parts, in the order of the corpus."""
    keys, parts, numbers = [np.zeros(0, dtype)], [np.zeros(0, np.int64)], [np.zeros(0, np.uint32)]
    for part, folder in enumerate(folders):
        for some, of_some in read_buckets(folder, name, first, stop):
            keys.append(some)
            parts.append(np.full(len(some), part))
            numbers.append(of_some)
    return np.concatenate(keys), np.concatenate(parts), np.concatenate(numbers).astype(np.int64)


def ordered(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The order that sorts keys, equal ones as they stand, and (keys,) which of the sorted equal the one before."""
    if keys.dtype == DIGEST:
        words = keys.view(">u8").astype(np.uint64).reshape(-1, 2)
        order = np.lexsort((words[:, 1], words[:, 0]))
    else:
        order = np.argsort(keys, kind="stable")
    again = np.zeros(len(keys), dtype=bool)
    again[1:] = keys[order][1:] == keys[order][:-1]
    return order, again


def bucket_of(keys: np.ndarray) -> np.ndarray:
    """(keys,) int64 the bucket of each."""
    words = keys.view(">u8").reshape(-1, 2)[:, 0].astype(np.uint64) if keys.dtype == DIGEST else keys
    return (words >> np.uint64(64 - BUCKET_BITS)).astype(np.int64)


def bucket_ranges(entries: int, at_once: int) -> list[tuple[int, int]]:
    """All buckets, in as many ranges of equal size as leave about `at_once` entries to each."""
    count = 1
    while count < BUCKETS and entries / count > at_once:
        count *= 2
    size = BUCKETS // count
    return [(first, first + size) for first in range(0, BUCKETS, size)]
