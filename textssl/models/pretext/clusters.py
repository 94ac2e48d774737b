"""Spherical k-means, and clusterings of the same rows made comparable."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits


def spherical_k_means(unit: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows,) clusters and (count, width) centroids of length 1, each row with the centroid of highest cosine.

    unit: (rows, width) of length 1, on which the squared distance is 2 - 2 cosines. The same on ranks of every machine.
    """
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters
        centres = KMeans(count, n_init="auto", random_state=seed, max_iter=50).fit(unit).cluster_centers_
        centroids = centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        return (unit @ centroids.T).argmax(1), centroids


def matched(before: np.ndarray, found: np.ndarray, centroids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The new clusters and centroids, renumbered so that as many rows as possible keep their number (Hungarian)."""
    count = len(centroids)
    overlap = np.bincount(before * count + found, minlength=count * count).reshape(count, count)
    old, new = linear_sum_assignment(overlap, maximize=True)
    number = np.empty(count, np.int64)
    number[new] = old
    return number[found], centroids[new[np.argsort(old)]]


def entropy_of(sizes: np.ndarray) -> float:
    """Entropy of clusters of these sizes, as a share of its maximum: 1 where all are equal, 0 where one has all."""
    shares = sizes[sizes > 0] / sizes.sum()
    return float(-(shares * np.log(shares)).sum() / max(np.log(len(sizes)), 1e-12))
