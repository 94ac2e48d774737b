"""Two spans of each of many documents: what `two_spans` gives one by one, for a whole step in arrays."""

from __future__ import annotations

import math

import numpy as np

from textssl.sample_types import WORD_START, ManyDocuments
from textssl.views.crops import NEAR, Overlap, word_start, word_starts
from textssl.views.drawn_numbers import LOW_BITS

WORDS = 6  # of a document's stream that are read at most


def many_spans(
    documents: ManyDocuments, min_tokens: int, max_tokens: int, overlap: Overlap, max_gap: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(documents, 2, 2) int64, begin and end of the two spans of each; and the numbers of those documents whose stream
    has to be read further than here, which `two_spans` has to do.

    The other arguments are those of `two_spans`.
    """
    count, draws = documents.lengths, ManyNumbers(documents.words(WORDS))
    shortest, longest = math.log(min_tokens), math.log(max_tokens + 1)
    drawn = [shortest + (longest - shortest) * draws.uniform(word) for word in range(2)]
    lengths = np.array([[math.exp(value) for value in column.tolist()] for column in drawn]).astype(np.int64)
    lengths = lengths.clip(min_tokens, max_tokens)  # (2, documents)
    spans = np.empty((len(count), 2, 2), np.int64)
    if overlap == "any":
        for view, length in enumerate(lengths):
            spans[:, view] = one_span_each(documents, np.zeros_like(count), count, length, draws)
        return spans, draws.unread
    begin, end, together = np.zeros_like(count), count, lengths.sum(axis=0)
    if max_gap is not None:
        room = np.minimum(count, together + draws.integer(np.zeros_like(count), np.full_like(count, max_gap)))
        begin = draws.integer(np.zeros_like(count), count - room)
        end = begin + room
    short = together > count
    share = np.rint(count * lengths[0] / together).astype(np.int64)
    share = np.maximum(1, np.minimum(count - 1, share))
    slack = count if max_gap is None else np.full_like(count, max_gap)
    lowest = np.where(short, np.maximum(1, count - lengths[1] - slack), begin + lengths[0])
    highest = np.where(short, np.minimum(count - 1, lengths[0] + slack), end - lengths[1])
    place = np.where(short, share, draws.integer(lowest, np.where(short, lowest, highest)))
    single = count == 1
    border = word_start_each(documents, place, lowest, highest, np.full_like(count, NEAR))
    begin, end = np.where(single, 0, begin), np.where(single, 1, end)
    left = one_span_each(documents, begin, np.where(single, 1, border), lengths[0], draws)
    right = one_span_each(documents, np.where(single, 0, border), end, lengths[1], draws)
    swapped = draws.uniform_next() >= 0.5
    spans[:, 0] = np.where(swapped[:, None], right, left)
    spans[:, 1] = np.where(swapped[:, None], left, right)
    return spans, draws.unread


def one_span_each(
    documents: ManyDocuments, begin: np.ndarray, end: np.ndarray, length: np.ndarray, draws: ManyNumbers
) -> np.ndarray:
    """(documents, 2): `one_span` of each."""
    latest = np.maximum(begin, end - length)
    start = word_start_each(documents, draws.integer(begin, latest), begin, latest, length)
    return np.stack([start, np.minimum(start + length, end)], axis=1)


def word_start_each(
    documents: ManyDocuments,
    place: np.ndarray,
    lowest: np.ndarray,
    highest: np.ndarray,
    within: np.ndarray,
) -> np.ndarray:
    """(documents,): `word_start` of each; most words begin a few tokens back, the others are looked for one by one."""
    looked = place[:, None] - np.arange(NEAR + 1)
    allowed = looked >= np.maximum(lowest, place - within)[:, None]
    begins = allowed & (documents.marks(looked) & WORD_START > 0)
    found = place - begins.argmax(axis=1)
    for number in np.flatnonzero(~begins.any(axis=1)).tolist():
        starts = word_starts(documents.all_marks(number))
        limits = int(place[number]), int(lowest[number]), int(highest[number])
        found[number] = word_start(starts, *limits, within=int(within[number]))
    return found


class ManyNumbers:
    """The numbers that `DrawnNumbers` gives for each of many streams. unread: see `many_spans`.

    words: (streams, words) uint64, the first of each stream.
    """

    def __init__(self, words: np.ndarray) -> None:
        self.words = words
        later = words[:, 2:]  # after the two for the lengths
        halves = np.stack([later & np.uint64(LOW_BITS), later >> np.uint64(32)], axis=2)
        self.halves = halves.reshape(len(words), 2 * later.shape[1])
        self.used = np.zeros(len(words), np.int64)
        self.rejected = np.zeros(len(words), bool)

    def uniform(self, word: int | np.ndarray) -> np.ndarray:
        """From this word of each stream."""
        return (self.words[np.arange(len(self.words)), word] >> np.uint64(11)) * 2.0**-53

    def uniform_next(self) -> np.ndarray:
        """From the first word after those that integers were drawn from."""
        return self.uniform(2 + (self.used + 1) // 2)

    def integer(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        count = (high - low + 1).astype(np.uint64)
        drawn = count != 1
        product = self.halves[np.arange(len(count)), self.used] * count
        self.used += drawn
        self.rejected |= drawn & (product & np.uint64(LOW_BITS) < count)
        return low + np.where(drawn, product >> np.uint64(32), np.uint64(0)).astype(np.int64)

    @property
    def unread(self) -> np.ndarray:
        """Numbers of the streams in which a draw may have been rejected: about one in a million."""
        return np.flatnonzero(self.rejected)
