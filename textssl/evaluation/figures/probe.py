"""Linear probe: logistic regression on frozen features, with few labels and with all."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits

from textssl.evaluation.figures.figure import Accuracy, trained_once, trained_repeatedly
from textssl.evaluation.split import few_label_draws

INVERSE_PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)  # C, for features of mean 0 and mean squared length 1
FOLDS = 3
LARGE = 5_000  # training examples from which one fold is held out: a third of so many ranks C well enough
ROTATED = 2_000  # training rows of sparse features up to which rotating is cheaper than a weight for every word
TOLERANCE = 1e-4  # of the gradient; a looser one stops before a weak penalty takes effect


def probe(
    train: Any,
    train_labels: np.ndarray,
    test: Any,
    test_labels: np.ndarray,
    *,
    shots: int | None,
    draws: int = 10,
    seed: int = 0,
) -> Accuracy | None:
    """Accuracy and macro F1 on the test set of probes trained on `shots` examples a class, `draws` times.

    train, test: (examples, width) features, arrays or scipy sparse. Labels: (examples,) class numbers.
    shots: None trains once on all; the interval is then over test examples, else over draws.
    Returns None where no class has more than `shots` examples: that is the probe on all.
    """
    counts = np.bincount(train_labels)
    if shots is None:
        predicted, C = predict(train, train_labels, test, seed=seed)
        return trained_once(test_labels, predicted, len(train_labels), seed, {"C": [C]})
    if counts.max() <= shots:
        return None
    results = [
        predict(train[places], train_labels[places], test, seed=seed)
        for places in few_label_draws(train_labels, shots, draws, seed)
    ]
    return trained_repeatedly(
        test_labels,
        [predicted for predicted, _ in results],
        int(np.minimum(counts, shots).sum()),
        seed,
        {"C": [C for _, C in results]},
    )


def predict(train: Any, labels: np.ndarray, test: Any, *, seed: int = 0) -> tuple[np.ndarray, float]:
    """Class numbers of the test rows by one probe, and the C that inner cross-validation chose."""
    with threadpool_limits(limits=1, user_api="blas"):  # the products are small: threads would only wait for each other
        train, test = standardise(train, test)
        C = choose_penalty(train, labels, seed)
        model = LogisticRegression(C=C, tol=TOLERANCE, max_iter=5_000, solver=solver(train)).fit(train, labels)
        return model.predict(test), C


def choose_penalty(train: Any, labels: np.ndarray, seed: int) -> float:
    """The C of best accuracy in stratified cross-validation inside the training examples; ties: the smallest.

    From LARGE examples on the first of the folds alone is held out.
    """
    smallest = int(np.bincount(labels)[np.unique(labels)].min())
    folds = StratifiedKFold if smallest >= FOLDS else KFold  # a class of one or two cannot be in every fold
    hits = np.zeros(len(INVERSE_PENALTIES))
    rounds = 1 if len(labels) >= LARGE else FOLDS
    parts = folds(min(FOLDS, len(labels)), shuffle=True, random_state=seed % 2**32).split(np.zeros(len(labels)), labels)
    for kept, held in itertools.islice(parts, rounds):
        if len(np.unique(labels[kept])) < 2:
            continue
        model = LogisticRegression(tol=TOLERANCE, max_iter=1_000, warm_start=True, solver=solver(train))
        for place, C in enumerate(INVERSE_PENALTIES):  # from strong to weak, each from the solution before
            model.C = C
            hits[place] += (model.fit(train[kept], labels[kept]).predict(train[held]) == labels[held]).sum()
    return INVERSE_PENALTIES[int(hits.argmax())]


def solver(train: Any) -> str:
    """Both find the same optimum; with millions of weights, as words have, Newton steps are the cheaper way there."""
    return "newton-cg" if hasattr(train, "tocsr") else "lbfgs"


def standardise(train: Any, test: Any) -> tuple[Any, Any]:
    """Subtract the training mean and divide by one number, so that training rows have mean squared length 1.

    The intercept takes up the shift and C the scale, so the problem stays the same; but features that all lie close
    together, as an untrained model's do, would otherwise stop the solver long before its optimum. Where there are fewer
    examples than dimensions, the rows are also rotated into the space that the examples span, which changes nothing
    either and is faster. Large sparse features are left as they are: they lie far apart.
    """
    rows, width = train.shape
    sparse = hasattr(train, "tocsr")
    if rows >= width or (sparse and rows > ROTATED):
        if sparse:
            return train, test
        train, test = train.astype(np.float64), test.astype(np.float64)
        mean = train.mean(0)
        train, test = train - mean, test - mean
        scale = np.sqrt((train**2).sum(1).mean()) or 1.0
        return train / scale, test / scale
    return _rotate(_products(train, train), _products(test, train))


def _products(left: Any, right: Any) -> np.ndarray:
    if hasattr(left, "tocsr"):
        return (left @ right.T).toarray().astype(np.float64)
    return left.astype(np.float64) @ right.astype(np.float64).T


def _rotate(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in the principal axes of the centred training rows, from scalar products with the training rows.

    train: (rows, rows) products among training rows. test: (test rows, rows).
    """
    size, column_mean = np.trace(train), train.mean(0)
    test = test - test.mean(1, keepdims=True) - column_mean + column_mean.mean()
    train = train - column_mean - column_mean[:, None] + column_mean.mean()
    values, axes = np.linalg.eigh(train)
    kept = values > max(values[-1] * 1e-10, size * 1e-12)
    if not kept.any():  # rows that are all equal, up to rounding
        return np.zeros((len(train), 1)), np.zeros((len(test), 1))
    axes = axes[:, kept] / np.sqrt(values[kept])  # unit directions as combinations of training rows
    scale = np.sqrt(np.trace(train) / len(train)) or 1.0
    return train @ axes / scale, test @ axes / scale
