"""Two spans of one document: where each begins and ends."""

from __future__ import annotations

from typing import Literal

import numpy as np

from textssl.sample_types import WORD_START

Overlap = Literal["disjoint", "any"]
Span = tuple[int, int]


def two_spans(
    marks: np.ndarray,
    min_tokens: int,
    max_tokens: int,
    overlap: Overlap,
    rng: np.random.Generator,
    max_gap: int | None = None,
) -> tuple[Span, Span]:
    """Begin and end of two spans of a document.

    The logarithms of their lengths are uniform from min_tokens to max_tokens, so that short texts are as usual as long
    ones. disjoint: no token is in both (a document that is too short for both is shared between them in proportion),
    and at most max_gap tokens lie between them (None: any number); any: each is drawn for itself.

    marks: (tokens,) uint8 of the document. A span begins at a word where one begins near (within its own length) and
    leaves it its length, so that its tokens are those that its text has alone. The order of the two is random. A
    document of one token gives it twice.
    """
    count = len(marks)
    lengths = np.exp(rng.uniform(np.log(min_tokens), np.log(max_tokens + 1), size=2)).astype(np.int64)
    lengths = np.clip(lengths, min_tokens, max_tokens)
    if overlap == "any":
        first, second = (one_span(marks, 0, count, int(length), rng) for length in lengths)
        return first, second
    if count == 1:
        return (0, 1), (0, 1)
    begin, end = 0, count  # the part of the document where both lie
    if max_gap is not None:
        room = min(count, int(lengths.sum()) + int(rng.integers(0, max_gap, endpoint=True)))
        begin = int(rng.integers(0, count - room, endpoint=True))
        end = begin + room
    if lengths.sum() > count:
        share = max(1, min(count - 1, round(count * lengths[0] / lengths.sum())))
        slack = count if max_gap is None else max_gap  # beside one of the two, at most
        border = word_start(
            *(marks, share),
            lowest=max(1, count - int(lengths[1]) - slack),
            highest=min(count - 1, int(lengths[0]) + slack),
        )
    else:  # where the left one may end and the right one begin
        room = begin + int(lengths[0]), end - int(lengths[1])
        border = word_start(marks, int(rng.integers(*room, endpoint=True)), *room)
    left = one_span(marks, begin, border, int(lengths[0]), rng)
    right = one_span(marks, border, end, int(lengths[1]), rng)
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
