"""Figures of repetitions (draws of labels, starts of k-means) on resampled examples, many resamples at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse as sparse

# (resamples, examples) how often each example was drawn -> (resamples, repetitions) the figure
Repeated = Callable[[np.ndarray], np.ndarray]


def shares(hits: np.ndarray) -> Repeated:
    """The share of examples that are right. hits: (repetitions, examples) right or wrong."""
    right = hits.T.astype(np.float64)
    return lambda counts: counts @ right / counts.sum(1, keepdims=True)


def of_tables(truth: np.ndarray, found: Sequence[np.ndarray], figure: Callable[[np.ndarray], np.ndarray]) -> Repeated:
    """A figure of the contingency table of true classes and what was found.

    truth: (examples,) class numbers. found: the same of each repetition. figure: (tables, classes, found) counts ->
    (tables,).
    """
    rows, columns = int(truth.max()) + 1, int(np.max(found)) + 1
    cells = truth + rows * np.asarray(found)  # (repetitions, examples): the cell, column by column
    cells = cells + rows * columns * np.arange(len(found))[:, None]
    places = np.tile(np.arange(len(truth)), len(found))
    shape = (len(found) * columns * rows, len(truth))
    table = sparse.csr_matrix((np.ones(cells.size), (cells.ravel(), places)), shape=shape)

    def repeated(counts: np.ndarray) -> np.ndarray:
        tables = (table @ counts.T).T.reshape(-1, columns, rows).swapaxes(1, 2)
        return figure(tables).reshape(len(counts), len(found))

    return repeated


def macro_f1_of(tables: np.ndarray) -> np.ndarray:
    """(tables, truth, predicted) counts -> (tables,); a class that neither occurs nor is predicted does not count."""
    square = squares(tables)
    hits = np.diagonal(square, axis1=1, axis2=2)
    present = square.sum(1) + square.sum(2)  # (tables, classes): true + predicted
    scores = 2 * hits / np.maximum(present, 1)
    return scores.sum(1) / np.maximum((present > 0).sum(1), 1)


def mcc_of(tables: np.ndarray) -> np.ndarray:
    """(tables, truth, predicted) counts -> (tables,): Matthews correlation of several classes (Gorodkin 2004, eq. 8); 0
    where a side is constant."""
    square = squares(tables)
    true, predicted, total = square.sum(2), square.sum(1), square.sum((1, 2))
    shared = np.trace(square, axis1=1, axis2=2) * total - (true * predicted).sum(1)
    spread = (total**2 - (predicted**2).sum(1)) * (total**2 - (true**2).sum(1))
    return np.where(spread > 0, shared / np.sqrt(np.where(spread > 0, spread, 1)), 0.0)


def squares(tables: np.ndarray) -> np.ndarray:
    """The tables filled up with zeros to as many predicted classes as true ones."""
    size = max(tables.shape[1:])
    square = np.zeros((len(tables), size, size))
    square[:, : tables.shape[1], : tables.shape[2]] = tables
    return square


def v_measure_of(tables: np.ndarray) -> np.ndarray:
    """(tables, classes, clusters) counts -> (tables,): the harmonic mean of homogeneity and completeness (Rosenberg and
    Hirschberg 2007)."""
    joint = tables / tables.sum((1, 2), keepdims=True)
    classes, clusters = joint.sum(2), joint.sum(1)
    of_classes, of_clusters = _entropy(classes), _entropy(clusters)
    shared = of_classes + of_clusters - _entropy(joint.reshape(len(joint), -1))
    # 2hc / (h + c) of h = shared / of_classes and c = shared / of_clusters; one class in one cluster is perfect
    total = of_classes + of_clusters
    return np.where(total > 0, 2 * shared / np.where(total > 0, total, 1), 1.0)


def _entropy(shares: np.ndarray) -> np.ndarray:
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return -(shares * logs).sum(1)
