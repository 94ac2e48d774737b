"""Figures of a classifier's probabilities, or of predicted scores, on labelled examples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats
from sklearn.metrics import matthews_corrcoef

from textssl.evaluation.figures.figure import Figure, macro_f1, measured
from textssl.evaluation.figures.intervals import Score, bootstrap

CALIBRATION_BINS = 15
Statistic = Callable[[np.ndarray, np.ndarray], float]  # (truth, answers) -> figure


def accuracy(truth: np.ndarray, probabilities: np.ndarray) -> float:
    return float((probabilities.argmax(1) == truth).mean())


def calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error (arXiv:1706.04599, eq. 3): |accuracy - confidence|, weighted over 15 equal bins.

    truth: (examples,) class numbers. probabilities: (examples, classes). The confidence is that of the predicted class;
    bin m holds the confidences in ((m - 1) / 15, m / 15].
    """
    confidence = probabilities.max(1)
    hits = probabilities.argmax(1) == truth
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=hits - confidence, minlength=CALIBRATION_BINS)  # per bin: n * (acc - conf)
    return float(np.abs(gaps).sum() / len(truth))


def cross_entropy(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log-probability of the true class, in nats."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())


CLASSIFICATION: dict[str, Statistic] = {
    "accuracy": accuracy,
    "macro_f1": lambda truth, probabilities: macro_f1(truth, probabilities.argmax(1)),
    "mcc": lambda truth, probabilities: float(matthews_corrcoef(truth, probabilities.argmax(1))),
    "calibration_error": calibration_error,
    "loss": cross_entropy,
}


def correlation(measure: Callable) -> Statistic:
    """A correlation that is 0 where one side does not vary."""

    def value(truth: np.ndarray, scores: np.ndarray) -> float:
        if np.ptp(truth) == 0 or np.ptp(scores) == 0:
            return 0.0
        return float(measure(truth, scores).statistic)

    return value


REGRESSION: dict[str, Statistic] = {
    "pearson": correlation(stats.pearsonr),
    "spearman": correlation(stats.spearmanr),
    "mse": lambda truth, scores: float(((truth - scores) ** 2).mean()),
    "mae": lambda truth, scores: float(np.abs(truth - scores).mean()),
}


def answer_values(truth: np.ndarray, answers: np.ndarray) -> dict[str, float]:
    """Every figure. answers: (examples, classes) probabilities, or (examples,) scores."""
    statistics = CLASSIFICATION if answers.ndim == 2 else REGRESSION
    return {name: statistic(truth, answers) for name, statistic in statistics.items()}


def answer_figures(truth: np.ndarray, answers: np.ndarray, seed: int) -> dict[str, Figure]:
    """Every figure with its 95 % bootstrap interval over the examples."""
    values = answer_values(truth, answers)
    statistics = {**CLASSIFICATION, **FROM_COUNTS} if answers.ndim == 2 else REGRESSION
    figures = {}
    for name, statistic in statistics.items():
        low, high = bootstrap(lambda drawn, of=statistic: of(truth[drawn], answers[drawn]), len(truth), seed)
        figures[name] = measured(Score(values[name], low, high), "test examples", len(truth))
    return figures


def macro_f1_of_counts(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Macro F1 a hundred times as fast as scikit-learn's, for resamples."""
    counts = cells(truth, probabilities)
    present = counts.sum(0) + counts.sum(1)
    return float((2 * counts.diagonal()[present > 0] / present[present > 0]).mean())


def mcc_of_counts(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Matthews correlation of several classes (Gorodkin 2004, eq. 8), for resamples; 0 where a side is constant."""
    counts = cells(truth, probabilities).astype(np.float64)
    true, predicted, total = counts.sum(1), counts.sum(0), counts.sum()
    spread = (total**2 - (predicted**2).sum()) * (total**2 - (true**2).sum())
    return float((counts.trace() * total - (true * predicted).sum()) / np.sqrt(spread)) if spread else 0.0


FROM_COUNTS: dict[str, Statistic] = {"macro_f1": macro_f1_of_counts, "mcc": mcc_of_counts}


def cells(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(true, predicted) counts, (classes, classes)."""
    classes = probabilities.shape[1]
    return np.bincount(truth * classes + probabilities.argmax(1), minlength=classes**2).reshape(classes, classes)
