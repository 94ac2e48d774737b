"""Two spans of one document: where each begins and ends."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from textssl.sample_types import WORD_START
from textssl.views.drawn_numbers import DrawnNumbers

NEAR = 16  # tokens to either side in which the start of a word is looked for
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

    The logarithms of their lengths are uniform from min_tokens to max_tokens, so that short texts are as common as long
    ones. disjoint: no token is in both (a document that is too short for both is shared between them in proportion),
    and at most max_gap tokens lie between them (None: any number); any: each is drawn independently.

    marks: (tokens,) uint8 of the document. A span begins at the start of a word where one is near (within the span's
    own length) and this leaves it its length, so that its tokens are those that its text has by itself. The order of
    the two is random. A document of one token gives it twice.
    """
    # plain numbers and bytes: arrays of two elements cost several times as much
    count, starts, draws = len(marks), word_starts(marks), DrawnNumbers(rng.bit_generator)
    shortest, longest = math.log(min_tokens), math.log(max_tokens + 1)
    drawn = (math.exp(shortest + (longest - shortest) * draws.uniform()) for _ in range(2))
    lengths = [min(max(int(length), min_tokens), max_tokens) for length in drawn]
    together = sum(lengths)
    if overlap == "any":
        first, second = (one_span(starts, 0, count, length, draws) for length in lengths)
        return first, second
    if count == 1:
        return (0, 1), (0, 1)
    begin, end = 0, count  # the part of the document where both lie
    if max_gap is not None:
        room = min(count, together + draws.integer(0, max_gap))
        begin = draws.integer(0, count - room)
        end = begin + room
    if together > count:
        share = max(1, min(count - 1, round(count * lengths[0] / together)))
        slack = count if max_gap is None else max_gap  # tokens beyond the length of either, at most
        border = word_start(
            *(starts, share),
            lowest=max(1, count - lengths[1] - slack),
            highest=min(count - 1, lengths[0] + slack),
        )
    else:  # where the left one may end and the right one begin
        room = begin + lengths[0], end - lengths[1]
        border = word_start(starts, draws.integer(*room), *room)
    left = one_span(starts, begin, border, lengths[0], draws)
    right = one_span(starts, border, end, lengths[1], draws)
    return (left, right) if draws.uniform() < 0.5 else (right, left)


def word_starts(marks: np.ndarray) -> bytes:
    """One byte per token: WORD_START where a word begins, else 0."""
    return (marks & WORD_START).tobytes()


def one_span(starts: bytes, begin: int, end: int, length: int, draws: DrawnNumbers) -> Span:
    """A span of `length` tokens within begin to end, or all of it where it has fewer."""
    latest = max(begin, end - length)
    start = word_start(starts, draws.integer(begin, latest), begin, latest, within=length)
    return start, min(start + length, end)


def word_start(starts: bytes, place: int, lowest: int, highest: int, within: int = NEAR) -> int:
    """The nearest start of a word at or before `place`, else after it; `place` where none is near.

    starts: as `word_starts` gives them.
    """
    before = starts.rfind(WORD_START, max(lowest, place - within), place + 1)
    if before >= 0:
        return before
    after = starts.find(WORD_START, place + 1, min(highest, place + within) + 1)
    return after if after >= 0 else place
