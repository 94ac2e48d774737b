from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.preprocessing import normalize

from tests.evaluation.folders import blobs
from textssl.evaluation.figures import probe as module
from textssl.evaluation.figures.probe import FOLDS, INVERSE_PENALTIES, choose_penalty, predict, probe, standardise
from textssl.evaluation.split import few_label_draws


def reference(train, labels, test) -> np.ndarray:
    """The probe in plain scikit-learn: centre, scale, choose C by grid search, fit."""
    mean = train.astype(np.float64).mean(0)
    scale = np.sqrt(((train - mean) ** 2).sum(1).mean())
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    search = GridSearchCV(LogisticRegression(max_iter=5_000), {"C": INVERSE_PENALTIES}, cv=folds)
    return search.fit((train - mean) / scale, labels).predict((test - mean) / scale)


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "spread"), [(2, 4.0), (5, 3.0)])
@pytest.mark.parametrize("shots", [8, 64, None])
def test_figures_agree_with_plain_scikit_learn(classes: int, spread: float, shots: int | None):
    train, labels = blobs(500, classes, 96, spread)
    test, truth = blobs(400, classes, 96, spread, seed=1)
    figure = probe(train, labels, test, truth, shots=shots, draws=4)
    assert figure is not None
    draws = few_label_draws(labels, shots, 4, seed=0) if shots else [np.arange(500)]
    predicted = [reference(train[places], labels[places], test) for places in draws]
    accuracies = [accuracy_score(truth, row) for row in predicted]
    f1 = [f1_score(truth, row, average="macro") for row in predicted]
    assert figure.mean == pytest.approx(np.mean(accuracies), abs=0.012)
    assert figure.macro_f1.mean == pytest.approx(np.mean(f1), abs=0.012)
    assert figure.scores == pytest.approx(accuracies, abs=0.03)
    assert 0.5 < figure.mean < 0.99  # neither trivial nor chance, or the comparison shows nothing
    assert figure.low <= figure.mean <= figure.high
    assert figure.test_examples == 400 and figure.train_examples == (classes * shots if shots else 500)
    assert (figure.draws, figure.interval) == ((4, "draws") if shots else (1, "test examples"))


def test_features_that_lie_close_together_lose_nothing():
    """Those of an untrained model: cosine 0.999 with each other. A solver that stops early would see chance."""
    train, labels = blobs(300, 3, 48, 2.0)
    test, truth = blobs(300, 3, 48, 2.0, seed=1)
    shift = 30 * np.ones(48, dtype=np.float32) / np.sqrt(48)
    near = [np.asarray(normalize(rows + shift), dtype=np.float32) for rows in (train, test)]
    assert (near[0] @ near[0].T).mean() > 0.998
    apart, close = predict(train, labels, test)[0], predict(near[0], labels, near[1])[0]
    assert (close == truth).mean() == pytest.approx((apart == truth).mean(), abs=0.03)


@pytest.mark.parametrize("rows", [40, 200])
def test_standardised_rows_keep_their_distances_up_to_one_factor(rows: int):
    train, test = blobs(rows, 3, 96, 1.0)[0], blobs(30, 3, 96, 1.0, seed=1)[0]
    new_train, new_test = standardise(train, test)
    np.testing.assert_allclose(new_train.mean(0), 0, atol=1e-6)
    assert (new_train**2).sum(1).mean() == pytest.approx(1)
    before, after = train[:, None] - train[None], new_train[:, None] - new_train[None]
    factor = np.linalg.norm(after) / np.linalg.norm(before)
    np.testing.assert_allclose(
        new_test @ new_train.T, (test - train.mean(0)) @ (train - train.mean(0)).T * factor**2, atol=1e-4
    )
    if rows == 40:
        assert new_train.shape[1] <= 40
        for both in zip(
            standardise(sparse.csr_matrix(train), sparse.csr_matrix(test)), (new_train, new_test), strict=True
        ):
            np.testing.assert_allclose(both[0] @ new_train.T, both[1] @ new_train.T, atol=1e-4)


def test_more_shots_than_examples_is_no_figure_and_a_short_class_gives_all_it_has():
    train, labels = blobs(30, 3, 8, 1.0)
    test, truth = blobs(30, 3, 8, 1.0, seed=1)
    assert probe(train, labels, test, truth, shots=10) is None
    kept = np.flatnonzero((labels > 0) | (np.arange(30) == 0))  # one example of class 0
    figure = probe(train[kept], labels[kept], test, truth, shots=8, draws=3)
    assert figure is not None and figure.train_examples == 17


@pytest.mark.parametrize("width", [4, 33])  # fewer dimensions than examples, or more
def test_equal_features_give_an_answer_and_no_warning(width: int):
    row = np.random.default_rng(0).normal(size=width)
    train, labels = np.tile(np.float32(row / np.linalg.norm(row)), (20, 1)), np.arange(20) % 2
    figure = probe(train, labels, train, labels, shots=8, draws=2)
    assert figure is not None and figure.mean == pytest.approx(0.5)


def test_large_sets_hold_out_one_fold(monkeypatch):
    train, labels = blobs(300, 3, 48, 4.0)
    kept, held = next(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(train, labels))
    hits = {
        C: LogisticRegression(C=C, max_iter=5_000).fit(train[kept], labels[kept]).score(train[held], labels[held])
        for C in INVERSE_PENALTIES
    }
    search = GridSearchCV(
        LogisticRegression(max_iter=5_000),
        {"C": INVERSE_PENALTIES},
        cv=StratifiedKFold(FOLDS, shuffle=True, random_state=0),
    )
    every_fold = search.fit(train, labels).best_params_["C"]
    first_fold = max(hits, key=lambda C: (hits[C], -C))
    assert first_fold != every_fold  # or else the test shows nothing
    assert choose_penalty(train, labels, 0) == every_fold
    monkeypatch.setattr(module, "LARGE", 300)
    assert choose_penalty(train, labels, 0) == first_fold


def test_large_sparse_features_have_the_same_optimum(monkeypatch):
    monkeypatch.setattr(module, "ROTATED", 300)
    train, labels = blobs(600, 3, 800, 4.0)
    test, _ = blobs(400, 3, 800, 4.0, seed=1)
    rows = [sparse.csr_matrix(np.maximum(part, 0)) for part in (train, test)]
    predicted, C = predict(rows[0], labels, rows[1])
    plain = LogisticRegression(C=C, tol=1e-6, max_iter=5_000).fit(rows[0], labels)
    assert (predicted == plain.predict(rows[1])).mean() > 0.99
