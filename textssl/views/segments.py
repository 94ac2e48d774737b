"""Several segments of one document, in its order: sentences one after another, or spans anywhere."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from textssl.sample_types import SENTENCE_START
from textssl.views.crops import Span, word_start, word_starts


def next_sentences(marks: np.ndarray, count: int, max_tokens: int, rng: np.random.Generator) -> list[Span]:
    """Up to `count` sentences one after another, from one that is drawn; at most max_tokens of each.

    marks: (tokens,) uint8 of the document, whose first token starts a sentence in any case.
    """
    starts = np.union1d(0, np.flatnonzero(marks & SENTENCE_START))
    first = int(rng.integers(max(len(starts) - count, 0), endpoint=True))
    bounds = [*starts[first : first + count + 1].tolist(), len(marks)]
    return [(begin, min(end, begin + max_tokens)) for begin, end in itertools.pairwise(bounds)][:count]


def scattered(
    marks: np.ndarray, count: int, min_tokens: int, max_tokens: int, rng: np.random.Generator
) -> list[Span] | None:
    """`count` disjoint spans in the document's order; None where it has fewer than 2 tokens for each.

    The logarithms of their lengths are uniform from min_tokens to max_tokens, whatever their places, so that lengths
    tell nothing of the order (a document that is too short for all gives each its share). They begin at sentences where
    some begin near, else at words.
    """
    tokens = len(marks)
    if tokens < 2 * count:
        return None
    lengths = np.exp(rng.uniform(np.log(min_tokens), np.log(max_tokens + 1), size=count)).astype(np.int64)
    lengths = np.clip(lengths, min_tokens, max_tokens)
    if lengths.sum() > tokens:
        lengths = np.maximum(1, lengths * (tokens - count) // lengths.sum())
    slack = tokens - int(lengths.sum())
    gaps = np.sort(rng.integers(slack, endpoint=True, size=count))  # before each span, from the document's beginning
    spans: list[Span] = []
    for place, length in zip((gaps + np.cumsum(lengths) - lengths).tolist(), lengths.tolist(), strict=True):
        start = near_start(marks, place, lowest=spans[-1][1] if spans else 0, within=length)
        spans.append((start, start + length))
    return spans


class Shuffled(NamedTuple):
    """Segments in a drawn order. permutation: its number, as itertools counts them. gap: tokens between the first two
    as they are shown."""

    spans: list[Span]
    permutation: int
    gap: int


def shuffled(spans: list[Span], rng: np.random.Generator) -> Shuffled:
    """Segments, given in the document's order, in another one."""
    permutations = list(itertools.permutations(range(len(spans))))
    number = int(rng.integers(len(permutations)))
    shown = [spans[place] for place in permutations[number]]
    (_, end), (begin, _) = sorted(shown[:2])
    return Shuffled(shown, number, begin - end)


def near_start(marks: np.ndarray, place: int, lowest: int, within: int) -> int:
    """The nearest start of a sentence at or before a place, as far back as `within`; else of a word."""
    begin = max(lowest, place - within)
    sentences = np.flatnonzero(marks[begin : place + 1] & SENTENCE_START)
    if len(sentences):
        return begin + int(sentences[-1])
    back = place - begin
    return begin + word_start(word_starts(marks[begin : place + 1]), back, 0, back, within)
