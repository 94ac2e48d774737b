"""Randomness that is a pure function of keys: nothing is stored, nothing has to be restored.

Only raw Philox words and our own integer arithmetic decide orders, since numpy promises the stream of a bit generator
for ever, but not that of its distributions.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.random.bit_generator import ISeedSequence

from textssl.sample_types import mixed

WINDOW, SAMPLE, MIXTURE, PAIRS, LABELLED = 1, 2, 3, 4, 5  # what a stream is for; part of its key

_MASK32, _MASK64 = (1 << 32) - 1, (1 << 64) - 1
_LOW, _HALF = np.uint64(_MASK32), np.uint64(32)
_ROUNDS = 10  # of Philox4x64 (Salmon et al. 2011, table 2 and section 3.3), with its constants
_MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
_KEY_STEPS = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B


class Key(ISeedSequence):
    """The key of a stream as a seed sequence, which takes a fifth of the time of `key=`: for that numpy first asks the
    operating system for a random seed that it does not use."""

    def __init__(self, seed: int, purpose: int) -> None:
        self.words = np.array([seed & _MASK64, purpose], np.uint64)

    def generate_state(self, n_words: int, dtype: object = np.uint64) -> np.ndarray:
        return self.words


key_of = lru_cache(maxsize=64)(Key)


def philox(seed: int, purpose: int, *ids: int) -> np.random.Philox:
    """An independent counter-based stream for (seed, purpose, up to three ids) (Philox: Salmon et al. 2011)."""
    assert len(ids) <= 3
    counter = [0, *ids, *([0] * (3 - len(ids)))]  # the first word counts the draws
    return np.random.Philox(key_of(seed, purpose), counter=np.array(counter, np.uint64))  # type: ignore[arg-type]


def generator(seed: int, purpose: int, *ids: int) -> np.random.Generator:
    return np.random.Generator(philox(seed, purpose, *ids))


def first_words(seed: int, purpose: int, ids: np.ndarray, count: int) -> np.ndarray:
    """The first words of the streams of many ids at once: (streams, count) uint64, as `philox` gives them one by one.

    ids: (streams, 3) integers.
    """
    blocks = -(-count // 4)
    counters = np.empty((4, len(ids), blocks), np.uint64)
    counters[0] = np.arange(1, blocks + 1)  # numpy counts before it draws
    counters[1:] = ids.T.astype(np.uint64)[:, :, None]
    key = [np.uint64(word) for word in key_of(seed, purpose).words]
    a, b, c, d = counters
    for number in range(_ROUNDS):
        (high, low), (other_high, other_low) = _product(_MULTIPLIERS[0], a), _product(_MULTIPLIERS[1], c)
        a, b, c, d = other_high ^ b ^ key[0], other_low, high ^ d ^ key[1], low
        if number < _ROUNDS - 1:
            key = [np.uint64((int(word) + step) & _MASK64) for word, step in zip(key, _KEY_STEPS, strict=True)]
    return np.stack([a, b, c, d], axis=2).reshape(len(ids), 4 * blocks)[:, :count]


def _product(factor: int, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The upper and the lower 64 bits of factor * values."""
    low, high = np.uint64(factor & _MASK32), np.uint64(factor >> 32)
    value_low, value_high = values & _LOW, values >> _HALF
    left, right = low * value_high, high * value_low
    middle = (low * value_low >> _HALF) + (left & _LOW) + (right & _LOW)
    return high * value_high + (left >> _HALF) + (right >> _HALF) + (middle >> _HALF), np.uint64(factor) * values


def shuffled(count: int, stream: np.random.Philox) -> np.ndarray:
    """A permutation of range(count), (count,) int64."""
    return np.argsort(stream.random_raw(count), kind="stable")


def bijection(places: np.ndarray, count: int, seed: int, epoch: int, corpus: int = 0, rounds: int = 6) -> np.ndarray:
    """Where a permutation of range(count), keyed by seed, epoch and corpus, sends the places; same shape, int64.

    An unbalanced Feistel network over the next power of two, walked until it lands inside (Black and Rogaway 2002).
    """
    bits = max(int(count - 1).bit_length(), 1)
    low = np.uint64(bits - bits // 2)
    low_mask, high_mask = np.uint64((1 << int(low)) - 1), np.uint64((1 << (bits // 2)) - 1)
    keys = philox(seed, WINDOW, epoch, _MASK64 - corpus, count).random_raw(rounds)

    def permute(x: np.ndarray) -> np.ndarray:
        right, left = x & low_mask, x >> low
        for number, key in enumerate(keys):
            if number % 2:
                right = right ^ (mixed(left + key) & low_mask)
            else:
                left = left ^ (mixed(right + key) & high_mask)
        return (left << low) | right

    result = permute(np.asarray(places, dtype=np.uint64))
    outside = np.flatnonzero(result >= count)
    while len(outside):
        result[outside] = permute(result[outside])
        outside = outside[result[outside] >= count]
    return result.astype(np.int64)
