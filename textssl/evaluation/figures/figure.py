"""A measured figure with its interval and its number of examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import f1_score

from textssl.evaluation.figures.intervals import RESAMPLES, Score, over_draws, percentiles
from textssl.evaluation.figures.outcomes import Outcomes
from textssl.evaluation.figures.repeated import macro_f1_of

EXACT = "exact"  # the interval of a figure that is computed and not measured


class Metric(NamedTuple):
    """What a figure is called in tables, its range, and whether lower is better."""

    words: str
    bounds: tuple[float, float]
    less_is_better: bool = False


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
    "bits_per_byte": Metric("bits per byte", (0.0, INFINITY), True),
    "pseudo_bits_per_byte": Metric("pseudo bits per byte", (0.0, INFINITY), True),
    "bound_bits_per_byte": Metric("bits per byte, at most", (0.0, INFINITY), True),
    "nats_per_token": Metric("nats a token", (0.0, INFINITY), True),
    "pseudo_nats_per_token": Metric("pseudo nats a token", (0.0, INFINITY), True),
    "bound_nats_per_token": Metric("nats a token, at most", (0.0, INFINITY), True),
    "perplexity": Metric("perplexity", (0.0, INFINITY), True),
    "word_perplexity": Metric("word perplexity", (0.0, INFINITY), True),
    "byte_perplexity": Metric("byte perplexity", (0.0, INFINITY), True),
    "brier_score": Metric("Brier score", (0.0, 2.0), True),
    "ter": Metric("TER", (0.0, INFINITY), True),
}


UNRANKED = ("alignment", "uniformity", "mean_cosine", "normalised_std")  # of which none alone says what is better


def bounds(name: str) -> tuple[float, float]:
    """The range of a figure; 0 to 1 for one that METRICS does not hold (accuracies of probes)."""
    if name in METRICS:
        return METRICS[name].bounds
    return (-INFINITY, INFINITY) if "/" in name else SHARE  # TASK/METRIC of a harness, which may be any number


def less_is_better(name: str) -> bool:
    """Whether the lowest value of a figure, or of TASK/FIGURE, is the best."""
    metric = METRICS.get(name.rpartition("/")[2])
    return metric is not None and metric.less_is_better


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number about a model, with its 95 % interval [low, high].

    interval: what varies inside it: "draws" of training examples, "starts" of k-means, "test examples", "pairs",
    "queries", "texts", "initialisations", or "exact" (nothing does). test_examples: how many pairs, queries or texts
    it was measured on. scores: the value of each repetition; every model sees the same ones, so that two models
    compare one by one. settings: what was chosen on the way (C of each draw, or k). outcomes: for comparisons with
    other models, never written with it.
    """

    mean: float
    low: float
    high: float
    interval: str
    test_examples: int
    scores: list[float] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    outcomes: Outcomes | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """What is written: everything but the outcomes."""
        plain = asdict(replace(self, outcomes=None))
        del plain["outcomes"]
        return plain


@dataclass(frozen=True, kw_only=True)
class Accuracy(Figure):
    """Accuracy (mean, low, high) and macro F1 of a classifier, trained `draws` times on `train_examples`."""

    draws: int
    train_examples: int
    macro_f1: Score
    f1_outcomes: Outcomes | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        plain = Figure.as_dict(replace(self, f1_outcomes=None))
        del plain["f1_outcomes"]
        return plain


def measured(
    score: Score,
    interval: str,
    test_examples: int,
    scores: Sequence[float] = (),
    outcomes: Outcomes | None = None,
) -> Figure:
    """A figure from its mean and interval; scores: of the repetitions, if there were any."""
    return Figure(
        mean=score.mean,
        low=score.low,
        high=score.high,
        interval=interval,
        test_examples=test_examples,
        scores=list(scores) or [score.mean],
        outcomes=outcomes,
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
        outcomes=Outcomes.of("mean", truth == predicted),
        f1_outcomes=Outcomes.of("macro_f1", truth, predicted[None]),
    )


def trained_repeatedly(
    truth: np.ndarray,
    predictions: Sequence[np.ndarray],
    train_examples: int,
    seed: int,
    settings: dict[str, Any] | None = None,
) -> Accuracy:
    """The accuracy of classifiers trained on several draws of examples; its interval is over the draws.

    truth: (examples,) class numbers. predictions: the same for each draw; for a single one the interval is over the
    test examples, since one draw says nothing about others.
    """
    if len(predictions) == 1:
        return trained_once(truth, predictions[0], train_examples, seed, settings)
    scores = [float((predicted == truth).mean()) for predicted in predictions]
    f1_scores = [macro_f1(truth, predicted) for predicted in predictions]
    accuracy, f1 = over_draws(scores), over_draws(f1_scores)
    return Accuracy(
        mean=accuracy.mean,
        low=accuracy.low,
        high=accuracy.high,
        interval="draws",
        draws=len(predictions),
        train_examples=train_examples,
        test_examples=len(truth),
        scores=scores,
        macro_f1=f1,
        settings=settings or {},
        outcomes=Outcomes.of("share", truth == np.asarray(predictions)),
        f1_outcomes=Outcomes.of("macro_f1", truth, np.asarray(predictions)),
    )


def over_examples(truth: np.ndarray, predicted: np.ndarray, seed: int) -> tuple[Score, Score]:
    """Accuracy and macro F1 of one classifier with 95 % bootstrap intervals over the test examples.

    truth, predicted: (examples,) class numbers.
    """
    classes = int(max(truth.max(), predicted.max())) + 1
    cells = truth * classes + predicted
    rng = np.random.default_rng(seed)
    # a resample is a draw of the confusion matrix's cells
    confusion = np.bincount(cells, minlength=classes * classes)
    resampled = rng.multinomial(len(truth), confusion / len(truth), size=RESAMPLES).reshape(-1, classes, classes)
    accuracy = resampled.trace(axis1=1, axis2=2) / len(truth)
    f1 = macro_f1_of(resampled)
    return (
        Score(float((truth == predicted).mean()), *percentiles(accuracy)),
        Score(macro_f1(truth, predicted), *percentiles(f1)),
    )


def macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """The mean of the classes' F1 scores; a class that neither occurs nor is predicted does not count."""
    return float(f1_score(truth, predicted, average="macro", zero_division=0))  # type: ignore


def merge(figures: Sequence[Figure], name: str) -> Figure:
    """One figure from the same measurement, called `name`, on several random initialisations."""
    if len(figures) == 1:
        return figures[0]
    first = figures[0]
    # the spread of the means: draws repeat over the initialisations and are not independent
    total = over_draws([figure.mean for figure in figures], bounds(name))
    terms = first.settings.get("terms")  # follow from the texts, not from the initialisation
    shared: dict[str, Any] = {
        "mean": total.mean,
        "low": total.low,
        "high": total.high,
        "interval": "initialisations",
        "test_examples": first.test_examples,
        "scores": [score for figure in figures for score in figure.scores],
        "settings": {**({"terms": terms} if terms else {}), "initialisations": len(figures)},
    }
    if isinstance(first, Accuracy):
        f1 = over_draws([figure.macro_f1.mean for figure in figures if isinstance(figure, Accuracy)])
        return Accuracy(**shared, draws=first.draws, train_examples=first.train_examples, macro_f1=f1)
    return Figure(**shared)
