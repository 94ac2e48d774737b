"""Two spans of one document: where each begins and ends."""

from __future__ import annotations

from typing import Literal

import numpy as np

from textssl.batch import WORD_START

Overlap = Literal["disjoint", "any"]
Span = tuple[int, int]


def two_spans(
    marks: np.ndarray, min_tokens: int, max_tokens: int, overlap: Overlap, rng: np.random.Generator
) -> tuple[Span, Span]:
    """Begin and end of two spans of a document, whose lengths are drawn from min_tokens to max_tokens.

    marks: (tokens,) uint8 of the document. A span begins at a word where one begins near (within its own length) and
    leaves it its length, so that its tokens are those that its text has alone. disjoint: no token is in both (a
    document that is too short for both is shared between them in proportion); any: each is drawn for itself. The order
    of the two is random. A document of one token gives it twice.
    """
    count = len(marks)
    lengths = rng.integers(min_tokens, max_tokens, size=2, endpoint=True)
    if overlap == "any":
        first, second = (one_span(marks, 0, count, int(length), rng) for length in lengths)
        return first, second
    if count == 1:
        return (0, 1), (0, 1)
    if lengths.sum() > count:
        share = max(1, min(count - 1, round(count * lengths[0] / lengths.sum())))
        border = word_start(marks, share, 1, count - 1)
    else:  # where the left one may end and the right one begin
        room = int(lengths[0]), count - int(lengths[1])
        border = word_start(marks, int(rng.integers(*room, endpoint=True)), *room)
    left = one_span(marks, 0, border, int(lengths[0]), rng)
    right = one_span(marks, border, count, int(lengths[1]), rng)
    return (left, right) if rng.random() < 0.5 else (right, left)


def one_span(marks: np.ndarray, begin: int, end: int, length: int, rng: np.random.Generator) -> Span:
    """A span of `length` tokens within begin to end, or all of it where it has fewer."""
    latest = max(begin, end - length)
    start = word_start(marks, int(rng.integers(begin, latest, endpoint=True)), begin, latest, within=length)
    return start, min(start + length, end)


def word_start(marks: np.ndarray, place: int, lowest: int, highest: int, within: int = 16) -> int:
    """The nearest start of a word at or before `place`, else after it; `place` where none is near."""
    for candidate in range(place, max(lowest, place - within) - 1, -1):
        if marks[candidate] & WORD_START:
            return candidate
    for candidate in range(place + 1, min(highest, place + within) + 1):
        if marks[candidate] & WORD_START:
            return candidate
    return place
