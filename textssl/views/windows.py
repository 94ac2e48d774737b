"""Words and the words around them: which are kept, which pairs they make, and what is drawn against each pair."""

from __future__ import annotations

import numpy as np


def kept_rates(frequencies: np.ndarray, threshold: float) -> np.ndarray:
    """(vocabulary,) with which probability a token of this frequency stays (arXiv:1310.4546, eq. 5)."""
    return np.minimum(1.0, np.sqrt(threshold / np.maximum(frequencies, 1e-300)))


def window_pairs(groups: np.ndarray, reach: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    """(pairs,) places of each word and of a word around it, in the order of the words and of their distances.

    groups: (words,) int, equal for words that may see each other and lie side by side. reach: (words,) int, how far a
    word sees to either side, at most `window`.
    """
    count = len(groups)
    words = np.repeat(np.arange(count), 2 * window)
    distances = np.concatenate([np.arange(-window, 0), np.arange(1, window + 1)])
    others = words + np.tile(distances, count)
    inside = (others >= 0) & (others < count) & (np.abs(others - words) <= reach[words])
    words, others = words[inside], others[inside]
    together = groups[words] == groups[others]
    return words[together], others[together]


def draw_by(cumulative: np.ndarray, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Tokens drawn with the shares whose running sum is `cumulative`, (vocabulary,): int64 of this shape."""
    return np.searchsorted(cumulative, rng.random(shape) * cumulative[-1], side="right")
