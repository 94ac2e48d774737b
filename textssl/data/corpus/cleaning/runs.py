"""A map of 64-bit keys to places, of any size in bounded memory: sorted arrays, of which the long ones are on disk."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

CAPACITY = 2**20  # entries of a run in memory: 16 bytes each


class Run(NamedTuple):
    """Entries sorted by key, equal keys by age. keys: (entries,) uint64. places: (entries,) uint64."""

    keys: np.ndarray
    places: np.ndarray


class KeyMap:
    """A multimap from keys to places: a key has as many entries as were added for it.

    Runs are merged as they double. Those of more than `capacity` entries are memory-mapped files in `folder`, so that
    the system caches as much of them as it has room for; the others have at most twice `capacity` entries together.
    """

    def __init__(self, folder: Path, capacity: int = CAPACITY) -> None:
        self.folder, self.capacity = folder, capacity
        self.runs: list[Run] = []  # from old to new, each at least twice as long as the next
        self.numbers = itertools.count()

    def add(self, keys: np.ndarray, places: np.ndarray) -> None:
        """Add entries: keys and places, (entries,) uint64 each. Equal keys keep their order."""
        order = np.argsort(keys, kind="stable")
        self.runs.append(Run(keys[order], places[order]))
        while len(self.runs) > 1 and len(self.runs[-2].keys) < 2 * len(self.runs[-1].keys):
            newer, older = self.runs.pop(), self.runs.pop()
            parts = merged(older, newer, self.capacity)
            on_disk = len(older.keys) + len(newer.keys) > self.capacity
            self.runs.append(self.write(parts) if on_disk else joined(list(parts)))
            for array in (*older, *newer):
                if isinstance(array, np.memmap):
                    Path(array.filename).unlink()  # type: ignore[arg-type]

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All entries with one of keys (wanted,): indices of the keys and places, (entries,) each, old runs first."""
        order = np.argsort(keys)  # neighbouring searches then touch neighbouring pages
        wanted = keys[order]
        indices, places = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
        for run in self.runs:
            if not len(run.keys):
                continue
            starts = np.searchsorted(run.keys, wanted)
            hits = np.flatnonzero(run.keys[np.minimum(starts, len(run.keys) - 1)] == wanted)
            counts = np.searchsorted(run.keys, wanted[hits], side="right") - starts[hits]
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            indices.append(np.repeat(order[hits], counts))
            places.append(run.places[np.repeat(starts[hits], counts) + within])
        return np.concatenate(indices), np.concatenate(places)

    def write(self, parts: Iterable[Run]) -> Run:
        files = [self.folder / f"{kind}-{next(self.numbers):06d}" for kind in Run._fields]
        with files[0].open("wb") as keys, files[1].open("wb") as places:
            for part in parts:
                keys.write(part.keys.tobytes())
                places.write(part.places.tobytes())
        return Run(*(np.memmap(file, dtype=np.uint64, mode="r") for file in files))


def merged(older: Run, newer: Run, part: int) -> Iterator[Run]:
    """The entries of both runs in order, about 2 * `part` at a time; of equal keys the older first."""
    cuts = np.sort(np.concatenate([older.keys[part::part], newer.keys[part::part]]))
    bounds = [[0, *np.searchsorted(run.keys, cuts).tolist(), len(run.keys)] for run in (older, newer)]
    for first, second in zip(*map(itertools.pairwise, bounds), strict=True):
        both = joined(
            [Run(*(array[slice(*first)] for array in older)), Run(*(array[slice(*second)] for array in newer))]
        )
        order = np.argsort(both.keys, kind="stable")
        yield Run(both.keys[order], both.places[order])


def joined(runs: list[Run]) -> Run:
    """Runs concatenated, in the order given."""
    return Run(*(np.concatenate(arrays) for arrays in zip(*runs, strict=True)))
