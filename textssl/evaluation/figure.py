"""A measured figure with its interval, and how many examples stand behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy import stats
from sklearn.metrics import f1_score

RESAMPLES = 1_000


@dataclass(frozen=True)
class Score:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Figure:
    """Accuracy (mean, low, high) and macro F1 of a classifier on a fixed test set.

    interval: what varies inside [low, high]: "draws" of the training examples, "test examples", or "initialisations".
    scores: accuracy of each draw; every model sees the same draws, so that two models compare pair by pair.
    settings: what inner cross-validation chose (C of each draw, or k).
    """

    mean: float
    low: float
    high: float
    interval: str
    draws: int
    train_examples: int
    test_examples: int
    scores: list[float]
    macro_f1: Score
    settings: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def over_draws(scores: Sequence[float]) -> Score:
    """Mean of independent repetitions with Student's 95 % interval of the mean, kept within [0, 1]."""
    values = np.asarray(scores, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return Score(mean, mean, mean)
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Score(mean, max(mean - half, 0.0), min(mean + half, 1.0))


def over_examples(truth: np.ndarray, predicted: np.ndarray, seed: int) -> tuple[Score, Score]:
    """Accuracy and macro F1 of one classifier with 95 % bootstrap intervals over the test examples.

    truth, predicted: (examples,) class numbers.
    """
    classes = int(max(truth.max(), predicted.max())) + 1
    rng = np.random.default_rng(seed)
    # a resample is a draw of the confusion matrix's cells
    confusion = np.bincount(truth * classes + predicted, minlength=classes * classes)
    resampled = rng.multinomial(len(truth), confusion / len(truth), size=RESAMPLES).reshape(-1, classes, classes)
    accuracy = resampled.trace(axis1=1, axis2=2) / len(truth)
    f1 = _macro_f1(resampled)
    return (
        Score(float((truth == predicted).mean()), *_percentiles(accuracy)),
        Score(macro_f1(truth, predicted), *_percentiles(f1)),
    )


def macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The mean of the classes' F1 scores; a class that is neither there nor predicted does not count."""
    return float(f1_score(truth, predicted, average="macro", zero_division=0))  # type: ignore


def _macro_f1(confusion: np.ndarray) -> np.ndarray:
    """confusion: (resamples, truth, predicted) counts -> (resamples,)."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    present = confusion.sum(1) + confusion.sum(2)  # (resamples, classes): true + predicted
    scores = 2 * hits / np.maximum(present, 1)
    return scores.sum(1) / np.maximum((present > 0).sum(1), 1)


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def merge(figures: Sequence[Figure]) -> Figure:
    """One figure from the same measurement on several random initialisations."""
    if len(figures) == 1:
        return figures[0]
    first = figures[0]
    scores = [score for figure in figures for score in figure.scores]
    # the spread of the means: draws repeat over the initialisations and are not independent
    total = over_draws([figure.mean for figure in figures])
    return Figure(
        total.mean,
        total.low,
        total.high,
        "initialisations",
        first.draws,
        first.train_examples,
        first.test_examples,
        scores,
        over_draws([figure.macro_f1.mean for figure in figures]),
        {"initialisations": len(figures)},
    )
