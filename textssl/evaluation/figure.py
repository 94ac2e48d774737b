"""A measured figure with its interval, and how many examples stand behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import f1_score

from textssl.evaluation.intervals import RESAMPLES, Score, over_draws, percentiles

EXACT = "exact"  # the interval of a figure that is computed and not measured


class Metric(NamedTuple):
    """How a figure is called in tables, and its range."""

    words: str
    bounds: tuple[float, float]


INFINITY = float("inf")
SHARE = (0.0, 1.0)
METRICS = {
    "spearman": Metric("Spearman", (-1.0, 1.0)),
    "v_measure": Metric("V-measure", SHARE),
    "recall_1": Metric("recall@1", SHARE),
    "recall_10": Metric("recall@10", SHARE),
    "mrr_10": Metric("MRR@10", SHARE),
    "ndcg_10": Metric("nDCG@10", SHARE),
    "alignment": Metric("alignment", (0.0, 4.0)),
    "uniformity": Metric("uniformity", (-8.0, 0.0)),
    "rankme": Metric("RankMe", (0.0, INFINITY)),
    "mean_cosine": Metric("mean cosine", (-1.0, 1.0)),
    "normalised_std": Metric("spread", (0.0, 1.0)),
}


def bounds(name: str) -> tuple[float, float]:
    """The range of a figure; of one that METRICS does not hold (accuracies of probes) 0 to 1."""
    return METRICS[name].bounds if name in METRICS else SHARE


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number about a model, with its 95 % interval [low, high].

    interval: what varies inside it: "draws" of training examples, "starts" of k-means, "test examples", "pairs",
    "queries", "texts", "initialisations", or "exact" (nothing does). test_examples: how many pairs, queries or texts
    it was measured on. scores: the value of each repetition; every model sees the same ones, so that two models
    compare one by one. settings: what was chosen on the way (C of each draw, or k).
    """

    mean: float
    low: float
    high: float
    interval: str
    test_examples: int
    scores: list[float] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Accuracy(Figure):
    """Accuracy (mean, low, high) and macro F1 of a classifier, trained `draws` times on `train_examples`."""

    draws: int
    train_examples: int
    macro_f1: Score


def measured(score: Score, interval: str, test_examples: int, scores: Sequence[float] = ()) -> Figure:
    """A figure from its mean and interval; scores: of the repetitions, if there were any."""
    return Figure(
        mean=score.mean,
        low=score.low,
        high=score.high,
        interval=interval,
        test_examples=test_examples,
        scores=list(scores) or [score.mean],
    )


def exact(value: float, test_examples: int) -> Figure:
    """A figure that follows from the data alone."""
    return measured(Score(value, value, value), EXACT, test_examples)


def trained_once(
    truth: np.ndarray, predicted: np.ndarray, train_examples: int, seed: int, settings: dict[str, Any] | None = None
) -> Accuracy:
    """The accuracy of one classifier; its interval is over the test examples. truth, predicted: as in over_examples."""
    accuracy, f1 = over_examples(truth, predicted, seed)
    return Accuracy(
        mean=accuracy.mean,
        low=accuracy.low,
        high=accuracy.high,
        interval="test examples",
        draws=1,
        train_examples=train_examples,
        test_examples=len(truth),
        scores=[accuracy.mean],
        macro_f1=f1,
        settings=settings or {},
    )


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
        Score(float((truth == predicted).mean()), *percentiles(accuracy)),
        Score(macro_f1(truth, predicted), *percentiles(f1)),
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


def merge(figures: Sequence[Figure], name: str) -> Figure:
    """One figure from the same measurement, called `name`, on several random initialisations."""
    if len(figures) == 1:
        return figures[0]
    first = figures[0]
    # the spread of the means: draws repeat over the initialisations and are not independent
    total = over_draws([figure.mean for figure in figures], bounds(name))
    shared: dict[str, Any] = {
        "mean": total.mean,
        "low": total.low,
        "high": total.high,
        "interval": "initialisations",
        "test_examples": first.test_examples,
        "scores": [score for figure in figures for score in figure.scores],
        "settings": {"initialisations": len(figures)},
    }
    if isinstance(first, Accuracy):
        f1 = over_draws([figure.macro_f1.mean for figure in figures if isinstance(figure, Accuracy)])
        return Accuracy(**shared, draws=first.draws, train_examples=first.train_examples, macro_f1=f1)
    return Figure(**shared)
