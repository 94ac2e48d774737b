"""Cutting documents into pieces and packing the pieces into rows of a fixed length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Packing:
    """Which pieces of which documents each row holds.

    starts: (rows + 1,) int64; row r holds the pieces [starts[r], starts[r + 1]).
    document, begin, end: (pieces,) int64; a piece is the tokens [begin, end) of its document.
    """

    starts: np.ndarray
    document: np.ndarray
    begin: np.ndarray
    end: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def row(self, index: int) -> list[tuple[int, int, int]]:
        """(document, begin, end) of each piece of a row."""
        part = slice(self.starts[index], self.starts[index + 1])
        return list(zip(self.document[part].tolist(), self.begin[part].tolist(), self.end[part].tolist(), strict=True))


def rows_needed(tokens: ArrayLike, documents: ArrayLike, length: int, overhead: int) -> np.ndarray:
    """Rows that always suffice for these counts of documents: ceil((tokens + overhead * documents) / usable).

    length: places of a row; overhead: special tokens of a piece; usable = length - overhead. Why they suffice: `pack`
    cuts a document only where the piece fills its row to the last place, and leaves a gap only where it is too small
    for one more token. So a row loses at most `overhead` places, either to the specials of the extra piece that a cut
    makes or to its gap; the specials of uncut documents are counted one by one.
    """
    usable = length - overhead
    return -(-(np.asarray(tokens) + overhead * np.asarray(documents)) // usable)


def pack(lengths: np.ndarray, length: int, overhead: int, rows: int) -> Packing:
    """Cut documents into pieces of at most a row, and pack the rests by best fit decreasing (arXiv:2404.10830).

    lengths: (documents,) tokens of each, in shuffled order; ties keep it. length: places of a row. overhead: special
    tokens of a piece. rows: at least `rows_needed`, unlike in the paper a fixed number: rests that fit nowhere whole
    are cut to fill the gaps, and unused rows stay empty. Every token is placed exactly once.
    """
    usable = length - overhead
    lengths = np.asarray(lengths, dtype=np.int64)
    num_full = lengths // usable
    full_document = np.repeat(np.arange(len(lengths)), num_full)
    full_begin = (np.arange(len(full_document)) - np.repeat(np.cumsum(num_full) - num_full, num_full)) * usable
    bins = _Bins(rows - len(full_document), length, overhead)
    rest = lengths - num_full * usable
    for document in np.argsort(-rest, kind="stable").tolist():
        if rest[document] > 0:
            bins.place(document, int(lengths[document] - rest[document]), int(lengths[document]))
    bins.cut_leftovers()
    pieces = [(d, b, e) for row in bins.rows for (d, b, e) in row]
    document, begin, end = np.array(pieces, dtype=np.int64).reshape(-1, 3).T
    counts = np.concatenate([np.ones(len(full_document), np.int64), [len(row) for row in bins.rows]]).astype(np.int64)
    return Packing(
        starts=np.concatenate([[0], np.cumsum(counts)]),
        document=np.concatenate([full_document, document]),
        begin=np.concatenate([full_begin, begin]),
        end=np.concatenate([full_begin + usable, end]),
    )


class _Bins:
    """Open rows by the size of their gap; bit i of `mask` says whether any row has a gap of i places."""

    def __init__(self, rows: int, length: int, overhead: int):
        self.overhead = overhead
        self.rows: list[list[tuple[int, int, int]]] = [[] for _ in range(rows)]
        self.by_gap: list[list[int]] = [[] for _ in range(length + 1)]
        self.by_gap[length] = list(range(rows - 1, -1, -1))
        self.mask = (1 << length) if rows else 0
        self.leftovers: list[tuple[int, int, int]] = []

    def place(self, document: int, begin: int, end: int) -> None:
        """Put a piece into a row with the smallest gap that it fits, or keep it for cutting."""
        size = end - begin + self.overhead
        fitting = self.mask >> size
        if not fitting:
            self.leftovers.append((document, begin, end))
        else:
            self._take(size + (fitting & -fitting).bit_length() - 1, document, begin, end)

    def cut_leftovers(self) -> None:
        """Cut what fitted nowhere whole into pieces that fill the largest gaps."""
        for document, begin, end in self.leftovers:
            while begin < end:
                gap = self.mask.bit_length() - 1
                assert gap > self.overhead, "fewer rows than rows_needed"
                stop = min(end, begin + gap - self.overhead)
                self._take(gap, document, begin, stop)
                begin = stop

    def _take(self, gap: int, document: int, begin: int, end: int) -> None:
        row = self.by_gap[gap].pop()
        if not self.by_gap[gap]:
            self.mask ^= 1 << gap
        self.rows[row].append((document, begin, end))
        left = gap - (end - begin + self.overhead)
        if not self.by_gap[left]:
            self.mask |= 1 << left
        self.by_gap[left].append(row)
