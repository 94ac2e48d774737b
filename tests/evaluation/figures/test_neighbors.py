from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import mode
from sklearn.neighbors import KNeighborsClassifier

from tests.evaluation.folders import blobs
from textssl.evaluation.figures.neighbors import NEIGHBOURS, nearest_neighbours, votes


@pytest.mark.parametrize("classes", [2, 4])
def test_figure_agrees_with_plain_scikit_learn(classes: int):
    train, labels = blobs(150, classes, 24, 2.5)
    test, truth = blobs(200, classes, 24, 2.5, seed=1)
    left_out = {}
    for k in NEIGHBOURS:
        others = KNeighborsClassifier(k, metric="cosine").fit(train, labels).kneighbors(return_distance=False)
        left_out[k] = np.mean(mode(labels[others], axis=1).mode == labels)  # of each row, itself left out
    best = max(left_out, key=lambda k: left_out[k])
    figure = nearest_neighbours(train, labels, test, truth)
    assert figure.settings == {"k": best}
    expected = KNeighborsClassifier(best, metric="cosine").fit(train, labels).score(test, truth)
    assert figure.mean == pytest.approx(expected, abs=1e-9) and 0.4 < expected < 0.99
    assert (figure.train_examples, figure.test_examples) == (150, 200)


@pytest.mark.parametrize("k", [1, 4, 7])
def test_votes_in_blocks_of_sparse_rows(k: int, monkeypatch):
    monkeypatch.setattr("textssl.evaluation.figures.neighbors.BLOCK_ROWS", 7)
    train, labels = blobs(60, 3, 12, 2.0)
    test, _ = blobs(20, 3, 12, 2.0, seed=1)
    expected = KNeighborsClassifier(k, metric="cosine").fit(train, labels).predict(test)
    np.testing.assert_array_equal(votes(sparse.csr_matrix(train), labels, sparse.csr_matrix(test), [k])[0], expected)
    out = [
        KNeighborsClassifier(k, metric="cosine")
        .fit(np.delete(train, i, 0), np.delete(labels, i))
        .predict(train[i : i + 1])
        for i in range(60)
    ]
    np.testing.assert_array_equal(votes(train, labels, train, [1, k], leave_one_out=True)[1], np.concatenate(out))


def test_two_training_examples():
    rows, labels = np.eye(2, dtype=np.float32), np.array([0, 1])
    assert nearest_neighbours(rows, labels, rows, labels).mean == 1
