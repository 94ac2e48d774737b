"""Which documents each shard holds: the lengths of all documents, read once, in the order of the corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from textssl.data.corpus.corpus import HELD_OUT
from textssl.data.corpus.prepare import OPENING_DOCUMENTS, OPENING_TOKENS, small_threshold
from textssl.data.corpus.stages.encoded import ENCODE, Part
from textssl.data.corpus.stages.job import Job, read_marks
from textssl.data.corpus.stages.similar import DROPPED
from textssl.data.corpus.writer import fitting

TRAIN = "train"
Place = tuple[int, int]  # part, number of a document within it


@dataclass
class Split:
    """One split while it is laid out. shards: (where it begins, where the next one begins) of each."""

    shard_tokens: int
    shards: list[tuple[Place, Place]] = field(default_factory=list)
    begin: Place = (0, 0)
    tokens: int = 0  # of the shard under way

    def add(self, part: int, numbers: np.ndarray, lengths: np.ndarray) -> None:
        """The next documents: numbers within their part, lengths in tokens, (documents,) each."""
        ends = np.cumsum(lengths)
        first = start = 0
        while first < len(lengths):
            stop = fitting(ends, first, start, self.shard_tokens, self.tokens)
            if stop == first:
                self.close((part, int(numbers[first])))
                continue
            self.tokens += int(ends[stop - 1]) - start
            first, start = stop, int(ends[stop - 1])

    def close(self, end: Place) -> None:
        self.shards.append((self.begin, end))
        self.begin, self.tokens = end, 0


@dataclass(frozen=True)
class Kept:
    """Which documents of a part are in which split."""

    job: Job
    threshold: float = 0.0

    def documents(self, part: int) -> np.ndarray:
        """(kept,) numbers of the documents that no verdict drops."""
        kept = np.ones(len(Part(self.job.place(ENCODE, part)).array("lengths")), dtype=bool)
        if self.job.cleaning.near_duplicates is not None:
            kept[read_marks([self.job.place(DROPPED, 0)], part)] = False
        return np.flatnonzero(kept)

    def of_split(self, part: int, split: str) -> np.ndarray:
        """(kept,) numbers of those in a split."""
        numbers = self.documents(part)
        held = Part(self.job.place(ENCODE, part)).array("places")[numbers] < self.threshold
        return numbers[held if split == HELD_OUT else ~held]


def threshold_of(kept: Kept, documents: int, tokens: int, held_out: float) -> float:
    """The hash below which documents are held out, as by `read_opening`. documents, tokens: of both splits."""
    if held_out == 0 or documents >= OPENING_DOCUMENTS or tokens >= OPENING_TOKENS:
        return held_out
    parts = range(len(kept.job.sources))
    places = [Part(kept.job.place(ENCODE, part)).array("places")[kept.documents(part)] for part in parts]
    return small_threshold(np.concatenate([np.zeros(0), *places]), held_out)


def lay_out(kept: Kept, on_part: Callable[[int, np.ndarray], None]) -> dict[str, Split]:
    """Both splits. on_part: called for each part with the numbers of its documents in the corpus."""
    splits = {split: Split(kept.job.shard_tokens) for split in (TRAIN, HELD_OUT)}
    for part in range(len(kept.job.sources)):
        lengths = Part(kept.job.place(ENCODE, part)).array("lengths")
        for name, split in splits.items():
            numbers = kept.of_split(part, name)
            split.add(part, numbers, lengths[numbers])
            on_part(part, numbers)
    for split in splits.values():
        split.close((len(kept.job.sources), 0))
    return splits


def documents_between(kept: Kept, split: str, begin: Place, end: Place) -> Iterator[tuple[int, np.ndarray]]:
    """(part, numbers) of the documents of a split from `begin` to before `end`."""
    for part in range(begin[0], min(end[0] + 1, len(kept.job.sources))):
        numbers = kept.of_split(part, split)
        low = np.searchsorted(numbers, begin[1]) if part == begin[0] else 0
        high = np.searchsorted(numbers, end[1]) if part == end[0] else len(numbers)
        if low < high:
            yield part, numbers[low:high]
