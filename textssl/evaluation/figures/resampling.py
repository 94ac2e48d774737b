"""Figures on examples drawn with replacement (the bootstrap), many resamples at a time.

A resample is stored as how often each example was drawn, so a figure on a thousand of them takes a few matrix products.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

# (resamples, examples) how often each example was drawn -> (resamples,) the figure
Statistic = Callable[[np.ndarray], np.ndarray]
NUMBERS = 2**14  # of a block of counts, which then stays in the processor's cache


def drawn_counts(rng: np.random.Generator, resamples: int, size: int, draws: int) -> np.ndarray:
    """(resamples, size): how often each of `size` things was drawn in `draws` draws with replacement."""
    drawn = rng.integers(size, size=(resamples, draws)) + size * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * size).reshape(resamples, size)


def resampled(statistic: Statistic, examples: int, resamples: int, seed: int) -> np.ndarray:
    """(resamples,) a statistic of as many examples as there are, drawn with replacement."""
    rng, at_once = np.random.default_rng(seed), max(1, NUMBERS // examples)
    blocks = [min(at_once, resamples - begin) for begin in range(0, resamples, at_once)]
    return np.concatenate([statistic(drawn_counts(rng, block, examples, examples)) for block in blocks])


def on_all(statistic: Statistic, examples: int) -> float:
    """A statistic of all examples, each drawn once: the figure itself."""
    return float(statistic(np.ones((1, examples)))[0])


def mean_of(values: np.ndarray) -> Statistic:
    """The mean of (examples,) numbers."""
    numbers = values.astype(np.float64)
    return lambda counts: counts @ numbers / counts.sum(1)


def ratio_of(above: np.ndarray, below: np.ndarray) -> Statistic:
    """The sum of `above` over the sum of `below`, (examples,) numbers each, such as bits over bytes."""
    parts = np.stack([above, below], axis=1).astype(np.float64)

    def ratio(counts: np.ndarray) -> np.ndarray:
        sums = counts @ parts
        return sums[:, 0] / np.maximum(sums[:, 1], 1)

    return ratio


def pearson_of(left: np.ndarray, right: np.ndarray) -> Statistic:
    """Pearson's correlation of two times (examples,) numbers; 0 where a side has one value only."""
    first, second = (side - side.mean() for side in (left.astype(np.float64), right.astype(np.float64)))
    parts = np.stack([first, second, first * second, first * first, second * second], axis=1)
    sides = [_grouped(side)[:2] for side in (left, right)]

    def correlation(counts: np.ndarray) -> np.ndarray:
        a, b, ab, aa, bb = (counts @ parts / counts.sum(1, keepdims=True)).T
        spread = np.sqrt(np.maximum(aa - a * a, 0) * np.maximum(bb - b * b, 0))
        spread[np.any([(_of_groups(counts, *one) > 0).sum(1) < 2 for one in sides], axis=0)] = 0  # rounding apart
        return _over(ab - a * b, spread)

    return correlation


def spearman_of(left: np.ndarray, right: np.ndarray) -> Statistic:
    """Pearson's correlation of the ranks, ties at their mean; 0 where a side has one value only, NaN with a NaN drawn.

    left, right: (examples,) numbers.
    """
    sides = [_grouped(side) for side in (left, right)]
    missing = np.isnan(left) | np.isnan(right)

    def correlation(counts: np.ndarray) -> np.ndarray:
        ranks = []  # (resamples, examples) of each side, around their mean
        for order, starts, groups in sides:
            sizes = _of_groups(counts, order, starts)
            middles = sizes.cumsum(1) - sizes / 2  # a tie's mean rank, less 1/2
            ranks.append((middles - counts.sum(1, keepdims=True) / 2)[:, groups])
        weighted = counts * ranks[0]
        shared = (weighted * ranks[1]).sum(1)
        lengths = np.sqrt((weighted * ranks[0]).sum(1) * (counts * ranks[1] * ranks[1]).sum(1))
        return np.where((counts[:, missing] > 0).any(1), np.nan, _over(shared, lengths))

    return correlation


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient, 0 where the divisor is 0."""
    return np.where(below == 0, 0.0, above / np.where(below == 0, 1.0, below))


def _grouped(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The order of some values, where in it each new value begins, and of each value the number of its group."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    new = np.r_[True, ordered[1:] != ordered[:-1]]
    groups = np.empty(len(values), int)
    groups[order] = np.cumsum(new) - 1
    return order, np.flatnonzero(new), groups


def _of_groups(counts: np.ndarray, order: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """(resamples, groups) how often a value of each group was drawn."""
    return np.add.reduceat(counts[:, order], starts, axis=1)
