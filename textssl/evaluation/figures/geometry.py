"""How features lie on the sphere: spread or collapsed, near for what belongs together, in how many directions.

Pure numpy on any (rows, width) matrix: an encoder's outputs, or a projector's during training. All but RankMe look at
rows scaled to length 1; a row of zeros stays one. Figures of pairs are NaN where there are fewer than two rows.
"""

from __future__ import annotations

import numpy as np

BLOCK_ROWS = 1_024  # rows of the distance matrix that are in memory at once
RANKME_EPSILON = 1e-7  # arXiv:2210.02885, eq. 2, for float32 features


def rankme(features: np.ndarray) -> float:
    """Effective rank: the exponential of the entropy of the singular values' shares (arXiv:2210.02885, eq. 1-2).

    Between 1 (all rows on one line) and min(rows, width), 0 for zeros alone; features are neither centred nor scaled,
    as in the paper. It is bounded by the number of rows, so compare values for the same number of rows only.
    """
    matrix = np.asarray(features, dtype=np.float64)
    gram = matrix @ matrix.T if len(matrix) < matrix.shape[1] else matrix.T @ matrix
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))  # singular values, in a fraction of an SVD's time
    total = values.sum()
    if total == 0:
        return 0.0
    shares = values / total + RANKME_EPSILON
    return float(np.exp(-(shares * np.log(shares)).sum()))


def mean_cosine(features: np.ndarray) -> float:
    """Mean cosine of all pairs of different rows: about 0 where they spread over the sphere, 1 where all are equal.

    In one pass: the squared length of the sum of unit rows is the sum of all cosines, each row with itself included.
    """
    units = unit_rows(features)
    rows = len(units)
    if rows < 2:
        return float("nan")
    total = units.sum(0)
    return float((total @ total - (units * units).sum()) / (rows * (rows - 1)))


def normalised_std(features: np.ndarray) -> float:
    """Mean over dimensions of the standard deviation of unit rows, times sqrt(width) (arXiv:2011.10566, section 4.1).

    About 1 where rows point in all directions alike, 0 where all rows are equal (collapse).
    """
    units = unit_rows(features)
    return float(units.std(0).mean() * np.sqrt(units.shape[1]))


def alignment(left: np.ndarray, right: np.ndarray, *, power: float = 2) -> float:
    """Mean distance of positive pairs, to the power given (arXiv:2005.10242, eq. 1); at most 2 ** power.

    left, right: (pairs, width); row i of one belongs to row i of the other.
    """
    return float(pair_distances(left, right, power=power).mean())


def pair_distances(left: np.ndarray, right: np.ndarray, *, power: float = 2) -> np.ndarray:
    """(pairs,) distances of the unit rows of each pair, to the power given: what `alignment` is the mean of."""
    assert np.shape(left) == np.shape(right), "pairs are rows of two matrices of one shape"
    return np.linalg.norm(unit_rows(left) - unit_rows(right), axis=1) ** power


def uniformity(features: np.ndarray, *, scale: float = 2) -> float:
    """Log of the mean Gaussian potential exp(-scale * squared distance) of all pairs of different rows.

    arXiv:2005.10242, eq. 2. The lower, the more evenly spread: 0 at collapse, towards -2 * scale for rows at right
    angles, in high dimensions the best there is. Rows are compared in blocks, so memory grows with them linearly.
    """
    units = unit_rows(features)
    rows = len(units)
    if rows < 2:
        return float("nan")
    squares = (units * units).sum(1)
    total = 0.0
    for start in range(0, rows, BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        distances = np.maximum(squares[block, None] + squares - 2 * units[block] @ units.T, 0)
        potential = np.exp(-scale * distances)
        places = np.arange(len(potential))
        potential[places, start + places] = 0  # a row with itself is no pair
        total += float(potential.sum())
    return float(np.log(total / (rows * (rows - 1))))


def unit_rows(features: np.ndarray) -> np.ndarray:
    """float64 rows of length 1; a row of zeros stays one."""
    rows = np.asarray(features, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
