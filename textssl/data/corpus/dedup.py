"""Exact duplicates among any number of documents, in bounded memory, and the split by hash."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np

DIGEST_BYTES = 16
DIGEST = np.dtype(f"S{DIGEST_BYTES}")  # compares as bytes, so it can be sorted and searched


def digest(text: bytes) -> bytes:
    """128 bits of BLAKE2b: among 10**12 different documents the chance of any collision is about 10**-15."""
    return blake2b(text, digest_size=DIGEST_BYTES).digest()


def unit_interval(digest: bytes) -> float:
    """A document's place in [0, 1) by its hash; documents below the held-out share are held out."""
    return float(unit_intervals([digest])[0])


def unit_intervals(digests: Sequence[bytes]) -> np.ndarray:
    """(digests,) float64, as by `unit_interval`."""
    words = np.frombuffer(b"".join(digests), dtype=">u8").reshape(-1, DIGEST_BYTES // 8)
    return (words[:, 0] >> 11) / 2**53


class SeenDigests:
    """The digests seen so far: the latest in a set, the others in sorted runs on disk, merged as they double.

    Memory stays at about 100 bytes times `capacity`; the runs are memory-mapped, 16 bytes a document.
    """

    def __init__(self, folder: Path | None = None, capacity: int = 2**19):
        self.temporary = tempfile.TemporaryDirectory(prefix="seen-", dir=folder)
        self.folder, self.capacity = Path(self.temporary.name), capacity
        self.recent: set[bytes] = set()
        self.runs: list[np.ndarray] = []  # each sorted, at least twice as long as the next
        self.num_files = 0

    def __len__(self) -> int:
        return len(self.recent) + sum(len(run) for run in self.runs)

    def add(self, digests: Sequence[bytes]) -> list[bool]:
        """Whether each digest is new, counting the earlier ones of the same batch as seen."""
        together = set(digests)
        if not self.runs and len(together) == len(digests) and together.isdisjoint(self.recent):  # as mostly
            self.recent |= together
            fresh = [True] * len(digests)
        else:
            fresh = self.one_by_one(digests)
        if len(self.recent) >= self.capacity:
            self.spill()
        return fresh

    def one_by_one(self, digests: Sequence[bytes]) -> list[bool]:
        fresh = []
        for value, is_old in zip(digests, self.in_runs(digests).tolist(), strict=True):
            is_new = not is_old and value not in self.recent
            if is_new:
                self.recent.add(value)
            fresh.append(is_new)
        return fresh

    def in_runs(self, digests: Sequence[bytes]) -> np.ndarray:
        """(digests,) bool, membership in the runs on disk."""
        found = np.zeros(len(digests), dtype=bool)
        if not self.runs or not digests:
            return found
        wanted = np.array(digests, dtype=DIGEST)
        order = np.argsort(wanted)  # neighbouring searches then touch neighbouring pages
        for run in self.runs:
            places = np.searchsorted(run, wanted[order])
            inside = places < len(run)
            hits = np.zeros(len(digests), dtype=bool)
            hits[inside] = run[places[inside]] == wanted[order][inside]
            found[order] |= hits
        return found

    def spill(self) -> None:
        """Write the set as a run, then merge runs until each is at least twice as long as the next."""
        self.runs.append(self.write([np.sort(np.array(list(self.recent), dtype=DIGEST))]))
        self.recent = set()
        while len(self.runs) > 1 and len(self.runs[-2]) < 2 * len(self.runs[-1]):
            second, first = self.runs.pop(), self.runs.pop()
            merged = self.write(merge_sorted(first, second, self.capacity))
            for run in (first, second):
                Path(run.filename).unlink()  # type: ignore[attr-defined]
            self.runs.append(merged)

    def write(self, parts: Iterable[np.ndarray]) -> np.memmap:
        file = self.folder / f"{self.num_files:06d}"
        self.num_files += 1
        with file.open("wb") as stream:
            for part in parts:
                stream.write(np.ascontiguousarray(part).tobytes())
        return np.memmap(file, dtype=DIGEST, mode="r")

    def close(self) -> None:
        self.runs = []
        self.temporary.cleanup()

    def __enter__(self) -> SeenDigests:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def merge_sorted(first: np.ndarray, second: np.ndarray, part: int) -> Iterator[np.ndarray]:
    """Yield the sorted union of two sorted arrays in order, in parts of at most 2 * `part` items."""
    cuts = np.sort(np.concatenate([first[part::part], second[part::part]]))  # <= part items of each between two cuts
    first_bounds = [0, *np.searchsorted(first, cuts), len(first)]
    second_bounds = [0, *np.searchsorted(second, cuts), len(second)]
    for place in range(len(cuts) + 1):
        from_first = first[first_bounds[place] : first_bounds[place + 1]]
        from_second = second[second_bounds[place] : second_bounds[place + 1]]
        yield np.sort(np.concatenate([from_first, from_second]))
