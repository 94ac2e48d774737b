"""k nearest neighbours by cosine: what the features say without any training."""

from __future__ import annotations

from typing import Any

import numpy as np

from textssl.evaluation.figures.figure import Accuracy, trained_once

NEIGHBOURS = (1, 3, 5, 10, 20, 50)
BLOCK_ROWS = 1_024  # rows of the similarity matrix that are in memory at once


def nearest_neighbours(
    train: Any, train_labels: np.ndarray, test: Any, test_labels: np.ndarray, *, seed: int = 0
) -> Accuracy:
    """Accuracy and macro F1 of a majority vote of the k nearest training examples, interval over test examples.

    k is chosen among NEIGHBOURS by leave-one-out accuracy on the training examples (ties: the smallest).
    train, test: (examples, width) unit rows, arrays or scipy sparse. Labels: (examples,) class numbers.
    """
    sizes = [k for k in NEIGHBOURS if k < len(train_labels)] or [1]
    left_out = votes(train, train_labels, train, sizes, leave_one_out=True)  # (sizes, train)
    k = sizes[int((left_out == train_labels).sum(1).argmax())]
    predicted = votes(train, train_labels, test, [k])[0]
    return trained_once(test_labels, predicted, len(train_labels), seed, {"k": k})


def votes(train: Any, labels: np.ndarray, queries: Any, sizes: list[int], *, leave_one_out: bool = False) -> np.ndarray:
    """(sizes, queries) class numbers: the most frequent class of the k nearest rows, for each k (ties: the smallest).

    leave_one_out: the queries are the training rows, and none is its own neighbour.
    """
    classes = int(labels.max()) + 1
    most = min(max(sizes), train.shape[0] - leave_one_out)
    predicted = np.empty((len(sizes), queries.shape[0]), dtype=np.int64)
    for start in range(0, queries.shape[0], BLOCK_ROWS):
        block = queries[start : start + BLOCK_ROWS]
        similarity = block @ train.T
        similarity = np.asarray(similarity.toarray() if hasattr(similarity, "toarray") else similarity)
        rows = np.arange(len(similarity))
        if leave_one_out:
            similarity[rows, start + rows] = -np.inf
        nearest = np.argpartition(-similarity, most - 1, axis=1)[:, :most]
        order = np.argsort(-similarity[rows[:, None], nearest], axis=1, kind="stable")
        nearest = labels[nearest[rows[:, None], order]]  # (block, most) classes, nearest first
        tally = (nearest[:, :, None] == np.arange(classes)).cumsum(1)  # votes of the first 1, 2, ... neighbours
        for place, k in enumerate(sizes):
            predicted[place, start : start + len(rows)] = tally[:, min(k, most) - 1].argmax(1)
    return predicted
