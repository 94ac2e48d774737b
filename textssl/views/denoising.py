"""Corrupted documents that an encoder-decoder repairs: spans, text infilling, deletion, permutation, rotation."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from textssl.sample_types import IGNORE, Denoised, Row

Noise = Literal["spans", "infilling", "deletion", "permutation", "rotation"]
NEEDS_MASK = ("infilling",)  # a mask token in the tokenizer


class Corrupted(NamedTuple):
    """What the encoder reads and what the decoder writes, ids without special tokens around them, each (tokens,)."""

    source: np.ndarray
    target: np.ndarray


def corrupt(
    ids: np.ndarray,
    sentence_starts: np.ndarray,
    noise: Noise,
    *,
    rate: float,
    span_mean: float,
    sentinels: np.ndarray,
    mask: int | None,
    rng: np.random.Generator,
) -> Corrupted:
    """One document, of at least one token, under one noise; the source is never longer than it, and never empty.

    ids: (tokens,) int64. sentence_starts: (tokens,) bool. rate: share of the tokens that is hidden or deleted.
    span_mean: mean length of a span. sentinels: ids that stand for the first, second, ... span of a document.
    """
    if noise == "spans":
        lengths = segment_lengths(len(ids), rate, span_mean, len(sentinels), rng)
        return with_sentinels(ids, place(len(ids), lengths, rng), lengths, sentinels)
    if noise == "infilling":
        assert mask is not None
        lengths = poisson_lengths(len(ids), rate, span_mean, rng)
        return Corrupted(replaced(ids, place(len(ids), lengths, rng), lengths, np.full(len(lengths), mask)), ids)
    if noise == "deletion":
        return Corrupted(delete(ids, rate, rng), ids)
    if noise == "permutation":
        return Corrupted(permute(ids, sentence_starts, rng), ids)
    return Corrupted(np.roll(ids, -int(rng.random() * len(ids))), ids)  # any token may be the first


def segment_lengths(count: int, rate: float, mean: float, most: int, rng: np.random.Generator) -> np.ndarray:
    """Lengths of T5's spans: a fixed number of tokens cut at random into a fixed number of spans (arXiv:1910.10683).

    count: tokens of the document. most: spans at most. Both numbers are rounded up or down at random, so that their
    means are exact; at least one token is hidden.
    """
    hidden = min(max(1, int(rate * count + rng.random())), count)
    spans = min(max(1, int(hidden / mean + rng.random())), hidden, count - hidden + 1, most)
    cuts = np.sort(np.argsort(rng.random(hidden - 1), kind="stable")[: spans - 1]) + 1
    return np.diff(np.concatenate([[0], cuts, [hidden]])).astype(np.int64)


def poisson_lengths(count: int, rate: float, mean: float, rng: np.random.Generator) -> np.ndarray:
    """Lengths of BART's spans: Poisson, 0 among them, until the share is reached (arXiv:1910.13461, section 2.2).

    The last one is cut to meet the share, and spans are joined until a visible token fits between any two and there are
    no more masks than tokens that they hide.
    """
    hidden = min(max(1, int(rate * count + rng.random())), count)
    lengths: list[int] = []
    missing = hidden
    while missing > 0:
        lengths.append(min(poisson(mean, rng.random()), missing))
        missing -= lengths[-1]
    while len(lengths) > min(hidden, count - hidden + 1):
        last = lengths.pop()
        lengths[-1] += last
    return np.array(lengths, dtype=np.int64)[np.argsort(rng.random(len(lengths)), kind="stable")]


def poisson(mean: float, uniform: float) -> int:
    """A Poisson number, by inverting the cumulative distribution at `uniform`, a number in [0, 1)."""
    number, probability = 0, math.exp(-mean)
    while uniform >= probability and number < 10 * (1 + mean):
        uniform -= probability
        number += 1
        probability *= mean / number
    return number


def place(count: int, lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where spans of these lengths start in `count` tokens: all ways in which no two touch are equally likely."""
    spare = count - int(lengths.sum()) - (len(lengths) - 1)  # visible tokens that are not needed between two spans
    assert spare >= 0
    bars = np.sort(np.argsort(rng.random(spare + len(lengths)), kind="stable")[: len(lengths)])
    before = bars - np.arange(len(lengths))  # spare tokens in front of each span
    return before + np.arange(len(lengths)) + np.cumsum(lengths) - lengths


def replaced(ids: np.ndarray, starts: np.ndarray, lengths: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """The ids with one mark in place of each span."""
    pieces, end = [], 0
    for start, length, mark in zip(starts.tolist(), lengths.tolist(), marks.tolist(), strict=True):
        pieces += [ids[end:start], [mark]]
        end = start + length
    return np.concatenate([*pieces, ids[end:]]).astype(np.int64)


def with_sentinels(ids: np.ndarray, starts: np.ndarray, lengths: np.ndarray, sentinels: np.ndarray) -> Corrupted:
    """Sentinels in place of spans; the target is each sentinel and the tokens that it stands for."""
    marks = sentinels[: len(starts)]
    pieces: list[np.ndarray] = []
    for start, length, mark in zip(starts.tolist(), lengths.tolist(), marks, strict=True):
        pieces += [np.array([mark]), ids[start : start + length]]
    return Corrupted(replaced(ids, starts, lengths, marks), np.concatenate(pieces).astype(np.int64))


def delete(ids: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """The ids without a share of them; one always stays."""
    gone = min(int(rate * len(ids) + rng.random()), len(ids) - 1)
    return ids[np.sort(np.argsort(rng.random(len(ids)), kind="stable")[gone:])]


def permute(ids: np.ndarray, sentence_starts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The sentences in another order."""
    sentences = np.split(ids, np.flatnonzero(sentence_starts[1:]) + 1)
    return np.concatenate([sentences[number] for number in np.argsort(rng.random(len(sentences)), kind="stable")])


def packed(documents: list[np.ndarray]) -> Row:
    """Documents one after another as a row without padding; nothing is to be predicted in it yet."""
    lengths = [len(document) for document in documents]
    ids = np.concatenate([np.zeros(0, np.int64), *documents]).astype(np.int64)
    return Row(
        ids=ids,
        documents=np.repeat(np.arange(1, len(documents) + 1, dtype=np.int32), lengths),
        positions=np.concatenate([np.zeros(0, np.int64), *map(np.arange, lengths)]).astype(np.int64),
        marks=np.zeros(len(ids), np.uint8),
        special=np.zeros(len(ids), bool),
        labels=np.full(len(ids), IGNORE, dtype=np.int64),
    )


def pair(
    sources: list[np.ndarray], targets: list[np.ndarray], *, begin: int, most: int, unwritten: np.ndarray
) -> Denoised:
    """Corrupted documents as a row of the encoder and one of the decoder, which begins each target with `begin`.

    sources, targets: special tokens included. most: tokens of the decoder's row; what is beyond is cut and counted.
    unwritten: ids in targets that are no text.
    """
    kept, room = [], most
    for target in targets:
        kept.append(target[:room])
        room -= len(kept[-1])
    labels = np.concatenate([np.zeros(0, np.int64), *kept]).astype(np.int64)  # a row may be padding alone
    row = packed([np.concatenate([[begin], target[:-1]]) if len(target) else target for target in kept])
    row.labels = labels
    return Denoised(
        source=packed(sources),
        target=row,
        text_tokens=int((~np.isin(labels, unwritten)).sum()),
        cut_tokens=sum(map(len, targets)) - len(labels),
    )
