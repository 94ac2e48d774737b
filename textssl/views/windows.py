"""Words and the words around them: which are kept, which see each other, and what is drawn against them."""

from __future__ import annotations

import numpy as np


def kept_rates(frequencies: np.ndarray, threshold: float) -> np.ndarray:
    """(vocabulary,) the probability with which a token of each frequency stays (arXiv:1310.4546, eq. 5)."""
    return np.minimum(1.0, np.sqrt(threshold / np.maximum(frequencies, 1e-300)))


def distances_of(window: int) -> np.ndarray:
    """(2 * window,) from a word to those around it: -window to -1, 1 to window."""
    return np.concatenate([np.arange(-window, 0), np.arange(1, window + 1)])


def seen_around(groups: np.ndarray, reach: np.ndarray, window: int) -> np.ndarray:
    """(words, 2 * window) bool: whether a word sees another at each of `distances_of(window)`.

    groups: (words,) int, equal for words that may see each other. reach: (words,) int, how far each sees, at most
    `window`.
    """
    places, distances = np.arange(len(groups))[:, None], distances_of(window)
    others = places + distances
    inside = (others >= 0) & (others < len(groups)) & (np.abs(distances) <= reach[:, None])
    return inside & (groups[np.clip(others, 0, max(len(groups) - 1, 0))] == groups[:, None])


def draw_by(cumulative: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) int64 tokens, drawn in proportion to shares whose running sum is `cumulative`, (vocabulary,)."""
    return np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
