"""Hiding tokens: which places (token, whole word, span) and what stands there instead."""

from __future__ import annotations

from typing import Literal

import numpy as np

from textssl.sample_types import cut_long_words

Unit = Literal["token", "word", "span"]
MAX_SPAN_WORDS = 10  # SpanBERT's clip (arXiv:1907.10529, section 3.1)


def choose(
    candidates: np.ndarray,
    word_starts: np.ndarray,
    documents: np.ndarray,
    *,
    rate: float,
    unit: Unit,
    span_mean: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Places to hide, (length,) bool.

    candidates: (length,) bool, places that may be hidden. word_starts: (length,) bool. documents: (length,) int. rate:
    share of the candidates to hide, met exactly in expectation for tokens; whole words and spans are added until it is
    reached, and one that would exceed it only if that comes closer than leaving it out.
    """
    places = np.flatnonzero(candidates)
    wanted = int(rate * len(places) + rng.random())  # stochastic rounding keeps the mean rate exact
    chosen = np.zeros(len(candidates), dtype=bool)
    if wanted == 0:
        return chosen
    if unit == "token":
        chosen[places[np.argsort(rng.random(len(places)), kind="stable")[:wanted]]] = True
        return chosen
    # group of each candidate: its word, which never reaches across documents or places that must stay
    new = word_starts[places] | (np.diff(documents[places], prepend=-1) != 0) | (np.diff(places, prepend=-2) != 1)
    group = np.cumsum(cut_long_words(new)) - 1
    sizes = np.bincount(group)
    starts = np.cumsum(sizes) - sizes
    spans = _words(len(sizes), rng) if unit == "word" else _spans(len(sizes), span_mean, rng)
    hidden = np.zeros(len(sizes), dtype=bool)
    missing = wanted
    for begin, end in spans:
        if unit == "span":  # a span stays in its document
            end = begin + int(np.sum(documents[places[starts[begin:end]]] == documents[places[starts[begin]]]))
        fresh = np.arange(begin, end)[~hidden[begin:end]]
        while len(fresh) > 1 and sizes[fresh].sum() > missing:  # the last span is cut at a word
            fresh = fresh[:-1]
        size = int(sizes[fresh].sum())
        if size > missing and size - missing >= missing:  # leaving it out comes closer
            continue
        hidden[fresh] = True
        missing -= size
        if missing <= 0:
            break
    chosen[places[hidden[group]]] = True
    return chosen


def _words(count: int, rng: np.random.Generator):
    """Every word once, in random order."""
    for word in np.argsort(rng.random(count), kind="stable").tolist():
        yield word, word + 1


def _spans(count: int, mean: float, rng: np.random.Generator):
    """Runs of words from random starts; lengths are geometric, clipped (SpanBERT's distribution)."""
    starts = np.argsort(rng.random(count), kind="stable")
    lengths = np.minimum(np.ceil(np.log1p(-rng.random(count)) / np.log1p(-1 / mean)), MAX_SPAN_WORDS)
    lengths = np.maximum(lengths, 1).astype(np.int64)
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        yield start, min(start + length, count)


def hide(
    ids: np.ndarray,
    chosen: np.ndarray,
    *,
    mask_id: int,
    ordinary_ids: np.ndarray,
    random_rate: float,
    keep_rate: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """The ids that the model is shown (arXiv:1810.04805, section 3.1).

    Of the chosen places, a share `keep_rate` keeps its token, `random_rate` gets one of `ordinary_ids`, the rest the
    mask token.
    """
    shown = ids.copy()
    places = np.flatnonzero(chosen)
    fate = rng.random(len(places))
    shown[places[fate >= keep_rate]] = mask_id
    random = places[(fate >= keep_rate) & (fate < keep_rate + random_rate)]
    picks = (rng.random(len(random)) * len(ordinary_ids)).astype(np.int64)
    shown[random] = ordinary_ids[picks]
    return shown


def hide_first(candidates: np.ndarray, order: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
    """The share `rate` of the candidates that comes first in `order`: places (length,) bool, and one over the share.

    rate: in [0, 1); the number is rounded up, so that there is one at least, and a uniform rate makes every number from
    1 to all equally likely (arXiv:2502.09992, eq. 14). candidates: (length,) bool. order: (length,) numbers to sort by.
    """
    places = np.flatnonzero(candidates)
    count = min(int(rate * len(places)) + 1, len(places))
    chosen = np.zeros(len(candidates), dtype=bool)
    chosen[places[np.argsort(order[places], kind="stable")[:count]]] = True
    return chosen, len(places) / max(count, 1)
