from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from textssl.evaluation.figures.figure import Accuracy, Score, exact, measured, merge, over_examples


def test_interval_over_examples_is_the_binomial_one_and_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 1000)
    predicted = np.where(rng.random(1000) < 0.8, truth, rng.integers(0, 4, 1000))
    accuracy, f1 = over_examples(truth, predicted, seed=0)
    half = 1.96 * np.sqrt(accuracy.mean * (1 - accuracy.mean) / 1000)
    assert accuracy.mean == (truth == predicted).mean()
    assert (accuracy.high - accuracy.low) / 2 == pytest.approx(half, rel=0.1)
    assert f1.mean == pytest.approx(f1_score(truth, predicted, average="macro"))
    assert f1.low < f1.mean < f1.high


def test_bootstrap_f1_centres_on_the_figure_when_a_class_is_never_predicted():
    truth = np.array([0] * 900 + [1] * 100)
    accuracy, f1 = over_examples(truth, np.zeros(1000, dtype=int), seed=0)
    assert f1.low < f1.mean < f1.high and f1.mean == pytest.approx(0.9 / 1.9)
    assert accuracy.mean == 0.9


def accuracy(mean: float) -> Accuracy:
    return Accuracy(
        mean=mean,
        low=mean - 0.1,
        high=mean + 0.1,
        interval="draws",
        draws=2,
        train_examples=16,
        test_examples=100,
        scores=[mean] * 2,
        macro_f1=Score(mean - 0.2, 0, 1),
    )


def test_merging_initialisations_of_an_accuracy():
    figures = [accuracy(mean) for mean in (0.4, 0.6)]
    merged = merge(figures, "probe_8")
    assert isinstance(merged, Accuracy) and merged.macro_f1.mean == pytest.approx(0.3)
    assert (merged.mean, merged.interval, merged.draws, merged.low, merged.high) == (0.5, "initialisations", 2, 0, 1)
    assert merged.scores == [0.4, 0.4, 0.6, 0.6] and merged.settings == {"initialisations": 2}
    assert merge(figures[:1], "probe_8") is figures[0]


def test_other_figures_have_no_accuracy_fields_and_their_own_range():
    figures = [measured(Score(mean, mean, mean), "pairs", 7) for mean in (-0.2, 0.2)]
    merged = merge(figures, "spearman")
    assert merged.as_dict() == {
        "mean": 0.0,
        "low": -1.0,
        "high": 1.0,
        "interval": "initialisations",
        "test_examples": 7,
        "scores": [-0.2, 0.2],
        "settings": {"initialisations": 2},
    }
    assert merge([exact(3.0, 7), exact(90.0, 7)], "rankme").high > 90
    assert exact(0.0, 7).interval == "exact"
