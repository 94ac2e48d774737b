"""Baselines of a fine-tuned model on the same texts: a constant prediction, and TF-IDF with a linear model."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold

from textssl.evaluation.figures.calibration import class_logits, fit_temperature
from textssl.evaluation.terms import Texts, best_tfidf, tfidf_rows

FOLDS = 5
INVERSE_PENALTIES = (10.0, 1.0, 100.0, 0.1, 1000.0, 0.01)  # at a tie the first: the least gives no confidence


def constant(targets: np.ndarray, classes: int, examples: int) -> np.ndarray:
    """The shares of the classes, or the mean score, for every example: (examples, classes) or (examples,)."""
    if not classes:
        return np.full(examples, targets.mean())
    shares = np.bincount(targets.astype(int), minlength=classes) / len(targets)
    return np.tile(shares, (examples, 1))


def tfidf(train: Texts, targets: np.ndarray, test: Texts, classes: int, seed: int) -> tuple[np.ndarray, str]:
    """Answers of logistic (for scores, ridge) regression on TF-IDF, and the name of what was counted.

    Words and pairs of words, or character n-grams, by cross-validation (`best_tfidf`); then the penalty the same way. A
    pair of texts is |u - v| beside u * v. Shapes as in `constant`.
    """
    targets = targets.astype(int if classes else float)
    terms, counter = best_tfidf(train, targets, phrases=True, rare=False, seed=seed)
    answers = linear(tfidf_rows(counter, train), targets, tfidf_rows(counter, test), classes, seed)
    return answers, terms.name


def linear(train: Any, targets: np.ndarray, test: Any, classes: int, seed: int) -> np.ndarray:
    """Answers of a regularised linear model, its penalty and temperature by cross-validation.

    train, test: (examples, width).
    """
    if not classes:
        grid = {"alpha": [1 / penalty for penalty in INVERSE_PENALTIES]}
        folds: Any = KFold(min(FOLDS, len(targets)), shuffle=True, random_state=seed % 2**32)
        return GridSearchCV(Ridge(), grid, cv=folds, scoring="neg_mean_squared_error").fit(train, targets).predict(test)
    labels = targets.astype(int)
    model = fit_logistic(train, labels, seed)
    return softmax(class_logits(model, test) / fit_temperature(model, train, labels, seed), axis=1)


def fit_logistic(train: Any, labels: np.ndarray, seed: int) -> LogisticRegression:
    """Logistic regression with the C of the best cross-validated accuracy; C = 1 where a class has a single example."""
    model, smallest = LogisticRegression(max_iter=2_000), int(np.bincount(labels)[np.unique(labels)].min())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of penalties too weak to be chosen
        if smallest < 2:
            return model.fit(train, labels)
        folds = StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=seed % 2**32)
        grid = {"C": list(INVERSE_PENALTIES)}
        return GridSearchCV(model, grid, cv=folds, scoring="accuracy").fit(train, labels).best_estimator_
