"""Temperature scaling: one number that calibrates the probabilities of a linear classifier."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

FOLDS = 8
LIMITS = (1e-4, 100.0)  # of a temperature; how sure it can make a head is limited by the targets, whatever its logits


def class_logits(model: LogisticRegression, rows: Any) -> np.ndarray:
    """(examples, classes) logits; scikit-learn gives those of the second of two classes alone."""
    logits = model.decision_function(rows)
    return np.stack([0 * logits, logits], axis=1) if logits.ndim == 1 else logits


def fit_temperature(
    model: LogisticRegression, rows: Any, labels: np.ndarray, seed: int, before: np.ndarray | None = None
) -> float:
    """The temperature for a classifier that was fitted on these examples: what to divide its logits by.

    The logits of each example come from the same classifier fitted without its fold (`left_out_logits`). The
    temperature minimises their mean log loss (arXiv:1706.04599, section 4.2) within LIMITS, for Platt's targets:
    (n + 1) / (n + 2) for the right class of one of n examples, the rest for the others alike, as if one more example
    had been right and one wrong. So a few examples that are all right make no answer certain.

    rows: (examples, width). labels: (examples,) class numbers. before: the vectors of the same examples by the encoder
    before it was tuned on them. A tuned encoder has seen every fold, and examples left out of the head alone are nearly
    always right; the encoder before has seen none, so a temperature is fitted on its vectors too (scaled to the same
    mean length), and the higher, less confident one counts. It is an estimate: an unbiased one would take an encoder
    tuned for each fold, at several times the cost. Returns 1 where no class has two examples.
    """
    sides = [rows] if before is None else [rows, before * (mean_length(rows) / max(mean_length(before), 1e-12))]
    fitted = [left_out_logits(model, side, labels, seed) for side in sides]
    return max(1.0 if found is None else best_temperature(*found) for found in fitted)


def mean_length(rows: np.ndarray) -> float:
    return float(np.linalg.norm(rows, axis=1).mean())


def left_out_logits(
    model: LogisticRegression, rows: Any, labels: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """(examples, classes) logits by classifiers fitted without the example's fold, and the columns of the labels.

    Stratified folds, at most FOLDS, into which the smallest class divides evenly where it can. A class of one example
    is always fitted on and never left out. None where no class has two.
    """
    counts = np.bincount(labels)
    repeated, single = np.flatnonzero(counts[labels] > 1), np.flatnonzero(counts[labels] == 1)
    if not len(repeated):
        return None
    smallest = int(counts[counts > 1].min())
    # equally many of a class in every fold: with few texts, one more of a class in training shifts the intercept to it
    count = next((number for number in range(FOLDS, 1, -1) if smallest % number == 0), min(FOLDS, smallest))
    folds = StratifiedKFold(count, shuffle=True, random_state=seed % 2**32)
    logits = np.zeros((len(repeated), len(model.classes_)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for kept, held in folds.split(np.zeros(len(repeated)), labels[repeated]):
            inside = np.concatenate([repeated[kept], single])
            fresh: Any = clone(model)
            logits[held] = class_logits(fresh.fit(rows[inside], labels[inside]), rows[repeated[held]])
    return logits, np.searchsorted(model.classes_, labels[repeated])


def best_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of least log loss for Platt's targets. logits: (examples, classes). labels: columns of them."""
    examples, classes = logits.shape
    wrong = 1 / (examples + 2)
    targets = np.full((examples, classes), wrong / (classes - 1))
    targets[np.arange(examples), labels] = 1 - wrong

    def loss(log_temperature: float) -> float:
        return -float((targets * log_softmax(logits / np.exp(log_temperature), axis=1)).sum(1).mean())

    low, high = np.log(LIMITS)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))
