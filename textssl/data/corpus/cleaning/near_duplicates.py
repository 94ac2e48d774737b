"""Documents that are nearly the same as an earlier one, found in the order of the stream and in bounded memory."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from textssl.data.corpus.cleaning.runs import KeyMap
from textssl.data.corpus.cleaning.shingles import Shingled
from textssl.data.corpus.cleaning.words import first_of_equal, met_again

MOST_SHARING = 64  # documents found by one band; later ones are not indexed under it
HEADER = np.dtype([("shingles", "<u4"), ("source", "<u4")])  # of a kept document: shingles, bytes of its source


class Match(NamedTuple):
    """The earliest kept document that is similar enough: its source, and the Jaccard similarity of the shingles."""

    source: str
    similarity: float


class NearDuplicates:
    """The documents kept so far, and which of the next ones are similar to one of them.

    A document is a near-duplicate if its Jaccard similarity to an earlier document that was kept is at least
    `threshold`. Candidates share a band; their similarity is computed from their shingles, which are in a file in
    `folder` (8 bytes a shingle, and 16 bytes a band). Memory does not grow with the corpus.

    crowded: kept documents with a band that MOST_SHARING others had before. They are not indexed under this band, so a
    near-duplicate that shares only such bands with them is kept too.
    """

    def __init__(self, folder: Path, threshold: float) -> None:
        self.threshold, self.crowded = threshold, 0
        self.scratch = tempfile.TemporaryDirectory(prefix="near-duplicates-", dir=folder)
        place = Path(self.scratch.name)
        self.bands = KeyMap(place)
        self.file = os.open(place / "kept", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self.end = 0  # of the file, where the next document will be written

    def add(self, documents: Shingled, sources: Sequence[str]) -> list[Match | None]:
        """For each document in turn, what it is a near-duplicate of; with None it is kept. sources: names for reports.

        A document without shingles has no near-duplicate and is none.
        """
        count, width = documents.bands.shape
        bands = documents.bands.ravel()
        indices, places = self.bands.find(bands)
        earlier: list[set[int]] = [set() for _ in range(count)]  # places in the file
        for index, place in zip((indices // width).tolist(), places.tolist(), strict=True):
            earlier[index].add(place)
        sharing = np.bincount(indices, minlength=len(bands))  # (documents * width,) earlier documents with that band
        groups = equal_bands(bands, width)
        having: dict[int, list[int]] = {}  # group -> kept documents of this call that are found by its band
        shingles = np.split(documents.shingles, np.cumsum(documents.counts))[:count]
        found: list[Match | None] = [None] * count
        for place in np.flatnonzero(documents.counts).tolist():
            shared = groups.get(place, ())
            here = {other for _, group in shared for other in having.get(group, ())}
            if earlier[place] or here:
                found[place] = self.match_earlier(shingles[place], earlier[place])
                found[place] = found[place] or self.match(shingles, place, here, sources)
            if found[place] is None:
                for band, group in shared:
                    others = having.setdefault(group, [])
                    if sharing[band] + len(others) < MOST_SHARING:
                        others.append(place)
        kept = (documents.counts > 0) & np.array([match is None for match in found], dtype=bool)
        self.keep(kept, documents.bands, sharing.reshape(count, width), shingles, sources)
        return found

    def match_earlier(self, shingles: np.ndarray, places: set[int]) -> Match | None:
        """The earliest of the documents at these places of the file that is similar enough."""
        for place in sorted(places):
            count, source_bytes = np.frombuffer(os.pread(self.file, HEADER.itemsize, place), HEADER)[0].tolist()
            if self.differ(count, len(shingles)):
                continue
            place += HEADER.itemsize
            similarity = jaccard(shingles, np.frombuffer(os.pread(self.file, 8 * count, place), np.uint64))
            if similarity >= self.threshold:
                source = os.pread(self.file, source_bytes, place + 8 * count)
                return Match(source.decode("utf-8", "surrogateescape"), similarity)
        return None

    def match(self, shingles: list[np.ndarray], place: int, others: set[int], sources: Sequence[str]) -> Match | None:
        """The earliest of the other documents of this call that is similar enough to the one at place."""
        for other in sorted(others):
            if self.differ(len(shingles[other]), len(shingles[place])):
                continue
            similarity = jaccard(shingles[place], shingles[other])
            if similarity >= self.threshold:
                return Match(sources[other], similarity)
        return None

    def differ(self, one: int, other: int) -> bool:
        """Whether sets of these sizes would be too dissimilar even if one contained the other."""
        return min(one, other) < self.threshold * max(one, other) * (1 - 1e-9)

    def keep(
        self,
        kept: np.ndarray,
        bands: np.ndarray,
        sharing: np.ndarray,
        shingles: list[np.ndarray],
        sources: Sequence[str],
    ) -> None:
        """Remember the documents that are True in kept (documents,). bands, sharing: (documents, bands)."""
        records, places = [], []
        for place in np.flatnonzero(kept).tolist():
            name = sources[place].encode("utf-8", "surrogateescape")
            header = np.array((len(shingles[place]), len(name)), HEADER)
            records.append(header.tobytes() + shingles[place].tobytes() + name)
            places.append(self.end)
            self.end += len(records[-1])
        self.write(b"".join(records))
        keys = bands[kept]
        room = sharing[kept].ravel() + ranks(keys.ravel()) < MOST_SHARING
        self.crowded += int(np.count_nonzero(~room.reshape(keys.shape).all(axis=1)))
        self.bands.add(keys.ravel()[room], np.repeat(np.array(places, dtype=np.uint64), keys.shape[1])[room])

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while len(left):
            written = os.write(self.file, left)
            if written == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left = left[written:]

    def close(self) -> None:
        os.close(self.file)
        self.bands.runs = []
        self.scratch.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def equal_bands(bands: np.ndarray, width: int) -> dict[int, list[tuple[int, int]]]:
    """document -> (index, group) of its bands that occur more than once in `bands`, (documents * width,)."""
    order = np.argsort(bands)
    groups, several = np.cumsum(first_of_equal(bands[order])), met_again(bands[order])
    found: dict[int, list[tuple[int, int]]] = {}
    for index, group in zip(order[several].tolist(), groups[several].tolist(), strict=True):
        found.setdefault(index // width, []).append((index, group))
    return found


def ranks(keys: np.ndarray) -> np.ndarray:
    """(keys,) how many equal keys come before each."""
    order = np.argsort(keys, kind="stable")
    starts = np.maximum.accumulate(np.where(first_of_equal(keys[order]), np.arange(len(keys)), 0))
    found = np.empty(len(keys), dtype=np.int64)
    found[order] = np.arange(len(keys)) - starts
    return found


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """The Jaccard similarity of two sets, given as sorted arrays without repetition, `one` not empty."""
    shared = int(np.count_nonzero(one[np.minimum(np.searchsorted(one, other), len(one) - 1)] == other))
    return shared / (len(one) + len(other) - shared)
