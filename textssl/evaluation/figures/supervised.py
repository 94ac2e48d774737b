"""Figures of a classifier's probabilities, or of predicted scores, on labelled examples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats
from sklearn.metrics import matthews_corrcoef

from textssl.evaluation.figures.figure import Figure, macro_f1, measured
from textssl.evaluation.figures.intervals import Score, bootstrap
from textssl.evaluation.figures.repeated import macro_f1_of, mcc_of, of_tables
from textssl.evaluation.figures.resampling import Statistic, mean_of, pearson_of, spearman_of

CALIBRATION_BINS = 15
Value = Callable[[np.ndarray, np.ndarray], float]  # (truth, answers) -> figure


def accuracy(truth: np.ndarray, probabilities: np.ndarray) -> float:
    return float((probabilities.argmax(1) == truth).mean())


def calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error (arXiv:1706.04599, eq. 3): |accuracy - confidence|, weighted over 15 equal bins.

    truth: (examples,) class numbers. probabilities: (examples, classes). The confidence is that of the predicted class;
    bin m holds the confidences in ((m - 1) / 15, m / 15].
    """
    confidence = probabilities.max(1)
    hits = probabilities.argmax(1) == truth
    gaps = np.bincount(confidence_bins(confidence), weights=hits - confidence)  # per bin: n * (acc - conf)
    return float(np.abs(gaps).sum() / len(truth))


def confidence_bins(confidence: np.ndarray) -> np.ndarray:
    return np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)


def cross_entropy(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log-probability of the true class, in nats."""
    return float(losses(truth, probabilities).mean())


def losses(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(examples,) negative log-probabilities of the true class."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return -np.log(np.maximum(chosen, np.finfo(np.float64).tiny))


def confusion(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """(true, predicted) counts, (classes, classes)."""
    classes = probabilities.shape[1]
    return np.bincount(truth * classes + probabilities.argmax(1), minlength=classes**2).reshape(classes, classes)


CLASSIFICATION: dict[str, Value] = {
    "accuracy": accuracy,
    "macro_f1": lambda truth, probabilities: macro_f1(truth, probabilities.argmax(1)),
    "mcc": lambda truth, probabilities: float(matthews_corrcoef(truth, probabilities.argmax(1))),
    "calibration_error": calibration_error,
    "loss": cross_entropy,
}


def correlation(measure: Callable) -> Value:
    """A correlation that is 0 where one side does not vary."""

    def value(truth: np.ndarray, scores: np.ndarray) -> float:
        if np.ptp(truth) == 0 or np.ptp(scores) == 0:
            return 0.0
        return float(measure(truth, scores).statistic)

    return value


REGRESSION: dict[str, Value] = {
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
    statistics = of_classes(truth, answers) if answers.ndim == 2 else of_scores(truth, answers)
    figures = {}
    for name, value in answer_values(truth, answers).items():
        low, high = bootstrap(statistics[name], len(truth), seed)
        figures[name] = measured(Score(value, low, high), "test examples", len(truth))
    return figures


def of_scores(truth: np.ndarray, scores: np.ndarray) -> dict[str, Statistic]:
    """The figures of REGRESSION for resamples."""
    return {
        "pearson": pearson_of(truth, scores),
        "spearman": spearman_of(truth, scores),
        "mse": mean_of((truth - scores) ** 2),
        "mae": mean_of(np.abs(truth - scores)),
    }


def of_classes(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, Statistic]:
    """The figures of CLASSIFICATION for resamples."""
    predicted = probabilities.argmax(1)
    hits, confidence = predicted == truth, probabilities.max(1)
    in_bins = np.eye(CALIBRATION_BINS)[confidence_bins(confidence)] * (hits - confidence)[:, None]
    f1, mcc = (of_tables(truth, [predicted], figure) for figure in (macro_f1_of, mcc_of))
    return {
        "accuracy": mean_of(hits),
        "macro_f1": lambda counts: f1(counts)[:, 0],
        "mcc": lambda counts: mcc(counts)[:, 0],
        "calibration_error": lambda counts: np.abs(counts @ in_bins).sum(1) / counts.sum(1),
        "loss": mean_of(losses(truth, probabilities)),
    }
